"""The start conditions, as one list: what an act is refused for, and what an operator sees as missing, are the same.

The list is asked from the top; its names are those of ``conditions.toml``, where each stands in words.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from spoel_common.errors import SpoelError
from spoel_common.people import Actor
from spoel_stimulation.domain import checks, conditions, day, equipment, offline, people
from spoel_stimulation.domain.blinding import check_equipment
from spoel_stimulation.domain.envelope import check_order_dose, check_search_dose
from spoel_stimulation.domain.facts import Booking, Facts
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.refusals import DeviceNotReady, NotTheOperator, TransitionNotAllowed
from spoel_stimulation.domain.search import search_pattern
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import check_consistent, check_percent_mso, device_pattern
from spoel_stimulation.orders import Blinding, MeasurementOrder, TreatmentOrder

Stage = Literal["open", "arm", "start"]
STAGES: tuple[Stage, ...] = ("open", "arm", "start")


class Situation(NamedTuple):
    """Who wants to start what, and everything that this rests on.

    Attributes:
        state: of the session; not opened yet where it is only booked.
        session_id: of the session.
        by: who asks; in an opened session only its operator may start it.
        supervisor_id: named supervisor, if any.
        asked_again: the patient was asked for consent again, the room being cut off.
    """

    state: SessionState
    session_id: str
    by: Actor
    supervisor_id: str | None
    facts: Facts
    asked_again: bool = False

    @property
    def opened(self) -> bool:
        """Whether the session was taken into the room."""
        return self.state.opened is not None

    @property
    def booking(self) -> Booking:
        """The booking.

        Raises:
            BookingUnknown, BookingCancelled, WrongRoom: as they say.
        """
        return conditions.check_booking(self.facts, self.session_id)

    @property
    def order(self) -> TreatmentOrder | MeasurementOrder:
        """The order that is frozen into the session; before that the signed one of the booking.

        Raises:
            OrderNotSigned: it has not arrived.
        """
        return self.state.order if self.opened else conditions.check_signed(self.facts, self.booking.kind)


class Condition(NamedTuple):
    """One start condition.

    Attributes:
        name: as in ``conditions.toml``.
        check: raises a ``SpoelError`` that says what is missing.
        stage: the first act that asks for it; later ones ask again.
        once: only that act asks for it.
    """

    name: str
    check: Callable[[Situation], object]
    stage: Stage = "open"
    once: bool = False


def _standing(its: Situation) -> None:
    booking = its.booking
    version = its.state.opened.prescription_version if its.state.opened else booking.prescription_version
    conditions.check_standing(its.facts, booking.kind, version)


def _order(its: Situation) -> None:
    if its.opened:
        conditions.check_signed(its.facts, its.booking.kind)
    order = its.order
    check_consistent(order)
    check_equipment(blinding_of(order), its.facts.device.model, its.facts.device.coil_model)
    equipment.check_threshold_key(its.facts, order)
    if not isinstance(order, TreatmentOrder):
        if order.search is not None:
            check_search_dose(order, search_pattern(order, its.facts.limits.max_autonomous_s))
        return
    for block in order.blocks:
        check_percent_mso(block, block.percent_mso)
        device_pattern(block, its.facts.limits.max_autonomous_s)
    check_order_dose(order, its.facts.limits.cleared, day.had_before(its.facts))


def reach_of(its: Situation) -> offline.Start:
    """Return how a start stands to the network; a session that has begun goes on as one.

    Raises:
        StaleKnowledge, AcceleratedDayOffline: as ``check_reach`` says.
    """
    again = its.asked_again or its.state.consent_asked_again
    return offline.check_reach(its.facts, its.booking, asked_again=again, new=not its.state.trains)


def blinding_of(order: TreatmentOrder | MeasurementOrder) -> Blinding | None:
    """Return how an order is blinded; None outside trials."""
    return order.blinding if isinstance(order, TreatmentOrder) else None


def _people(its: Situation) -> None:
    if its.state.opened is not None:
        check_operator(its.state, its.by, its.facts)
    else:
        people.check_people(its.facts, its.by, its.supervisor_id)


def _identity(its: Situation) -> None:
    if its.state.phase in (Phase.NONE, Phase.OPENED):
        raise TransitionNotAllowed(
            "Name and birth date were not confirmed yet. Ask them, with side and protocol.", state=its.state.phase
        )


def _armed(its: Situation) -> None:
    if its.state.phase not in (Phase.ARMED, Phase.RUNNING, Phase.PAUSED):
        raise TransitionNotAllowed("The device is not armed. Arm the session first.", state=its.state.phase)
    if not its.facts.device.enabled:
        raise DeviceNotReady("The device is not armed. Arm the session first.")


CONDITIONS: tuple[Condition, ...] = (
    Condition("booking", lambda its: its.booking),
    Condition("booked-today", lambda its: conditions.check_booked_for_today(its.facts, its.booking), once=True),
    Condition("standing", _standing),
    Condition("knowledge", reach_of),
    Condition("order", _order),
    Condition("consent", lambda its: conditions.check_consent(its.facts)),
    Condition("indication", lambda its: conditions.check_indication(its.facts)),
    Condition("people", _people),
    Condition("room", lambda its: conditions.check_room(its.facts)),
    Condition("opening-check", lambda its: checks.check_opening(its.facts.room, its.facts.today)),
    Condition("free", lambda its: conditions.check_free(its.facts, its.session_id)),
    Condition("lease", lambda its: offline.check_lease(its.facts, its.booking), once=True),
    Condition("patient", lambda its: day.check_not_blocked(its.facts)),
    Condition("day", lambda its: day.check_day(its.facts, its.order)),
    Condition("device", lambda its: equipment.check_device(its.facts, its.order)),
    Condition("identity", _identity, "arm"),
    Condition("daily-check", lambda its: checks.check_patient(its.state, its.facts.today), "arm"),
    Condition("armed", _armed, "start"),
    Condition("presence", lambda its: conditions.check_presence(its.facts), "start"),
)
"""All start conditions (ST-01, ST-02, ST-10, ST-11, INV-4), in the order in which they are asked."""


def check_start(its: Situation, stage: Stage) -> None:
    """Refuse where a start condition of this act, or of an earlier one, does not hold.

    Raises:
        SpoelError: the first that does not.
    """
    for condition in CONDITIONS:
        if _asked(condition, stage):
            condition.check(its)


def missing(its: Situation) -> dict[str, SpoelError | None]:
    """Return what is missing, condition by condition; None where nothing is. What is asked once stays asked."""
    return {condition.name: _refusal(condition, its) for condition in CONDITIONS if not (its.opened and condition.once)}


def _asked(condition: Condition, stage: Stage) -> bool:
    if condition.once:
        return condition.stage == stage
    return STAGES.index(condition.stage) <= STAGES.index(stage)


def _refusal(condition: Condition, its: Situation) -> SpoelError | None:
    try:
        condition.check(its)
    except SpoelError as refusal:
        return refusal
    return None


def check_operator(state: SessionState, by: Actor, facts: Facts) -> None:
    """Refuse anyone but the person who opened the session, and that person where they may not run it any more.

    Raises:
        NotTheOperator: another person.
        SpoelError: as ``check_people`` says.
    """
    opened = state.session
    if by.person_id != opened.operator_id:
        raise NotTheOperator("Another person opened this session and runs it. Stop it, or ask them.")
    people.check_grant_lasts(facts, opened.grant_until, revoked=state.grant_revoked)
    people.check_people(facts, by, opened.supervisor_id)
