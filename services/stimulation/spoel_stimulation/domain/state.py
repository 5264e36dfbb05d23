"""A session's state: the table of what may follow what, and how events change it."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_common.people import Actor, Role
from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_stimulation.domain.refusals import TransitionNotAllowed
from spoel_stimulation.events.checks import DailyCheckAnswered, DailyCheckDecided, PresenceConfirmed
from spoel_stimulation.events.searches import CouplingMeasured, CouplingResult, SearchRunStarted
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
from spoel_stimulation.events.words import CouplingReason, DailyOutcome, Decider, PatientState, Response, TrainOutcome
from spoel_stimulation.orders import Block, MeasurementOrder, TreatmentOrder


class Phase(StrEnum):
    """Where a session stands."""

    NONE = "none"
    OPENED = "opened"
    IDENTIFIED = "identified"
    ARMED = "armed"
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_COIL = "awaiting-coil"
    INTERRUPTED = "interrupted"
    CLOSED = "closed"


class Act(StrEnum):
    """What can happen to a session; the last six are the room's own."""

    OPEN = "open"
    CONFIRM_IDENTITY = "confirm-identity"
    CHECK_PATIENT = "daily-check"
    DECIDE_CHECK = "daily-check/decision"
    CONFIRM_PRESENCE = "presence"
    ARM = "arm"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PLACE_COIL = "place-coil"
    STOP = "stop"
    CHANGE_PARAMETER = "change-parameter"
    STIMULATE = "stimulate"
    ANSWER = "answer"
    SEARCH = "search"
    AUTHORISE_TRAIN = "authorise-train"
    RECORD_TRAIN = "record-train"
    RECORD_COUPLING = "record-coupling"
    AWAIT_COIL = "await-coil"
    INTERRUPT = "interrupt"
    CLOSE = "close"


_ALWAYS_WHILE_OPEN: dict[Act, Phase] = {Act.STOP: Phase.CLOSED, Act.CLOSE: Phase.CLOSED}

