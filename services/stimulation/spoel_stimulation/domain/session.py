"""What a session answers to each command. Pure: ids, times and facts are handed in."""

from typing import TypedDict

from spoel_common.errors import NotAllowed
from spoel_common.events import EventData
from spoel_common.people import Actor, acts
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conditions
from spoel_stimulation.domain.conditions import Facts
from spoel_stimulation.domain.identity import IdentityStrip, check_identity, check_site
from spoel_stimulation.domain.refusals import (
    DeviceNotReady,
    EarProtectionMissing,
    IdentityStripMissing,
    NotTheOperator,
    StimulusAlreadyAnswered,
    StimulusNotDelivered,
    TrainUnderWay,
    TransitionNotAllowed,
)
from spoel_stimulation.domain.state import Act, Phase, SessionState
from spoel_stimulation.domain.trains import (
    NextTrain,
    check_consistent,
    check_percent_mso,
    check_train_interval,
    device_pattern,
    next_stimulus,
    next_train,
    percent_mso_for,
)
from spoel_stimulation.events import (
    IdentityConfirmed,
    MeasurementOrder,
    ParameterChanged,
    SessionArmed,
    SessionClosed,
    SessionOpened,
    SessionOutcome,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    StimulusAnswered,
    TrainAuthorised,
    TrainDelivered,
    TrainOutcomeUnknown,
    TreatmentOrder,
)

MAY_HALT = ("run-session", "run-session-supervised", "supervise")


class Ids(TypedDict):
    """What every event of a session names."""

    session_id: str
    case_id: str
    patient_id: str
    room_id: str


def ids_of(state: SessionState) -> Ids:
    """Return the ids of an opened session."""
    opened = state.session
    return Ids(
        session_id=opened.session_id, case_id=opened.case_id, patient_id=opened.patient_id, room_id=opened.room_id
    )


# --- people's acts


def open_session(state: SessionState, command: asked.OpenSession, by: Actor, facts: Facts) -> list[EventData]:
    """Take a booked session into its room, with the signed order frozen into it.

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.OPEN)
    booking = conditions.check_booking(facts, command.session_id)
    conditions.check_standing(facts, booking.kind, booking.prescription_version)
    conditions.check_knowledge(facts)
    order = conditions.check_complete(facts, booking)
    role = conditions.check_people(facts, by, command.supervisor_id)
    conditions.check_room(facts)
    conditions.check_free(facts)
    conditions.check_device(facts, order)
    _check_order(facts, order)
    treatment = order if isinstance(order, TreatmentOrder) else None
    measurement = order if isinstance(order, MeasurementOrder) else None
    return [
        SessionOpened(
            session_id=command.session_id,
            case_id=booking.case_id,
            patient_id=booking.patient_id,
            room_id=booking.room_id,
            kind=booking.kind,
            operator_id=by.person_id,
            operator_role=role,
            operator_big_number=by.big_number,
            supervisor_id=command.supervisor_id,
            treatment_order=treatment,
            measurement_order=measurement,
            prescription_id=booking.prescription_id if treatment else None,
            prescription_version=booking.prescription_version if treatment else None,
            measurement_order_id=booking.measurement_order_id if measurement else None,
            known=conditions.ages_for_record(facts.known),
        )
    ]


def _check_order(facts: Facts, order: TreatmentOrder | MeasurementOrder) -> None:
    check_consistent(order)
    conditions.check_threshold_key(facts, order)
    if isinstance(order, TreatmentOrder):
        check_percent_mso(order, order.percent_mso)
        device_pattern(order, facts.limits.max_autonomous_s)


def confirm_identity(
    state: SessionState, command: asked.ConfirmIdentity, by: Actor, facts: Facts, strip: IdentityStrip | None
) -> list[EventData]:
    """Compare what was said with the strip and the order (ST-10).

    Raises:
        IdentityMismatch, SiteMismatch, IdentityStripMissing: nothing is recorded of what was said.
    """
    state.require(Act.CONFIRM_IDENTITY)
    _check_operator(state, by, facts)
    if strip is None:
        raise IdentityStripMissing("The identity strip was not asked for in time. Try again.")
    check_identity(command, strip)
    check_site(command, state.order)
    return [IdentityConfirmed(**ids_of(state))]


def check_arm(state: SessionState, command: asked.Arm, by: Actor, facts: Facts) -> None:
    """Refuse to arm where a start condition does not hold; the device is staged and armed after this.

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.ARM)
    _check_ears(ear_protection=command.ear_protection)
    _check_start(state, by, facts)
    _check_order(facts, state.order)


