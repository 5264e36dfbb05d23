"""The data files: complete, sourced, and refused when a limit is misspelt."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, ValidationError
from tests.planning.story import RULES

from spoel_planning.domain.known import local_day
from spoel_planning.domain.rules import HardLimits, Sourced, ThresholdRules, TrainTable

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def sourced_parts(part: BaseModel):
    if isinstance(part, Sourced):
        yield part
    for value in dict(part).values():
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, BaseModel):
                yield from sourced_parts(child)


def test_every_number_has_a_source():
    parts = list(sourced_parts(RULES))
    assert len(parts) > 20
    assert all(len(part.source) > 10 for part in parts)


def test_tables_that_nobody_compared_with_the_papers_say_so():
    assert not RULES.limits.longest.verified
    assert not RULES.limits.stricter.verified
    assert not RULES.limits.pause.verified
    assert not any(row.verified for row in RULES.cleared)


def test_the_stricter_table_is_nowhere_milder_and_follows_the_advice_to_cut_a_quarter():
    longest, stricter = RULES.limits.longest, RULES.limits.stricter
    for strict_row in stricter.rows:
        row = next(each for each in longest.rows if each.hz == strict_row.hz)
        for percent, strict_s in zip(stricter.percent_rmt, strict_row.train_s, strict=True):
            index = longest.percent_rmt.index(percent)
            assert strict_s <= row.train_s[index]
            if row.limit[index]:
                assert strict_s == pytest.approx(0.75 * row.train_s[index], abs=0.08)


def test_no_measurement_is_ordered_with_fewer_stimuli_than_any_search_takes():
    most = RULES.threshold.staircase.refinement_stimuli
    too_few = RULES.threshold.order.model_copy(update={"min_max_stimuli": most})
    with pytest.raises(ValidationError, match=f"{most} answers"):
        ThresholdRules.model_validate(RULES.threshold.model_dump() | {"order": too_few.model_dump()})


def test_a_misspelt_limit_is_refused():
    with pytest.raises(ValidationError):
        HardLimits.model_validate({**RULES.limits.hard.model_dump(), "max_percent_mrt": 200})


@pytest.mark.parametrize(
    "broken",
    [
        {"percent_rmt": [90.0, 100.0]},
        {"percent_rmt": [130.0, 120.0, 110.0, 100.0, 90.0]},
        {"rows": []},
    ],
)
def test_a_table_with_holes_or_out_of_order_is_refused(broken):
    with pytest.raises(ValidationError):
        TrainTable.model_validate({**RULES.limits.longest.model_dump(), **broken})


def test_rows_out_of_order_are_refused():
    table = RULES.limits.longest.model_dump()
    with pytest.raises(ValidationError, match="rows must ascend"):
        TrainTable.model_validate({**table, "rows": table["rows"][::-1]})


@pytest.mark.hazard("HZ-22")
@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 22, 22, 59, tzinfo=UTC), date(2026, 11, 22)),
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), date(2026, 11, 23)),
        (datetime(2026, 7, 1, 21, 59, tzinfo=UTC), date(2026, 7, 1)),
        (datetime(2026, 7, 1, 22, 0, tzinfo=UTC), date(2026, 7, 2)),
        (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 10, 25, 22, 59, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 10, 25, 23, 0, tzinfo=UTC), date(2026, 10, 26)),
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 21, 59, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), date(2026, 3, 30)),
    ],
)
def test_a_local_day_is_a_day_in_amsterdam_also_when_the_time_changes(moment, day):
    assert local_day(moment, AMSTERDAM) == day
