"""Cases at each stage of their way."""

import asyncio
import shutil

import pytest
import pytest_asyncio
import structlog
from tests.intake.service import running_intake
from tests.intake.story import NURSE, PROFESSIONAL, Story, given, indication, referral, screen, with_reason

from spoel_common.logging import configure_logging
from spoel_common.people import Role
from spoel_common.store import Database


@pytest.fixture
def referred() -> Story:
    story = Story()
    story.tell(referral(), with_reason(given(Role.EHR)))
    return story


@pytest.fixture
def screened(referred) -> Story:
    referred.tell(screen(), NURSE)
    return referred


@pytest.fixture
def indicated(screened) -> Story:
    screened.tell(indication(), PROFESSIONAL)
    return screened


@pytest.fixture(autouse=True)
def _quiet_logs():
    """Log as the service does; the console renderer of structlog's defaults takes seconds for a traceback."""
    configure_logging("intake", "error")
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def staffed(tmp_path_factory):
    """Return the file of a database with a staff register and nothing else."""
    folder = tmp_path_factory.mktemp("staffed")
    asyncio.run(_make_staffed(folder))
    return folder / "intake.db"


@pytest.fixture
async def tables(tmp_path, staffed):
    """An open database with intake's tables, none of them about a patient."""
    database = await Database.open(f"sqlite:///{shutil.copy(staffed, tmp_path)}")
    yield database
    await database.close()


@pytest.fixture(scope="module", autouse=True)
def no_thread_left():
    """Ask for nothing: the service that runs for all files keeps its threads, and starts more when it needs them."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(tmp_path_factory, staffed):
    """Intake as it runs, on SQLite, without NATS; started once, for a start costs more than most tests."""
    folder = tmp_path_factory.mktemp("running")
    shutil.copy(staffed, folder)
    async with running_intake(folder) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def intake(running, staffed):
    """Intake with a staff register and nothing else."""
    running.start_anew_from(staffed)
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_intake(running, staffed):
    """The same for all tests of a file together: for files whose requests are refused and store nothing."""
    running.start_anew_from(staffed)
    return running


async def _make_staffed(folder):
    async with running_intake(folder) as service:
        await service.verify_staff("nurse", "physician", "professional", "supervisor")
