"""Reading of a store's whole stream, beside the code under test."""

from typing import NamedTuple

from nats.js.errors import NotFoundError


class Message(NamedTuple):
    sequence: int
    subject: str
    headers: dict[str, str]
    raw: bytes

    @property
    def event_id(self) -> str:
        return self.headers["Nats-Msg-Id"]


async def read_stream(broker, name) -> list[Message]:
    subscription = await broker.jetstream.subscribe(name.wildcard, ordered_consumer=True)
    messages = []
    for _ in range(await last_sequence(broker, name)):
        message = await subscription.next_msg(timeout=5)
        sequence = message.metadata.sequence.stream
        messages.append(Message(sequence, message.subject, message.headers or {}, message.data))
    await subscription.unsubscribe()
    return messages


async def last_sequence(broker, name) -> int:
    try:
        return (await broker.jetstream.stream_info(name.stream)).state.last_seq
    except NotFoundError:
        return 0