def record_armed(state: SessionState, command: asked.RecordArmed) -> list[EventData]:
    """Record that the device took every setting and is enabled.

    Raises:
        TransitionNotAllowed: the session changed in the meantime.
    """
    state.require(Act.ARM)
    check_percent_mso(state.order, command.percent_mso)
    return [
        SessionArmed(
            **ids_of(state),
            ear_protection=True,
            settings=command.settings,
            coil_model=command.coil_model,
            percent_mso=command.percent_mso,
        )
    ]


def start(state: SessionState, by: Actor, facts: Facts) -> list[EventData]:
    """Start an armed session.

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.START)
    _check_start(state, by, facts, enabled=True)
    return [SessionStarted(**ids_of(state))]


def pause(state: SessionState, command: asked.Pause, by: Actor) -> list[EventData]:
    """No next train; the running one ends."""
    check_may_halt(by)
    state.require(Act.PAUSE)
    return [SessionPaused(**ids_of(state), by="operator", reason=command.reason)]


def resume(state: SessionState, command: asked.Resume, by: Actor, facts: Facts) -> list[EventData]:
    """Go on after a pause; the start conditions are looked at anew (INV-7).

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.RESUME)
    _check_ears(ear_protection=command.ear_protection)
    _check_start(state, by, facts, enabled=True)
    if state.open_train is not None:
        raise TrainUnderWay("The last train has not ended yet. Try again in a moment.")
    return [SessionResumed(**ids_of(state), ear_protection=True)]


def stop(state: SessionState, command: asked.Stop, by: Actor) -> list[EventData]:
    """Close the session for a person; the device is disarmed already."""
    check_may_halt(by)
    state.require(Act.STOP)
    return _closing(state, command.reason)


def change_parameter(state: SessionState, command: asked.ChangeParameter, by: Actor, facts: Facts) -> list[EventData]:
    """Change a parameter within the signed band, from the next train on (ST-05).

    Raises:
        BeyondSignedBand: outside the band, or there is nothing to change.
    """
    state.require(Act.CHANGE_PARAMETER)
    _check_operator(state, by, facts)
    order = state.order
    if isinstance(order, MeasurementOrder):
        raise TransitionNotAllowed("A measurement has no parameters to change: each stimulus names its intensity.")
    pattern = device_pattern(order, facts.limits.max_autonomous_s)
    changed = ParameterChanged(
        **ids_of(state),
        parameter=command.parameter,
        from_value=_in_force(state, command),
        to_value=command.value,
        from_percent_mso=state.percent_mso,
        to_percent_mso=state.percent_mso,
        reason=command.reason,
        from_train_index=len(state.trains),
    )
    if command.parameter == "percent_rmt":
        return [changed.model_copy(update={"to_percent_mso": percent_mso_for(order, command.value)})]
    check_train_interval(order, pattern, command.value)
    return [changed.model_copy(update={"from_percent_mso": None, "to_percent_mso": None})]


def _in_force(state: SessionState, command: asked.ChangeParameter) -> float:
    value = state.percent_rmt if command.parameter == "percent_rmt" else state.train_interval_s
    assert value is not None  # noqa: S101 - a treatment has both
    return value


def stimulate(state: SessionState, command: asked.Stimulate, train_id: str, by: Actor, facts: Facts) -> list[EventData]:
    """Authorise one stimulus of a measurement.

    Raises:
        SpoelError: a condition, or a limit of the order, is against it.
    """
    state.require(Act.STIMULATE)
    if state.session.kind != "measurement":
        raise TransitionNotAllowed("Single stimuli belong to a measurement; this session is a treatment.")
    _check_operator(state, by, facts)
    _check_running(state, facts)
    train = next_stimulus(state, command.percent_mso, facts.order.stimuli_used, facts.now)
    return [_authorised(state, train, train_id, facts)]


