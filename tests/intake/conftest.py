"""Cases at each stage of their way."""

import pytest
from tests.intake.story import NURSE, PROFESSIONAL, Story, given, indication, referral, screen, with_reason

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
