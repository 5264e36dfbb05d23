"""What intake reads of others' events: which patient is booked in which room, and the key of that room."""

from typing import ClassVar

from spoel_common.events import Catalogue, ForeignEvent, UtcTime


class SessionBooked(ForeignEvent):
    """Planning booked a session of a patient in a room."""

    service: ClassVar[str] = "planning"
    event_name: ClassVar[str] = "session-booked"

    session_id: str
    patient_id: str
    room_id: str
    starts_at: UtcTime
    ends_at: UtcTime


class SessionBookingCancelled(ForeignEvent):
    """Planning cancelled a booking."""

    service: ClassVar[str] = "planning"
    event_name: ClassVar[str] = "session-booking-cancelled"

    session_id: str


class RoomOpened(ForeignEvent):
    """A room announced itself. ``strip_public_key``: X25519, base64; identity strips are sealed to it."""

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "room-opened"

    room_id: str
    strip_public_key: str


class SessionClosed(ForeignEvent):
    """A session ended in its room."""

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "session-closed"

    session_id: str


STRIP_EVENTS: Catalogue[ForeignEvent] = Catalogue([SessionBooked, SessionBookingCancelled, RoomOpened, SessionClosed])
