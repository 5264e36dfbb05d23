"""What a room does in a session by itself: authorise and record trains, interrupt, close. Pure."""

from dataclasses import asdict
from datetime import datetime
from typing import TypedDict

from spoel_common.events import EventData
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conditions, equipment, people
from spoel_stimulation.domain.day import check_day_stands, check_not_blocked, check_train_fits
from spoel_stimulation.domain.facts import Facts, ages_for_record
from spoel_stimulation.domain.phases import Act, Phase
from spoel_stimulation.domain.refusals import DeviceNotReady, TrainUnderWay, TransitionNotAllowed
from spoel_stimulation.domain.search import check_run_left, newest_results, ranking_of, upcoming_train
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import NextTrain, check_percent_mso
from spoel_stimulation.events.searches import CouplingMeasured, LocationsRanked, RankedPlace
from spoel_stimulation.events.sessions import CoilAwaited, SessionClosed, SessionPaused
from spoel_stimulation.events.trains import TrainAuthorised, TrainDelivered, TrainOutcomeUnknown
from spoel_stimulation.events.words import InterlockReason, PatientState, SessionOutcome
from spoel_stimulation.heart.rules import heart_rules
from spoel_stimulation.orders import MeasurementOrder


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


def authorise_train(state: SessionState, command: asked.AuthoriseTrain, facts: Facts) -> list[EventData]:
    """Authorise the next train of a treatment, after looking at every condition again (INV-1, INV-2, INV-4).

    Raises:
        SpoelError: a condition does not hold; ``interlock`` of a ``RoomRefusal`` says which interlock it is.
    """
    state.require(Act.AUTHORISE_TRAIN)
    check_running(state, facts)
    train = upcoming_train(state, facts.limits.max_autonomous_s)
    if train is None:
        raise TransitionNotAllowed("Every train of the block, or of the run, was authorised.")
    check_run_left(state, facts.order.stimuli_used)
    if train.due_at is not None and facts.now < train.due_at:
        raise TransitionNotAllowed("The next train is not due yet.")
    if train.percent_mso != command.percent_mso:
        raise TransitionNotAllowed("The intensity was changed meanwhile; the device has to be set to it first.")
    return [authorised(state, train, command.train_id, facts)]


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
            realised=command.realised,
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


def record_coupling(state: SessionState, command: asked.RecordCoupling, number: int) -> list[EventData]:
    """Record how the run of this number ended; nothing where it was broken off meanwhile, or another one begun."""
    run, order = state.run, state.order
    if run is None or run.run != number:
        return []
    if not isinstance(order, MeasurementOrder) or not state.may(Act.RECORD_COUPLING):
        return []
    return [
        CouplingMeasured(
            **ids_of(state),
            run=run.run,
            measurement_order_id=order.order_id,
            site=order.site,
            location=run.location,
            percent_mso=run.percent_mso,
            trains=sum(train.outcome == "complete" for train in state.trains[run.first_train :]),
            **command.model_dump(exclude={"result"}),
            result=command.result,
        )
    ]


def await_coil(state: SessionState) -> list[EventData]:
    """Wait for the coil to be placed for the next block; nothing where none follows, or somebody stopped before."""
    if not state.may(Act.AWAIT_COIL):
        return []
    block = state.next_block
    if block is None:
        return []
    return [CoilAwaited(**ids_of(state), block=state.block_index + 1, site=block.site)]


def interrupt(state: SessionState, command: asked.Interrupt, now: datetime) -> list[EventData]:
    """Pause by an interlock that disarmed the device; nothing where the session is not armed."""
    return pausing(state, command.reason, now)


def pausing(state: SessionState, reason: InterlockReason, now: datetime) -> list[EventData]:
    """Pause by an interlock; nothing where the session is not armed."""
    if not state.may(Act.INTERRUPT):
        return []
    return [SessionPaused(**ids_of(state), by="interlock", reason=reason, paused_at=now)]


def close(state: SessionState, command: asked.Close) -> list[EventData]:
    """Close the session by an interlock, or after its last train; nothing where it is closed."""
    return closing(state, command.reason) if state.may(Act.CLOSE) else []


