"""Rooms latch and are reset; supervisors go on and off duty; gaps are closed from the device's counter."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stimulation.story import KEY, NOW, ROOM, SUPERVISOR, TODAY, checked_room

from spoel_common.errors import BigNumberInvalid
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import checks, refusals, room, roster
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.roster import RosterState
from spoel_stimulation.domain.state import Train
from spoel_stimulation.events.rooms import RoomOpened
from spoel_stimulation.runner.recovery import close_gap

SEEN = RoomOpened(
    room_id=ROOM,
    stimulator_model=KEY["stimulator_model"],
    stimulator_serial="SIM-1",
    coil_model=KEY["coil_model"],
    simulated=True,
    strip_public_key="key",
)


def told(state, events):
    for event in events:
        state = room.evolve(state, event)
    return state


def test_a_device_is_recorded_when_it_differs_from_what_is_recorded():
    state = told(RoomState(), room.open_room(RoomState(), SEEN))
    assert room.open_room(state, SEEN) == []
    other_coil = SEEN.model_copy(update={"coil_model": "MCF-B65"})
    assert room.open_room(state, other_coil) == [other_coil]


@pytest.mark.requirement("ST-02")
def test_the_opening_check_was_of_the_stimulator_that_was_there():
    state = told(RoomState(), [SEEN, checked_room(), SEEN.model_copy(update={"strip_public_key": "another"})])
    checks.check_opening(state, TODAY)
    with pytest.raises(refusals.OpeningCheckMissing):
        checks.check_opening(told(state, [SEEN.model_copy(update={"stimulator_serial": "SIM-2"})]), TODAY)


@pytest.mark.invariant("INV-7")
def test_a_fault_latches_until_a_person_resets():
    state = told(RoomState(), room.latch(RoomState(), ROOM, "device-fault", "incomplete"))
    with pytest.raises(refusals.RoomLatchedRefusal):
        room.check_not_latched(state, ROOM)
    assert room.latch(state, ROOM, "link-lost", "gone") == []
    state = told(state, room.reset(state, ROOM, asked.ResetRoom(reason="device-checked")))
    room.check_not_latched(state, ROOM)
    with pytest.raises(refusals.RoomNotLatched):
        room.reset(state, ROOM, asked.ResetRoom(reason="device-checked"))


@pytest.mark.invariant("INV-8")
def test_an_emergency_stop_latches_a_latched_room_too():
    state = told(RoomState(), room.latch(RoomState(), ROOM, "device-fault", "incomplete"))
    assert room.latch(state, ROOM, "emergency-stop", "pressed")


def on_duty(until=NOW + timedelta(hours=8)):
    state = RosterState()
    for event in roster.decide(state, asked.StartSupervision(until=until), SUPERVISOR, NOW):
        state = roster.evolve(state, event)
    return state


@pytest.mark.requirement("ST-01")
def test_duty_lasts_until_its_end():
    state = on_duty()
    assert state.on_duty("sanne", NOW + timedelta(hours=7, minutes=59))
    assert not state.on_duty("sanne", NOW + timedelta(hours=8))
    (ended,) = roster.decide(state, asked.EndSupervision(), SUPERVISOR, NOW)
    assert not roster.evolve(state, ended).on_duty("sanne", NOW)


@pytest.mark.parametrize("hours", [-1, 0, 24.1])
def test_an_impossible_end_of_duty_is_refused(hours):
    with pytest.raises(refusals.SupervisionEndInvalid):
        on_duty(NOW + timedelta(hours=hours))


def test_who_is_not_on_duty_does_not_go_off_duty():
    with pytest.raises(refusals.NotOnDuty):
        roster.decide(RosterState(), asked.EndSupervision(), SUPERVISOR, NOW)


@pytest.mark.invariant("INV-5")
def test_supervising_needs_a_big_number():
    nameless = SUPERVISOR.model_copy(update={"big_number": None})
    with pytest.raises(BigNumberInvalid):
        roster.decide(RosterState(), asked.StartSupervision(until=NOW + timedelta(hours=1)), nameless, NOW)


TRAIN = Train(train_id="t", index=0, pulses=40, percent_mso=60, device_total_pulses_before=1_000, onset_at=NOW)


@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize(
    ("counter", "outcome", "pulses", "beyond"),
    [
        (1_000, "none", 0, 0),
        (1_001, "partial", 1, 0),
        (1_039, "partial", 39, 0),
        (1_040, "complete", 40, 0),
        (1_043, "complete", 40, 3),
    ],
)
def test_a_gap_is_closed_with_the_devices_counter(counter, outcome, pulses, beyond):
    assert close_gap(TRAIN, counter, same_device=True) == (outcome, pulses, beyond)


@pytest.mark.invariant("INV-9")
def test_a_counter_that_proves_nothing_leaves_the_outcome_unknown():
    assert close_gap(TRAIN, 999, same_device=True) == asked.RecordTrainUnknown(reason="counter-restarted")
    assert close_gap(TRAIN, 1_040, same_device=False) == asked.RecordTrainUnknown(reason="other-device")


@given(st.integers(min_value=1_000, max_value=2_000))
def test_every_counted_pulse_is_the_trains_or_beyond_it(counter):
    closed = close_gap(TRAIN, counter, same_device=True)
    assert closed.pulses + closed.beyond == counter - 1_000
    assert closed.pulses <= TRAIN.pulses
