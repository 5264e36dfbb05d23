"""What a decision rests on besides the journal: the room's device, the age of what is known, who is there."""

from collections.abc import Callable
from typing import NamedTuple

from spoel_stimulation.domain.facts import DeviceFacts, Limits
from spoel_stimulation.domain.reach import Reach
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.base import Known


class Presence(NamedTuple):
    """When presence was last confirmed, and in which session; wall seconds."""

    session_id: str
    age_s: float


class Surroundings(NamedTuple):
    """What a decision rests on besides the journal: this room's device, how old the knowledge is, who is there."""

    site: str
    room_id: str
    device: DeviceFacts
    known: tuple[Known, ...]
    limits: Limits
    presence: Presence | None = None
    reach: Reach = Reach()
    losses: frozenset[str] = frozenset()
    """Sessions of this node whose patient lost consciousness, which the journal does not say yet (HZ-16)."""


Look = Callable[[], Surroundings]
"""Returns the surroundings at this moment."""

Supported = Callable[[SessionState], None]
"""Refuses a session that the device cannot deliver as it stands, before anything is stored."""
