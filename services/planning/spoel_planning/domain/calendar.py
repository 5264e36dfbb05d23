"""A room's calendar: one session at a time (PL-08)."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_planning.domain.refusals.booking import SlotAlreadyTaken
from spoel_planning.events.booking import SlotReleased, SlotTaken


class Calendar(BaseModel):
    """The slots of a room by session."""

    model_config = ConfigDict(frozen=True)

    slots: dict[str, SlotTaken] = {}


class WantedSlot(NamedTuple):
    """A time in a room, from its start up to but without its end."""

    room_id: str
    session_id: str
    starts_at: datetime
    ends_at: datetime


def evolve(calendar: Calendar, event: EventData) -> Calendar:
    """Return the calendar after ``event``."""
    slots = dict(calendar.slots)
    if isinstance(event, SlotTaken):
        slots[event.session_id] = event
    elif isinstance(event, SlotReleased):
        slots.pop(event.session_id, None)
    return Calendar(slots=slots)


def take_slot(calendar: Calendar, wanted: WantedSlot, closed_at: Mapping[str, datetime]) -> list[EventData]:
    """Take the room.

    Args:
        calendar: of the room.
        wanted: the slot.
        closed_at: sessions known to be over, and when; they hold the room no longer than that.

    Raises:
        SlotAlreadyTaken: another session holds the room in that time.
    """
    for slot in calendar.slots.values():
        ends_at = min(slot.ends_at, closed_at.get(slot.session_id, slot.ends_at))
        if overlap(wanted.starts_at, wanted.ends_at, slot.starts_at, ends_at):
            raise SlotAlreadyTaken(
                f"Room {wanted.room_id} is taken by another session from {slot.starts_at:%Y-%m-%d %H:%M} to "
                f"{ends_at:%Y-%m-%d %H:%M} UTC. Choose another time or room; a session that is over frees its room "
                "when the news of it arrives.",
                free_at=ends_at.isoformat(),
            )
    return [SlotTaken(**wanted._asdict())]


def release_slot(calendar: Calendar, room_id: str, session_id: str) -> list[EventData]:
    """Give the room back; nothing happens where it is not held."""
    return [SlotReleased(room_id=room_id, session_id=session_id)] if session_id in calendar.slots else []


def overlap(start: datetime, end: datetime, other_start: datetime, other_end: datetime) -> bool:
    """Tell whether two half-open times have a moment in common."""
    return max(start, other_start) < min(end, other_end)
