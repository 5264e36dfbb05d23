"""Asking a store's owner to send again what is missing, and answering such a request from SQL.

A consumer that has an event but not the one before it asks at ``spoel-resend.<site>.<service>.<store>``. The owner
answers with the stored bytes, one event a line (JSON as it is written here holds no line break), up to 900,000 bytes;
whoever needs more asks for the rest. What comes goes into the inbox as if it had come through the stream.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.msg import Msg
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.events import Envelope
from spoel_common.messaging.aside import State
from spoel_common.messaging.broker import Broker
from spoel_common.messaging.heads import FeedKey
from spoel_common.messaging.pull import Delivery
from spoel_common.store import Database, EventStore, StoreName
from spoel_common.store.schema import events, held, inbox

_log = structlog.get_logger(__name__)

ANSWER_BYTES = 900_000
ASK_AGAIN_S = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0)
"""Pauses before each request for one gap that the owner answered without filling it; after the last it is asked for no
more until the consumer starts again."""

GAPS_AT_ONCE = 1_000
_PROBLEM = "Spoel-Problem"
_LINE = b"\n"
_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 1.0
_AWAY_S = 5.0


class NotResent(Exception):
    """The owner did not send what is missing."""


class OwnerAway(NotResent):
    """Nobody answers for this store at the moment."""


class ResendRefused(NotResent):
    """The owner's answer says why it sends nothing."""


class ResendInvalid(NotResent):
    """The answer holds something else than was asked for; nothing of it is used."""


