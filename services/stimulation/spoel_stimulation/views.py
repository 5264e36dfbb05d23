"""What GET answers: rooms, sessions, trains."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from spoel_common.errors import NotFound
from spoel_common.events import UtcTime, parse_event_type
from spoel_common.runtime import Runtime
from spoel_common.store import AggregateRef
from spoel_stimulation.adverse import AFTERCARE
from spoel_stimulation.aggregates import ROOM, SESSION
from spoel_stimulation.answers import SessionAnswer, describe
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.room import Latch
from spoel_stimulation.domain.state import SessionState, Train
from spoel_stimulation.events.words import PatientState, Response
from spoel_stimulation.runner import Room

LAST_EVENTS = 20

Outcome = Literal["accepted", "done", "failed", "unknown"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class DeviceView(_View):
    """The device of a room as it is now; ages in wall seconds."""

    ready: bool
    problem: str | None
    model: str | None
    serial: str | None
    coil_model: str | None
    simulated: bool | None
    status_age_s: float | None
    enabled: bool | None
    percent_mso: int | None
    coil_temperature_c: float | None


class RoomView(_View):
    """A room as it is now."""

    room_id: str
    device: DeviceView
    latch: Latch | None
    session_id: str | None
    session_state: Phase | None
    strip_public_key: str


class RoomsView(_View):
    """All rooms of this node."""

    rooms: list[RoomView]


class EventView(_View):
    """One event of a session."""

    id: str
    version: int
    event: str
    time: UtcTime
    data: dict[str, Any]


class SessionView(SessionAnswer):
    """A session with its latest events, oldest first.

    Attributes:
        patient_state: how the patient was, as it was said at the stop or afterwards; null while it was not.
    """

    patient_state: PatientState | None
    last_events: list[EventView]


class TrainView(_View):
    """One train, and what is known of it: ``accepted`` while it is under way.

    Attributes:
        percent_mso: None in a blinded session.
    """

    train_id: str
    session_id: str
    train_index: int
    outcome: Outcome
    pulses: int
    pulses_delivered: int
    percent_mso: int | None
    response: Response | None


class ArmView(_View):
    """What became of an arming.

    Attributes:
        outcome: ``done`` only when the device read every setting back and is enabled.
        problem: slug of what was in the way; null unless it failed.
    """

    session_id: str
    state: Phase
    outcome: Outcome
    problem: str | None = None
    detail: str | None = None
    event_id: str


class StimulusView(_View):
    """What became of a stimulus."""

    session_id: str
    train_id: str
    outcome: Outcome


async def room_view(runtime: Runtime, room: Room) -> RoomView:
    """Return one room."""
    state = (await runtime.units.load(ROOM, room.room_id)).state
    session = await room.journal.open_session()
    return RoomView(
        room_id=room.room_id,
        device=_device_view(room, blinded=session is not None and session.blinded),
        latch=state.latch,
        session_id=None if session is None else session.session.session_id,
        session_state=None if session is None else session.phase,
        strip_public_key=room.key.public_key,
    )


def _device_view(room: Room, *, blinded: bool) -> DeviceView:
    """Return the device; while a blinded session is open, without its output (ST-09)."""
    facts, identity, status = room.look().device, room.device.identity, room.device.status
    if not facts.ready or identity is None or status is None:
        return DeviceView.model_validate(
            dict.fromkeys(DeviceView.model_fields) | {"ready": False, "problem": facts.problem}
        )
    return DeviceView(
        ready=True,
        problem=None,
        model=identity.model,
        serial=identity.serial,
        coil_model=status.coil_model,
        simulated=identity.simulated,
        status_age_s=round(facts.status_age_s, 3),
        enabled=status.enabled,
        percent_mso=None if blinded else status.percent_mso,
        coil_temperature_c=status.coil_temperature_c,
    )


async def load_session(runtime: Runtime, session_id: str) -> SessionState:
    """Return a session that was opened here.

    Raises:
        NotFound: it was not.
    """
    state = (await runtime.units.load(SESSION, session_id)).state
    if state.opened is None:
        raise NotFound(f"Session {session_id[:64]!r} was not opened on this node. Open it in its room first.")
    return state


async def session_view(runtime: Runtime, room: Room, session_id: str) -> SessionView:
    """Return one session with its latest events."""
    loaded = await runtime.units.load(SESSION, session_id)
    async with runtime.database.read() as conn:
        envelopes = await runtime.store.load(
            conn, AggregateRef(SESSION.name, session_id), max(0, loaded.version - LAST_EVENTS)
        )
    events = [
        EventView(
            id=envelope.id,
            version=envelope.aggregateversion,
            event=parse_event_type(envelope.type).name,
            time=envelope.time,
            data=envelope.data,
        )
        for envelope in envelopes
    ]
    said_later = (await runtime.units.load(AFTERCARE, session_id)).state
    return SessionView(
        **describe(loaded.state, room.limits).model_dump(),
        patient_state=loaded.state.patient_state or said_later,
        last_events=events,
    )


def train_view(state: SessionState, train_id: str) -> TrainView:
    """Return one train of a session.

    Raises:
        NotFound: the session has no such train.
    """
    train = state.train(train_id)
    if train is None:
        raise NotFound(f"Session {state.session.session_id} has no train {train_id[:64]!r}.")
    return TrainView(
        train_id=train.train_id,
        session_id=state.session.session_id,
        train_index=train.index,
        outcome=outcome_of(train),
        pulses=train.pulses,
        pulses_delivered=train.delivered,
        percent_mso=train.percent_mso,
        response=train.response,
    )


def outcome_of(train: Train) -> Outcome:
    """Return how a train stands, in the words of a command with an effect on a device (INV-9)."""
    if train.unknown:
        return "unknown"
    if train.outcome is None:
        return "accepted"
    return "done" if train.outcome == "complete" else "failed"


async def arm_view(runtime: Runtime, room: Room, session_id: str, event_id: str) -> ArmView:
    """Return what became of an arming: looked up under the id that was promised for its event."""
    state = await load_session(runtime, session_id)
    failure = room.arming.failures.get(event_id)
    if await runtime.store.find(event_id) is not None:
        return ArmView(session_id=session_id, state=state.phase, outcome="done", event_id=event_id)
    problem, detail = failure or (
        "interrupted",
        "The arming broke off, or is still under way. Look at the room, and arm again.",
    )
    outcome: Outcome = "failed" if failure or event_id not in room.arming.under_way else "accepted"
    return ArmView(
        session_id=session_id, state=state.phase, outcome=outcome, problem=problem, detail=detail, event_id=event_id
    )
