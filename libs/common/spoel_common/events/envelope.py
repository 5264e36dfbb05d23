"""The envelope: CloudEvents 1.0 in JSON, serialised once, at append.

The bytes that ``Envelope.to_bytes`` returns are what is stored, published and logged; nobody writes them again.
"""

import re
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.errors import SpoelError
from spoel_common.events.model import UtcTime

MAX_ENVELOPE_BYTES = 60_000
"""Largest envelope that is stored; audit log entries are limited to 65,535 bytes (C2SP tlog-tiles)."""

_TYPE = re.compile(r"spoel\.(?P<service>[a-z]+)\.(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)\.v(?P<version>[1-9][0-9]*)")


class EventTooLarge(SpoelError):
    """An event would be larger than an envelope may be."""

    slug = "event-too-large"
    status = 413
    title = "Too large to be recorded"


class EventType(NamedTuple):
    """A CloudEvents type, taken apart."""

    service: str
    name: str
    version: int


@lru_cache(maxsize=1024)
def parse_event_type(event_type: str) -> EventType:
    """Take ``spoel.<service>.<event-name>.v<n>`` apart.

    Raises:
        ValueError: the text has another form.
    """
    match = _TYPE.fullmatch(event_type)
    if match is None:
        raise ValueError(f"event type {event_type!r} is not of the form spoel.<service>.<event-name>.v<n>")
    return EventType(match["service"], match["name"], int(match["version"]))


class Envelope(BaseModel):
    """One event as it is stored, published and logged (CloudEvents 1.0; extension names are ``[a-z0-9]``).

    ``subject`` is the aggregate's id; ``aggregateversion`` counts from 1 without holes within
    (``source``, ``aggregatetype``, ``subject``).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str = Field(pattern=r"^/spoel/[a-z0-9-]+/[a-z]+/[a-z0-9-]+$")
    type: str
    subject: str = Field(min_length=1)
    time: UtcTime
    datacontenttype: Literal["application/json"] = "application/json"
    aggregatetype: str
    aggregateversion: int = Field(ge=1)
    correlationid: str
    causationid: str | None = None
    traceparent: str | None = None
    actorid: str
    actorroles: str = ""
    actorbig: str | None = None
    onbehalfof: str | None = None
    supervisorid: str | None = None
    site: str
    room: str | None = None
    simulated: bool | None = None
    data: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the JSON bytes of this envelope; absent attributes are left out.

        Raises:
            EventTooLarge: more than ``MAX_ENVELOPE_BYTES``.
        """
        raw = self.model_dump_json(exclude_none=True).encode()
        if len(raw) > MAX_ENVELOPE_BYTES:
            raise EventTooLarge(
                f"The event {self.type} would be {len(raw)} bytes; {MAX_ENVELOPE_BYTES} is the most. Shorten its text."
            )
        return raw

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read an envelope.

        Raises:
            pydantic.ValidationError: the bytes are not a valid envelope.
        """
        return cls.model_validate_json(raw)