def answer_stimulus(
    state: SessionState, train_id: str, command: asked.AnswerStimulus, by: Actor, facts: Facts
) -> list[EventData]:
    """Record what was seen after a stimulus.

    Raises:
        StimulusNotDelivered, StimulusAlreadyAnswered: as they say.
    """
    state.require(Act.ANSWER)
    _check_operator(state, by, facts)
    train = state.train(train_id)
    order = state.order
    if train is None or not isinstance(order, MeasurementOrder) or train.outcome != "complete":
        raise StimulusNotDelivered(
            f"Stimulus {train_id} of this session was not delivered, or that is not known. Only what was delivered "
            "has an answer."
        )
    if train.response is not None:
        raise StimulusAlreadyAnswered(f"Stimulus {train_id} was answered with '{train.response}'.")
    return [
        StimulusAnswered(
            **ids_of(state),
            train_id=train_id,
            measurement_order_id=order.order_id,
            percent_mso=train.percent_mso,
            response=command.response,
        )
    ]


# --- the room's own acts


def authorise_train(state: SessionState, command: asked.AuthoriseTrain, facts: Facts) -> list[EventData]:
    """Authorise the next train of a treatment, after looking at every condition again (INV-1, INV-2, INV-4).

    Raises:
        SpoelError: a condition does not hold; ``interlock`` of a ``RoomRefusal`` says which interlock it is.
    """
    state.require(Act.AUTHORISE_TRAIN)
    _check_running(state, facts)
    order = state.order
    if not isinstance(order, TreatmentOrder):
        raise TransitionNotAllowed("A measurement delivers stimuli one by one, each asked for by a person.")
    train = next_train(state, device_pattern(order, facts.limits.max_autonomous_s))
    if train is None:
        raise TransitionNotAllowed("Every train of the order was authorised.")
    if train.due_at is not None and facts.now < train.due_at:
        raise TransitionNotAllowed("The next train is not due yet.")
    return [_authorised(state, train, command.train_id, facts)]


def record_train(state: SessionState, command: asked.RecordTrain) -> list[EventData]:
    """Record how the open train ended; nothing if there is none."""
    train = state.open_train
    if train is None:
        return []
    return [
        TrainDelivered(
            **ids_of(state),
            train_id=train.train_id,
            train_index=train.index,
            outcome=command.outcome,
            pulses=command.pulses,
            percent_mso=train.percent_mso,
            device_total_pulses_after=command.device_total_pulses_after,
            evidence=command.evidence,
            first_onset_at=command.first_onset_at,
            ended_at=command.ended_at,
        )
    ]


def record_train_unknown(state: SessionState, command: asked.RecordTrainUnknown) -> list[EventData]:
    """Record that nobody can say how the open train ended; nothing if there is none."""
    train = state.open_train
    if train is None:
        return []
    return [
        TrainOutcomeUnknown(
            **ids_of(state),
            train_id=train.train_id,
            train_index=train.index,
            pulses_at_most=train.pulses,
            reason=command.reason,
        )
    ]


def interrupt(state: SessionState, command: asked.Interrupt) -> list[EventData]:
    """Pause by an interlock that disarmed the device; nothing where the session is not armed."""
    if not state.may(Act.INTERRUPT):
        return []
    return [SessionPaused(**ids_of(state), by="interlock", reason=command.reason)]


def close(state: SessionState, command: asked.Close) -> list[EventData]:
    """Close the session by an interlock, or after its last train; nothing where it is closed."""
    return _closing(state, command.reason) if state.may(Act.CLOSE) else []


# --- shared


