"""Events: their models, the CloudEvents envelope, and the catalogue that decodes them. Pure: pydantic only."""

from spoel_common.events.catalogue import Catalogue, NewerVersion, UpcasterMissing
from spoel_common.events.discarded import (
    DiscardReason,
    EventDiscarded,
    Reference,
    parked_event_discarded,
    pseudonyms_in,
)
from spoel_common.events.envelope import (
    MAX_ENVELOPE_BYTES,
    Envelope,
    EventTooLarge,
    EventType,
    parse_event_type,
)
from spoel_common.events.gaps import EventMissing, gap_detected
from spoel_common.events.model import Command, EventData, EventModel, ForeignEvent, UtcTime

__all__ = [
    "MAX_ENVELOPE_BYTES",
    "Catalogue",
    "Command",
    "DiscardReason",
    "Envelope",
    "EventData",
    "EventDiscarded",
    "EventMissing",
    "EventModel",
    "EventTooLarge",
    "EventType",
    "ForeignEvent",
    "NewerVersion",
    "Reference",
    "UpcasterMissing",
    "UtcTime",
    "gap_detected",
    "parked_event_discarded",
    "parse_event_type",
    "pseudonyms_in",
]
