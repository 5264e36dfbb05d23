"""What the services have written down, read straight from their databases and streams, not through their code.

Read while all is still; each reading takes up where the last one ended.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError
from sqlalchemy import RowMapping, text
from sqlalchemy.engine import make_url
from tests.chaos.models import MODELS, Anew

from spoel_common.messaging import Broker
from spoel_common.store import Database, StoreName
from spoel_local.instance import Instance, StoreLocation

Aggregate = tuple[str, str]

_PAGE = 250
_FETCH_TIMEOUT_S = 5.0
_AGAIN_AFTER_S = 0.5
_READ_WITHIN_S = 60.0
_EVENTS = {
    "sqlite": "SELECT position, 0 AS xid, * FROM events WHERE position > :after ORDER BY position",
    "postgresql": "SELECT * FROM events WHERE position > :after ORDER BY xid, position",
}

_HEADS = "SELECT projection, source, aggregate_type, aggregate_id, last_version FROM inbox"
_HELD = "SELECT projection, source, count(*) AS events FROM held GROUP BY projection, source"


class Event(NamedTuple):
    """One row of a service's event table, or one message of its stream, in the same form.

    Attributes:
        digest: SHA-256 of its bytes.
        correlation: the envelope's correlation id.
    """

    id: str
    aggregate: Aggregate
    version: int
    name: str
    correlation: str
    digest: str

    @classmethod
    def of(cls, raw: bytes) -> "Event":
        envelope = json.loads(raw)
        return cls(
            id=envelope["id"],
            aggregate=(envelope["aggregatetype"], envelope["subject"]),
            version=envelope["aggregateversion"],
            name=envelope["type"].split(".")[2],
            correlation=envelope["correlationid"],
            digest=hashlib.sha256(raw).hexdigest(),
        )


class Reader(NamedTuple):
    """One projection's reading of one store."""

    service: str
    projection: str
    source: str


@dataclass
class Applied:
    """How far a reader says it is.

    Attributes:
        sequence: of the last message of the stream that it has dealt with.
        heads: aggregate → last version applied.
        held: events that it keeps aside.
    """

    sequence: int = 0
    heads: dict[Aggregate, int] = field(default_factory=dict)
    held: int = 0


class Line(NamedTuple):
    """One entry of the audit log.

    Attributes:
        digest: SHA-256 of the event's bytes as the log keeps them.
        leaf: SHA-256 of the entry behind a zero byte (RFC 6962), computed here.
    """

    event_id: str
    digest: str
    leaf: bytes


@dataclass
class Books:
    """All of it, as far as it was read.

    Attributes:
        stored: source → events as they lie in the store's database, in the store's order.
        streamed: source → messages of the store's stream, in order: message id and event.
        applied: reader → how far it is.
        log: the audit log in its order.
        unlike: what of the read models differs from those built from zero, in words.
        rows: how many rows of read models were compared.
    """

    stored: dict[str, list[Event]] = field(default_factory=dict)
    streamed: dict[str, list[tuple[str, Event]]] = field(default_factory=dict)
    applied: dict[Reader, Applied] = field(default_factory=dict)
    log: list[Line] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    rows: int = 0

    @property
    def still(self) -> bool:
        """Whether everything that is stored has arrived everywhere, going by counts alone."""
        everywhere = all(len(events) == len(self.streamed.get(source, ())) for source, events in self.stored.items())
        read = all(applied.sequence == len(self.streamed[reader.source]) for reader, applied in self.applied.items())
        return everywhere and read and len(self.log) == sum(map(len, self.stored.values()))


