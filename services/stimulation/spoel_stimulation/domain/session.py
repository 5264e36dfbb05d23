"""What a session answers to each command. Pure: ids, times and facts are handed in."""

from spoel_common.errors import NotAllowed
from spoel_common.events import EventData
from spoel_common.people import Actor, acts
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conditions
from spoel_stimulation.domain.blinding import check_code, check_equipment
from spoel_stimulation.domain.conditions import Facts
from spoel_stimulation.domain.conduct import authorised, check_running, closing, ids_of
from spoel_stimulation.domain.identity import IdentityStrip, check_identity, check_placed, check_site
from spoel_stimulation.domain.refusals import (
    EarProtectionMissing,
    IdentityStripMissing,
    NotTheOperator,
    StimulusAlreadyAnswered,
    StimulusNotDelivered,
    TrainUnderWay,
    TransitionNotAllowed,
)
from spoel_stimulation.domain.state import Act, SessionState
from spoel_stimulation.domain.trains import (
    check_consistent,
    check_percent_mso,
    check_train_interval,
    device_pattern,
    next_stimulus,
    percent_mso_for,
)
from spoel_stimulation.events import (
    CoilPlaced,
    IdentityConfirmed,
    ParameterChanged,
    SessionArmed,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    StimulusAnswered,
)
from spoel_stimulation.orders import Blinding, MeasurementOrder, TreatmentOrder

MAY_HALT = ("run-session", "run-session-supervised", "supervise")


# --- people's acts


def open_session(state: SessionState, command: asked.OpenSession, by: Actor, facts: Facts) -> list[EventData]:
    """Take a booked session into its room, with the signed order frozen into it.

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.OPEN)
    booking = conditions.check_booking(facts, command.session_id)
    conditions.check_booked_for_today(facts, booking)
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
    check_equipment(_blinding_of(order), facts.device.model, facts.device.coil_model)
    conditions.check_threshold_key(facts, order)
    for block in order.blocks if isinstance(order, TreatmentOrder) else ():
        check_percent_mso(block, block.percent_mso)
        device_pattern(block, facts.limits.max_autonomous_s)


def _blinding_of(order: TreatmentOrder | MeasurementOrder) -> Blinding | None:
    return order.blinding if isinstance(order, TreatmentOrder) else None


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
    check_code(_blinding_of(state.order), command.blind_code)


def record_armed(state: SessionState, command: asked.RecordArmed) -> list[EventData]:
    """Record that the device took every setting and is enabled.

    Raises:
        TransitionNotAllowed: the session changed in the meantime.
    """
    state.require(Act.ARM)
    check_percent_mso(state.block or state.order, command.percent_mso)
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


def place_coil(state: SessionState, command: asked.PlaceCoil, by: Actor, facts: Facts) -> list[EventData]:
    """Take the operator's word of where the coil is for the next block; arming and resuming follow (HZ-03).

    Raises:
        SiteMismatch: another side or site; nothing is recorded of it.
        EarProtectionMissing, NotTheOperator: as they say.
    """
    state.require(Act.PLACE_COIL)
    _check_operator(state, by, facts)
    block = state.block
    assert block is not None  # noqa: S101 - only a treatment waits for its coil
    check_placed(command.side_or_site, block.site)
    _check_ears(ear_protection=command.ear_protection)
    return [CoilPlaced(**ids_of(state), block=state.block_index, site=block.site, ear_protection=True)]


def stop(state: SessionState, command: asked.Stop, by: Actor) -> list[EventData]:
    """Close the session for a person; the device is disarmed already."""
    check_may_halt(by)
    state.require(Act.STOP)
    return closing(state, command.reason)


def change_parameter(state: SessionState, command: asked.ChangeParameter, by: Actor, facts: Facts) -> list[EventData]:
    """Change a parameter within the signed band, from the next train on (ST-05).

    Raises:
        BeyondSignedBand: outside the band, or there is nothing to change.
    """
    state.require(Act.CHANGE_PARAMETER)
    _check_operator(state, by, facts)
    block = state.block
    if block is None:
        raise TransitionNotAllowed("A measurement has no parameters to change: each stimulus names its intensity.")
    pattern = device_pattern(block, facts.limits.max_autonomous_s)
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
        return [changed.model_copy(update={"to_percent_mso": percent_mso_for(block, command.value)})]
    check_train_interval(block, pattern, command.value)
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
    check_running(state, facts)
    train = next_stimulus(state, command.percent_mso, facts.order.stimuli_used, facts.now)
    return [authorised(state, train, train_id, facts)]


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
    delivered = train is not None and train.outcome == "complete"
    if train is None or not isinstance(order, MeasurementOrder) or not delivered or train.percent_mso is None:
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
