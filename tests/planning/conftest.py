"""Plans and clinics at each stage of their way."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from tests.planning.clinic import Clinic, Tokens, fixed_clock
from tests.planning.story import Story

from spoel_planning.app import create_app
from spoel_planning.settings import PlanningSettings

Prepare = Callable[[Clinic], Awaitable[None]]


class Prepared(NamedTuple):
    """A database to copy, and the versions of others' aggregates that were heard in it."""

    file: Path
    versions: dict[str, int]


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def measured(story) -> Story:
    story.measure_head()
    return story


@pytest.fixture
def with_threshold(measured) -> Story:
    measured.find_threshold(50)
    return measured


@pytest.fixture
def drafted(with_threshold) -> Story:
    with_threshold.draft()
    return with_threshold


@pytest.fixture
def signed(drafted) -> Story:
    drafted.sign()
    return drafted


@asynccontextmanager
async def open_clinic(database_url: str, data_dir: Path, **settings: str) -> AsyncIterator[Clinic]:
    usual = {"nats_url": "nats://127.0.0.1:1", **settings}
    wanted = PlanningSettings(database_url=database_url, data_dir=data_dir, clock=fixed_clock(), **usual)
    app = create_app(wanted, verifier=Tokens())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://planning") as http,
    ):
        yield Clinic(http, app.state.runtime)


async def hear_of_nobody(_clinic: Clinic) -> None:
    """Only the tables."""


async def hear_everything(clinic: Clinic) -> None:
    await clinic.hear_everything()


async def measure(clinic: Clinic) -> None:
    await clinic.hear_everything()
    body = {"nasion_inion_cm": 36, "tragus_tragus_cm": 36, "circumference_cm": 56}
    await clinic.done("/cases/case-1/head-measures", body)
    await clinic.measure_threshold()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Callable[[Prepare], Prepared]:
    """Return a function that makes a database once, and returns it with the versions that were heard."""
    folder = tmp_path_factory.mktemp("planning")

    async def make(prepare: Prepare) -> Prepared:
        file = folder / f"{prepare.__name__}.db"
        async with open_clinic(f"sqlite:///{file}", folder) as clinic:
            await prepare(clinic)
        return Prepared(file, clinic.versions)

    @cache
    def prepare_once(prepare: Prepare) -> Prepared:
        return asyncio.run(make(prepare))

    return prepare_once


@asynccontextmanager
async def open_copy(prepared: Prepared, folder: Path) -> AsyncIterator[Clinic]:
    file = shutil.copy(prepared.file, folder / "planning.db")
    async with open_clinic(f"sqlite:///{file}", folder) as clinic:
        clinic.versions.update(prepared.versions)
        yield clinic


@pytest.fixture
def nothing_heard(prepared) -> Prepared:
    return prepared(hear_of_nobody)


@pytest.fixture
def everything_heard(prepared) -> Prepared:
    return prepared(hear_everything)


@pytest.fixture
def threshold_measured(prepared) -> Prepared:
    return prepared(measure)


@pytest.fixture
async def quiet_clinic(tmp_path, nothing_heard) -> AsyncIterator[Clinic]:
    """A service that has heard of nobody yet."""
    async with open_copy(nothing_heard, tmp_path) as clinic:
        yield clinic


@pytest.fixture
async def clinic(tmp_path, everything_heard) -> AsyncIterator[Clinic]:
    """A service that knows the staff, a room, and a case that may be treated."""
    async with open_copy(everything_heard, tmp_path) as clinic:
        yield clinic


@pytest.fixture
async def ready_clinic(tmp_path, threshold_measured) -> AsyncIterator[Clinic]:
    """The case has its target and its threshold."""
    async with open_copy(threshold_measured, tmp_path) as clinic:
        yield clinic


@pytest.fixture
async def clinic_on_both(tmp_path, database_url) -> AsyncIterator[Clinic]:
    """A service on SQLite and one on PostgreSQL, the test runs twice; it knows staff, two rooms and a case."""
    async with open_clinic(database_url, tmp_path) as clinic:
        await clinic.hear_everything()
        await clinic.hear_room("room-2")
        yield clinic
