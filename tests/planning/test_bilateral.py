"""A protocol of two blocks: each side with its own target, threshold, dose and grade, under one signature."""

from datetime import timedelta

import pytest
from tests.planning.story import RULES, later

from spoel_planning.domain.catalogue import find_protocol
from spoel_planning.domain.dose import blocks_of
from spoel_planning.domain.refusals.measuring import (
    TargetMissing,
    ThresholdOfOtherEquipment,
    ThresholdOfOtherSide,
    ThresholdOutdated,
)
from spoel_planning.domain.refusals.prescribing import LimitsExceeded

BILATERAL = "bilateral-1hz-right-10hz-left"
RIGHT = {"site": "right-motor-cortex", "muscle": "left-apb"}


@pytest.fixture
def both_sides(with_threshold):
    with_threshold.find_threshold(52, number=2, **RIGHT)
    return with_threshold


@pytest.mark.requirement("PL-04")
@pytest.mark.hazard("HZ-05")
def test_each_block_rests_on_the_threshold_of_its_own_side(both_sides):
    (drafted,) = both_sides.draft(BILATERAL)
    order = drafted.order
    right, left = blocks_of(order)
    assert (right.site, right.threshold_id, order.muscle) == ("right-dlpfc", "threshold-2", "left-apb")
    assert (left.site, left.threshold_id, left.muscle) == ("left-dlpfc", "threshold-1", "right-apb")
    for block in (right, left):
        assert block.percent_mso == block.threshold_percent_mso * 120 // 100
    assert (order.pulses, order.max_pulses_per_day) == (2100, 2100)


@pytest.mark.requirement("PL-07")
def test_the_grade_is_that_of_the_worst_block_and_every_block_is_cleared(both_sides):
    (drafted,) = both_sides.draft(BILATERAL)
    assert drafted.grade == "beyond-longest-tested"
    assert [each.limit for each in drafted.findings].count("clinic-cleared-list") == 2
    assert drafted.override is None


@pytest.mark.parametrize(("site", "refused"), [("right-dlpfc", True), ("left-dlpfc", False)])
@pytest.mark.hazard("HZ-12")
def test_one_block_beyond_the_tables_that_no_row_clears_needs_an_override(both_sides, monkeypatch, site, refused):
    rows = tuple(row for row in RULES.cleared if (row.protocol_id, row.site) != (BILATERAL, site))
    monkeypatch.setattr("tests.planning.story.RULES", RULES.model_copy(update={"cleared": rows}))
    if not refused:  # the left block lies within the stricter table too
        assert both_sides.draft(BILATERAL)
        return
    with pytest.raises(LimitsExceeded):
        both_sides.draft(BILATERAL)


def test_both_sides_have_to_be_measured_and_aimed_at(with_threshold):
    with pytest.raises(ThresholdOfOtherSide, match="right-motor-cortex"):
        with_threshold.draft(BILATERAL)
    with_threshold.plan = with_threshold.plan.model_copy(
        update={"targets": {site: at for site, at in with_threshold.plan.targets.items() if site != "left-dlpfc"}}
    )
    with_threshold.find_threshold(52, number=2, **RIGHT)
    with pytest.raises(TargetMissing, match="left-dlpfc"):
        with_threshold.draft(BILATERAL)


@pytest.mark.hazard("HZ-04")
def test_thresholds_of_different_equipment_do_not_make_one_session(with_threshold):
    with_threshold.order("order-2", **RIGHT)
    plan = with_threshold.plan
    left = plan.thresholds[-1]
    right = left.model_copy(
        update={"threshold_id": "threshold-2", "coil_model": "MCF-B65", **RIGHT, "estimated_at": left.estimated_at}
    )
    with_threshold.tell([right])
    with pytest.raises(ThresholdOfOtherEquipment, match="coil_model"):
        with_threshold.draft(BILATERAL)


@pytest.mark.hazard("HZ-06")
@pytest.mark.parametrize(("threshold", "side"), [(53, RIGHT), (51, {})])
def test_a_new_threshold_of_either_side_asks_for_a_new_version(both_sides, threshold, side):
    both_sides.draft(BILATERAL)
    both_sides.find_threshold(threshold, number=3, measured_at=later(hours=1), **side)
    with pytest.raises(ThresholdOutdated):
        both_sides.sign()


@pytest.mark.requirement("PL-08")
def test_a_booking_holds_time_for_both_blocks_and_for_moving_the_coil(both_sides):
    both_sides.draft(BILATERAL)
    both_sides.sign()
    event = both_sides.book("s-1", starts_at=later(hours=1), kind="treatment", prescription_id="prescription-1").event
    assert event.ends_at - event.starts_at == timedelta(seconds=600 + 180 + 600 + 49 * 30 + 3)


@pytest.mark.hazard("HZ-03")
def test_the_blocks_of_a_protocol_are_at_different_sites():
    protocol = find_protocol(RULES.protocols, BILATERAL)
    assert [protocol.site, *(block.site for block in protocol.further_block)] == ["right-dlpfc", "left-dlpfc"]