TRANSITIONS: Mapping[Phase, Mapping[Act, Phase]] = MappingProxyType(
    {
        Phase.NONE: {Act.OPEN: Phase.OPENED},
        Phase.OPENED: {Act.CONFIRM_IDENTITY: Phase.IDENTIFIED, **_ALWAYS_WHILE_OPEN},
        Phase.IDENTIFIED: {
            Act.CHECK_PATIENT: Phase.IDENTIFIED,
            Act.DECIDE_CHECK: Phase.IDENTIFIED,
            Act.CONFIRM_PRESENCE: Phase.IDENTIFIED,
            Act.ARM: Phase.ARMED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.ARMED: {
            Act.CONFIRM_PRESENCE: Phase.ARMED,
            Act.START: Phase.RUNNING,
            Act.INTERRUPT: Phase.IDENTIFIED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.RUNNING: {
            Act.CONFIRM_PRESENCE: Phase.RUNNING,
            Act.PAUSE: Phase.PAUSED,
            Act.CHANGE_PARAMETER: Phase.RUNNING,
            Act.STIMULATE: Phase.RUNNING,
            Act.ANSWER: Phase.RUNNING,
            Act.SEARCH: Phase.RUNNING,
            Act.RECORD_COUPLING: Phase.RUNNING,
            Act.AUTHORISE_TRAIN: Phase.RUNNING,
            Act.RECORD_TRAIN: Phase.RUNNING,
            Act.AWAIT_COIL: Phase.AWAITING_COIL,
            Act.INTERRUPT: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.PAUSED: {
            Act.CONFIRM_PRESENCE: Phase.PAUSED,
            Act.RESUME: Phase.RUNNING,
            Act.CHANGE_PARAMETER: Phase.PAUSED,
            Act.ANSWER: Phase.PAUSED,
            Act.RECORD_TRAIN: Phase.PAUSED,
            Act.INTERRUPT: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.AWAITING_COIL: {
            Act.CONFIRM_PRESENCE: Phase.AWAITING_COIL,
            Act.PLACE_COIL: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.INTERRUPTED: {
            Act.CONFIRM_PRESENCE: Phase.INTERRUPTED,
            Act.ARM: Phase.PAUSED,
            Act.ANSWER: Phase.INTERRUPTED,
            Act.RECORD_TRAIN: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.CLOSED: {},
    }
)
"""Phase → act → phase afterwards; what is not here is refused.

An interrupted session was disarmed by an interlock: it is armed anew, is then paused, and a person resumes it. A
session that was interrupted before its start is armed and started as any other. Between two blocks the device is
disarmed and the session waits for its coil; once a person has said where it was placed, it goes on as after an
interruption (HZ-03).
"""


class Train(BaseModel):
    """One authorised train.

    Attributes:
        percent_mso: None in a blinded session.
        outcome: None while it is open.
        delivered: pulses that are known to be delivered.
        onset_at: clock time of its first pulse as far as known, else when it was due.
    """

    model_config = ConfigDict(frozen=True)

    train_id: str
    index: int
    pulses: int
    percent_mso: int | None
    device_total_pulses_before: int | None
    onset_at: datetime
    outcome: TrainOutcome | None = None
    unknown: bool = False
    delivered: int = 0
    response: Response | None = None
    block: int = 0

    @property
    def open(self) -> bool:
        """Whether it is not recorded how the train ended."""
        return self.outcome is None and not self.unknown

    @property
    def counts_for_maxima(self) -> bool:
        """Whether it counts as given: all but those of which nothing was delivered (ST-12)."""
        return self.outcome != "none"


class PatientChecked(BaseModel):
    """What the patient's answers of the day led to.

    Attributes:
        day: the local day for which they hold.
        undecided: question → whose decision its answer still waits for.
    """

    model_config = ConfigDict(frozen=True)

    day: date
    outcome: DailyOutcome
    undecided: dict[str, Decider]


class SearchRun(BaseModel):
    """One run of a heart-brain search: trains at one location.

    Attributes:
        first_train: index of its first train.
        trains: that were asked for.
        ended: measured, or broken off; one that was broken off is not gone on with (INV-7).
        result: None unless it was measured.
        reason: why a run that was not broken off has no result.
    """

    model_config = ConfigDict(frozen=True)

    run: int
    location: str
    percent_mso: int
    first_train: int
    trains: int
    ended: bool = False
    beats: int = 0
    artefacts: int = 0
    result: CouplingResult | None = None
    reason: CouplingReason | None = None


COIL_MAY_HAVE_MOVED = frozenset({"coil-changed", "unasked-change", "link-lost", "service-restart"})
"""Interlocks after which nobody can say that the coil is where it was: side or site is chosen again (HZ-03)."""


class SessionState(BaseModel):
    """What is recorded of a session.

    Attributes:
        opened: how it was opened, with the frozen order; None before.
        percent_rmt: intensity in force, of the motor threshold; None in a measurement.
        percent_mso: intensity in force; in a measurement that of the last stimulus, 0 before the first.
        train_interval_s: onset to onset in force; None in a measurement.
        most_trains: trains in force where the operator chose fewer than signed; None: as signed.
        coil_shift_mm: of the coil from the target, as the operator set it.
        coil_turn_deg: of the coil from the prescribed angle.
        trains: authorised trains in their order.
        checked: the patient's answers of the day; None before they were asked.
        paused_at: clock time since when it is paused or interrupted, or since the coil was placed, if that is known.
        site_unsure: the coil may have moved since side and site were chosen.
        block_index: which block of a treatment is given, or waited for.
        reason: of the last pause or of the end.
        consent_asked_again: the patient was asked again in this session, the room being cut off.
        grant_revoked: a supervisor ended the grant under which it is run.
        patient_state: as it was said when the session was stopped.
        runs: of a heart-brain search.
    """

    model_config = ConfigDict(frozen=True)

    phase: Phase = Phase.NONE
    opened: SessionOpened | None = None
    percent_rmt: float | None = None
    percent_mso: int = 0
    train_interval_s: float | None = None
    most_trains: int | None = None
    coil_shift_mm: float = 0.0
    coil_turn_deg: float = 0.0
    trains: tuple[Train, ...] = ()
    checked: PatientChecked | None = None
    paused_at: datetime | None = None
    site_unsure: bool = False
    block_index: int = 0
    reason: str | None = None
    consent_asked_again: bool = False
    grant_revoked: bool = False
    patient_state: PatientState | None = None
    runs: tuple[SearchRun, ...] = ()

    @property
    def session(self) -> SessionOpened:
        """How the session was opened.

        Raises:
            TransitionNotAllowed: it was not opened.
        """
        if self.opened is None:
            raise TransitionNotAllowed("This session was not opened here. Open it in its room first.", state=self.phase)
        return self.opened

    @property
    def order(self) -> TreatmentOrder | MeasurementOrder:
        """The signed order that was frozen into the session."""
        order = self.session.treatment_order or self.session.measurement_order
        assert order is not None  # noqa: S101 - the event's own validator holds this
        return order

    @property
    def block(self) -> Block | None:
        """The block of a treatment that is given, or waited for; None in a measurement."""
        order = self.order
        return order.blocks[self.block_index] if isinstance(order, TreatmentOrder) else None

    @property
    def blinded(self) -> bool:
        """Whether the session belongs to a blinded trial."""
        order = self.order
        return isinstance(order, TreatmentOrder) and order.blinding is not None

    @property
    def next_block(self) -> Block | None:
        """The block after this one; None where there is none."""
        order = self.order
        if not isinstance(order, TreatmentOrder):
            return None
        return next(iter(order.blocks[self.block_index + 1 :]), None)

    @property
    def trains_of_block(self) -> list[Train]:
        """Authorised trains of the block that is given."""
        return [train for train in self.trains if train.block == self.block_index]

    @property
    def run(self) -> SearchRun | None:
        """The run of a heart-brain search that is under way."""
        return self.runs[-1] if self.runs and not self.runs[-1].ended else None

    @property
    def conducted(self) -> bool:
        """Whether the room gives trains by itself: those of a treatment, or of a run."""
        return self.session.kind == "treatment" or self.run is not None

    @property
    def operator(self) -> Actor:
        """Who runs the session: the grant under which its trains are recorded."""
        opened = self.session
        return Actor(
            person_id=opened.operator_id,
            roles=frozenset({Role(opened.operator_role)}),
            big_number=opened.operator_big_number,
            supervisor_id=opened.supervisor_id,
        )

    @property
    def open_train(self) -> Train | None:
        """The train of which it is not recorded how it ended."""
        return self.trains[-1] if self.trains and self.trains[-1].open else None

    @property
    def ended(self) -> bool:
        """Whether nothing can follow any more."""
        return not TRANSITIONS[self.phase]

    @property
    def pulses_delivered(self) -> int:
        """Pulses that are known to be delivered."""
        return sum(train.delivered for train in self.trains)

    @property
    def pulses_unknown(self) -> int:
        """Pulses of trains whose outcome is unknown, at most."""
        return sum(train.pulses for train in self.trains if train.unknown)

    @property
    def pulses_planned(self) -> int:
        """Pulses of the whole order; in a measurement the most that it allows."""
        order = self.order
        return order.pulses if isinstance(order, TreatmentOrder) else order.max_pulses

    @property
    def trains_delivered(self) -> int:
        """Trains of which at least one pulse was delivered."""
        return sum(train.delivered > 0 for train in self.trains)

    def train(self, train_id: str) -> Train | None:
        """Return a train by its id."""
        return next((train for train in self.trains if train.train_id == train_id), None)

    def may(self, act: Act) -> bool:
        """Tell whether the table has this act in this phase."""
        return act in TRANSITIONS[self.phase]

    @property
    def possible(self) -> list[str]:
        """What a person may ask for in this phase."""
        return [str(act) for act in TRANSITIONS[self.phase] if act in PEOPLES_ACTS]

    def require(self, act: Act) -> None:
        """Refuse what the table does not have.

        Raises:
            TransitionNotAllowed: says the state and what is possible in it.
        """
        if self.may(act):
            return
        raise TransitionNotAllowed(
            f"'{act}' is not possible while the session is '{self.phase}'; possible now: "
            f"{', '.join(self.possible) or 'nothing'}.",
            state=self.phase,
            possible=self.possible,
        )


PEOPLES_ACTS = frozenset(Act) - {
    Act.AUTHORISE_TRAIN,
    Act.RECORD_TRAIN,
    Act.RECORD_COUPLING,
    Act.AWAIT_COIL,
    Act.INTERRUPT,
    Act.CLOSE,
}
"""Acts that a person may ask for."""


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
            return _asked_again(_moved(state, Act.ARM), event.consent_asked_again)
        case SessionStarted():
            return _asked_again(_going_on(state, Act.START), event.consent_asked_again)
        case SessionPaused():
            return _paused(state, event)
        case SessionResumed():
            return _asked_again(_going_on(state, Act.RESUME), event.consent_asked_again)
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


def _asked_again(state: SessionState, asked: bool) -> SessionState:  # noqa: FBT001 - a fact of the event
    return state.model_copy(update={"consent_asked_again": state.consent_asked_again or asked})


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
