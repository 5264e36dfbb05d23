"""Watermarks: what tells silence from a cut link.

Every two seconds a store says how far it is: everything committed before ``time`` lies at or before ``(xid,
position)``, and is in the stream at or before ``stream_sequence``. Who has applied that much knows the store *as of*
that time. A plain NATS message, never an event: an idle system's log does not grow.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import nats.errors
import structlog
from nats.aio.msg import Msg
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.clock import Clock, utc_now
from spoel_common.events import UtcTime
from spoel_common.messaging.broker import Broker, BrokerAway
from spoel_common.messaging.relay import read_cursor
from spoel_common.store import Cursor, EventStore, StoreName

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

_log = structlog.get_logger(__name__)

EVERY_S = 2.0
_LOOK_AGAIN_S = 0.05


class Watermark(BaseModel):
    """How far a store was at ``time`` (clock time)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    position: int
    xid: int
    stream_sequence: int
    time: UtcTime

    @property
    def cursor(self) -> Cursor:
        """The place in the store's order."""
        return Cursor(self.xid, self.position)


class Hearing:
    """A subscription to watermarks on one client; the client renews it after a reconnect."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._client = broker.client
        self._subscriptions: list[Subscription] = []

    @classmethod
    async def start(cls, broker: Broker, subjects: Sequence[str], heard: Callable[[Watermark], None]) -> Self:
        """Call ``heard`` with every valid watermark on these subjects.

        Raises:
            BrokerAway, nats.errors.Error: no connection.
        """
        hearing = cls(broker)
        for subject in subjects:
            hearing._subscriptions.append(await hearing._client.subscribe(subject, cb=partial(_take, heard)))
        return hearing

    def still_on(self, broker: Broker) -> bool:
        """Tell whether this is on the client that the broker uses now."""
        return broker.connected and broker.client is self._client

    async def stop(self) -> None:
        """Hear no more."""
        if self.still_on(self._broker):
            for subscription in self._subscriptions:
                await subscription.unsubscribe()


async def _take(heard: Callable[[Watermark], None], message: Msg) -> None:
    try:
        mark = Watermark.model_validate_json(message.data)
        expected = StoreName.from_source(mark.source).watermark_subject
    except ValueError:
        expected = ""
    if expected != message.subject:
        _log.warning("watermark-invalid", subject=message.subject)
        return
    heard(mark)


class WatermarkPublisher:
    """Publishes a store's watermark every two seconds of wall time, as long as its relay keeps up.

    Args:
        store: whose watermark.
        broker: where to.
        clock: stamps the watermark; the wall's time if left out.
    """

    def __init__(self, store: EventStore, broker: Broker, clock: Clock | None = None, every_s: float = EVERY_S) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._every_s = every_s

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            started_s = time.monotonic()
            try:
                await self.publish()
            except (BrokerAway, nats.errors.Error, SQLAlchemyError, OSError) as error:
                _log.debug("watermark-not-published", store=self._store.name.source, error=str(error))
            await asyncio.sleep(max(0.0, started_s + self._every_s - time.monotonic()))

    async def publish(self) -> Watermark:
        """Take a watermark now, wait until the stream covers it, publish it.

        Raises:
            BrokerAway: no connection.
        """
        moment = datetime.now(UTC) if self._clock is None else utc_now(self._clock)
        head = await self._store.head()
        while (saved := await read_cursor(self._store)) is None or saved[0] < head:
            if not self._broker.connected:
                raise BrokerAway("no connection to NATS: nothing is published")
            await asyncio.sleep(_LOOK_AGAIN_S)
        mark = Watermark(
            source=self._store.name.source,
            position=head.position,
            xid=head.xid,
            stream_sequence=saved[1],
            time=moment,
        )
        await self._broker.client.publish(self._store.name.watermark_subject, mark.model_dump_json().encode())
        return mark