class ResendRequest(BaseModel):
    """Which events are missing; both versions are missing too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aggregate_type: str
    aggregate_id: str
    from_version: int = Field(ge=1)
    to_version: int = Field(ge=1)


class Resender:
    """Answers requests for events of one store. Several processes of its service share them."""

    def __init__(self, store: EventStore, broker: Broker) -> None:
        self._store = store
        self._broker = broker

    async def run(self) -> None:
        """Answer until cancelled; wait for NATS as long as it takes."""
        subject = self._store.name.resend_subject
        client, subscription = None, None
        try:
            while True:
                await self._broker.wait_connected()
                if client is not self._broker.client:  # the broker replaces a client that gave up
                    client = self._broker.client
                    subscription = await client.subscribe(subject, queue="owner", cb=self._answer)
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            if subscription is not None and client is not None and client.is_connected:
                await subscription.unsubscribe()

    async def _answer(self, message: Msg) -> None:
        body, headers = b"", {}
        try:
            body = await self._read(ResendRequest.model_validate_json(message.data))
        except ValidationError:
            headers[_PROBLEM] = "the request is not of the form that this service knows"
        except (SQLAlchemyError, OSError) as error:
            headers[_PROBLEM] = f"the store cannot be read at the moment ({type(error).__name__})"
        if not body and not headers:
            headers[_PROBLEM] = "the store has no such events"
        await self._broker.client.publish(message.reply, body, headers=headers or None)

    async def _read(self, request: ResendRequest) -> bytes:
        """Return the first of these events that an answer has room for, at least one if there is any."""
        query = (
            select(events.c.raw)
            .where(events.c.aggregate_type == request.aggregate_type)
            .where(events.c.aggregate_id == request.aggregate_id)
            .where(events.c.version.between(request.from_version, request.to_version))
            .order_by(events.c.version)
        )
        lines: list[bytes] = []
        left = ANSWER_BYTES
        async with self._store.database.read() as conn:
            async for (raw,) in await conn.stream(query):
                left -= len(raw) + 1
                if left < 0 and lines:
                    break
                lines.append(bytes(raw))
        return _LINE.join(lines)


async def ask_owner(broker: Broker, name: StoreName, request: ResendRequest) -> list[bytes]:
    """Return the missing events' bytes, in order of version; all that were asked for, or the first of them.

    Raises:
        OwnerAway: nobody answers.
        ResendRefused: the owner says why it sends nothing.
        ResendInvalid: something else came.
        BrokerAway: no connection.
    """
    try:
        answer = await broker.client.request(
            name.resend_subject, request.model_dump_json().encode(), timeout=_TIMEOUT_S
        )
    except (nats.errors.Error, TimeoutError) as error:
        raise OwnerAway(f"{name.source} does not answer") from error
    problem = (answer.headers or {}).get(_PROBLEM)
    if problem is not None:
        raise ResendRefused(f"{name.source}: {problem}")
    raws = answer.data.split(_LINE)
    for version, raw in enumerate(raws, start=request.from_version):
        _check(raw, name, request, version)
    return raws


def _check(raw: bytes, name: StoreName, request: ResendRequest, version: int) -> None:
    try:
        envelope = Envelope.from_bytes(raw)
    except ValidationError as error:
        raise ResendInvalid(f"{name.source} sent bytes that are no event") from error
    found = (envelope.source, envelope.aggregatetype, envelope.subject, envelope.aggregateversion)
    if found != (name.source, request.aggregate_type, request.aggregate_id, version) or version > request.to_version:
        raise ResendInvalid(f"{name.source} sent {found}, asked for {request} from version {version}")


@dataclass
class _Asking:
    """How often one gap was asked for, and when last (monotonic clock)."""

    times: int = 0
    asked_s: float = 0.0


class GapFiller:
    """Asks for what is missing of one feed, ever more seldom while it does not come.

    Args:
        broker: where to ask.
        database: holds what is known of the feed.
        key: of the feed.
        hand_over: is given what came, in order, to take it in.
    """

    def __init__(
        self,
        broker: Broker,
        database: Database,
        key: FeedKey,
        hand_over: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self._broker = broker
        self._database = database
        self._key = key
        self._name = StoreName.from_source(key[2])
        self._hand_over = hand_over
        self._asking: dict[ResendRequest, _Asking] = {}
        self._away_until_s = 0.0

    async def look(self) -> None:
        """Ask once for every gap whose time has come; while the owner is away, for one of them now and then.

        Raises:
            BrokerAway: no connection.
            sqlalchemy.exc.SQLAlchemyError, OSError: the database failed.
        """
        if time.monotonic() < self._away_until_s:
            return
        gaps = await self._gaps()
        self._asking = {gap: self._asking.get(gap, _Asking()) for gap in gaps}
        now_s = time.monotonic()
        for gap, asking in self._asking.items():
            if asking.times == len(ASK_AGAIN_S) or now_s < asking.asked_s + ASK_AGAIN_S[asking.times]:
                continue
            try:
                await self._ask(gap, asking)
            except OwnerAway as error:
                _log.warning("gap-not-filled", projection=self._key[0], problem=str(error))
                self._away_until_s = time.monotonic() + _AWAY_S
                return

    async def _ask(self, gap: ResendRequest, asking: _Asking) -> None:
        try:
            raws = await ask_owner(self._broker, self._name, gap)
        except (ResendRefused, ResendInvalid) as error:
            _log.warning("gap-not-filled", projection=self._key[0], asked=asking.times + 1, problem=str(error))
        else:
            self._hand_over([Delivery(0, "", raw, 0, 0, "") for raw in raws])
        asking.times += 1
        asking.asked_s = time.monotonic()

    async def _gaps(self) -> list[ResendRequest]:
        projection, version, source = self._key
        same = (
            (inbox.c.projection == held.c.projection)
            & (inbox.c.projection_version == held.c.projection_version)
            & (inbox.c.source == held.c.source)
            & (inbox.c.aggregate_type == held.c.aggregate_type)
            & (inbox.c.aggregate_id == held.c.aggregate_id)
        )
        query = (
            select(
                held.c.aggregate_type,
                held.c.aggregate_id,
                func.coalesce(func.max(inbox.c.last_version), 0).label("last"),
                func.min(held.c.version).label("came"),
            )
            .select_from(held.outerjoin(inbox, same))
            .where(held.c.projection == projection)
            .where(held.c.projection_version == version)
            .where(held.c.source == source)
            .where(held.c.state == State.GAP.value)
            .group_by(held.c.aggregate_type, held.c.aggregate_id)
            .order_by(func.min(held.c.held_id))
            .limit(GAPS_AT_ONCE)
        )
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        return [
            ResendRequest(
                aggregate_type=row.aggregate_type,
                aggregate_id=row.aggregate_id,
                from_version=row.last + 1,
                to_version=row.came - 1,
            )
            for row in rows
            if row.came > row.last + 1
        ]
