"""A room: which device answered in it, and whether it is latched (INV-7)."""

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_stimulation.commands import ResetRoom
from spoel_stimulation.domain.refusals import RoomLatchedRefusal, RoomNotLatched
from spoel_stimulation.events.rooms import RoomChecked, RoomLatched, RoomOpened, RoomReset
from spoel_stimulation.events.words import LatchReason


class Latch(BaseModel):
    """Why a room is safe and stays so."""

    model_config = ConfigDict(frozen=True)

    reason: LatchReason
    detail: str
    session_id: str | None = None


class RoomState(BaseModel):
    """What is recorded of a room.

    Attributes:
        device: the device that last answered, with the room's key; None before the first did.
        latch: None where the room may be used.
        checked: the last opening check; it holds for its local day, and for the stimulator that was there.
    """

    model_config = ConfigDict(frozen=True)

    device: RoomOpened | None = None
    latch: Latch | None = None
    checked: RoomChecked | None = None


def evolve(state: RoomState, event: EventData) -> RoomState:
    """Return the state after ``event``."""
    match event:
        case RoomOpened(stimulator_serial=serial):
            another = state.device is not None and state.device.stimulator_serial != serial
            return state.model_copy(update={"device": event, "checked": None if another else state.checked})
        case RoomChecked():
            return state.model_copy(update={"checked": event})
        case RoomLatched(reason=reason, detail=detail, session_id=session_id):
            return state.model_copy(update={"latch": Latch(reason=reason, detail=detail, session_id=session_id)})
        case RoomReset():
            return state.model_copy(update={"latch": None})
        case _:
            return state


def open_room(state: RoomState, seen: RoomOpened) -> list[EventData]:
    """Record the device that answered, where it differs from what is recorded."""
    return [] if state.device == seen else [seen]


def latch(
    state: RoomState, room_id: str, reason: LatchReason, detail: str, session_id: str | None = None
) -> list[EventData]:
    """Latch the room; a latched room keeps its first reason, except that an emergency stop is always recorded."""
    if state.latch is not None and reason != "emergency-stop":
        return []
    return [RoomLatched(room_id=room_id, reason=reason, detail=detail, session_id=session_id)]


def reset(state: RoomState, room_id: str, command: ResetRoom) -> list[EventData]:
    """Release a latched room.

    Raises:
        RoomNotLatched: there is nothing to reset.
    """
    if state.latch is None:
        raise RoomNotLatched(f"Room {room_id} is not latched: there is nothing to reset.")
    return [RoomReset(room_id=room_id, reason=command.reason)]


def check_not_latched(state: RoomState, room_id: str) -> None:
    """Refuse a latched room.

    Raises:
        RoomLatchedRefusal: it is latched.
    """
    if state.latch is not None:
        raise RoomLatchedRefusal(
            f"Room {room_id} is latched ({state.latch.reason}: {state.latch.detail}). Look at the device and the "
            f"patient, then reset the room with a reason.",
            reason=state.latch.reason,
        )
