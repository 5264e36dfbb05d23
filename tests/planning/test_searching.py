"""The order of a heart-brain search: on a threshold, within the published limits, signed as any measurement order."""

import pytest
from tests.planning.story import NOW, RULES, SUPERVISOR, Story, later

from spoel_planning import queries
from spoel_planning.commands import OrderSearch
from spoel_planning.domain import searching
from spoel_planning.domain.measuring import threshold_step
from spoel_planning.domain.refusals.knowing import NotIndicated
from spoel_planning.domain.refusals.measuring import (
    MeasurementOrderOutOfBounds,
    SearchBeyondLimits,
    SessionUnknownHere,
    TargetMissing,
    ThresholdMissing,
    ThresholdOfOtherSide,
    ThresholdOutdated,
)
from spoel_planning.domain.refusals.prescribing import AboveHighestPercent
from spoel_planning.events.measuring import MeasurementOrderSigned
from spoel_planning.events.orders import Pattern

pytestmark = pytest.mark.requirement("PL-11")


def searched(story, order_id="search-1", rules=RULES, **fields):
    command = OrderSearch.model_validate({"site": "left-dlpfc"} | fields)
    return story.tell(searching.order_search(story.plan, story.on, command, rules, order_id))


@pytest.fixture
def ready():
    """A case whose head and threshold (50 % on the left) were measured."""
    story = Story()
    story.measure_head()
    story.find_threshold(50)
    return story


def test_a_search_that_says_nothing_is_the_clinics(ready):
    (order,) = searched(ready)
    (threshold,) = ready.plan.thresholds
    assert (order.purpose, order.site, order.muscle) == ("heart-brain-search", "left-dlpfc", "right-apb")
    assert [location.name for location in order.search.locations] == ["F3", "F3+front", "F3+back", "F3+out"]
    assert order.search.pattern == Pattern(
        pulses_per_burst=1, bursts_per_train=50, burst_interval_s=0.1, trains=12, train_interval_s=16.0
    )
    assert order.search.threshold_id == threshold.threshold_id
    assert order.ceiling_percent_mso == int(1.1 * threshold.threshold_percent_mso)
    assert order.max_stimuli == 12 * 5
    assert order.min_interval_s == 14


@pytest.mark.requirement("PL-10")
def test_it_is_signed_as_it_was_drafted_and_keeps_its_search(ready):
    (order,) = searched(ready)
    (signed,) = ready.sign_order("search-1")
    assert signed.order.search == order.search
    assert (signed.signed_by, signed.big_number) == ("sup", SUPERVISOR.big_number)


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(("percent", "refusal"), [(115, SearchBeyondLimits), (120, SearchBeyondLimits)])
def test_trains_beyond_the_published_limits_are_not_ordered(ready, percent, refusal):
    with pytest.raises(refusal) as caught:
        searched(ready, ceiling_percent_rmt=percent)
    assert caught.value.facts["limit"] in ("train-duration", "train-duration-stricter")
    assert searched(ready, ceiling_percent_rmt=110)


def test_a_clinic_that_allows_more_still_meets_the_limits(ready):
    generous = RULES.heart.order.model_copy(update={"max_ceiling_percent_rmt": 150.0})
    rules = RULES.model_copy(update={"heart": RULES.heart.model_copy(update={"order": generous})})
    with pytest.raises(AboveHighestPercent):
        searched(ready, rules=rules, ceiling_percent_rmt=140)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"trains": 7}, "trains"),
        ({"trains": 21}, "trains"),
        ({"ceiling_percent_rmt": 59}, "ceiling_percent_rmt"),
        ({"ceiling_percent_rmt": 121}, "ceiling_percent_rmt"),
        ({"locations": [{"name": "F3"}]}, "locations"),
        ({"locations": [{"name": "F3"}, {"name": "F3"}]}, "locations"),
        ({"locations": [{"name": f"L{number}"} for number in range(9)]}, "locations"),
        ({"locations": [{"name": "F3"}, {"name": "far", "forward_cm": 2.5, "outward_cm": 2.5}]}, "locations"),
        ({"valid_on": "2026-11-21"}, "valid_on"),
    ],
)
def test_a_search_outside_the_clinics_bounds_is_refused_by_name(ready, fields, field):
    with pytest.raises(MeasurementOrderOutOfBounds) as caught:
        searched(ready, **fields)
    assert caught.value.facts["field"] == field


