"""What a service builds from others' events, and what it knows of each feed."""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Catalogue, Envelope, EventData, ForeignEvent, UtcTime

NEVER_S = 1_000_000_000.0
"""Age of the knowledge of a feed of which no watermark was ever fully applied."""

_NAME = re.compile(r"[a-z0-9-]+")


class Received(NamedTuple):
    """One event as it came.

    Attributes:
        decoded: by the projection's catalogue; None where the projection has none.
        raw: the envelope's bytes.
    """

    envelope: Envelope
    decoded: EventData | ForeignEvent | None
    raw: bytes


Apply = Callable[[AsyncConnection, Envelope, EventData | ForeignEvent | None, bytes], Awaitable[None]]
ApplyBatch = Callable[[AsyncConnection, Sequence[Received]], Awaitable[None]]
Around = Callable[[AsyncConnection], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Projection:
    """A read model: which events build it, and how.

    Attributes:
        name: kebab-case, unique in the service.
        version: raised when it must be built anew from the start, beside the old one. Until the switch the new code
            works on the old rows, so they must fit it, as after any additive migration.
        services: all stores of these services at the site are its feeds.
        catalogue: decodes the events; unknown names are skipped. None: every valid envelope is handed on undecoded.
        apply: ``(conn, envelope, decoded, raw)``, within the inbox's transaction; writes to ``conn`` and nothing else,
            for it may be run again after a rollback.
        apply_batch: ``(conn, events)`` in place of ``apply``: up to 250 events of one transaction at once, in order.
            If it fails, the transaction is rolled back and every event comes alone.
        after_commit: is told what was applied, after it is durable; may be lost in a crash. Told of nothing where the
            whole model was replaced by a rebuilt one.
        tables: all that it writes, and nothing else writes rows there. It can be rebuilt only where they are named.
        left_out: the source of a store of these services that is not read: the service's own, where its events are
            kept at hand in the transaction that appends them.
        around_switch: entered in the switch's transaction while ``tables`` have the old rows, left when they have the
            new ones: for columns that are not from events.
    """

    name: str
    version: int
    services: tuple[str, ...]
    catalogue: Catalogue[ForeignEvent] | Catalogue[EventData] | None
    apply: Apply | None = None
    after_commit: Callable[[list[Envelope]], Awaitable[None]] | None = None
    apply_batch: ApplyBatch | None = None
    tables: tuple[Table, ...] = ()
    around_switch: Around | None = None
    left_out: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"projection name {self.name!r} is not kebab-case")
        if (self.apply is None) == (self.apply_batch is None):
            raise ValueError(f"projection {self.name!r} has either apply or apply_batch")

    def reads(self, source: str) -> bool:
        """Tell whether a store of the site, ``/spoel/<site>/<service>/<store>``, is one of its feeds."""
        return source.split("/")[3] in self.services and source != self.left_out

    def awaits(self, seen: Collection[str]) -> list[str]:
        """Return the services of which a store must exist, and none was seen."""
        own = "" if self.left_out is None else self.left_out.split("/")[3]
        return [service for service in self.services if service not in seen and service != own]


class FeedKnowledge(BaseModel):
    """What is known of one feed, and how old that knowledge is.

    Attributes:
        source: the store; ends with ``/*`` for a service of which no store was ever seen.
        position: of the last event taken in, in the store's own numbering.
        stream_sequence: of the last message taken in.
        as_of: clock time of the last watermark that is fully applied; None if there is none yet. Nothing is *fully*
            applied while an event of this feed is held, retried or parked.
        age_s: seconds of wall time since that watermark came in, by this machine's monotonic clock.
        held: events of this feed that wait or are parked.
        stopped: why the feed is no longer read, for example a newer version of an event; None while it is.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    position: int
    stream_sequence: int
    as_of: UtcTime | None
    age_s: float
    held: int = 0
    stopped: str | None = None

    @classmethod
    def never(cls, source: str) -> Self:
        """Return what is known of a feed of which nothing was ever heard."""
        return cls(source=source, position=0, stream_sequence=0, as_of=None, age_s=NEVER_S)
