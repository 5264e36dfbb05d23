"""What a session answers to each command. Pure: ids, times and facts are handed in."""

from datetime import datetime, timedelta

from spoel_common.errors import NotAllowed
from spoel_common.events import EventData
from spoel_common.people import Actor, acts
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import offline, people
from spoel_stimulation.domain.blinding import check_code
from spoel_stimulation.domain.conduct import authorised, check_running, closing, ids_of
from spoel_stimulation.domain.day import had_before
from spoel_stimulation.domain.envelope import check_dose
from spoel_stimulation.domain.facts import Facts, ages_for_record
from spoel_stimulation.domain.grant import grant_until
from spoel_stimulation.domain.identity import IdentityStrip, check_identity, check_placed, check_site
from spoel_stimulation.domain.lists import rules
from spoel_stimulation.domain.parameters import check_parameter, in_force
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.refusals import (
    EarProtectionMissing,
    HeartNotHeard,
    IdentityStripMissing,
    NotThisMeasurement,
    SiteConfirmationMissing,
    StimulusAlreadyAnswered,
    StimulusNotDelivered,
    TrainUnderWay,
    TransitionNotAllowed,
)
from spoel_stimulation.domain.search import check_location, check_search, search_pattern
from spoel_stimulation.domain.start import Situation, Stage, blinding_of, check_operator, check_start, reach_of
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import (
    check_interval,
    check_left,
    check_percent_mso,
    device_pattern,
    next_stimulus,
    percent_mso_for,
)
from spoel_stimulation.events.searches import SearchRunStarted
from spoel_stimulation.events.sessions import (
    CoilPlaced,
    IdentityConfirmed,
    SessionArmed,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionStarted,
)
from spoel_stimulation.events.trains import ParameterChanged, StimulusAnswered
from spoel_stimulation.orders import MeasurementOrder, TreatmentOrder

MAY_HALT = ("run-session", "run-session-supervised", "supervise")


# --- people's acts


def open_session(state: SessionState, command: asked.OpenSession, by: Actor, facts: Facts) -> list[EventData]:
    """Take a booked session into its room, with the signed order frozen into it.

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.OPEN)
    its = Situation(state, command.session_id, by, command.supervisor_id, facts, command.consent_asked_again)
    check_start(its, "open")
    booking, order = its.booking, its.order
    reach = reach_of(its)
    role = people.check_people(facts, by, command.supervisor_id)
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
            known=ages_for_record(facts.known),
            grant_until=grant_until(facts.now, facts.limits),
            offline=reach.offline,
            consent_asked_again=reach.consent_asked_again,
        )
    ]


def confirm_identity(
    state: SessionState, command: asked.ConfirmIdentity, by: Actor, facts: Facts, strip: IdentityStrip | None
) -> list[EventData]:
    """Compare what was said with the strip and the order (ST-10).

    Raises:
        IdentityMismatch, SiteMismatch, IdentityStripMissing: nothing is recorded of what was said.
    """
    state.require(Act.CONFIRM_IDENTITY)
    check_operator(state, by, facts)
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
    _check_start(state, by, facts, "arm", asked_again=command.consent_asked_again)
    check_code(blinding_of(state.order), command.blind_code)


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
            consent_asked_again=command.consent_asked_again,
        )
    ]


def start(state: SessionState, command: asked.Start, by: Actor, facts: Facts) -> list[EventData]:
    """Start an armed session.

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.START)
    again = command.consent_asked_again
    reach = _check_start(state, by, facts, "start", asked_again=again)
    _check_site_again(state, command.side_or_site, facts)
    return [SessionStarted(**ids_of(state), offline=reach.offline, consent_asked_again=again)]


def pause(state: SessionState, command: asked.Pause, by: Actor, now: datetime) -> list[EventData]:
    """No next train; the running one ends."""
    check_may_halt(by)
    state.require(Act.PAUSE)
    return [SessionPaused(**ids_of(state), by="operator", reason=command.reason, paused_at=now)]


def resume(state: SessionState, command: asked.Resume, by: Actor, facts: Facts) -> list[EventData]:
    """Go on after a pause; the start conditions are looked at anew (INV-7).

    Raises:
        SpoelError: a start condition does not hold.
    """
    state.require(Act.RESUME)
    _check_ears(ear_protection=command.ear_protection)
    again = command.consent_asked_again
    _check_start(state, by, facts, "start", asked_again=again)
    _check_site_again(state, command.side_or_site, facts)
    if state.open_train is not None:
        raise TrainUnderWay("The last train has not ended yet. Try again in a moment.")
    confirmed = command.side_or_site is not None
    resumed = SessionResumed(**ids_of(state), ear_protection=True, site_confirmed=confirmed, consent_asked_again=again)
    return [resumed]


def place_coil(state: SessionState, command: asked.PlaceCoil, by: Actor, facts: Facts) -> list[EventData]:
    """Take the operator's word of where the coil is for the next block; arming and resuming follow (HZ-03).

    Raises:
        SiteMismatch: another side or site; nothing is recorded of it.
        EarProtectionMissing, NotTheOperator: as they say.
    """
    state.require(Act.PLACE_COIL)
    check_operator(state, by, facts)
    block = state.block
    assert block is not None  # noqa: S101 - only a treatment waits for its coil
    check_placed(command.side_or_site, block.site)
    _check_ears(ear_protection=command.ear_protection)
    placed = CoilPlaced(
        **ids_of(state), block=state.block_index, site=block.site, ear_protection=True, placed_at=facts.now
    )
    return [placed]


