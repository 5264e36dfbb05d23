"""A room's calendar: one session at a time, whatever is booked and given back."""

from datetime import timedelta
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.story import NOW

from spoel_planning.domain.calendar import Calendar, WantedSlot, evolve, overlap, release_slot, take_slot
from spoel_planning.domain.refusals.booking import SlotAlreadyTaken


def wanted(session_id: str, start: int, minutes: int = 30) -> WantedSlot:
    starts_at = NOW + timedelta(minutes=start)
    return WantedSlot("room-1", session_id, starts_at, starts_at + timedelta(minutes=minutes))


def with_slots(*slots: WantedSlot) -> Calendar:
    calendar = Calendar()
    for slot in slots:
        calendar = reduce(evolve, take_slot(calendar, slot, {}), calendar)
    return calendar


@pytest.mark.requirement("PL-08")
@pytest.mark.parametrize(("start", "free"), [(-30, True), (-29, False), (0, False), (29, False), (30, True)])
def test_slots_touch_but_do_not_overlap(start, free):
    calendar = with_slots(wanted("one", 0))
    if free:
        (taken,) = take_slot(calendar, wanted("two", start), {})
        assert taken.session_id == "two"
    else:
        with pytest.raises(SlotAlreadyTaken):
            take_slot(calendar, wanted("two", start), {})


def test_a_slot_around_another_overlaps_it():
    with pytest.raises(SlotAlreadyTaken):
        take_slot(with_slots(wanted("one", 0)), wanted("two", -60, minutes=180), {})


def test_a_released_slot_is_free():
    calendar = with_slots(wanted("one", 0))
    calendar = reduce(evolve, release_slot(calendar, "room-1", "one"), calendar)
    take_slot(calendar, wanted("two", 0), {})
    assert release_slot(calendar, "room-1", "one") == []


def test_a_calendar_restored_from_its_bytes_is_the_same():
    calendar = with_slots(wanted("one", 0), wanted("two", 60))
    assert Calendar.model_validate_json(calendar.model_dump_json()) == calendar


def test_a_session_that_is_over_frees_the_rest_of_its_slot():
    calendar = with_slots(wanted("one", 0))
    closed = {"one": NOW + timedelta(minutes=10)}
    take_slot(calendar, wanted("two", 10), closed)
    with pytest.raises(SlotAlreadyTaken):
        take_slot(calendar, wanted("two", 9), closed)


def test_a_session_that_was_closed_late_holds_the_room_no_longer_than_booked():
    calendar = with_slots(wanted("one", 0))
    take_slot(calendar, wanted("two", 30), {"one": NOW + timedelta(minutes=50)})


starts = st.integers(min_value=0, max_value=600)
lengths = st.integers(min_value=1, max_value=120)


@pytest.mark.requirement("PL-08")
@settings(deadline=None)
@given(st.lists(st.tuples(starts, lengths), max_size=30))
def test_whatever_is_asked_no_two_sessions_share_a_moment(asked):
    calendar = Calendar()
    for number, (start, minutes) in enumerate(asked):
        try:
            events = take_slot(calendar, wanted(f"s-{number}", start, minutes), {})
        except SlotAlreadyTaken:
            continue
        calendar = reduce(evolve, events, calendar)
    slots = list(calendar.slots.values())
    for index, one in enumerate(slots):
        for other in slots[index + 1 :]:
            assert not overlap(one.starts_at, one.ends_at, other.starts_at, other.ends_at)
