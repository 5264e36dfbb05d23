"""Events of bookings, and of a room's calendar (PL-08)."""

from typing import ClassVar, Literal

from spoel_common.events import UtcTime
from spoel_planning.events.model import CaseEvent, PlanningEvent

SessionKind = Literal["measurement", "treatment"]
CancellationReason = Literal[
    "patient-cancelled", "patient-absent", "staff-absent", "device-unavailable", "plan-changed", "entered-in-error"
]


class SessionBooked(CaseEvent):
    """A session has a room and a time (PL-08)."""

    event_name: ClassVar[str] = "session-booked"

    session_id: str
    room_id: str
    kind: SessionKind
    measurement_order_id: str | None
    prescription_id: str | None
    prescription_version: int | None
    course_id: str | None
    starts_at: UtcTime
    ends_at: UtcTime


class SessionBookingCancelled(CaseEvent):
    """A booked session will not take place."""

    event_name: ClassVar[str] = "session-booking-cancelled"

    session_id: str
    room_id: str
    reason_code: CancellationReason


class SlotTaken(PlanningEvent):
    """A room is taken for a session."""

    event_name: ClassVar[str] = "slot-taken"

    room_id: str
    session_id: str
    starts_at: UtcTime
    ends_at: UtcTime


class SlotReleased(PlanningEvent):
    """A room is free again where it was taken for this session."""

    event_name: ClassVar[str] = "slot-released"

    room_id: str
    session_id: str
