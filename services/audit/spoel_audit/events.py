"""The public events of the audit service."""

from typing import ClassVar

from spoel_common.events import EventData, gap_detected, parked_event_discarded

ParkedEventDiscarded = parked_event_discarded("audit")
"""An event of the aggregate ``discarded-event``, one for each event that was given up."""

GapDetected = gap_detected("audit")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""


class ErasureCompleted(EventData):
    """What was held here in clear of an erased patient is cleared; ``cleared``: what → how many.

    The log holds pseudonyms and sealed texts, which nobody can read any more; its entries stay as they are (AU-06).
    """

    service: ClassVar[str] = "audit"
    event_name: ClassVar[str] = "erasure-completed"

    patient_id: str
    erasure_id: str
    cleared: dict[str, int]
