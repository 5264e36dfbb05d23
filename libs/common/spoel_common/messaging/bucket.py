"""Key-value buckets of JetStream, for what may expire: identity strips, the presence of rooms."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import nats.errors
from nats.js.errors import BadRequestError, KeyNotFoundError
from nats.js.kv import KeyValue

from spoel_common.messaging.broker import Broker, BrokerAway


class Bucket:
    """An open bucket; ``open`` makes it where it is not there yet.

    Every method raises ``BrokerAway`` where NATS is away, does not answer or refuses.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        self._broker = broker

    @classmethod
    async def open(cls, broker: Broker, name: str, ttl_s: float, replicas: int = 1) -> Self:
        """Open the bucket; a value disappears ``ttl_s`` seconds (wall time) after it was put.

        Raises:
            ValueError: the bucket is there with another time to live.
            BrokerAway: NATS is away, does not answer or refuses.
        """
        with _as_away(name):
            jetstream = broker.jetstream
            with suppress(BadRequestError):  # it is there with other settings, which are looked at below
                await jetstream.create_key_value(bucket=name, ttl=ttl_s, history=1, replicas=replicas)
            found_s = (await (await jetstream.key_value(name)).status()).ttl
        if found_s != ttl_s:
            raise ValueError(f"bucket {name} keeps values {found_s} s, not {ttl_s} s")
        return cls(broker, name)

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None where there is none, or no longer."""
        with _as_away(self.name):
            try:
                entry = await self._keys().get(key)
            except KeyNotFoundError:
                return None
            return bytes(entry.value or b"")

    async def put(self, key: str, value: bytes) -> None:
        """Set the value of a key."""
        with _as_away(self.name):
            await self._keys().put(key, value)

    async def delete(self, key: str) -> None:
        """Remove the value of a key, its history too."""
        with _as_away(self.name):
            await self._keys().purge(key)

    def _keys(self) -> KeyValue:
        stream, prefix = f"KV_{self.name}", f"$KV.{self.name}."
        return KeyValue(self.name, stream, prefix, self._broker.jetstream, direct=False)


@contextmanager
def _as_away(name: str) -> Iterator[None]:
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise BrokerAway(f"bucket {name}: {type(error).__name__} {error}") from error
