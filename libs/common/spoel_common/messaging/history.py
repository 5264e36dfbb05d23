"""What a store's stream holds at some subjects, read at once: for a start on a restored database.

It uses a connection of its own that does not try again, so that a start does not wait where NATS is away.
"""

import nats
import nats.errors
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from spoel_common.messaging.broker import BrokerAway, NatsSettings
from spoel_common.store import StoreName

_TIMEOUT_S = 5.0
_CONNECT_S = 2
_AGAIN_S = 0.1


async def read_history(settings: NatsSettings, name: StoreName, aggregate_type: str, event_name: str) -> list[bytes]:
    """Return the bytes of every event of that kind in the store's stream, in order; none where there is no stream.

    Raises:
        BrokerAway: NATS is away, does not answer or refuses; what the stream holds is not known.
    """
    subject = name.wildcard.removesuffix(">") + f"{aggregate_type}.*.{event_name}"
    seed = settings.nkey_seed_file
    try:
        client = await nats.connect(
            servers=list(settings.servers),
            name=f"{name.service}-{name.store}-history",
            nkeys_seed=None if seed is None else str(seed),
            inbox_prefix=settings.inbox_prefix,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=_AGAIN_S,
            connect_timeout=_CONNECT_S,
            error_cb=_ignore,
        )
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise BrokerAway(f"NATS is not reached: {type(error).__name__} {error}") from error
    try:
        return await _read(client.jetstream(timeout=_TIMEOUT_S), name.stream, subject)
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise BrokerAway(f"stream {name.stream}: {type(error).__name__} {error}") from error
    finally:
        await client.close()


async def _read(jetstream: JetStreamContext, stream: str, subject: str) -> list[bytes]:
    found: list[bytes] = []
    after = 0
    while True:
        try:
            message = await jetstream.get_msg(stream, seq=after + 1, subject=subject, next=True)
        except NotFoundError:
            return found
        found.append(bytes(message.data or b""))
        after = int(message.seq or 0)


async def _ignore(_error: Exception) -> None:
    """The caller gets the error itself."""
