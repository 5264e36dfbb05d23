"""The connection to NATS, buckets, and the server that belongs to an installation."""

import asyncio

import pytest

from spoel_common.messaging import Broker, BrokerAway, Bucket, NatsSettings
from spoel_local.nats_server import NatsNotStarted, NatsServer

AWAY = NatsSettings(servers="nats://127.0.0.1:9")


def test_addresses_are_taken_apart():
    assert NatsSettings(servers="nats://a:1, nats://b:2,").servers == ("nats://a:1", "nats://b:2")
    assert NatsSettings(servers=["nats://a:1"]).servers == ("nats://a:1",)


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a>"])
async def test_a_name_that_cannot_be_part_of_a_consumers_name_is_refused(name):
    with pytest.raises(ValueError, match="broker name"):
        Broker(AWAY, name)


async def test_connecting_returns_while_nats_is_away_and_goes_on(own_nats, connect, eventually):
    own_nats.stop()
    broker = await connect("test", own_nats.settings)
    assert not broker.connected
    with pytest.raises(BrokerAway, match="no connection to NATS"):
        _ = broker.client
    with pytest.raises(TimeoutError):
        await broker.wait_connected(0.05)

    own_nats.start()
    await broker.wait_connected(10)
    assert broker.connected
    await broker.client.flush()


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.02, 0.03, 0.05, 0.5, 1.02])
async def test_it_is_closed_soon_whatever_it_is_doing_while_nats_is_away(after_s):
    """The client's ``connect`` may swallow a cancellation, and would then try for ever."""
    connecting = asyncio.create_task(Broker.connect(AWAY, "test"))
    await asyncio.sleep(after_s)
    connecting.cancel()
    done, _ = await asyncio.wait({connecting}, timeout=2)
    assert done
    if not connecting.cancelled():
        await asyncio.wait_for(connecting.result().close(), 2)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_broken_connection_is_made_again(own_nats, connect, eventually):
    broker = await connect("test", own_nats.settings)
    own_nats.kill()
    await eventually(lambda: not broker.connected)
    own_nats.start()
    await broker.wait_connected(10)
    await broker.client.flush()


async def test_a_client_that_gave_up_is_replaced(nats_settings, connect, eventually):
    """It closes for good on some errors of the server, for example while users are being changed."""
    broker = await connect("test", nats_settings)
    first = broker.client
    await first.close()
    await eventually(lambda: broker.connected)
    assert broker.client is not first
    await broker.client.flush()


async def test_a_bucket_keeps_puts_and_removes_values(broker, site):
    bucket = await Bucket.open(broker, f"spoel-{site}-strips", ttl_s=3600)
    assert await bucket.get("room-1.session-1") is None
    await bucket.put("room-1.session-1", b"sealed")
    await bucket.put("room-1.session-1", b"sealed again")
    again = await Bucket.open(broker, f"spoel-{site}-strips", ttl_s=3600)
    assert await again.get("room-1.session-1") == b"sealed again"
    await again.delete("room-1.session-1")
    assert await bucket.get("room-1.session-1") is None
    await bucket.delete("room-1.never")


async def test_a_bucket_says_in_one_way_that_nats_is_away(own_nats, connect, eventually):
    broker = await connect("test", own_nats.settings)
    bucket = await Bucket.open(broker, "strips", ttl_s=3600)
    with pytest.raises(BrokerAway, match="InvalidKeyError"):
        await bucket.put("no key.", b"x")
    own_nats.kill()
    await eventually(lambda: not broker.connected)
    with pytest.raises(BrokerAway):
        await Bucket.open(broker, "strips", ttl_s=3600)
    with pytest.raises(BrokerAway):
        await bucket.get("room-1")
    own_nats.start()
    await broker.wait_connected(10)
    await broker.client.close()
    await eventually(lambda: broker.connected)
    await bucket.put("room-1", b"x")
    assert await bucket.get("room-1") == b"x"


async def test_a_bucket_with_another_time_to_live_is_refused(broker, site):
    await Bucket.open(broker, f"spoel-{site}-strips", ttl_s=3600)
    with pytest.raises(ValueError, match="keeps values 3600"):
        await Bucket.open(broker, f"spoel-{site}-strips", ttl_s=7200)


async def test_a_value_in_a_bucket_expires(broker, site, eventually):
    bucket = await Bucket.open(broker, f"spoel-{site}-rooms", ttl_s=1)
    await bucket.put("room-1", b"here")
    assert await bucket.get("room-1") == b"here"

    async def gone() -> bool:
        return await bucket.get("room-1") is None

    await eventually(gone, 5)


def test_a_server_that_cannot_start_says_why(nats_server, tmp_path):
    with pytest.raises(NatsNotStarted, match="address already in use"):
        NatsServer.start(tmp_path, port=nats_server.port)


def test_a_server_listens_on_this_machine_only_and_ends_when_asked(tmp_path):
    server = NatsServer.start(tmp_path / "nats")
    assert server.url.startswith("nats://127.0.0.1:")
    assert server.monitor_url.startswith("http://127.0.0.1:")
    assert server.port != server.monitor_port
    server.stop()
    server.stop()
    assert server.process.returncode is not None
