"""Decisions on prescriptions: draft, change, sign, withdraw (PL-07, PL-10)."""

from datetime import datetime, timedelta
from typing import NamedTuple

from spoel_common.events import EventData
from spoel_common.people import Actor
from spoel_planning.commands import OverrideLimits, Prescribe, SignPrescription, WithdrawPrescription
from spoel_planning.domain.blinding import blinded
from spoel_planning.domain.catalogue import find_protocol
from spoel_planning.domain.dose import Graded, blocks_of, grade_order, treatment_order
from spoel_planning.domain.grading import course_findings
from spoel_planning.domain.known import KnownCase, Occasion, check_indicated
from spoel_planning.domain.measuring import big_number_of
from spoel_planning.domain.plan import Plan
from spoel_planning.domain.refusals.measuring import (
    TargetMissing,
    ThresholdMissing,
    ThresholdOfOtherSide,
    ThresholdOutdated,
)
from spoel_planning.domain.refusals.prescribing import (
    LimitsExceeded,
    OutsideProtocol,
    PatternNotCleared,
    PrescriptionAlreadyOpen,
    PrescriptionAlreadySigned,
    PrescriptionSuperseded,
    PrescriptionUnknown,
    ProtocolNotForIndication,
)
from spoel_planning.domain.rules import Protocol, Range, Rules, Validity
from spoel_planning.events.measuring import ThresholdEstimated
from spoel_planning.events.orders import MotorSite, Site, TreatmentOrder
from spoel_planning.events.prescribing import Override, PrescriptionDrafted, PrescriptionSigned, PrescriptionWithdrawn

_MOTOR_SITE: dict[Site, MotorSite] = {"left-dlpfc": "left-motor-cortex", "right-dlpfc": "right-motor-cortex"}


class Numbered(NamedTuple):
    """A version of a prescription."""

    prescription_id: str
    version: int


class Course(NamedTuple):
    """A prescription, and the id that its course gets at the first signature."""

    prescription_id: str
    new_course_id: str


def draft_prescription(
    plan: Plan, on: Occasion, command: Prescribe, rules: Rules, prescription_id: str
) -> list[EventData]:
    """Draft the first version of a prescription.

    Raises:
        PrescriptionAlreadyOpen: the case has one that was not withdrawn.
        SpoelError: as ``draft_version``.
    """
    still_open = [each for each in plan.prescriptions.values() if each.withdrawn is None]
    if still_open:
        raise PrescriptionAlreadyOpen(
            f"Prescription {still_open[0].prescription_id} is open. Change it by a new version, or withdraw it first.",
            prescription_id=still_open[0].prescription_id,
        )
    return _draft(plan, on, command, rules, Numbered(prescription_id, 1))


def draft_version(plan: Plan, on: Occasion, command: Prescribe, rules: Rules, prescription_id: str) -> list[EventData]:
    """Draft a new version, which supersedes the ones before it.

    Raises:
        PrescriptionUnknown, PrescriptionIsWithdrawn: there is none to change.
        IndicationNotDecided, NotIndicated, ProtocolNotForIndication: not for this case.
        ProtocolUnknown, OutsideProtocol, PatternImpossible, BandImpossible: not a possible prescription.
        TargetMissing, ThresholdMissing, ThresholdOfOtherSide, ThresholdOutdated: a measure is missing or old.
        DeviceUnknown, BeyondDevice: the device cannot do it.
        AboveHighestPercent, AboveHighestFrequency, PauseTooShort: nobody may prescribe it.
        NotABlinding, ShamNotPossible: not in a blinded trial's course.
        PatternNotCleared: bursts that no row of the cleared list has.
        LimitsExceeded: beyond *within*, not cleared and not overridden.
    """
    version = plan.open_prescription(prescription_id).current.version + 1
    return _draft(plan, on, command, rules, Numbered(prescription_id, version))


def sign_prescription(
    plan: Plan, on: Occasion, command: SignPrescription, validity: Validity, course: Course
) -> list[EventData]:
    """Sign exactly the version that is named; the first signature makes the course.

    Raises:
        PrescriptionUnknown, PrescriptionIsWithdrawn: no such prescription or version.
        PrescriptionSuperseded: there is a newer version.
        PrescriptionAlreadySigned: it is signed.
        ThresholdOutdated: the threshold was measured anew since, or is too old.
        IndicationNotDecided, NotIndicated: the case may not be treated.
    """
    prescription = plan.open_prescription(course.prescription_id)
    current = prescription.current
    if command.version > current.version:
        raise PrescriptionUnknown(f"The newest version of this prescription is {current.version}.", field="version")
    if command.version < current.version:
        raise PrescriptionSuperseded(
            f"Version {command.version} was superseded by version {current.version}. Read and sign that one.",
            current_version=current.version,
        )
    if current.signed_by is not None:
        raise PrescriptionAlreadySigned(f"Version {current.version} was signed by {current.signed_by}.")
    check_indicated(on.case)
    check_threshold_current(plan, current.order, validity, on.now)
    return [
        PrescriptionSigned(
            prescription_id=course.prescription_id,
            version=current.version,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            course_id=prescription.course_id or course.new_course_id,
            signed_by=on.by.person_id,
            big_number=big_number_of(on.by),
            self_signed=on.by.person_id == current.drafted_by,
            order=current.order,
            sessions=current.sessions,
            per_week=current.per_week,
            grade=current.grade,
        )
    ]


