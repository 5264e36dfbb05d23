"""Blinded trials: an allocation that nobody here can read, and the one step by which a physician reads it (ST-09).

What hides a condition is the equipment: a stimulator or coil whose signs to operator and patient are equal in both
conditions. An amplitude of 0, or a tilted coil, is seen, heard and felt, and is refused as blinding.
"""

from spoel_common.events import EventData
from spoel_planning.commands import Allocate, Unblind
from spoel_planning.domain.dose import blocks_of
from spoel_planning.domain.known import Occasion
from spoel_planning.domain.measuring import big_number_of
from spoel_planning.domain.plan import Plan
from spoel_planning.domain.refusals.prescribing import AlreadyAllocated, NotABlinding, NotAllocated, ShamNotPossible
from spoel_planning.domain.rules import ShamEquipment
from spoel_planning.events.orders import BlindingMethod, TreatmentOrder
from spoel_planning.events.prescribing import AllocationRecorded, AllocationUnblinded


def check_method(method: str) -> BlindingMethod:
    """Return the method where it hides the condition.

    Raises:
        NotABlinding: the operator or the patient would know.
    """
    if method != "device-code":
        raise NotABlinding(
            f"{method} is seen, heard or felt by operator and patient, so it hides nothing. Use equipment that chooses "
            "the condition by the patient's code (device-code).",
            field="method",
        )
    return "device-code"


def allocate(plan: Plan, on: Occasion, command: Allocate, event_id: str, sealed: str) -> list[EventData]:
    """Record an allocation.

    Args:
        plan: of the case.
        on: who, when, which case.
        command: what the randomisation says.
        event_id: of the event to come.
        sealed: the condition, sealed for that event.

    Raises:
        NotABlinding: the method does not hide the condition.
        AlreadyAllocated: there is one, or a prescription was drafted without.
    """
    method = check_method(command.method)
    if plan.allocation is not None or plan.prescriptions:
        raise AlreadyAllocated(
            "A condition is allocated once, and before anything is prescribed: this case has an allocation or a "
            "prescription."
        )
    return [
        AllocationRecorded(
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            trial_id=command.trial_id,
            method=method,
            blind_code=command.blind_code,
            allocation_event_id=event_id,
            sealed_allocation=sealed,
        )
    ]


def unblind(plan: Plan, on: Occasion, command: Unblind) -> list[EventData]:
    """Record that a physician asks for the condition; it is told after this is durable.

    Raises:
        NotAllocated: the case is in no blinded trial.
    """
    allocation = allocation_of(plan)
    return [
        AllocationUnblinded(
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            trial_id=allocation.trial_id,
            physician_id=on.by.person_id,
            big_number=big_number_of(on.by),
            reason_code=command.reason_code,
        )
    ]


def allocation_of(plan: Plan) -> AllocationRecorded:
    """Return a case's allocation.

    Raises:
        NotAllocated: it has none.
    """
    if plan.allocation is None:
        raise NotAllocated("This case belongs to no blinded trial: there is no condition to tell.")
    return plan.allocation


def blinded(plan: Plan, order: TreatmentOrder, rules: tuple[ShamEquipment, ...]) -> TreatmentOrder:
    """Return the order as it is given in the case's trial; outside one, the order itself.

    Raises:
        NotABlinding: the dose may be an output of 0.
        ShamNotPossible: this equipment cannot deliver a sham condition with equal signs.
    """
    allocation = plan.allocation
    if allocation is None:
        return order
    if any(block.floor_percent_mso == 0 for block in blocks_of(order)):
        raise NotABlinding(
            "The floor of this dose is an output of 0, which is seen, heard and felt. Prescribe the dose of the active "
            "condition: the equipment makes the difference.",
            field="floor_percent_rmt",
        )
    if not any(row.fits(order) for row in rules):
        raise ShamNotPossible(
            f"{order.stimulator_model} with {order.coil_model} cannot deliver a sham condition whose signs are those "
            "of the active one. Measure the threshold with equipment of the list sham.toml.",
            field="threshold_id",
        )
    blinding = {name: getattr(allocation, name) for name in ("trial_id", "method", "blind_code")}
    return TreatmentOrder.model_validate({**order.model_dump(), "blinding": blinding})