# --- shared with what people ask


def check_running(state: SessionState, facts: Facts) -> None:
    """Refuse a train where any condition of going on does not hold (INV-4).

    Raises:
        RoomRefusal: with its ``interlock``.
    """
    if state.open_train is not None:
        raise TrainUnderWay("The last train has not ended yet.")
    opened = state.session
    conditions.check_standing(facts, opened.kind, opened.prescription_version)
    conditions.check_known(facts, opened.kind)
    check_not_blocked(facts)
    check_day_stands(facts)
    check_grant(state, facts)
    conditions.check_room(facts)
    conditions.check_presence(facts)
    equipment.check_device(facts, state.order, enabled=True)


def check_going_on(state: SessionState, facts: Facts) -> None:
    """Refuse when something is known that stops a running session at once (INV-4).

    Raises:
        RoomRefusal: with its ``interlock``.
    """
    if state.phase not in (Phase.ARMED, Phase.RUNNING, Phase.PAUSED):
        return
    opened = state.session
    conditions.check_standing(facts, opened.kind, opened.prescription_version)
    check_not_blocked(facts)
    check_day_stands(facts)
    check_grant(state, facts)


def check_grant(state: SessionState, facts: Facts) -> None:
    """Refuse when the grant under which the session is run has ended.

    Raises:
        RoomRefusal: with its ``interlock``.
    """
    check_grant_lasts(state, facts)
    people.check_grant(facts, state.operator)
    if facts.device.ready:  # where it is not, the link tells why, and that is recorded
        equipment.check_device(facts, state.order)
    if state.phase is Phase.RUNNING:
        conditions.check_presence(facts)


def check_grant_lasts(state: SessionState, facts: Facts) -> None:
    """Refuse when the grant was revoked or its time is over.

    Raises:
        GrantEnded: as it says.
    """
    people.check_grant_lasts(facts, state.session.grant_until, revoked=state.grant_revoked)


def authorised(state: SessionState, train: NextTrain, train_id: str, facts: Facts) -> TrainAuthorised:
    """Return the authorisation of a train, within the signed limits (INV-2).

    Raises:
        BeyondSignedBand: outside the signed limits.
        DailyMaximumReached: more than the patient may be given today.
        DeviceNotReady: the device's counter is not known.
    """
    check_percent_mso(state.block or state.order, train.percent_mso)
    check_train_fits(state, facts, train.pulses)
    counted = facts.device.total_pulses
    if counted is None and facts.device.has_counter:
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
        known=ages_for_record(facts.known),
        block=state.block_index,
    )


def closing(state: SessionState, reason: str, patient_state: PatientState | None = None) -> list[EventData]:
    """Close; a train that is still open by then counts as unknown."""
    events: list[EventData] = []
    unknown = state.pulses_unknown
    if state.open_train is not None:
        events += record_train_unknown(state, asked.RecordTrainUnknown(reason="evidence-incomplete"))
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
            "patient_state": patient_state,
        }
    )
    return [*events, *_ranked(state), closed]


def _ranked(state: SessionState) -> list[EventData]:
    """Return the ranking of a heart-brain search; nothing where no run was measured."""
    order, measured = state.order, newest_results(state)
    if not measured or not isinstance(order, MeasurementOrder):
        return []
    ranking = ranking_of(state, heart_rules().ranking)
    places = tuple(
        RankedPlace(**asdict(each), percent_mso=measured[each.location].percent_mso) for each in ranking.locations
    )
    return [
        LocationsRanked(
            **ids_of(state),
            measurement_order_id=order.order_id,
            site=order.site,
            verdict=ranking.verdict,
            best=ranking.best,
            locations=places,
        )
    ]


def _outcome(state: SessionState, reason: str) -> SessionOutcome:
    if not state.trains:
        return "not-started"
    if reason == "measurement-finished" and state.session.kind == "measurement" and state.pulses_delivered:
        return "completed"
    if reason == "last-train-ended" and state.pulses_delivered == state.pulses_planned:
        return "completed"
    return "partial"