def check_may_halt(by: Actor) -> None:
    """Refuse those who neither run nor supervise sessions; anyone who does may pause and stop any of them.

    Raises:
        NotAllowed: no such role.
    """
    roles = frozenset().union(*(acts()[name].roles for name in MAY_HALT))
    if not roles & by.roles:
        wanted = ", ".join(sorted(roles))
        raise NotAllowed(f"Pausing and stopping asks for one of the roles {wanted}. In need: the emergency stop.")


def _check_operator(state: SessionState, by: Actor, facts: Facts) -> None:
    opened = state.session
    if by.person_id != opened.operator_id:
        raise NotTheOperator("Another person opened this session and runs it. Stop it, or ask them.")
    conditions.check_people(facts, by, opened.supervisor_id)


def _check_ears(*, ear_protection: bool) -> None:
    if not ear_protection:
        raise EarProtectionMissing(
            "Give ear protection to everyone in the room, patient and operator, and send ear_protection: true."
        )


def _check_start(state: SessionState, by: Actor, facts: Facts, *, enabled: bool = False) -> None:
    opened = state.session
    booking = conditions.check_booking(facts, opened.session_id)
    conditions.check_standing(facts, opened.kind, opened.prescription_version)
    conditions.check_knowledge(facts)
    conditions.check_complete(facts, booking)
    _check_operator(state, by, facts)
    conditions.check_room(facts)
    conditions.check_device(facts, state.order, enabled=enabled)


def _check_running(state: SessionState, facts: Facts) -> None:
    if state.open_train is not None:
        raise TrainUnderWay("The last train has not ended yet.")
    opened = state.session
    conditions.check_standing(facts, opened.kind, opened.prescription_version)
    conditions.check_grant(facts, state.operator)
    conditions.check_room(facts)
    conditions.check_device(facts, state.order, enabled=True)


def check_going_on(state: SessionState, facts: Facts) -> None:
    """Refuse when something is known that stops a running session at once (INV-4).

    Raises:
        RoomRefusal: with its ``interlock``.
    """
    if state.phase not in (Phase.ARMED, Phase.RUNNING, Phase.PAUSED):
        return
    opened = state.session
    conditions.check_standing(facts, opened.kind, opened.prescription_version)
    conditions.check_grant(facts, state.operator)


def _authorised(state: SessionState, train: NextTrain, train_id: str, facts: Facts) -> TrainAuthorised:
    check_percent_mso(state.order, train.percent_mso)
    counted = facts.device.total_pulses
    if counted is None:
        raise DeviceNotReady("The device's pulse counter could not be read. Look at the device and its cable.")
    return TrainAuthorised(
        **ids_of(state),
        train_id=train_id,
        train_index=train.index,
        pulses=train.pulses,
        percent_mso=train.percent_mso,
        bursts=train.bursts,
        pulses_per_burst=train.pulses_per_burst,
        burst_interval_s=train.burst_interval_s,
        pulse_interval_s=train.pulse_interval_s,
        planned_onset_at=max(facts.now, train.due_at or facts.now),
        device_total_pulses_before=counted,
        known=conditions.ages_for_record(facts.known),
    )


def _closing(state: SessionState, reason: str) -> list[EventData]:
    """Close; a train that is still open by then counts as unknown."""
    events: list[EventData] = []
    unknown = state.pulses_unknown
    if state.open_train is not None:
        events += record_train_unknown(state, asked.RecordTrainUnknown(reason="link-lost"))
        unknown += state.open_train.pulses
    closed = SessionClosed.model_validate(
        {
            **ids_of(state),
            "outcome": _outcome(state, reason),
            "reason": reason,
            "pulses_planned": state.pulses_planned,
            "pulses_delivered": state.pulses_delivered,
            "trains_delivered": state.trains_delivered,
            "pulses_unknown": unknown,
        }
    )
    return [*events, closed]


def _outcome(state: SessionState, reason: str) -> SessionOutcome:
    if not state.trains:
        return "not-started"
    if reason == "measurement-finished" and state.session.kind == "measurement" and state.pulses_delivered:
        return "completed"
    if reason == "last-train-ended" and state.pulses_delivered == state.pulses_planned:
        return "completed"
    return "partial"
