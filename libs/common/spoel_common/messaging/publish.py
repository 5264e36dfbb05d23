"""Publishing of stored events in fenced, atomic batches."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

from nats.js import api
from nats.js.errors import APIError
from nats.protocol.command import hpub_cmd

from spoel_common.ids import new_id
from spoel_common.messaging.broker import Broker
from spoel_common.store import Cursor, StoredEvent, StoreName
from spoel_common.store.names import quoted

POSITION_HEADER = "Spoel-Position"
XID_HEADER = "Spoel-Xid"
MESSAGE_ID_HEADER = api.Header.MSG_ID.value
_BATCH_ID = api.Header.BATCH_ID.value
_BATCH_SEQUENCE = api.Header.BATCH_SEQUENCE.value
_LAST_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
_TIMEOUT_S = 5.0
_AGAIN = ":"


class NotPublished(Exception):
    """The server refused the batch: as a whole, so nothing of it is in the stream by this attempt."""


class Republication(NamedTuple):
    """Events that the stream has already, published once more. It is part of these messages' ids.

    The server refuses an id that it has seen in the last minutes; and who finds such a message at the stream's end
    knows that the publishing of old events was under way, and how far it was to go.

    Attributes:
        behind: the stream's last sequence when it began; tells it from others.
        until: place of the newest event that the stream had already.
    """

    behind: int
    until: Cursor

    @classmethod
    def split(cls, message_id: str) -> tuple[str, Self | None]:
        """Return the event's id, and of which republication this message is, if of any."""
        quoted, _, text = message_id.partition(_AGAIN)
        event_id = unquote(quoted)
        if not text:
            return event_id, None
        behind, xid, position = (int(part) for part in text.split("."))
        return event_id, cls(behind, Cursor(xid, position))

    def __str__(self) -> str:
        """Return what is added to the ids."""
        return f"{_AGAIN}{self.behind}.{self.until.xid}.{self.until.position}"


class Batch:
    """Events that are published together, encoded already but for what is known only when they are sent.

    Attributes:
        events: at least one, at most the server's limit of 1,000.
    """

    def __init__(
        self, name: StoreName, events: Sequence[StoredEvent], republication: Republication | None = None
    ) -> None:
        self.events = events
        self._name = name
        self._republication = republication
        self._id = new_id()
        self._between = b"".join(self._encode(index) for index in range(1, len(events) - 1))

    async def publish(self, broker: Broker, last_sequence: int) -> int:
        """Publish the events in order, all or none, if the store's last message in the stream is ``last_sequence``.

        Returns:
            The stream sequence of the batch's last message.

        Raises:
            NotPublished: the stream has moved on, an id is a duplicate, or the batch was not taken.
            nats.errors.Error: no answer; whether it is published is unknown.
            BrokerAway: no connection; nothing was sent.
        """
        client = broker.client
        last = len(self.events) - 1
        fence = {
            api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(last_sequence),
            _LAST_SUBJECT: self._name.wildcard,
            api.Header.EXPECTED_STREAM.value: self._name.stream,
        }
        if last > 0:
            await client.publish(self._subject(0), self.events[0].raw, headers=self._headers(0) | fence)
            await client.write(self._between)
            end = {api.Header.BATCH_COMMIT.value: "1"}
        else:
            end = fence
        answer = await client.request(
            self._subject(last), self.events[last].raw, timeout=_TIMEOUT_S, headers=self._headers(last) | end
        )
        return _sequence(answer.data)

    def _encode(self, index: int) -> bytes:
        lines = [f"{key}: {value}\r\n" for key, value in self._headers(index).items()]
        return hpub_cmd(self._subject(index), "", f"NATS/1.0\r\n{''.join(lines)}\r\n".encode(), self.events[index].raw)

    def _subject(self, index: int) -> str:
        return self._name.subject(self.events[index].aggregate, self.events[index].type)

    def _headers(self, index: int) -> dict[str, str]:
        event = self.events[index]
        again = self._republication is not None and event.cursor <= self._republication.until
        message_id = quoted(event.id)
        headers = {
            MESSAGE_ID_HEADER: f"{message_id}{self._republication}" if again else message_id,
            POSITION_HEADER: str(event.position),
            XID_HEADER: str(event.xid),
        }
        if len(self.events) > 1:
            headers[_BATCH_ID] = self._id
            headers[_BATCH_SEQUENCE] = str(index + 1)
        return headers


async def publish_batch(broker: Broker, name: StoreName, batch: Sequence[StoredEvent], last_sequence: int) -> int:
    """Publish events as one ``Batch``; see there."""
    return await Batch(name, batch).publish(broker, last_sequence)


def _sequence(data: bytes) -> int:
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        raise NotPublished(str(APIError(**answer["error"])))
    if answer.get("duplicate"):
        raise NotPublished(f"the stream has it already, at {answer['seq']}")
    return int(answer["seq"])
