"""A relay in a process of its own, killed or stopped at any moment: all of it once, and in order."""

import asyncio
import contextlib
import os
import random
import signal

import pytest
from tests.common import relay_process
from tests.common.relaying import append_many, check_complete, push_all, reached, stored
from tests.common.shop import Shop
from tests.common.stream_reading import last_sequence, read_stream

from spoel_common.messaging import Relay
from spoel_common.messaging.relay import read_cursor
from spoel_common.messaging.streams import last_message

pytestmark = pytest.mark.invariant("INV-3")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request) -> str:
    return request.getfixturevalue("new_sqlite" if request.param == "sqlite" else "new_postgres")()


@pytest.fixture
async def shop(new_shop, open_database, url) -> Shop:
    return new_shop(await open_database(url), store="main")


@pytest.fixture
def child(tmp_path, nats_url, url, site):
    """Return a function that starts a relay process for the shop's store; it is killed behind the test."""
    started = []

    def start(*options: object):
        started.append(relay_process.start(tmp_path / "relay.log", url, nats_url, site, *options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


async def ended(process) -> int:
    return await asyncio.wait_for(asyncio.to_thread(process.wait), 60)


async def test_a_relay_killed_at_a_chosen_instruction_loses_and_repeats_nothing(shop, broker, child):
    await append_many(shop, 400)
    for place in relay_process.PLACES:
        assert await ended(child("--dies", place)) == -signal.SIGKILL
        assert await last_sequence(broker, shop.name) < 400

    successor = Relay(shop.store, broker)
    await successor.resume()
    await push_all(successor)

    await check_complete(shop, broker)


async def test_a_relay_killed_at_any_moment_loses_and_repeats_nothing(shop, broker, child, eventually):
    await append_many(shop, 1_000)
    moments = random.Random(11)
    for goal in (40, 150):
        process = child()
        await eventually(lambda goal=goal: reached(broker, shop, goal), 60)
        await asyncio.sleep(moments.uniform(0, 0.02))
        process.kill()
        await ended(process)
        assert await last_sequence(broker, shop.name) < 1_000

    successor = Relay(shop.store, broker)
    await successor.resume()
    await push_all(successor)

    await check_complete(shop, broker)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_leader_that_was_stopped_wakes_behind_its_successor(
    shop, broker, child, background, eventually, caught_up
):
    """Its link to PostgreSQL stays up, so its lease must end; and what it was about to send comes too late."""
    process = child()
    moments = random.Random(5)
    for number in range(3):
        head = await shop.store.count()
        await append_many(shop, 200, start=1_000 * number)
        await eventually(lambda goal=head + 10: reached(broker, shop, goal), 60)
        await asyncio.sleep(moments.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGSTOP)
        successor = Relay(shop.store, broker)
        leading = background(successor.run())
        await append_many(shop, 50, start=1_000 * number + 500)
        await caught_up(shop, broker, 60)

        os.kill(process.pid, signal.SIGCONT)
        await append_many(shop, 50, start=1_000 * number + 600)
        await caught_up(shop, broker, 60)
        await check_complete(shop, broker)
        assert successor.problem is None
        leading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leading

    assert process.poll() is None  # it went on waiting and leads again
    await append_many(shop, 50, start=9_000)
    await caught_up(shop, broker, 60)
    await check_complete(shop, broker)

    async def saved() -> bool:
        cursor = await read_cursor(shop.store)
        return cursor is not None and cursor.cursor == await shop.store.head()

    await eventually(saved)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("place", ["half-sent", "published-not-saved"])
async def test_a_republishing_that_was_killed_midway_goes_on_where_it_was(shop, broker, child, place):
    await append_many(shop, 100)
    relay = Relay(shop.store, broker)
    await relay.resume()
    await push_all(relay)
    assert await ended(child("--dies", place, "--republish-from", 31)) == -signal.SIGKILL
    await append_many(shop, 10, start=100)
    assert (await last_message(broker, shop.name)).republication is not None

    successor = Relay(shop.store, broker)
    await successor.resume()
    await push_all(successor)

    messages = [(message.event_id.partition(":")[0], message.raw) for message in await read_stream(broker, shop.name)]
    everything = await stored(shop)
    assert messages == everything[:100] + everything[30:]
    assert (await last_message(broker, shop.name)).republication is None
