"""Fixtures of the small service in ``shop``."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from sqlalchemy import text
from tests.common.shop import Shop
from tests.common.stream_reading import last_sequence
from tests.common.sums import OFTEN_S, Sums

from spoel_common.messaging import Relay, WatermarkPublisher
from spoel_common.store import StoreName


@pytest.fixture(autouse=True)
def impatience(monkeypatch) -> None:
    """Where NATS is away, opening a connection returns sooner than in a service."""
    monkeypatch.setattr("spoel_common.messaging.broker._CONNECT_WAIT_S", 0.5)


@pytest.fixture
def new_shop(site) -> Callable[..., Shop]:
    numbers = itertools.count(1)

    def make(database, service: str = "intake", store: str | None = None) -> Shop:
        return Shop(database, StoreName(site=site, service=service, store=store or f"s{next(numbers)}"))

    return make


@pytest.fixture
def shop(new_shop, database) -> Shop:
    return new_shop(database, store="main")


@pytest.fixture
async def sqlite_shop(new_shop, open_database, new_sqlite) -> Shop:
    return new_shop(await open_database(new_sqlite()), store="main")


@pytest.fixture
async def postgres_shop(new_shop, open_database, new_postgres) -> Shop:
    return new_shop(await open_database(new_postgres()), store="main")


@pytest.fixture
def new_sums(site, connect, background, open_database, new_sqlite):
    """Return a function that makes and starts a consumer, on a database and a connection of its own unless given."""

    async def make(database=None, broker=None, **options) -> Sums:
        database = database or await open_database(new_sqlite())
        async with database.write() as conn:
            await conn.execute(
                text("""
                    CREATE TABLE IF NOT EXISTS sums (
                        source TEXT, aggregate TEXT, total INTEGER, events INTEGER, PRIMARY KEY (source, aggregate))""")
            )
        sums = Sums(database, broker or await connect("planning-main"), site, **options)
        sums.running = background(sums.consumer.run())
        return sums

    return make


@pytest.fixture
def publish(background, broker):
    """Return a function that runs a store's relay and watermarks, on ``broker`` unless told otherwise."""

    def start(shop: Shop, on=broker, clock=None) -> tuple[asyncio.Task, asyncio.Task]:
        marks = WatermarkPublisher(shop.store, on, clock, every_s=OFTEN_S)
        return background(Relay(shop.store, on).run()), background(marks.run())

    return start


@pytest.fixture
def caught_up(eventually):
    """Return a function that waits until a store's stream has as many messages as the store has events."""

    async def wait(shop: Shop, broker, within_s: float = 15.0) -> None:
        async def all_there() -> bool:
            return await last_sequence(broker, shop.name) >= await shop.store.count()

        await eventually(all_there, within_s)

    return wait
