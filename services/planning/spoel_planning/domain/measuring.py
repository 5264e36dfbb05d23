"""Decisions before a prescription: head measures and targets, measurement orders, the motor threshold."""

from datetime import date, timedelta
from typing import TypeVar

from spoel_common.errors import BigNumberInvalid
from spoel_common.events import EventData
from spoel_common.people import Actor
from spoel_planning.commands import EstimateThreshold, MeasureHead, OrderMeasurement
from spoel_planning.domain.beam import HeadMeasures, beam_target
from spoel_planning.domain.devices import check_device
from spoel_planning.domain.known import MAY_STILL_ARRIVE, KnownCase, Occasion, SeenSession, check_indicated
from spoel_planning.domain.plan import Plan
from spoel_planning.domain.refusals.measuring import (
    MeasurementOrderAlreadySigned,
    MeasurementOrderNotSigned,
    MeasurementOrderOtherDay,
    MeasurementOrderOutOfBounds,
    MuscleOfOtherSide,
    SessionOfAnotherCase,
    SessionUnknownHere,
    ThresholdAlreadyTaken,
    ThresholdNotFinished,
    ThresholdNotFound,
)
from spoel_planning.domain.rules import HeadRules, MeasurementOrderRules, Rules, ThresholdRules
from spoel_planning.domain.staircase import Finished, Next, Step, next_stimulus
from spoel_planning.events.measuring import (
    HeadMeasured,
    MeasurementOrdered,
    MeasurementOrderSigned,
    Stimulus,
    TargetCalculated,
    ThresholdEstimated,
)
from spoel_planning.events.orders import MeasurementOrder, MotorSite, ThresholdKey

N = TypeVar("N", int, float)

_HAND_OF: dict[MotorSite, str] = {"left-motor-cortex": "right", "right-motor-cortex": "left"}
_NOT_FOUND = {
    "no-response-at-ceiling": "nothing moved at the order's ceiling. Check coil, site and muscle; a higher ceiling "
    "needs a new signed order",
    "response-at-lowest": "the muscle moved at the lowest intensity that is tried. Check that it is the muscle at "
    "rest, and the stimulator's setting",
    "too-many-stimuli": "the order's number of stimuli is used up. Pause, and sign a new order",
}


def measure_head(case: KnownCase, command: MeasureHead, rules: HeadRules) -> list[EventData]:
    """Record head measures and calculate both targets from them (PL-01, PL-02).

    Raises:
        HeadMeasureImplausible: a measure outside its bounds.
        TargetImplausible: the measures do not fit each other.
    """
    measures = HeadMeasures(command.nasion_inion_cm, command.tragus_tragus_cm, command.circumference_cm)
    target = beam_target(measures, rules)
    head = HeadMeasured(case_id=case.case_id, patient_id=case.patient_id, **measures._asdict())
    left = TargetCalculated(
        case_id=case.case_id,
        patient_id=case.patient_id,
        site="left-dlpfc",
        method="beam-f3",
        x_cm=target.x_cm,
        y_cm=target.y_cm,
        source=rules.method.source,
    )
    return [head, left, left.model_copy(update={"site": "right-dlpfc", "method": "beam-f4"})]


