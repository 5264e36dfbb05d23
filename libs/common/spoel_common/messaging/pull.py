"""Pulling from a durable JetStream consumer: messages are handed on as they come, in batches of what is there.

The client library's own ``fetch`` waits for a full batch or its time-out; here requests stay open, a batch ahead of
what is being worked on, and a message behind which nothing waits is taken at once. Heartbeats of the server tell an
idle stream from a dead one. Messages are read strictly in order, so one acknowledgement stands for all before it.
"""

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Self

from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NotFoundError

from spoel_common.messaging.broker import Broker
from spoel_common.messaging.publish import POSITION_HEADER, XID_HEADER

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

MAX_BATCH = 250
_ASKED = 2 * MAX_BATCH
_GATHER_S = 0.05
_EXPIRES_S = 10.0
_HEARTBEAT_S = 1.0
_SILENCE_S = 3.0
_ACK_WAIT_S = 30.0
_NS = 1_000_000_000
_PENDING_HEADER = "Nats-Pending-Messages"
_REPLY_TOKENS = 9
_REPLY_TOKENS_OF_DOMAIN = 12


class PullBroken(Exception):
    """The consumer is gone, or the server no longer answers: open it again."""


class Delivery(NamedTuple):
    """One message of a stream.

    Attributes:
        sequence: its sequence in the stream.
        xid: place in the store's order, from the relay's headers; 0 where they are missing.
        position: likewise.
        waiting: how many messages of the stream waited for delivery behind it.
    """

    sequence: int
    subject: str
    raw: bytes
    xid: int
    position: int
    reply: str
    waiting: int = 0


class Pull:
    """An open pull on one durable consumer."""

    def __init__(self, broker: Broker, stream: str, consumer: str) -> None:
        self._broker = broker
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._messages: deque[Msg] = deque()
        self._came = asyncio.Event()
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
        """Return up to ``MAX_BATCH`` messages; wait up to ``wait_s`` for the first, and a moment for those behind it.

        Raises:
            PullBroken: open it again.
            BrokerAway: no connection.
        """
        batch: list[Delivery] = []
        until_s = time.monotonic() + wait_s
        await self._ask()
        while not batch and await self._more_before(until_s):
            self._sort(self._messages.popleft(), batch)
        while batch and len(batch) < MAX_BATCH:
            if not self._messages and not batch[-1].waiting:
                break
            if not await self._more_before(time.monotonic() + _GATHER_S):
                break
            self._sort(self._messages.popleft(), batch)
        return batch

    async def acknowledge(self, last: Delivery) -> None:
        """Tell the server that this one and all before it need not come again; if it gets lost, they come again."""
        await self._broker.client.publish(last.reply, b"+ACK")

    async def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None and self._broker.connected:
            await self._subscription.unsubscribe()

    async def _take(self, message: Msg) -> None:
        self._heard_s = time.monotonic()
        self._messages.append(message)
        self._came.set()

    async def _more_before(self, until_s: float) -> bool:
        """Wait until a message is there, at most until this moment of the monotonic clock; tell whether one is."""
        while not self._messages:
            await self._ask()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            self._came.clear()
            try:
                async with asyncio.timeout(min(left_s, _HEARTBEAT_S)):
                    await self._came.wait()
            except TimeoutError:
                if time.monotonic() - self._heard_s > _SILENCE_S:
                    raise PullBroken("no heartbeat from the server") from None
        return True

    async def _ask(self) -> None:
        """Keep requests open for more than a batch, so that the next one comes while this one is worked on."""
        client = self._broker.client
        now_s = time.monotonic()
        if now_s >= self._asked_until_s:
            self._asked = 0
        if self._asked > _ASKED - MAX_BATCH:
            return
        more = _ASKED - self._asked
        request = {"batch": more, "expires": int(_EXPIRES_S * _NS), "idle_heartbeat": int(_HEARTBEAT_S * _NS)}
        if self._asked == 0:
            self._heard_s = now_s
        self._asked += more
        self._asked_until_s = now_s + _EXPIRES_S + _HEARTBEAT_S
        await client.publish(self._next, json.dumps(request).encode(), reply=self._inbox)

    def _sort(self, message: Msg, batch: list[Delivery]) -> None:
        headers = message.headers or {}
        status = headers.get(api.Header.STATUS.value)
        if status is None:
            self._asked -= 1
            batch.append(_delivery(message, headers))
        elif status in (api.StatusCode.NO_MESSAGES.value, api.StatusCode.REQUEST_TIMEOUT.value):
            self._asked = max(0, self._asked - _number(headers.get(_PENDING_HEADER)))
        elif status != api.StatusCode.CONTROL_MESSAGE.value:
            raise PullBroken(f"{status} {headers.get(api.Header.DESCRIPTION.value, '')}")


def _delivery(message: Msg, headers: dict[str, str]) -> Delivery:
    """Read a message; its reply subject ends with …, stream sequence, consumer sequence, time, number waiting."""
    tokens = message.reply.split(".")
    if len(tokens) == _REPLY_TOKENS_OF_DOMAIN:
        tokens.pop()
    elif len(tokens) != _REPLY_TOKENS:
        raise PullBroken(f"a message with the unknown reply subject {message.reply}")
    return Delivery(
        sequence=int(tokens[-4]),
        subject=message.subject,
        raw=message.data,
        xid=_number(headers.get(XID_HEADER)),
        position=_number(headers.get(POSITION_HEADER)),
        reply=message.reply,
        waiting=int(tokens[-1]),
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
        whole = found.config.ack_policy == api.AckPolicy.ALL
        if whole and delivered == after_sequence and not found.num_ack_pending:
            return
        await jetstream.delete_consumer(stream, consumer)
    config = api.ConsumerConfig(
        name=consumer,
        durable_name=consumer,
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after_sequence + 1,
        ack_policy=api.AckPolicy.ALL,
        ack_wait=_ACK_WAIT_S,
        max_deliver=-1,
        max_ack_pending=4 * MAX_BATCH,
        replay_policy=api.ReplayPolicy.INSTANT,
    )
    await jetstream.add_consumer(stream, config)
