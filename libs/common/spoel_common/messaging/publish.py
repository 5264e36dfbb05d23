"""Publishing of stored events in fenced, atomic batches."""

import json
from collections.abc import Sequence
from typing import Any

from nats.js import api
from nats.js.errors import APIError

from spoel_common.ids import new_id
from spoel_common.messaging.broker import Broker
from spoel_common.store import StoredEvent, StoreName

POSITION_HEADER = "Spoel-Position"
XID_HEADER = "Spoel-Xid"
_LAST_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
_TIMEOUT_S = 5.0


class NotPublished(Exception):
    """The server refused the batch: as a whole, so nothing of it is in the stream by this attempt."""


async def publish_batch(broker: Broker, name: StoreName, batch: Sequence[StoredEvent], last_sequence: int) -> int:
    """Publish events in order, all or none, if the store's last message in the stream is still ``last_sequence``.

    Returns:
        The stream sequence of the batch's last message.

    Raises:
        NotPublished: the stream has moved on, an id is a duplicate, or the batch was not taken.
        nats.errors.Error: no answer; whether it is published is unknown.
        BrokerAway: no connection; nothing was sent.
    """
    client = broker.client
    batch_id = new_id()
    for index, event in enumerate(batch):
        headers = _headers(event)
        if index == 0:
            headers[api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(last_sequence)
            headers[_LAST_SUBJECT] = name.wildcard
            headers[api.Header.EXPECTED_STREAM.value] = name.stream
        if len(batch) > 1:
            headers[api.Header.BATCH_ID.value] = batch_id
            headers[api.Header.BATCH_SEQUENCE.value] = str(index + 1)
        subject = name.subject(event.aggregate, event.type)
        if index < len(batch) - 1:
            await client.publish(subject, event.raw, headers=headers)
            continue
        if len(batch) > 1:
            headers[api.Header.BATCH_COMMIT.value] = "1"
        answer = await client.request(subject, event.raw, timeout=_TIMEOUT_S, headers=headers)
    return _sequence(answer.data)


def _headers(event: StoredEvent) -> dict[str, str]:
    return {
        api.Header.MSG_ID.value: event.id,
        POSITION_HEADER: str(event.position),
        XID_HEADER: str(event.xid),
    }


def _sequence(data: bytes) -> int:
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        raise NotPublished(str(APIError(**answer["error"])))
    if answer.get("duplicate"):
        raise NotPublished(f"the stream has it already, at {answer['seq']}")
    return int(answer["seq"])
