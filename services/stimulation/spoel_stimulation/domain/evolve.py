"""How each event changes a session's state."""

from spoel_common.events import EventData
from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_stimulation.domain.phases import TRANSITIONS, Act, Phase
from spoel_stimulation.domain.state import PatientChecked, SearchRun, SessionState, Train
from spoel_stimulation.events.checks import DailyCheckAnswered, DailyCheckDecided, PresenceConfirmed
from spoel_stimulation.events.searches import CouplingMeasured, SearchRunStarted
from spoel_stimulation.events.sessions import (
    CoilAwaited,
    CoilPlaced,
    IdentityConfirmed,
    SessionArmed,
    SessionClosed,
    SessionGrantRevoked,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionStarted,
)
from spoel_stimulation.events.trains import (
    ParameterChanged,
    StimulusAnswered,
    TrainAuthorised,
    TrainDelivered,
    TrainOutcomeUnknown,
)

COIL_MAY_HAVE_MOVED = frozenset({"coil-changed", "unasked-change", "link-lost", "service-restart"})
"""Interlocks after which nobody can say that the coil is where it was: side or site is chosen again (HZ-03)."""


def evolve(state: SessionState, event: EventData) -> SessionState:  # noqa: C901, PLR0911, PLR0912 - one case an event
    """Return the state after ``event``."""
    match event:
        case SessionOpened():
            return _opened(state, event)
        case IdentityConfirmed():
            return _moved(state, Act.CONFIRM_IDENTITY)
        case DailyCheckAnswered(day=day, outcome=outcome, undecided=undecided):
            checked = PatientChecked(day=day, outcome=outcome, undecided=undecided)
            return _moved(state, Act.CHECK_PATIENT).model_copy(update={"checked": checked})
        case DailyCheckDecided():
            return _decided(state, event)
        case PresenceConfirmed():
            return _moved(state, Act.CONFIRM_PRESENCE)
        case SessionArmed():
            return _asked_again(_moved(state, Act.ARM), event)
        case SessionStarted():
            return _asked_again(_going_on(state, Act.START), event)
        case SessionPaused():
            return _paused(state, event)
        case SessionResumed():
            return _asked_again(_going_on(state, Act.RESUME), event)
        case SessionGrantRevoked():
            return state.model_copy(update={"grant_revoked": True})
        case TrainAuthorised():
            return _authorised(state, event)
        case TrainDelivered():
            return _delivered(state, event)
        case TrainOutcomeUnknown():
            return _with_last_train(state, {"unknown": True})
        case ParameterChanged():
            return _changed(state, event)
        case StimulusAnswered():
            return _answered(state, event)
        case SearchRunStarted():
            return _run_started(state, event)
        case CouplingMeasured():
            return _measured(state, event)
        case CoilAwaited(block=block):
            placed_anew = {"block_index": block, "most_trains": None, "coil_shift_mm": 0.0, "coil_turn_deg": 0.0}
            return _in_force(_moved(state, Act.AWAIT_COIL).model_copy(update=placed_anew))
        case CoilPlaced(placed_at=placed_at):
            return _moved(state, Act.PLACE_COIL).model_copy(update={"site_unsure": False, "paused_at": placed_at})
        case SessionClosed(reason=reason, patient_state=patient_state):
            ended = {"reason": reason, "patient_state": patient_state}
            return _broken_off(_moved(state, Act.CLOSE).model_copy(update=ended))
        case _:
            return state


def _asked_again(state: SessionState, event: SessionArmed | SessionStarted | SessionResumed) -> SessionState:
    asked = state.consent_asked_again or event.consent_asked_again
    return state.model_copy(update={"consent_asked_again": asked})


def _moved(state: SessionState, act: Act) -> SessionState:
    return state.model_copy(update={"phase": TRANSITIONS[state.phase][act]})


def _opened(state: SessionState, event: SessionOpened) -> SessionState:
    update = {"opened": event, "consent_asked_again": event.consent_asked_again}
    return _in_force(_moved(state, Act.OPEN).model_copy(update=update))


def _in_force(state: SessionState) -> SessionState:
    """Return the state with the parameters that the block was signed with."""
    block = state.block
    if block is None:
        return state
    signed = {
        "percent_rmt": block.percent_rmt,
        "percent_mso": block.percent_mso,
        "train_interval_s": block.pattern.train_interval_s,
    }
    return state.model_copy(update=signed)


