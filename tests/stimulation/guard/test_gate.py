"""What passes between a room's process and its device, and what does not. Pure, with the MagPro's real protocol."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stimulation.guard.parts import ASK, DISABLE, ENABLE, FIRE_PULSE, FIRE_TRAIN, TIMING_PAGE, frame, timing

from spoel_stimulation.devices.magpro.guarding import MagProGuarded
from spoel_stimulation.devices.magpro.reports import Amplitude, StatusByte, Stimulus
from spoel_stimulation.devices.magpro.values import Mode, Model, Wave
from spoel_stimulation.devices.magstim.guarding import MagstimGuarded
from spoel_stimulation.guard.gate import ASK_S, LATE_REPEAT_S, LATE_S, PIECE_TIMEOUT_S, REPEAT_S, Gate
from spoel_stimulation.guard.stops import Stop

pytestmark = [pytest.mark.invariant("INV-11"), pytest.mark.hazard("HZ-09")]

FIRING = [frame(body) for body in (ENABLE, FIRE_PULSE, FIRE_TRAIN)]
HARMLESS = [frame(body) for body in (DISABLE, ASK, TIMING_PAGE, timing(10, 40), "0132", "0900")]
DISARM, QUESTION = frame(DISABLE), frame(ASK)


def says(*, enabled):
    return frame(Amplitude(50, 50, StatusByte(Mode.STANDARD, Wave.BIPHASIC, enabled, Model.X100)).encode().hex())


PULSED = frame(Stimulus(80, 0, StatusByte(Mode.STANDARD, Wave.BIPHASIC, enabled=True, model=Model.X100)).encode().hex())


def stop_at(now_s, number=7):
    return Stop(number, "emergency", now_s, 0)


def released():
    gate = Gate(MagProGuarded())
    gate.begin_stop(stop_at(0.0, 1))
    gate.mark_sent(0.0)
    gate.from_device(says(enabled=False), 0.1)
    gate.from_device(says(enabled=False), 0.7)
    assert [stop.outcome for stop in gate.decided(0.7)] == ["confirmed"]
    assert gate.release(1) is None
    return gate


def test_at_the_start_nothing_that_can_fire_passes():
    gate = Gate(MagProGuarded())
    assert gate.from_host(b"".join([*FIRING, *HARMLESS]), 0.0) == HARMLESS
    assert gate.withheld == len(FIRING)


def test_once_released_every_whole_frame_passes_unchanged_and_in_order():
    assert released().from_host(b"".join([*FIRING, *HARMLESS]), 1.0) == [*FIRING, *HARMLESS]


@pytest.mark.invariant("INV-8")
def test_after_a_stop_what_can_fire_is_withheld_also_where_it_was_half_here_before():
    gate = released()
    assert gate.from_host(FIRING[0][:3], 1.0) == []
    assert gate.begin_stop(stop_at(1.01)) == (DISARM,)
    assert gate.from_host(FIRING[0][3:] + QUESTION, 1.02) == [QUESTION]


@given(cuts=st.lists(st.integers(1, 60), max_size=8), stopped_after=st.integers(0, 60))
@settings(max_examples=60)
def test_however_the_bytes_arrive_only_whole_frames_leave_and_none_that_fires_after_a_stop(cuts, stopped_after):
    gate = released()
    sent = b"".join([*HARMLESS, *FIRING])
    places = sorted({0, min(stopped_after, len(sent)), *(cut for cut in cuts if cut < len(sent)), len(sent)})
    passed, stopped = [], False
    for begin, end in itertools.pairwise(places):
        if begin >= stopped_after and not stopped:
            gate.begin_stop(stop_at(1.0))
            stopped = True
        found = gate.from_host(sent[begin:end], 1.0)
        passed += found
        assert not (stopped and set(found) & set(FIRING))
    assert all(one in (*HARMLESS, *FIRING) for one in passed)
    assert [one for one in passed if one in HARMLESS] == HARMLESS


def test_what_is_not_of_the_protocol_does_not_pass():
    gate = released()
    damaged = FIRING[1][:-2] + bytes((FIRING[1][-2] ^ 1, FIRING[1][-1]))
    assert gate.from_host(b"\x00\x01hello" + damaged + QUESTION, 1.0) == [QUESTION]


def test_a_frame_whose_rest_does_not_come_is_given_up_and_hides_nothing_behind_it():
    gate = released()
    assert gate.from_host(b"\xfe\x20" + QUESTION, 1.0) == []
    assert gate.give_up(1.0 + PIECE_TIMEOUT_S / 2) == []
    assert gate.give_up(1.01 + PIECE_TIMEOUT_S) == [QUESTION]


def test_a_new_room_process_does_not_complete_what_the_old_one_began():
    gate = released()
    gate.from_host(FIRING[2][:2], 1.0)
    gate.new_host()
    assert gate.from_host(FIRING[2][2:] + QUESTION, 1.01) == [QUESTION]


def test_an_old_release_does_not_lift_a_newer_stop():
    gate = released()
    gate.begin_stop(stop_at(1.0, 7))
    gate.mark_sent(1.0)
    gate.from_device(says(enabled=False), 1.1)
    gate.from_device(says(enabled=False), 1.7)
    gate.hold(8)
    assert "newer" in gate.release(7)
    assert gate.held == 8
    assert gate.release(8) is None
    assert gate.held is None


def test_a_device_that_was_not_read_back_as_disabled_is_not_released():
    gate = released()
    gate.begin_stop(stop_at(1.0, 7))
    gate.mark_sent(1.0)
    gate.from_device(says(enabled=True), 1.1)
    assert "read back" in gate.release(7)
    gate.from_device(says(enabled=False), 2.0)
    assert "read back" in gate.release(7)
    gate.from_device(says(enabled=False), 2.6)
    assert gate.release(7) is None


@pytest.mark.hazard("HZ-10")
def test_disarm_is_repeated_until_it_is_read_back_and_then_it_only_asks():
    gate = released()
    gate.begin_stop(stop_at(1.0))
    assert gate.due(1.0) == ()
    gate.mark_sent(1.0)
    assert gate.due(1.0) == (QUESTION,)
    assert gate.due(1.01) == ()
    assert [gate.due(1.0 + REPEAT_S) for _ in range(3)] == [(DISARM,), (QUESTION,), ()]
    gate.from_device(says(enabled=True), 1.21)
    assert [gate.due(1.0 + 2 * REPEAT_S) for _ in range(3)] == [(DISARM,), (QUESTION,), ()]
    gate.from_device(says(enabled=False), 1.45)
    assert gate.due(1.0 + 3 * REPEAT_S) == (QUESTION,)
    assert gate.due(1.01 + 3 * REPEAT_S + ASK_S) == (QUESTION,)
    gate.from_device(says(enabled=False), 1.96)
    assert gate.due(9.0) == ()


@pytest.mark.hazard("HZ-10")
def test_a_magstim_has_time_for_a_disarm_before_it_is_asked():
    gate = Gate(MagstimGuarded())
    disarm, question = MagstimGuarded.disarm, MagstimGuarded.ask
    assert gate.begin_stop(stop_at(1.0)) == disarm
    gate.mark_sent(1.0)
    moments = [1.0 + step / 100 for step in range(50)]
    told = [(moment, gate.due(moment)) for moment in moments]
    told = [(1.0, disarm), *((moment, frames) for moment, frames in told if frames)]
    assert [frames for _, frames in told] == [disarm, question] * 3
    gaps = [asked - disarmed for (disarmed, _), (asked, _) in zip(told[::2], told[1::2], strict=True)]
    assert all(gap >= 0.02 for gap in gaps), "what open clients leave at least"


@pytest.mark.hazard("HZ-10")
def test_a_device_that_does_not_listen_is_told_for_as_long_as_it_takes():
    gate = released()
    gate.begin_stop(stop_at(0.0))
    gate.mark_sent(0.0)
    moments = [step / 50 for step in range(50 * 60)]
    told = [moment for moment in moments if DISARM in gate.due(moment)]
    assert len([moment for moment in told if moment <= LATE_S]) >= LATE_S / REPEAT_S - 3
    assert max(after - before for before, after in itertools.pairwise(told)) <= LATE_REPEAT_S + 0.1
    assert told[-1] > 58


def test_a_pulse_that_comes_while_it_is_held_is_counted():
    gate = released()
    gate.begin_stop(stop_at(1.0))
    gate.mark_sent(1.0)
    gate.from_device(PULSED + says(enabled=False) + PULSED, 1.1)
    assert (gate.pulses_held, gate.stop.pulses_after) == (2, 1)
    (ended,) = gate.decided(1.11)
    assert ended.outcome == "not-confirmed"
    assert list(gate.decided(1.2)) == []


def test_no_stops_outcome_is_told_before_that_of_an_earlier_one():
    gate = released()
    gate.begin_stop(stop_at(1.0, 7))
    gate.mark_sent(1.0)
    gate.from_device(says(enabled=False), 1.05)
    gate.begin_stop(stop_at(1.3, 9))
    gate.mark_sent(1.3)
    assert list(gate.decided(2.4)) == [], "of the second nothing was heard for a second, of the first something"
    assert [(stop.number, stop.outcome) for stop in gate.decided(3.0)] == [(7, "not-confirmed"), (9, "not-confirmed")]


def test_a_quiet_during_which_the_port_was_lost_confirms_nothing():
    gate = released()
    gate.begin_stop(stop_at(1.0))
    gate.mark_sent(1.0)
    gate.from_device(says(enabled=False), 1.05)
    gate.new_port()
    gate.from_device(says(enabled=False), 1.8)
    assert list(gate.decided(1.8)) == [], "who knows what it did while nobody heard it"
    gate.mark_sent(1.9)
    gate.from_device(says(enabled=False), 1.95)
    gate.from_device(says(enabled=False), 2.5)
    assert [stop.outcome for stop in gate.decided(2.5)] == ["confirmed"]
