"""Cases at each stage of their way."""

import pytest
import structlog
from tests.intake.service import running_intake
from tests.intake.story import NURSE, PROFESSIONAL, Story, given, indication, referral, screen, with_reason

from spoel_common.logging import configure_logging
from spoel_common.people import Role


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


@pytest.fixture
async def intake(tmp_path):
    """Intake as it runs, on SQLite, without NATS, with a staff register."""
    async with running_intake(tmp_path) as service:
        await service.verify_staff("nurse", "physician", "professional", "supervisor")
        yield service
