"""What events of this service have in common: what was known, and whose session it was."""

from typing import ClassVar

from spoel_common.events import EventData, UtcTime
from spoel_stimulation.orders import Part


class Known(Part):
    """How old the knowledge of one feed was (INV-4).

    Attributes:
        source: the store that publishes the feed.
        as_of: the last watermark that was fully applied; None if there was none.
        age_s: wall seconds since then, by a monotonic clock.
    """

    source: str
    as_of: UtcTime | None
    age_s: float


class StimulationEvent(EventData):
    """An event of this service."""

    service: ClassVar[str] = "stimulation"


class SessionEvent(StimulationEvent):
    """An event of one session."""

    session_id: str
    case_id: str
    patient_id: str
    room_id: str
