"""JetStream streams: one a store, made and verified here, found by listing."""

import json
from typing import Any, NamedTuple

import structlog
from nats.js import api
from nats.js.errors import NotFoundError

from spoel_common.messaging.broker import Broker
from spoel_common.messaging.publish import MESSAGE_ID_HEADER, Republication
from spoel_common.store import StoreName

_log = structlog.get_logger(__name__)

DUPLICATE_WINDOW_S = 120.0
MAX_MESSAGE_BYTES = 256 * 1024
_LIST_TIMEOUT_S = 5.0


class StreamUnsafe(Exception):
    """A stream is configured so that it could lose, change or mix events."""


class Feed(NamedTuple):
    """A store's stream as found on the server.

    Attributes:
        created: when the stream was made, as the server says; another text means another stream of the same name.
        last_sequence: sequence of the last message.
    """

    name: StoreName
    created: str
    last_sequence: int


class LastMessage(NamedTuple):
    """The last message of a store's stream.

    Attributes:
        republication: what it belongs to if its event was published before.
    """

    sequence: int
    event_id: str
    republication: Republication | None


async def ensure_stream(broker: Broker, name: StoreName, replicas: int) -> None:
    """Make the store's stream, or verify the one that is there; the number of replicas is brought up to date.

    File storage, kept for ever, deletion and purge denied, refusing new messages rather than dropping old ones.

    Raises:
        StreamUnsafe: the stream that is there is weaker or of other subjects; it is left as it is.
        BrokerAway: no connection.
        nats.errors.Error: NATS refused or did not answer.
    """
    jetstream = broker.jetstream
    try:
        found = (await jetstream.stream_info(name.stream)).config
    except NotFoundError:
        found = (await jetstream.add_stream(_config(name, replicas))).config
        _log.info("stream-made", stream=name.stream, replicas=replicas)
    problems = _weaknesses(found, name)
    if problems:
        raise StreamUnsafe(f"stream {name.stream}: {'; '.join(problems)}")
    if found.num_replicas != replicas:
        await jetstream.update_stream(_config(name, replicas))
        _log.info("stream-replicas-changed", stream=name.stream, replicas=replicas, before=found.num_replicas)


async def find_feeds(broker: Broker, site: str, services: tuple[str, ...]) -> list[Feed]:
    """List the streams of all stores of these services at this site."""
    client, found, offset = broker.client, [], 0
    while True:
        request = json.dumps({"subject": f"spoel.{site}.>", "offset": offset}).encode()
        answer = await client.request("$JS.API.STREAM.LIST", request, timeout=_LIST_TIMEOUT_S)
        page: dict[str, Any] = json.loads(answer.data)
        streams: list[dict[str, Any]] = page.get("streams") or []
        found += [feed for stream in streams if (feed := _feed(stream)) is not None]
        offset += len(streams)
        if not streams or offset >= int(page.get("total", 0)):
            break
    return [feed for feed in found if feed.name.site == site and feed.name.service in services]


async def last_message(broker: Broker, name: StoreName) -> LastMessage | None:
    """Return the last message of the store's stream, or None for an empty one."""
    try:
        message = await broker.jetstream.get_last_msg(name.stream, name.wildcard)
    except NotFoundError:
        return None
    headers = message.headers or {}
    event_id, republication = Republication.split(headers.get(MESSAGE_ID_HEADER, ""))
    return LastMessage(int(message.seq or 0), event_id, republication)


def _config(name: StoreName, replicas: int) -> api.StreamConfig:
    return api.StreamConfig(
        name=name.stream,
        description=f"events of {name.source}",
        subjects=[name.wildcard],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_age=0,
        max_bytes=-1,
        max_msgs=-1,
        max_consumers=-1,
        max_msgs_per_subject=-1,
        max_msg_size=MAX_MESSAGE_BYTES,
        duplicate_window=DUPLICATE_WINDOW_S,
        num_replicas=replicas,
        deny_delete=True,
        deny_purge=True,
        allow_atomic=True,
    )


def _weaknesses(config: api.StreamConfig, name: StoreName) -> list[str]:
    wanted = {
        "subjects": (config.subjects, [name.wildcard]),
        "retention": (config.retention, api.RetentionPolicy.LIMITS),
        "storage": (config.storage, api.StorageType.FILE),
        "discard": (config.discard, api.DiscardPolicy.NEW),
        "max_age": (config.max_age or 0, 0),
        "max_bytes": (config.max_bytes, -1),
        "max_msgs": (config.max_msgs, -1),
        "max_msgs_per_subject": (config.max_msgs_per_subject, -1),
        "deny_delete": (config.deny_delete, True),
        "deny_purge": (config.deny_purge, True),
        "allow_atomic": (config.allow_atomic, True),
        "persist_mode": (config.persist_mode or "default", "default"),
        "no_ack": (config.no_ack, False),
        "mirror": (config.mirror, None),
        "sources": (config.sources or None, None),
        "sealed": (config.sealed, False),
    }
    return [f"{key} is {found!r}, must be {right!r}" for key, (found, right) in wanted.items() if found != right]


def _feed(stream: dict[str, Any]) -> Feed | None:
    subjects: list[str] = stream["config"].get("subjects") or []
    try:
        name = StoreName.from_wildcard(subjects[0]) if len(subjects) == 1 else None
    except ValueError:
        name = None
    if name is None or stream["config"]["name"] != name.stream:
        return None
    return Feed(name, str(stream["created"]), int(stream["state"]["last_seq"]))
