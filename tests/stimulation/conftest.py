"""Room nodes for the tests of stimulation."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.stimulation.clinic import TEMPLATE, fast_clock, simulated

from spoel_common.messaging import Consumer, Projection
from spoel_common.store import Database, migrate

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session", autouse=True)
def journal_template(tmp_path_factory):
    """Make the journal that every node of these tests begins with."""
    path = tmp_path_factory.mktemp("journal") / "template.db"
    asyncio.run(_migrated(f"sqlite:///{path}"))
    TEMPLATE.append(path)
    yield
    TEMPLATE.clear()


@pytest.fixture
def tmp_path(tmp_path):
    """Return a folder in memory where there is one: a journal waits for its disk at every event."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY, prefix="spoel-") as folder:
        yield Path(folder)


async def _migrated(url):
    database = await Database.open(url)
    await migrate(database, "spoel_stimulation")
    await database.close()


@pytest.fixture
async def clinic(tmp_path):
    """A room node with one room, open, its device connected."""
    async with simulated(tmp_path, fast_clock()) as clinic, clinic.opened():
        await clinic.ready()
        yield clinic


@pytest.fixture
async def slow_clinic(tmp_path):
    """As ``clinic``, with trains that last long enough to do something in the middle of one."""
    async with simulated(tmp_path, fast_clock(8)) as clinic, clinic.opened():
        await clinic.ready()
        yield clinic


@pytest.fixture
async def closed_clinic(tmp_path):
    """A room node that the test opens, closes and opens again by itself."""
    async with simulated(tmp_path, fast_clock()) as clinic:
        yield clinic


@pytest.fixture
async def two_rooms_closed(tmp_path):
    """As ``closed_clinic``, with two rooms."""
    async with simulated(tmp_path, fast_clock(), (1, 2)) as clinic:
        yield clinic


@pytest.fixture
async def two_rooms(tmp_path):
    """A room node with two rooms."""
    async with simulated(tmp_path, fast_clock(), (1, 2)) as clinic, clinic.opened():
        await clinic.ready("room-1")
        await clinic.ready("room-2")
        yield clinic


@pytest.fixture
async def heard(site, broker, open_database, new_sqlite, background):
    """Return the envelopes that the room's stream carries, in their order."""
    envelopes = []

    async def apply(_conn, envelope, _decoded, _raw):
        envelopes.append(envelope)

    projection = Projection(name="heard", version=1, services=("stimulation",), catalogue=None, apply=apply)
    background(Consumer(projection, await open_database(new_sqlite()), broker, site, discover_every_s=0.2).run())
    return envelopes