@pytest.mark.hazard("HZ-06")
def test_a_search_needs_a_current_threshold_of_its_side(ready):
    with pytest.raises(TargetMissing):
        searched(Story())
    fresh = Story()
    fresh.measure_head()
    with pytest.raises(ThresholdMissing):
        searched(fresh)
    with pytest.raises(ThresholdOfOtherSide):
        searched(ready, site="right-dlpfc")
    ready.at(later(days=15))
    with pytest.raises(ThresholdOutdated):
        searched(ready)


@pytest.mark.hazard("HZ-06")
def test_it_is_not_signed_on_a_threshold_that_was_measured_anew(ready):
    (order,) = searched(ready)
    ready.find_threshold(40, number=2)
    with pytest.raises(ThresholdOutdated):
        searching.check_threshold_stands(ready.plan, ready.on, order.search, order.site, RULES)


def test_a_case_that_is_not_indicated_is_not_searched(ready):
    with pytest.raises(NotIndicated):
        searched(ready.known(decision="not-indicated"))


@pytest.mark.hazard("HZ-14")
def test_a_booked_search_counts_its_pulses_and_finds_no_threshold(ready):
    searched(ready)
    ready.sign_order("search-1")
    booked = ready.book("searching-1", kind="measurement", measurement_order_id="search-1")
    assert booked.pulses == 60 * 50
    length_s = (booked.event.ends_at - booked.event.starts_at).total_seconds()
    assert length_s == RULES.booking.measurement_set_up_s + 60 * 16
    with pytest.raises(SessionUnknownHere, match="heart-brain search"):
        threshold_step(ready.plan, "case-1", None, "searching-1", RULES.threshold)


def test_an_order_of_the_first_version_is_one_for_a_threshold(ready):
    signed = next(event for event in ready.events if isinstance(event, MeasurementOrderSigned))
    old = signed.model_dump(mode="json")
    del old["order"]["search"]
    assert MeasurementOrderSigned.model_validate(old) == signed


RANKED = {
    "session_id": "searching-1",
    "case_id": "case-1",
    "patient_id": "patient-1",
    "room_id": "room-1",
    "measurement_order_id": "search-1",
    "site": "left-dlpfc",
    "verdict": "ranked",
    "best": "F3",
    "locations": [
        {"location": "F3", "percent_mso": 55, "coupled": True, "fall_bpm": 3.1, "ratio": 40.0, "p_value": 1e-6},
        {"location": "FC3", "percent_mso": 55, "coupled": False, "fall_bpm": -0.2, "ratio": 0.4, "p_value": 0.7},
    ],
}


async def test_what_a_search_found_is_shown_with_the_plan_and_changes_no_target(quiet_clinic):
    await quiet_clinic.hear_treatable("case-1", "patient-1")
    await quiet_clinic.hear("spoel.stimulation.locations-ranked.v1", "searching-1", RANKED)
    async with quiet_clinic.runtime.database.read() as conn:
        (found,) = await queries.list_searches(conn, "case-1")
        assert await queries.list_searches(conn, "case-2") == []
    assert (found.best, [place.location for place in found.locations]) == ("F3", ["F3", "FC3"])
    shown = (await quiet_clinic.get("/cases/case-1")).json()
    assert shown["searches"][0]["best"] == "F3"
    assert shown["targets"] == []


@pytest.mark.requirement("PL-10")
@pytest.mark.hazard("HZ-06")
async def test_a_search_is_ordered_signed_and_booked_over_http(ready_clinic):
    searches = "/cases/case-1/heart-brain-searches"
    drafted = await ready_clinic.done(searches, {"site": "left-dlpfc", "trains": 8})
    signature = f"/cases/case-1/measurement-orders/{drafted['order_id']}/signature"
    await ready_clinic.done(signature, by="sup")
    body = {"room_id": "room-1", "kind": "measurement", "measurement_order_id": drafted["order_id"]}
    booked = await ready_clinic.done("/cases/case-1/bookings", body)
    await ready_clinic.hear_closed(booked["session_id"], at=NOW)
    (kept,) = [
        ordered["order"]
        for ordered in (await ready_clinic.get("/cases/case-1")).json()["measurement_orders"]
        if ordered["order"]["purpose"] == "heart-brain-search"
    ]
    assert (kept, kept["search"]["pattern"]["trains"]) == (drafted["order"], 8)
    await ready_clinic.refused("search-beyond-limits", searches, {"site": "left-dlpfc", "ceiling_percent_rmt": 120})
    stale = await ready_clinic.done(searches, {"site": "left-dlpfc"})
    await ready_clinic.measure_threshold(60)
    path = f"/cases/case-1/measurement-orders/{stale['order_id']}/signature"
    await ready_clinic.refused("threshold-outdated", path, by="sup")
