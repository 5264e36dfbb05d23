"""When a stop counts as confirmed: by the device's own frames, in the right order, with a quiet half second."""

import pytest

from spoel_stimulation.devices.guarding import Reading
from spoel_stimulation.guard.stops import ANSWER_S, INSTRUCTIONS, QUIET_S, READ_BACK_S, Stop

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.hazard("HZ-10")]

DISABLED, ENABLED, PULSE, SILENT = Reading(enabled=False), Reading(enabled=True), Reading(pulses=1), Reading()


def stop(**facts):
    return Stop(1, "emergency", 100.0, 0, **{"sent": True, **facts})


def heard(stop, *said):
    for reading, moment_s in said:
        stop.hear(reading, moment_s)
    return stop


def test_disabled_twice_half_a_second_apart_without_a_pulse_is_confirmed():
    found = heard(stop(), (DISABLED, 100.05), (DISABLED, 100.3), (DISABLED, 100.05 + QUIET_S))
    assert found.decide(100.6) == "confirmed"


def test_one_disabled_frame_is_not_enough_however_long_it_lies_back():
    found = heard(stop(), (DISABLED, 100.05))
    assert found.decide(101.9) is None
    assert found.decide(100 + ANSWER_S) == "not-confirmed"


def test_what_the_device_said_before_the_disarm_had_left_says_nothing():
    found = heard(stop(sent=False), (DISABLED, 100.0))
    found.sent = True
    assert heard(found, (DISABLED, 100.6)).decide(100.6) is None


def test_a_pulse_after_the_read_back_is_told_at_once():
    found = heard(stop(), (DISABLED, 100.05), (PULSE, 100.1))
    assert found.decide(100.11) == "not-confirmed"
    assert found.pulses_after == 1


def test_pulses_before_the_read_back_are_those_of_the_train_that_is_being_stopped():
    found = heard(stop(), (PULSE, 100.01), (DISABLED, 100.05), (DISABLED, 100.56))
    assert found.decide(100.56) == "confirmed"
    assert found.pulses_after == 0


def test_a_device_that_is_armed_again_meanwhile_begins_anew():
    found = heard(stop(), (DISABLED, 100.05), (ENABLED, 100.2), (DISABLED, 100.3), (DISABLED, 100.6))
    assert found.decide(100.6) is None
    assert heard(found, (DISABLED, 100.81)).decide(100.81) == "confirmed"


@pytest.mark.parametrize("said", [[], [(ENABLED, 100.1), (ENABLED, 100.5)], [(SILENT, 100.2)], [(PULSE, 100.4)]])
def test_without_a_read_back_it_is_not_confirmed_after_a_second(said):
    found = heard(stop(), *said)
    assert found.decide(100.99) is None
    assert found.decide(100 + READ_BACK_S) == "not-confirmed"


def test_where_the_port_is_not_open_nothing_was_sent():
    assert stop(sent=False, can_be_asked=False).decide(100 + READ_BACK_S) == "not-confirmed"


def test_a_device_that_never_says_anything_of_being_armed_was_sent_the_stop_and_no_more():
    assert stop(can_be_asked=False).decide(100 + READ_BACK_S) == "sent"


def test_a_device_that_cannot_be_asked_and_says_that_it_is_armed_is_not_confirmed():
    assert heard(stop(can_be_asked=False), (ENABLED, 100.5)).decide(101.0) == "not-confirmed"


def test_a_later_confirmation_does_not_change_what_a_person_was_told():
    found = stop()
    assert found.decide(101.0) == "not-confirmed"
    heard(found, (DISABLED, 101.1), (DISABLED, 101.7))
    assert found.confirmed
    assert found.decide(101.8) == "not-confirmed"


def test_every_outcome_but_confirmed_says_to_lift_the_coil_and_to_press_the_devices_own_stop():
    for outcome, text in INSTRUCTIONS.items():
        urgent = "Til de spoel op" in text["nl"] and "Lift the coil" in text["en"]
        assert urgent is (outcome != "confirmed")
