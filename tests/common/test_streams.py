"""Streams: made so that nothing is lost, verified at every start, found by listing; and the server's own settings."""

import pytest
from nats.js import api

from spoel_common.messaging import NatsSettings, StreamUnsafe, ensure_stream
from spoel_common.messaging.streams import find_feeds
from spoel_common.store import AggregateRef, StoreName


@pytest.fixture
def name(site, nats_server) -> StoreName:
    return StoreName(site=site, service="intake", store="main")


async def config_of(broker, name) -> api.StreamConfig:
    return (await broker.jetstream.stream_info(name.stream)).config


@pytest.mark.invariant("INV-3")
async def test_a_stream_keeps_everything_for_ever_on_disk(broker, name):
    await ensure_stream(broker, name, 1)
    config = await config_of(broker, name)
    assert config.subjects == [f"spoel.{name.site}.intake.main.>"]
    assert (config.storage, config.retention, config.discard) == ("file", "limits", "new")
    assert (config.max_age, config.max_bytes, config.max_msgs, config.max_msgs_per_subject) == (0, -1, -1, -1)
    assert (config.deny_delete, config.deny_purge, config.allow_atomic) == (True, True, True)
    assert (config.num_replicas, config.duplicate_window) == (1, 120)
    await ensure_stream(broker, name, 1)
    assert await config_of(broker, name) == config


@pytest.mark.invariant("INV-3")
async def test_messages_of_a_stream_are_neither_deleted_nor_purged(broker, name):
    await ensure_stream(broker, name, 1)
    await broker.jetstream.publish(name.subject(AggregateRef("counter", "a"), "spoel.intake.counted.v1"), b"x")
    for forbidden in (
        broker.jetstream.purge_stream(name.stream),
        broker.client.request(f"$JS.API.STREAM.MSG.DELETE.{name.stream}", b'{"seq": 1}', timeout=2),
    ):
        try:
            answer = await forbidden
        except Exception as error:  # noqa: BLE001 - whichever way the client says it
            assert "not permitted" in str(error)  # noqa: PT017 - one of the two ways
        else:
            assert b"not permitted" in answer.data
    assert (await broker.jetstream.stream_info(name.stream)).state.messages == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_age": 3600}, "max_age is 3600"),
        ({"max_msgs": 10}, "max_msgs is 10"),
        ({"max_bytes": 10_000}, "max_bytes"),
        ({"max_msgs_per_subject": 1}, "max_msgs_per_subject"),
        ({"discard": "old"}, "discard"),
        ({"storage": "memory"}, "storage"),
        ({"retention": "interest"}, "retention"),
        ({"deny_delete": False}, "deny_delete"),
        ({"deny_purge": False}, "deny_purge"),
        ({"allow_atomic": False}, "allow_atomic"),
        ({"no_ack": True, "allow_atomic": False}, "no_ack"),
        ({"persist_mode": "async", "allow_atomic": False}, "persist_mode"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_a_weaker_stream_is_refused_and_left_as_it_is(broker, name, changes, told):
    await ensure_stream(broker, name, 1)
    strong = await config_of(broker, name)
    await broker.jetstream.delete_stream(name.stream)
    await broker.jetstream.add_stream(strong.evolve(**changes))

    with pytest.raises(StreamUnsafe, match=told):
        await ensure_stream(broker, name, 1)
    assert await config_of(broker, name) != strong


async def test_a_stream_of_that_name_for_other_subjects_is_refused(broker, name):
    await ensure_stream(broker, name, 1)
    strong = await config_of(broker, name)
    await broker.jetstream.delete_stream(name.stream)
    await broker.jetstream.add_stream(strong.evolve(subjects=[f"spoel.{name.site}.>"]))
    with pytest.raises(StreamUnsafe, match="subjects"):
        await ensure_stream(broker, name, 1)


async def test_the_streams_of_the_services_that_are_asked_for_are_found(broker, name):
    names = [name, *(name.model_copy(update=other) for other in ({"store": "node-2"}, {"service": "planning"}))]
    elsewhere = name.model_copy(update={"site": f"{name.site}-b"})
    for one in [*names, elsewhere]:
        await ensure_stream(broker, one, 1)
    await broker.jetstream.publish(name.subject(AggregateRef("counter", "a"), "spoel.intake.counted.v1"), b"x")

    found = {feed.name: feed.last_sequence for feed in await find_feeds(broker, name.site, ("intake",))}
    assert found == {names[0]: 1, names[1]: 0}
    assert len(await find_feeds(broker, name.site, ("intake", "planning"))) == 3
    assert await find_feeds(broker, name.site, ("stimulation",)) == []
    await broker.jetstream.delete_stream(elsewhere.stream)


async def test_a_server_that_syncs_every_message_is_recognised(broker):
    assert await broker.check_server() is None


async def test_a_server_that_may_lose_messages_or_cannot_be_checked_is_told(connect, nats_url, weak_nats):
    assert "sync_interval: always" in str(await (await connect("a", weak_nats)).check_server())
    unknown = NatsSettings(servers=nats_url)
    assert "cannot be checked" in str(await (await connect("b", unknown)).check_server())
    silent = NatsSettings(servers=nats_url, monitor_url="http://127.0.0.1:9")
    assert "does not answer" in str(await (await connect("c", silent)).check_server())
