"""Pulling from a durable JetStream consumer: messages are handed on as they come, in batches of what is there.

The client library's own ``fetch`` waits for a full batch or its time-out; here one request of many messages stays open
and every message is taken at once. Heartbeats of the server tell an idle stream from a dead one.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NotFoundError

from spoel_common.messaging.broker import Broker
from spoel_common.messaging.publish import POSITION_HEADER, XID_HEADER

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

MAX_BATCH = 250
_EXPIRES_S = 10.0
_HEARTBEAT_S = 1.0
_SILENCE_S = 3.0
_ACK_WAIT_S = 30.0
_NS = 1_000_000_000


class PullBroken(Exception):
    """The consumer is gone, or the server no longer answers: open it again."""


class Delivery(NamedTuple):
    """One message of a stream.

    Attributes:
        sequence: its sequence in the stream.
        xid: place in the store's order, from the relay's headers; 0 where they are missing.
        position: likewise.
    """

    sequence: int
    subject: str
    raw: bytes
    xid: int
    position: int
    reply: str


class Pull:
    """An open pull on one durable consumer."""

    def __init__(self, broker: Broker, stream: str, consumer: str) -> None:
        self._broker = broker
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._messages: asyncio.Queue[Msg] = asyncio.Queue()
        self._asked = 0
        self._asked_until_s = 0.0
        self._heard_s = time.monotonic()
        self._inbox = ""
        self._subscription: Subscription | None = None

    @classmethod
    async def open(cls, broker: Broker, stream: str, consumer: str, after_sequence: int) -> Self:
        """Make the durable consumer so that it continues behind ``after_sequence``, and listen.

        A consumer of that name that stands elsewhere, or has messages under way to somebody, is made anew.

        Raises:
            BrokerAway, nats.errors.Error: no connection, no answer, or refused.
        """
        await _place_consumer(broker, stream, consumer, after_sequence)
        pull = cls(broker, stream, consumer)
        pull._inbox = broker.client.new_inbox()
        pull._subscription = await broker.client.subscribe(pull._inbox, cb=pull._take)
        return pull

    async def next_batch(self, wait_s: float) -> list[Delivery]:
        """Return what has come, at most ``MAX_BATCH`` messages; wait up to ``wait_s`` for the first.

        Raises:
            PullBroken: open it again.
            BrokerAway: no connection.
        """
        until_s = time.monotonic() + wait_s
        batch: list[Delivery] = []
        while not batch:
            await self._ask()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                async with asyncio.timeout(min(left_s, _HEARTBEAT_S)):
                    message = await self._messages.get()
            except TimeoutError:
                continue
            self._sort(message, batch)
            while not self._messages.empty() and len(batch) < MAX_BATCH:
                self._sort(self._messages.get_nowait(), batch)
        return batch

    async def acknowledge(self, batch: Sequence[Delivery]) -> None:
        """Tell the server that these need not come again; a lost acknowledgement only costs a redelivery."""
        client = self._broker.client
        for delivery in batch:
            await client.publish(delivery.reply, b"+ACK")

    async def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None and self._broker.connected:
            await self._subscription.unsubscribe()

    async def _take(self, message: Msg) -> None:
        self._messages.put_nowait(message)

    async def _ask(self) -> None:
        client = self._broker.client
        now_s = time.monotonic()
        if self._asked > 0 and now_s < self._asked_until_s:
            if now_s - self._heard_s > _SILENCE_S:
                raise PullBroken("no heartbeat from the server")
            return
        request = {
            "batch": MAX_BATCH,
            "expires": int(_EXPIRES_S * _NS),
            "idle_heartbeat": int(_HEARTBEAT_S * _NS),
        }
        self._asked = MAX_BATCH
        self._asked_until_s = now_s + _EXPIRES_S + _HEARTBEAT_S
        self._heard_s = now_s
        await client.publish(self._next, json.dumps(request).encode(), reply=self._inbox)

    def _sort(self, message: Msg, batch: list[Delivery]) -> None:
        self._heard_s = time.monotonic()
        headers = message.headers or {}
        status = headers.get(api.Header.STATUS.value)
        if status is None:
            self._asked -= 1
            batch.append(_delivery(message, headers))
        elif status in (api.StatusCode.NO_MESSAGES.value, api.StatusCode.REQUEST_TIMEOUT.value):
            self._asked = 0
        elif status != api.StatusCode.CONTROL_MESSAGE.value:
            raise PullBroken(f"{status} {headers.get(api.Header.DESCRIPTION.value, '')}")


def _delivery(message: Msg, headers: dict[str, str]) -> Delivery:
    return Delivery(
        sequence=message.metadata.sequence.stream,
        subject=message.subject,
        raw=message.data,
        xid=_number(headers.get(XID_HEADER)),
        position=_number(headers.get(POSITION_HEADER)),
        reply=message.reply,
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


async def _place_consumer(broker: Broker, stream: str, consumer: str, after_sequence: int) -> None:
    jetstream = broker.jetstream
    try:
        found = await jetstream.consumer_info(stream, consumer)
    except NotFoundError:
        pass
    else:
        delivered = found.delivered.stream_seq if found.delivered is not None else -1
        if delivered == after_sequence and not found.num_ack_pending:
            return
        await jetstream.delete_consumer(stream, consumer)
    config = api.ConsumerConfig(
        name=consumer,
        durable_name=consumer,
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after_sequence + 1,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=_ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=4 * MAX_BATCH,
        replay_policy=api.ReplayPolicy.INSTANT,
    )
    await jetstream.add_consumer(stream, config)
