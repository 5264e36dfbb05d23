"""Plans and clinics at each stage of their way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.planning.clinic import Clinic, Tokens, fixed_clock
from tests.planning.story import Story

from spoel_planning.app import create_app
from spoel_planning.settings import PlanningSettings


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
async def open_clinic(database_url: str, data_dir: Path) -> AsyncIterator[Clinic]:
    settings = PlanningSettings(
        database_url=database_url, data_dir=data_dir, nats_url="nats://127.0.0.1:1", clock=fixed_clock()
    )
    app = create_app(settings, verifier=Tokens())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://planning") as http,
    ):
        yield Clinic(http, app.state.runtime)


@pytest.fixture
async def quiet_clinic(tmp_path, sqlite_url) -> AsyncIterator[Clinic]:
    """A service that has heard of nobody yet."""
    async with open_clinic(sqlite_url, tmp_path) as clinic:
        yield clinic


@pytest.fixture
async def clinic_on_both(tmp_path, database_url) -> AsyncIterator[Clinic]:
    """A service on SQLite and one on PostgreSQL, the test runs twice; it knows staff, two rooms and a case."""
    async with open_clinic(database_url, tmp_path) as clinic:
        await clinic.hear_everything()
        await clinic.hear_room("room-2")
        yield clinic


@pytest.fixture
async def clinic(quiet_clinic) -> Clinic:
    """A service that knows the staff, a room, and a case that may be treated."""
    await quiet_clinic.hear_everything()
    return quiet_clinic


@pytest.fixture
async def ready_clinic(clinic) -> Clinic:
    """The case has its target and its threshold."""
    body = {"nasion_inion_cm": 36, "tragus_tragus_cm": 36, "circumference_cm": 56}
    await clinic.done("/cases/case-1/head-measures", body)
    await clinic.measure_threshold()
    return clinic