def order_measurement(on: Occasion, command: OrderMeasurement, rules: Rules, order_id: str) -> list[EventData]:
    """Draft a measurement order (PL-10, ST-02).

    Raises:
        IndicationNotDecided, NotIndicated: the case may not be treated.
        MuscleOfOtherSide: the hand is not the one that the site moves.
        DeviceUnknown, BeyondDevice: no record of the device, or it cannot do this.
        MeasurementOrderOutOfBounds: a limit, or the day, is outside the clinic's bounds.
    """
    check_indicated(on.case)
    hand = _HAND_OF[command.site]
    if not command.muscle.startswith(hand):
        raise MuscleOfOtherSide(
            f"{command.site} moves the {hand} hand; {command.muscle} is on the other side. Name a muscle of the "
            f"{hand} hand.",
            field="muscle",
        )
    limits = rules.threshold.order
    ceiling = _within("ceiling_percent_mso", command.ceiling_percent_mso, limits)
    check_device(command, rules.devices, ceiling)
    order = MeasurementOrdered(
        **command.model_dump(exclude={"ceiling_percent_mso", "max_stimuli", "min_interval_s", "valid_on"}),
        order_id=order_id,
        case_id=on.case.case_id,
        patient_id=on.case.patient_id,
        purpose="motor-threshold",
        ceiling_percent_mso=ceiling,
        max_stimuli=_within("max_stimuli", command.max_stimuli, limits),
        min_interval_s=_within("min_interval_s", command.min_interval_s, limits),
        valid_on=valid_on(command.valid_on or on.today, on.today, limits),
        drafted_by=on.by.person_id,
    )
    return [order]


def sign_measurement_order(plan: Plan, on: Occasion, order_id: str) -> list[EventData]:
    """Sign a measurement order as it was drafted (PL-10).

    Raises:
        MeasurementOrderUnknown: the case has no such order.
        MeasurementOrderAlreadySigned: it is signed.
        MeasurementOrderOtherDay: its day is over.
        IndicationNotDecided, NotIndicated: the case may not be treated.
    """
    ordered = plan.measurement_order(order_id)
    if ordered.signed_by is not None:
        raise MeasurementOrderAlreadySigned(f"Measurement order {order_id} was signed by {ordered.signed_by}.")
    if ordered.order.valid_on < on.today:
        raise MeasurementOrderOtherDay(
            f"Measurement order {order_id} was for {ordered.order.valid_on}; today is {on.today}. Draft a new one."
        )
    check_indicated(on.case)
    return [
        MeasurementOrderSigned(
            order_id=order_id,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            signed_by=on.by.person_id,
            big_number=big_number_of(on.by),
            self_signed=on.by.person_id == ordered.drafted_by,
            order=ordered.order,
        )
    ]


def threshold_step(
    plan: Plan, case_id: str, session: SeenSession | None, session_id: str, rules: ThresholdRules
) -> Step:
    """Return what the staircase of a measurement session wants next.

    Raises:
        SessionUnknownHere, SessionOfAnotherCase: not a measurement session of this case.
        MeasurementOrderUnknown, MeasurementOrderNotSigned: no signed order behind it.
    """
    order = session_order(plan, case_id, session, session_id)
    if session is None:
        return next_stimulus((), order.ceiling_percent_mso, order.max_stimuli, rules.staircase)
    most = order.max_stimuli - session.stimuli_elsewhere
    return next_stimulus(session.stimuli, order.ceiling_percent_mso, most, rules.staircase)


def session_order(plan: Plan, case_id: str, session: SeenSession | None, session_id: str) -> MeasurementOrder:
    """Return the signed order under which a measurement session of this case runs.

    Raises:
        SessionOfAnotherCase: stimuli of this session belong to another case.
        SessionUnknownHere: the case has no such measurement session.
        MeasurementOrderUnknown, MeasurementOrderNotSigned: no signed order behind it.
    """
    if session is not None and session.case_id != case_id:
        raise SessionOfAnotherCase(f"Session {session_id} belongs to another case. Name a session of case {case_id}.")
    booking = plan.bookings.get(session_id)
    if booking is None or booking.booked.measurement_order_id is None:
        raise SessionUnknownHere(
            f"Case {case_id} has no measurement session {session_id}. Book one, or look it up in the plan."
        )
    order_id = booking.booked.measurement_order_id
    if plan.measurement_order(order_id).order.search is not None:
        raise SessionUnknownHere(f"Session {session_id} is a heart-brain search and finds no threshold. See its room.")
    if session is not None and session.measurement_order_id != order_id:
        raise SessionOfAnotherCase(
            f"Session {session_id} was delivered under measurement order {session.measurement_order_id}, "
            f"and booked under {order_id}."
        )
    ordered = plan.measurement_order(order_id)
    if ordered.signed_by is None:
        raise MeasurementOrderNotSigned(f"Measurement order {order_id} is not signed. A supervisor signs it first.")
    return ordered.order