def stop(state: SessionState, command: asked.Stop, by: Actor) -> list[EventData]:
    """Close the session for a person; the device is disarmed already."""
    check_may_halt(by)
    state.require(Act.STOP)
    return closing(state, command.reason, command.patient_state)


def change_parameter(state: SessionState, command: asked.ChangeParameter, by: Actor, facts: Facts) -> list[EventData]:
    """Change a parameter within the signed band, from the next train on (ST-05).

    Raises:
        BeyondSignedBand: outside the band, or there is nothing to change.
        BeyondHardLimits, NotOnClearedList: nobody may deliver it.
    """
    state.require(Act.CHANGE_PARAMETER)
    check_operator(state, by, facts)
    block = state.block
    if block is None:
        raise TransitionNotAllowed("A measurement has no parameters to change: each stimulus names its intensity.")
    pattern = device_pattern(block, facts.limits.max_autonomous_s)
    changed = ParameterChanged(
        **ids_of(state),
        parameter=command.parameter,
        from_value=in_force(state, command.parameter, pattern),
        to_value=command.value,
        reason=command.reason,
        from_train_index=len(state.trains),
    )
    if command.parameter == "percent_rmt":
        percent_mso = percent_mso_for(block, command.value)
        interval_s = state.train_interval_s or block.pattern.train_interval_s
        check_dose(block, percent_mso, interval_s, facts.limits.cleared, had_before(facts))
        update = {"from_percent_mso": state.percent_mso, "to_percent_mso": percent_mso}
        return [changed.model_copy(update=update)]
    check_parameter(state, block, pattern, command)
    if command.parameter == "train_interval_s":
        check_dose(block, state.percent_mso, command.value, facts.limits.cleared, had_before(facts))
    return [changed]


def stimulate(state: SessionState, command: asked.Stimulate, train_id: str, by: Actor, facts: Facts) -> list[EventData]:
    """Authorise one stimulus of a measurement.

    Raises:
        SpoelError: a condition, or a limit of the order, is against it.
    """
    state.require(Act.STIMULATE)
    if state.session.kind != "measurement":
        raise TransitionNotAllowed("Single stimuli belong to a measurement; this session is a treatment.")
    check_operator(state, by, facts)
    check_running(state, facts)
    train = next_stimulus(state, command.percent_mso, facts)
    return [authorised(state, train, train_id, facts)]


def search_location(
    state: SessionState, command: asked.SearchLocation, by: Actor, facts: Facts, belt_problem: str | None
) -> list[EventData]:
    """Start the trains of a heart-brain search at one location; each is authorised on its own (PL-11).

    Args:
        state: a running heart-brain search.
        command: where, and how strong.
        by: the operator.
        facts: what the decision rests on.
        belt_problem: why no heartbeats come in; None where they do.

    Raises:
        SpoelError: a condition, a limit of the order, the coil's place or the belt is against it.
    """
    state.require(Act.SEARCH)
    order = check_search(state)
    check_operator(state, by, facts)
    check_location(state, order, command)
    check_placed(command.side_or_site, order.site)
    _check_ears(ear_protection=command.ear_protection)
    check_running(state, facts)
    check_percent_mso(order, command.percent_mso)
    trains = search_pattern(order, facts.limits.max_autonomous_s).trains
    check_left(order, facts.order.stimuli_used, trains)
    if belt_problem is not None:
        raise HeartNotHeard(belt_problem)
    check_interval(state, order, facts)
    return [
        SearchRunStarted(
            **ids_of(state),
            run=len(state.runs),
            measurement_order_id=order.order_id,
            site=order.site,
            location=command.location,
            percent_mso=command.percent_mso,
            trains=trains,
            ear_protection=True,
        )
    ]


def answer_stimulus(
    state: SessionState, train_id: str, command: asked.AnswerStimulus, by: Actor, facts: Facts
) -> list[EventData]:
    """Record what was seen after a stimulus.

    Raises:
        StimulusNotDelivered, StimulusAlreadyAnswered, NotThisMeasurement: as they say.
    """
    state.require(Act.ANSWER)
    check_operator(state, by, facts)
    train = state.train(train_id)
    order = state.order
    delivered = train is not None and train.outcome == "complete"
    if isinstance(order, MeasurementOrder) and order.search is not None:
        raise NotThisMeasurement("Trains of a heart-brain search are not answered: the belt answers them.")
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


def _check_ears(*, ear_protection: bool) -> None:
    if not ear_protection:
        raise EarProtectionMissing(
            "Give ear protection to everyone in the room, patient and operator, and send ear_protection: true."
        )


def _check_start(state: SessionState, by: Actor, facts: Facts, stage: Stage, *, asked_again: bool) -> offline.Start:
    opened = state.session
    its = Situation(state, opened.session_id, by, opened.supervisor_id, facts, asked_again)
    check_start(its, stage)
    return reach_of(its)


def _check_site_again(state: SessionState, side_or_site: str | None, facts: Facts) -> None:
    """Compare the chosen side with the order's; ask for one after a long pause or where the coil may have moved.

    Raises:
        SiteConfirmationMissing: none was chosen.
        SiteMismatch: another one was.
    """
    if side_or_site is not None:
        check_placed(side_or_site, (state.block or state.order).site)
        return
    long_s, paused_at = rules().pause.long_s, state.paused_at
    waited = paused_at is not None and facts.now - paused_at >= timedelta(seconds=long_s)
    if waited or state.site_unsure:
        raise SiteConfirmationMissing(
            f"The session was paused for {long_s / 60:g} minutes or more, or the coil may have moved. Look at ears, "
            "coil and order, and choose side_or_site again."
        )
