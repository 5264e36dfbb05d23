"""Names: of an aggregate, and of a store with its source, its stream and its subjects."""

import re
from functools import lru_cache
from typing import NamedTuple, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.events import Envelope, parse_event_type

_SUBJECT_ROOT = "spoel"
_WATERMARK_ROOT = "spoel-watermark"
_RESEND_ROOT = "spoel-resend"
_SOURCE = re.compile(r"/spoel/(?P<site>[a-z0-9-]+)/(?P<service>[a-z]+)/(?P<store>[a-z0-9-]+)")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_WILDCARD = re.compile(r"spoel\.(?P<site>[a-z0-9-]+)\.(?P<service>[a-z]+)\.(?P<store>[a-z0-9-]+)\.>")


class AggregateRef(NamedTuple):
    """One aggregate within a store.

    Attributes:
        type: kind of aggregate, for example ``case``.
        id: its id, for example a UUIDv7 or ``room-1``.
    """

    type: str
    id: str


class StoreName(BaseModel):
    """One event database with an order of its own: ``main`` of a service, or a room node's journal."""

    model_config = ConfigDict(frozen=True)

    site: str = Field(pattern=r"^[a-z0-9-]+$")
    service: str = Field(pattern=r"^[a-z]+$")
    store: str = Field(default="main", pattern=r"^[a-z0-9-]+$")

    @classmethod
    def from_source(cls, source: str) -> Self:
        """Read a CloudEvents source such as ``/spoel/local/intake/main``.

        Raises:
            ValueError: the text has another form.
        """
        match = _SOURCE.fullmatch(source)
        if match is None:
            raise ValueError(f"source {source!r} is not of the form /spoel/<site>/<service>/<store>")
        return cls(**match.groupdict())

    @classmethod
    def from_wildcard(cls, subject: str) -> Self:
        """Read the wildcard subject of a store's stream, ``spoel.<site>.<service>.<store>.>``.

        Raises:
            ValueError: the text has another form.
        """
        match = _WILDCARD.fullmatch(subject)
        if match is None:
            raise ValueError(f"subject {subject!r} is not of the form spoel.<site>.<service>.<store>.>")
        return cls(**match.groupdict())

    @property
    def source(self) -> str:
        """The CloudEvents ``source`` of this store's events."""
        return f"/spoel/{self.site}/{self.service}/{self.store}"

    @property
    def stream(self) -> str:
        """The JetStream stream of this store; underscores cannot occur in the parts."""
        return f"spoel_{self.site}_{self.service}_{self.store}"

    @property
    def wildcard(self) -> str:
        """The subject that matches every event of this store and of no other."""
        return f"{_SUBJECT_ROOT}.{self.site}.{self.service}.{self.store}.>"

    @property
    def watermark_subject(self) -> str:
        """Where this store's watermarks are published."""
        return f"{_WATERMARK_ROOT}.{self.site}.{self.service}.{self.store}"

    @property
    def resend_subject(self) -> str:
        """Where this store's owner is asked to send events again."""
        return f"{_RESEND_ROOT}.{self.site}.{self.service}.{self.store}"

    def subject(self, ref: AggregateRef, event_type: str) -> str:
        """Return the NATS subject of one event of this store.

        Characters that mean something in a subject are percent-encoded in the aggregate's id, so that every id that
        can be stored can also be published.
        """
        root = f"{_SUBJECT_ROOT}.{self.site}.{self.service}.{self.store}"
        return f"{root}.{quoted(ref.type)}.{quoted(ref.id)}.{_event_name(event_type)}"

    def subject_of(self, envelope: Envelope) -> str:
        """Return the NATS subject of an envelope of this store."""
        return self.subject(AggregateRef(envelope.aggregatetype, envelope.subject), envelope.type)


def watermark_wildcard(site: str, service: str) -> str:
    """Return the subject that matches the watermarks of all stores of a service at a site."""
    return f"{_WATERMARK_ROOT}.{site}.{service}.*"


def quoted(text: str) -> str:
    """Percent-encode the characters that mean something in a subject or would end a header."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe="").replace(".", "%2E")


@lru_cache(maxsize=1_000)
def _event_name(event_type: str) -> str:
    return parse_event_type(event_type).name
