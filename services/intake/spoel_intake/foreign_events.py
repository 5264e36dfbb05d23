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
    event_version: ClassVar[int] = 2

    session_id: str


class ConsentWithdrawnInRoom(ForeignEvent):
    """A patient withdrew consent in a room, perhaps without network."""

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "consent-withdrawn-in-room"

    case_id: str
    withdrawn_at: UtcTime


class Cleared(ForeignEvent):
    """A service has cleared what it held of an erased patient; ``cleared``: what → how many."""

    patient_id: str
    erasure_id: str
    cleared: dict[str, int]


class PlanningCleared(Cleared):
    """Planning answers an erasure."""

    service: ClassVar[str] = "planning"
    event_name: ClassVar[str] = "erasure-completed"


class StimulationCleared(Cleared):
    """A room node answers an erasure."""

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "erasure-completed"


class AuditCleared(Cleared):
    """The audit service answers an erasure."""

    service: ClassVar[str] = "audit"
    event_name: ClassVar[str] = "erasure-completed"


ANSWER_EVENTS: Catalogue[ForeignEvent] = Catalogue([PlanningCleared, StimulationCleared, AuditCleared])

WITHDRAWAL_EVENTS: Catalogue[ForeignEvent] = Catalogue([ConsentWithdrawnInRoom])

STRIP_EVENTS: Catalogue[ForeignEvent] = Catalogue(
    [SessionBooked, SessionBookingCancelled, RoomOpened, SessionClosed],
    {("stimulation", "session-closed", 1): dict},
)
