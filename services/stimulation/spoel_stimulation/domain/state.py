"""A session's state: the table of what may follow what, and how events change it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_common.people import Actor, Role
from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_stimulation.domain.refusals import TransitionNotAllowed
from spoel_stimulation.events import (
    CoilAwaited,
    CoilPlaced,
    IdentityConfirmed,
    ParameterChanged,
    Response,
    SessionArmed,
    SessionClosed,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    StimulusAnswered,
    TrainAuthorised,
    TrainDelivered,
    TrainOutcome,
    TrainOutcomeUnknown,
)
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
    """What can happen to a session; the last five are the room's own."""

    OPEN = "open"
    CONFIRM_IDENTITY = "confirm-identity"
    ARM = "arm"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PLACE_COIL = "place-coil"
    STOP = "stop"
    CHANGE_PARAMETER = "change-parameter"
    STIMULATE = "stimulate"
    ANSWER = "answer"
    AUTHORISE_TRAIN = "authorise-train"
    RECORD_TRAIN = "record-train"
    AWAIT_COIL = "await-coil"
    INTERRUPT = "interrupt"
    CLOSE = "close"


_ALWAYS_WHILE_OPEN: dict[Act, Phase] = {Act.STOP: Phase.CLOSED, Act.CLOSE: Phase.CLOSED}

TRANSITIONS: Mapping[Phase, Mapping[Act, Phase]] = MappingProxyType(
    {
        Phase.NONE: {Act.OPEN: Phase.OPENED},
        Phase.OPENED: {Act.CONFIRM_IDENTITY: Phase.IDENTIFIED, **_ALWAYS_WHILE_OPEN},
        Phase.IDENTIFIED: {Act.ARM: Phase.ARMED, **_ALWAYS_WHILE_OPEN},
        Phase.ARMED: {Act.START: Phase.RUNNING, Act.INTERRUPT: Phase.IDENTIFIED, **_ALWAYS_WHILE_OPEN},
        Phase.RUNNING: {
            Act.PAUSE: Phase.PAUSED,
            Act.CHANGE_PARAMETER: Phase.RUNNING,
            Act.STIMULATE: Phase.RUNNING,
            Act.ANSWER: Phase.RUNNING,
            Act.AUTHORISE_TRAIN: Phase.RUNNING,
            Act.RECORD_TRAIN: Phase.RUNNING,
            Act.AWAIT_COIL: Phase.AWAITING_COIL,
            Act.INTERRUPT: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.PAUSED: {
            Act.RESUME: Phase.RUNNING,
            Act.CHANGE_PARAMETER: Phase.PAUSED,
            Act.ANSWER: Phase.PAUSED,
            Act.RECORD_TRAIN: Phase.PAUSED,
            Act.INTERRUPT: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.AWAITING_COIL: {Act.PLACE_COIL: Phase.INTERRUPTED, **_ALWAYS_WHILE_OPEN},
        Phase.INTERRUPTED: {
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


class SessionState(BaseModel):
    """What is recorded of a session.

    Attributes:
        opened: how it was opened, with the frozen order; None before.
        percent_rmt: intensity in force, of the motor threshold; None in a measurement.
        percent_mso: intensity in force; in a measurement that of the last stimulus, 0 before the first.
        train_interval_s: onset to onset in force; None in a measurement.
        trains: authorised trains in their order.
        block_index: which block of a treatment is given, or waited for.
        reason: of the last pause or of the end.
    """

    model_config = ConfigDict(frozen=True)

    phase: Phase = Phase.NONE
    opened: SessionOpened | None = None
    percent_rmt: float | None = None
    percent_mso: int = 0
    train_interval_s: float | None = None
    trains: tuple[Train, ...] = ()
    block_index: int = 0
    reason: str | None = None

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
        return order.pulses if isinstance(order, TreatmentOrder) else order.max_stimuli

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


PEOPLES_ACTS = frozenset(Act) - {Act.AUTHORISE_TRAIN, Act.RECORD_TRAIN, Act.AWAIT_COIL, Act.INTERRUPT, Act.CLOSE}
"""Acts that a person may ask for."""


def evolve(state: SessionState, event: EventData) -> SessionState:  # noqa: C901, PLR0911, PLR0912 - one case an event
    """Return the state after ``event``."""
    match event:
        case SessionOpened():
            return _opened(state, event)
        case IdentityConfirmed():
            return _moved(state, Act.CONFIRM_IDENTITY)
        case SessionArmed():
            return _moved(state, Act.ARM)
        case SessionStarted():
            return _moved(state, Act.START)
        case SessionPaused(by=by, reason=reason):
            act = Act.PAUSE if by == "operator" else Act.INTERRUPT
            return _moved(state, act).model_copy(update={"reason": reason})
        case SessionResumed():
            return _moved(state, Act.RESUME).model_copy(update={"reason": None})
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
        case CoilAwaited(block=block):
            return _in_force(_moved(state, Act.AWAIT_COIL).model_copy(update={"block_index": block}))
        case CoilPlaced():
            return _moved(state, Act.PLACE_COIL)
        case SessionClosed(reason=reason):
            return _moved(state, Act.CLOSE).model_copy(update={"reason": reason})
        case _:
            return state


def _moved(state: SessionState, act: Act) -> SessionState:
    return state.model_copy(update={"phase": TRANSITIONS[state.phase][act]})


def _opened(state: SessionState, event: SessionOpened) -> SessionState:
    return _in_force(_moved(state, Act.OPEN).model_copy(update={"opened": event}))


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
    if event.parameter == "train_interval_s":
        return state.model_copy(update={"train_interval_s": event.to_value})
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
