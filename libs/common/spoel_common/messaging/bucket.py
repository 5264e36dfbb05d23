"""Key-value buckets of JetStream, for what may expire: identity strips, the presence of rooms."""

from typing import Self

from nats.js.errors import BadRequestError, KeyNotFoundError
from nats.js.kv import KeyValue

from spoel_common.messaging.broker import Broker


class Bucket:
    """An open bucket; ``open`` makes it where it is not there yet."""

    def __init__(self, keys: KeyValue) -> None:
        self._keys = keys

    @classmethod
    async def open(cls, broker: Broker, name: str, ttl_s: float, replicas: int = 1) -> Self:
        """Open the bucket; a value disappears ``ttl_s`` seconds (wall time) after it was put.

        Raises:
            ValueError: the bucket is there with another time to live.
            BrokerAway, nats.errors.Error: no connection, no answer, or refused.
        """
        jetstream = broker.jetstream
        try:
            keys = await jetstream.create_key_value(bucket=name, ttl=ttl_s, history=1, replicas=replicas)
        except BadRequestError:
            keys = await jetstream.key_value(name)
        found_s = (await keys.status()).ttl
        if found_s != ttl_s:
            raise ValueError(f"bucket {name} keeps values {found_s} s, not {ttl_s} s")
        return cls(keys)

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None where there is none, or no longer."""
        try:
            entry = await self._keys.get(key)
        except KeyNotFoundError:
            return None
        return bytes(entry.value or b"")

    async def put(self, key: str, value: bytes) -> None:
        """Set the value of a key."""
        await self._keys.put(key, value)

    async def delete(self, key: str) -> None:
        """Remove the value of a key, its history too."""
        await self._keys.purge(key)