def withdraw_prescription(
    plan: Plan, on: Occasion, command: WithdrawPrescription, prescription_id: str
) -> list[EventData]:
    """Withdraw a prescription with all its versions, signed or not.

    Raises:
        PrescriptionUnknown, PrescriptionIsWithdrawn: there is none to withdraw.
    """
    current = plan.open_prescription(prescription_id).current
    return [
        PrescriptionWithdrawn(
            prescription_id=prescription_id,
            version=current.version,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            reason_code=command.reason_code,
        )
    ]


def check_threshold_current(plan: Plan, order: TreatmentOrder, validity: Validity, at: datetime) -> None:
    """Refuse an order whose threshold no longer holds at a moment (HZ-06).

    Raises:
        ThresholdOutdated: a newer one of the same side exists, or it is older than the clinic allows.
    """
    for block in blocks_of(order):
        newest = plan.newest_threshold(_MOTOR_SITE[block.site])
        if newest is None or newest.threshold_id != block.threshold_id:
            raise ThresholdOutdated(
                "The motor threshold was measured anew since this prescription was drafted. Draft a new version on it."
            )
        check_age(newest, validity, at)


def _draft(plan: Plan, on: Occasion, command: Prescribe, rules: Rules, number: Numbered) -> list[EventData]:
    check_indicated(on.case)
    protocol = find_protocol(rules.protocols, command.protocol_id, command.protocol_version)
    _check_for_case(protocol, plan, on.case)
    sessions = _within("sessions", command.sessions, protocol.sessions)
    per_week = _within("per_week", command.per_week, protocol.per_week)
    threshold = threshold_for(plan, protocol.site, command.threshold_id)
    check_age(threshold, rules.threshold.validity, on.now)
    further = [threshold_for(plan, block.site, None) for block in protocol.further_block]
    for each in further:
        check_age(each, rules.threshold.validity, on.now)
    order = blinded(plan, treatment_order(protocol, command, threshold, rules, further), rules.sham)
    graded = grade_order(order, protocol, rules)
    course = course_findings(order.pattern, sessions, per_week, rules.limits.course)
    return [
        PrescriptionDrafted(
            prescription_id=number.prescription_id,
            version=number.version,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            order=order,
            sessions=sessions,
            per_week=per_week,
            grade=graded.grade,
            findings=(*graded.findings, *course),
            override=_accept(graded, command.override, on.by),
            drafted_by=on.by.person_id,
        )
    ]


def _check_for_case(protocol: Protocol, plan: Plan, case: KnownCase) -> None:
    if case.indication not in protocol.indications:
        raise ProtocolNotForIndication(
            f"{protocol.id} is for {', '.join(protocol.indications)}; this case is about {case.indication}. "
            "Choose a protocol of that indication.",
            field="protocol_id",
        )
    missing = [each.site for each in (protocol, *protocol.further_block) if each.site not in plan.targets]
    if missing:
        raise TargetMissing(f"The target {missing[0]} was not calculated. Measure the head first.")


def _within(name: str, wanted: int | None, allowed: Range) -> int:
    value = allowed.standard if wanted is None else wanted
    if not allowed.min <= value <= allowed.max:
        raise OutsideProtocol(f"{name} is {value}; the protocol allows {allowed.min} to {allowed.max}.", field=name)
    return value


def threshold_for(plan: Plan, site: Site, threshold_id: str | None) -> ThresholdEstimated:
    """Return the newest threshold of the side of a site; the named one, where one is named.

    Raises:
        ThresholdMissing, ThresholdOfOtherSide, ThresholdOutdated: as they say.
    """
    motor_site = _MOTOR_SITE[site]
    named = [each for each in plan.thresholds if threshold_id in (None, each.threshold_id)]
    if not named:
        wanted = "motor threshold" if threshold_id is None else f"threshold {threshold_id}"
        raise ThresholdMissing(f"This case has no {wanted}. Measure one in a session under a measurement order.")
    newest = plan.newest_threshold(motor_site)
    if newest is None or all(each.site != motor_site for each in named):
        raise ThresholdOfOtherSide(
            f"A treatment at {site} needs a threshold of the {motor_site}; there is one of the {named[-1].site}."
        )
    if newest not in named:
        raise ThresholdOutdated(f"Threshold {threshold_id} was followed by {newest.threshold_id}. Prescribe on that.")
    return newest


def check_age(threshold: ThresholdEstimated, validity: Validity, at: datetime) -> None:
    """Refuse a threshold that is older than the clinic allows.

    Raises:
        ThresholdOutdated: it is.
    """
    if at - threshold.estimated_at > timedelta(days=validity.max_age_days):
        raise ThresholdOutdated(
            f"The threshold of {threshold.estimated_at:%Y-%m-%d} is older than {validity.max_age_days} days at "
            f"{at:%Y-%m-%d}. Measure it again."
        )


def _accept(graded: Graded, override: OverrideLimits | None, by: Actor) -> Override | None:
    if graded.uncleared_bursts:
        raise PatternNotCleared(
            "No published table speaks of bursts: they are given as a row of the clinic's cleared list has them, and "
            "no override replaces that row. Prescribe within it, or have the clinic clear this pattern."
        )
    if override is not None:
        return Override(by=by.person_id, big_number=big_number_of(by), reason_code=override.reason_code)
    if graded.grade != "within" and not graded.cleared:
        raise LimitsExceeded(
            f"This dose is graded '{graded.grade}', and is not on the clinic's cleared list. Change it, or have a "
            "psychiatrist or psychologist with the role supervisor prescribe it with an override and its reason.",
            grade=graded.grade,
            findings=[
                each.model_dump(mode="json") for each in graded.findings if each.grade != "within" and not each.advisory
            ],
        )
    return None