def _decided(state: SessionState, event: DailyCheckDecided) -> SessionState:
    before = state.checked
    assert before is not None  # noqa: S101 - nothing is decided before it was answered
    left = {question: who for question, who in before.undecided.items() if question != event.question}
    outcome = before.outcome if event.decision == "go" else event.decision
    checked = before.model_copy(update={"outcome": outcome, "undecided": left})
    return _moved(state, Act.DECIDE_CHECK).model_copy(update={"checked": checked})


def _paused(state: SessionState, event: SessionPaused) -> SessionState:
    """A pause within a pause keeps the first one's moment: the patient has waited since then."""
    already = state.phase is Phase.PAUSED
    update = {
        "reason": event.reason,
        "paused_at": (state.paused_at if already else None) or event.paused_at,
        "site_unsure": state.site_unsure or event.reason in COIL_MAY_HAVE_MOVED,
    }
    act = Act.PAUSE if event.by == "operator" else Act.INTERRUPT
    return _broken_off(_moved(state, act).model_copy(update=update))


def _going_on(state: SessionState, act: Act) -> SessionState:
    return _moved(state, act).model_copy(update={"reason": None, "paused_at": None, "site_unsure": False})


def _authorised(state: SessionState, event: TrainAuthorised) -> SessionState:
    train = Train(
        train_id=event.train_id,
        index=event.train_index,
        pulses=event.pulses,
        percent_mso=event.percent_mso,
        device_total_pulses_before=event.device_total_pulses_before,
        onset_at=event.planned_onset_at,
        block=event.block,
    )
    update: dict[str, object] = {"trains": (*state.trains, train)}
    if state.session.kind == "measurement":
        update["percent_mso"] = event.percent_mso
    return _moved(state, Act.AUTHORISE_TRAIN).model_copy(update=update)


def _delivered(state: SessionState, event: TrainDelivered) -> SessionState:
    update: dict[str, object] = {"outcome": event.outcome, "delivered": event.pulses}
    if event.first_onset_at is not None:
        update["onset_at"] = event.first_onset_at
    return _with_last_train(state, update)


def _with_last_train(state: SessionState, update: dict[str, object]) -> SessionState:
    last = state.trains[-1].model_copy(update=update)
    return _moved(state, Act.RECORD_TRAIN).model_copy(update={"trains": (*state.trains[:-1], last)})


def _changed(state: SessionState, event: ParameterChanged) -> SessionState:
    match event.parameter:
        case "train_interval_s" | "coil_shift_mm" | "coil_turn_deg":
            return state.model_copy(update={event.parameter: event.to_value})
        case "trains":
            return state.model_copy(update={"most_trains": round(event.to_value)})
    return _at_percent_rmt(state, event.to_value)


def _at_percent_rmt(state: SessionState, percent_rmt: float) -> SessionState:
    """Return the state with another intensity in force; the event of a blinded session does not say the output."""
    block = state.block
    assert block is not None  # noqa: S101 - a measurement has no parameters
    percent_mso = set_percent_mso(PercentRmt(percent_rmt), PercentMso(block.threshold_percent_mso))
    return state.model_copy(update={"percent_rmt": percent_rmt, "percent_mso": percent_mso})


def _answered(state: SessionState, event: StimulusAnswered) -> SessionState:
    trains = tuple(
        train.model_copy(update={"response": event.response}) if train.train_id == event.train_id else train
        for train in state.trains
    )
    return state.model_copy(update={"trains": trains})


def _run_started(state: SessionState, event: SearchRunStarted) -> SessionState:
    run = SearchRun(
        run=event.run,
        location=event.location,
        percent_mso=event.percent_mso,
        first_train=len(state.trains),
        trains=event.trains,
    )
    return _moved(state, Act.SEARCH).model_copy(update={"runs": (*state.runs, run)})


def _measured(state: SessionState, event: CouplingMeasured) -> SessionState:
    found = {"beats": event.beats, "artefacts": event.artefacts, "result": event.result, "reason": event.reason}
    return _with_last_run(_moved(state, Act.RECORD_COUPLING), {"ended": True, **found})


def _broken_off(state: SessionState) -> SessionState:
    """Return the state with the run that was under way ended: a cycle that was broken is not gone on with."""
    return state if state.run is None else _with_last_run(state, {"ended": True})


def _with_last_run(state: SessionState, update: dict[str, object]) -> SessionState:
    return state.model_copy(update={"runs": (*state.runs[:-1], state.runs[-1].model_copy(update=update))})
