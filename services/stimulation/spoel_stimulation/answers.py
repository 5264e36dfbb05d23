"""What commands to sessions, rooms and the roster are answered with."""

from pydantic import BaseModel, ConfigDict, Field

from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import device_pattern, trains_in_force
from spoel_stimulation.events.words import SessionKind
from spoel_stimulation.orders import Block, MeasurementOrder, TreatmentOrder


class Progress(BaseModel):
    """How far a session is; in a measurement, planned is the most that the order allows."""

    model_config = ConfigDict(frozen=True)

    trains_done: int
    trains_planned: int
    pulses_delivered: int
    pulses_planned: int
    pulses_unknown: int


class SessionAnswer(BaseModel):
    """A session as it stands after a command.

    Attributes:
        site: of the block that is given, or waited for.
        block: its number, from 0, of ``blocks``.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    room_id: str
    case_id: str
    patient_id: str
    kind: SessionKind
    state: Phase
    reason: str | None
    possible: list[str]
    operator_id: str
    supervisor_id: str | None
    progress: Progress
    site: str
    block: int
    blocks: int
    percent_mso: int
    percent_rmt: float | None
    train_interval_s: float | None


class Intention(BaseModel):
    """A command with an effect on the device: what became of it is looked up under the id (INV-9)."""

    session_id: str
    event_id: str


class StimulusIntention(BaseModel):
    """A stimulus that was authorised and is delivered after the commit."""

    session_id: str
    train_id: str


class RoomAnswer(BaseModel):
    """A room after a command."""

    room_id: str
    latched: bool


class DutyAnswer(BaseModel):
    """A supervisor's duty after a command."""

    supervisor_id: str
    on_duty_until: str | None = Field(description="ISO 8601, clock time; null when off duty")


def _trains_of(state: SessionState, index: int, block: Block, limits: Limits) -> int:
    pattern = device_pattern(block, limits.max_autonomous_s)
    return trains_in_force(state, pattern) if index == state.block_index else pattern.trains


def describe(state: SessionState, limits: Limits) -> SessionAnswer:
    """Return a session as answers show it."""
    opened = state.session
    order = state.order
    blocks = order.blocks if isinstance(order, TreatmentOrder) else ()
    trains = (
        order.max_stimuli
        if isinstance(order, MeasurementOrder)
        else sum(_trains_of(state, index, block, limits) for index, block in enumerate(blocks))
    )
    return SessionAnswer(
        session_id=opened.session_id,
        room_id=opened.room_id,
        case_id=opened.case_id,
        patient_id=opened.patient_id,
        kind=opened.kind,
        state=state.phase,
        reason=state.reason,
        possible=state.possible,
        operator_id=opened.operator_id,
        supervisor_id=opened.supervisor_id,
        progress=Progress(
            trains_done=sum(not train.open for train in state.trains),
            trains_planned=trains,
            pulses_delivered=state.pulses_delivered,
            pulses_planned=state.pulses_planned,
            pulses_unknown=state.pulses_unknown,
        ),
        site=(state.block or order).site,
        block=state.block_index,
        blocks=max(1, len(blocks)),
        percent_mso=state.percent_mso,
        percent_rmt=state.percent_rmt,
        train_interval_s=state.train_interval_s,
    )