class Reading:
    """Reads an instance's books, again and again.

    Args:
        broker: a connection that may read every stream.
        rebuilt: read models built from zero, which are fed what is new in the streams.
    """

    def __init__(self, instance: Instance, broker: Broker, rebuilt: Mapping[str, Anew]) -> None:
        self.books = Books()
        self._instance = instance
        self._broker = broker
        self._rebuilt = rebuilt
        self._positions: Counter[str] = Counter()
        self._names = {
            store.service: StoreName(site=instance.site, service=store.service, store=store.store)
            for store in instance.stores
        }

    async def read(self) -> Books:
        """Read what is new, and return everything."""
        for store in self._instance.stores:
            async with opened(store) as database:
                await self._read_store(self._names[store.service].source, database)
                await self._read_stream(self._names[store.service])
                if store.service == "audit":
                    await self._read_log(database)
                await self._read_applied(store.service, database)
        return self.books

    async def compare(self) -> Books:
        """Compare every read model with the one built from zero; to be called once all is still."""
        self.books.unlike, self.books.rows = [], 0
        for store in self._instance.stores:
            async with opened(store) as database:
                compared, unlike = await self._rebuilt[store.service].differences(database)
                self.books.rows += compared
                self.books.unlike += [f"{store.service} {difference}" for difference in unlike]
        return self.books

    async def _read_store(self, source: str, database: Database) -> None:
        found = self.books.stored.setdefault(source, [])
        for row in await mappings(database, _EVENTS[database.dialect], after=self._positions[source]):
            event = Event.of(bytes(row["raw"]))
            columns = (row["id"], (row["aggregate_type"], row["aggregate_id"]), row["version"])
            if columns != event[:3]:
                raise ValueError(f"{source}: the columns {columns} are not those of the event {event}")
            found.append(event)
            self._positions[source] = max(self._positions[source], row["position"])

    async def _read_stream(self, name: StoreName) -> None:
        found = self.books.streamed.setdefault(name.source, [])
        for message_id, raw in await read_on(self._broker, name.stream, len(found)):
            found.append((message_id, Event.of(raw)))
            for model in self._rebuilt.values():
                await model.apply(name.service, raw)

    async def _read_log(self, database: Database) -> None:
        query = (
            "SELECT log_entry.sequence, event_id, entry, event_bytes FROM log_entry JOIN log_content "
            "ON log_content.sequence = log_entry.sequence "
            "WHERE log_entry.sequence >= :after ORDER BY log_entry.sequence"
        )
        for row in await mappings(database, query, after=len(self.books.log)):
            digest = hashlib.sha256(row["event_bytes"]).hexdigest()
            self.books.log.append(Line(row["event_id"], digest, hashlib.sha256(b"\x00" + bytes(row["entry"])).digest()))

    async def _read_applied(self, service: str, database: Database) -> None:
        found = {
            Reader(service, projection, name.source): Applied()
            for projection, services in MODELS[service].reads.items()
            for name in self._names.values()
            if name.service in services
        }

        def of(row: RowMapping) -> Applied:
            return found[Reader(service, row["projection"], row["source"])]

        for row in await mappings(database, "SELECT projection, source, stream_sequence FROM feeds"):
            of(row).sequence = row["stream_sequence"]
        for row in await mappings(database, _HEADS):
            of(row).heads[row["aggregate_type"], row["aggregate_id"]] = row["last_version"]
        for row in await mappings(database, _HELD):
            of(row).held = row["events"]
        self.books.applied.update(found)


@asynccontextmanager
async def opened(store: StoreLocation) -> AsyncIterator[Database]:
    """Open a service's database beside the service, for reading."""
    url = make_url(store.url)
    if store.password_file is not None:
        url = url.set(password=store.password_file.read_text(encoding="ascii").strip())
    database = await Database.open(url.render_as_string(hide_password=False))
    try:
        yield database
    finally:
        await database.close()


async def mappings(database: Database, query: str, **values: object) -> Sequence[RowMapping]:
    async with database.read() as conn:
        return (await conn.execute(text(query), values)).mappings().all()


async def read_on(broker: Broker, stream: str, after: int) -> list[tuple[str, bytes]]:
    """Return message id and bytes of every message of a stream behind sequence ``after``; patient with the server.

    Raises:
        ValueError: the stream's sequences have a hole.
    """
    found: list[tuple[str, bytes]] = []
    async with asyncio.timeout(_READ_WITHIN_S):
        while True:
            try:
                last = (await broker.jetstream.stream_info(stream)).state.last_seq
                while after + len(found) < last:
                    found += await _page(broker, stream, after + len(found), last)
            except NotFoundError:
                return found
            except (NatsError, TimeoutError, OSError):
                await asyncio.sleep(_AGAIN_AFTER_S)
            else:
                return found


async def _page(broker: Broker, stream: str, after: int, last: int) -> list[tuple[str, bytes]]:
    config = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        ack_policy=api.AckPolicy.NONE,
        inactive_threshold=30,
    )
    subscription = await broker.jetstream.pull_subscribe("", stream=stream, config=config)
    page: list[tuple[str, bytes]] = []
    try:
        while after + len(page) < last:
            for message in await subscription.fetch(min(_PAGE, last - after - len(page)), timeout=_FETCH_TIMEOUT_S):
                sequence = message.metadata.sequence.stream
                if sequence != after + len(page) + 1:
                    raise ValueError(f"{stream}: message {sequence} follows {after + len(page)}")
                page.append(((message.headers or {}).get("Nats-Msg-Id", ""), message.data))
    finally:
        await subscription.unsubscribe()
    return page