def estimate_threshold(
    plan: Plan,
    on: Occasion,
    command: EstimateThreshold,
    session: SeenSession | None,
    rules: ThresholdRules,
    threshold_id: str,
) -> list[EventData]:
    """Take the threshold that a session's stimuli lead to (PL-03).

    Raises:
        SessionUnknownHere, SessionOfAnotherCase: not a measurement session of this case.
        ThresholdAlreadyTaken: it was taken from this session before.
        ThresholdNotFinished: more stimuli are needed, or have not arrived.
        ThresholdNotFound: the search ended without one.
    """
    session_id = command.session_id
    step = threshold_step(plan, on.case.case_id, session, session_id, rules)
    if any(each.session_id == session_id for each in plan.thresholds):
        raise ThresholdAlreadyTaken(f"The threshold of session {session_id} is recorded. Look it up in the plan.")
    stimuli = session.stimuli if session is not None else ()
    if isinstance(step, Next):
        raise ThresholdNotFinished(
            f"After {len(stimuli)} stimuli the next is wanted at {step.percent_mso} %MSO. Deliver it; or, if you did: "
            f"{MAY_STILL_ARRIVE}",
            next_percent_mso=step.percent_mso,
            stimuli_seen=len(stimuli),
        )
    if not isinstance(step, Finished):
        raise ThresholdNotFound(
            f"Session {session_id} found no threshold: {not_found_text(step.reason)}.", reason=step.reason
        )
    order = session_order(plan, on.case.case_id, session, session_id)
    return [
        ThresholdEstimated(
            **{name: getattr(order, name) for name in ThresholdKey.model_fields},
            threshold_id=threshold_id,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            order_id=order.order_id,
            session_id=session_id,
            site="left-motor-cortex" if order.site.startswith("left") else "right-motor-cortex",
            threshold_percent_mso=step.estimate_percent_mso,
            method="visible-twitch-staircase",
            margin_note=rules.margin.note,
            stimuli=tuple(Stimulus.model_validate(each.model_dump(exclude={"answered_at"})) for each in stimuli),
            estimated_at=max(each.answered_at for each in stimuli),
        )
    ]


def not_found_text(reason: str) -> str:
    """Return what a reason of ``NotFound`` means and what to do."""
    return _NOT_FOUND[reason]


def big_number_of(by: Actor) -> str:
    """Return the BIG number of somebody who signs.

    Raises:
        BigNumberInvalid: there is none.
    """
    if by.big_number is None:
        raise BigNumberInvalid("A signature carries a BIG number; the token has none.")
    return by.big_number


def _within(name: str, wanted: N | None, limits: MeasurementOrderRules) -> N:
    value: N = getattr(limits, f"default_{name}") if wanted is None else wanted
    lowest, highest = getattr(limits, f"min_{name}"), getattr(limits, f"max_{name}")
    if not lowest <= value <= highest:
        raise MeasurementOrderOutOfBounds(
            f"{name} is {value:g}; the clinic allows {lowest:g} to {highest:g}.", field=name
        )
    return value


def valid_on(day: date, today: date, limits: MeasurementOrderRules) -> date:
    """Return the day of an order.

    Raises:
        MeasurementOrderOutOfBounds: it is over, or too far ahead.
    """
    if not today <= day <= today + timedelta(days=limits.max_days_ahead):
        raise MeasurementOrderOutOfBounds(
            f"valid_on is {day}; today is {today}, and an order is drafted at most {limits.max_days_ahead} days ahead.",
            field="valid_on",
        )
    return day
