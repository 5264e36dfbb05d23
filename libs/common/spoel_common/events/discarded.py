"""The one event that every service has: a person gave up an event that a read model of the service could not take in.

It is an event because it changes what the service knows: the read model goes on as if the discarded event had said
nothing. The discarded event itself stays where it is, in its owner's store and stream.
"""

import re
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from spoel_common.events.model import EventData

DiscardReason = Literal["not-an-event", "corrected-later", "not-needed-here", "put-right-otherwise", "test-data"]
"""Why a read model goes on without an event.

``not-an-event``: the bytes are none, or are of another store. ``corrected-later``: a later event of its owner says it
right. ``not-needed-here``: the read model does without what it says. ``put-right-otherwise``: what it says was brought
about in another way, which the reference tells of. ``test-data``: it was never about a patient.
"""

Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}$", examples=["INC-2026-0117"])]
"""Where the reason is told at length, such as a ticket's number: one word, so that no text about a patient fits."""


_ABOUT = ("case_id", "patient_id", "session_id")
_PSEUDONYM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class EventDiscarded(EventData):
    """A person gave up an event that a read model of this service could not take in.

    Attributes:
        projection: the read model that goes on without it.
        source: the store whose event it is.
        version: within its aggregate; None where the bytes are no event.
        stream_sequence: where it is in its store's stream.
        discarded_id: the event's id; None where the bytes are no event, as is ``discarded_type``.
        bytes_sha256: of the discarded bytes, in hexadecimal.
        tries: how often it was tried.
        case_id: whom and what it was about, as far as that can be read: so that the log finds this by patient too.
    """

    projection: str
    projection_version: int
    source: str
    aggregate_type: str
    aggregate_id: str
    version: int | None
    stream_sequence: int
    discarded_id: str | None
    discarded_type: str | None
    bytes_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", examples=["0" * 64])
    tries: int
    reason: DiscardReason
    reference: Reference | None
    case_id: str | None = None
    patient_id: str | None = None
    session_id: str | None = None


@cache
def parked_event_discarded(service_name: str) -> type[EventDiscarded]:
    """Return the model of ``spoel.<service>.parked-event-discarded.v1`` of one service."""

    class ParkedEventDiscarded(EventDiscarded):
        service: ClassVar[str] = service_name
        event_name: ClassVar[str] = "parked-event-discarded"

    return ParkedEventDiscarded


def pseudonyms_in(data: dict[str, Any]) -> dict[str, str]:
    """Return the case, patient and session that an event's data names; only what has the form of a pseudonym."""
    found = {name: data.get(name) for name in _ABOUT}
    return {name: value for name, value in found.items() if isinstance(value, str) and _PSEUDONYM.fullmatch(value)}
