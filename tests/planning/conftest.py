"""Plans and clinics at each stage of their way."""

from collections.abc import AsyncIterator

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


@pytest.fixture
async def quiet_clinic(tmp_path) -> AsyncIterator[Clinic]:
    """A service that has heard of nobody yet."""
    settings = PlanningSettings(
        database_url=f"sqlite:///{tmp_path}/planning.db",
        data_dir=tmp_path,
        nats_url="nats://127.0.0.1:1",
        clock=fixed_clock(),
    )
    app = create_app(settings, verifier=Tokens())
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://planning") as http,
    ):
        yield Clinic(http, app.state.runtime)


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
