"""What a simulated Rapid² does: arms, gives trains, warms, breaks; spoken to byte by byte, without Spoel's adapter."""

import time
from itertools import pairwise

import pytest
from tests.stimulation.devices.magstim.unit import INVENTED_CODE as CODE

from spoel_common.clock import SteppedClock
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim import simulator as simulator_module
from spoel_stimulation.devices.magstim.codec import Version, encode_frame
from spoel_stimulation.devices.simulation.control import answer
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulators import Wanted, simulate

V11 = Version(11)
CONTROL = say.take_control()
TRAIN = (say.set_duration(10, V11), say.set_frequency(100), say.set_pulses(20, V11), say.set_duration(20, V11))


async def test_arming_takes_a_second_and_twice_conflicts(device):
    unit = device()
    unit.ask(CONTROL)
    unit.ask(say.ARM)
    assert unit.ask(say.ARM) == b"ES"
    assert unit.ask(say.FIRE) == b"ES"
    await unit.clock.advance_s(0.99)
    assert unit.status() & say.Instrument.ARMED
    await unit.clock.advance_s(0.01)
    assert unit.status() & say.Instrument.READY


async def test_armed_and_idle_for_a_minute_it_disarms_itself(device):
    unit = device()
    await unit.ready()
    await unit.clock.advance_s(58.9)
    assert unit.simulator.armed
    await unit.clock.advance_s(0.2)
    assert not unit.simulator.armed
    assert unit.simulator.controlled


@pytest.mark.hazard("HZ-09")
async def test_armed_without_a_word_for_a_second_it_drops_control_and_ends_its_train(device, monkeypatch):
    now = [time.monotonic()]
    monkeypatch.setattr(simulator_module.time, "monotonic", lambda: now[0])
    unit = device()
    await unit.ready(*TRAIN)
    unit.ask(say.FIRE)
    await unit.clock.advance_s(0.5)
    now[0] += 0.9
    unit.ask(say.ASK_SYSTEM_STATUS)
    now[0] += 0.9
    assert unit.simulator.armed
    given = unit.simulator.total_pulses
    assert given == 6
    now[0] += 0.2
    await unit.clock.advance_s(2.0)
    assert (unit.simulator.armed, unit.simulator.controlled, unit.simulator.total_pulses) == (False, False, given)


async def test_giving_up_control_disarms(device):
    unit = device()
    await unit.ready()
    assert unit.ask(say.RELEASE) == b"R\x09"


async def test_a_train_runs_on_the_clock_and_shows_that_it_runs(device):
    unit = device()
    await unit.ready(*TRAIN)
    assert unit.ask(say.FIRE) == b"E\x8c"
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1:3] == b"\x8a\x32"
    assert unit.ask(say.FIRE) == b"E\x8a"
    await unit.clock.advance_s(1.0)
    assert unit.ask(say.FIRE) == b"ES"
    assert unit.simulator.total_pulses == 11
    await unit.clock.advance_s(0.95)
    assert unit.simulator.total_pulses == 20
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1:3] == b"\x8a\x30"
    assert unit.ask(say.set_power(40)) == b"@S"
    await unit.clock.advance_s(0.5)
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1:3] == b"\x8c\x30"
    assert unit.ask(say.set_power(40)) == b"@\x8c"
    moments = [utc_ns for utc_ns, _ in unit.simulator.given]
    assert {after - before for before, after in pairwise(moments)} == {100_000_000}


async def test_registers_that_do_not_fit_each_other_give_the_larger_dose(device):
    for duration, pulses in ((20, 5), (10, 20)):
        unit = device()
        await unit.ready(*TRAIN[:2], say.set_pulses(pulses, V11), say.set_duration(duration, V11))
        unit.ask(say.FIRE)
        await unit.clock.advance_s(3.0)
        assert unit.simulator.total_pulses == 20


async def test_a_rate_beyond_the_power_is_refused_at_the_start(device):
    unit = device()
    await unit.ready(say.set_power(100), say.set_duration(10, V11), say.set_frequency(500), say.set_pulses(50, V11))
    assert unit.ask(say.FIRE) == b"ES"


@pytest.mark.hazard("HZ-12")
async def test_a_pause_too_short_breaks_it_until_it_is_switched_off(device):
    unit = device()
    await unit.ready(say.set_power(100), *TRAIN)
    unit.ask(say.FIRE)
    await unit.clock.advance_s(1.9 + 0.6)
    unit.ask(say.FIRE)
    assert unit.simulator.total_pulses == 20
    assert unit.ask(say.ASK_ERROR) == b"I\xa9101"
    assert unit.ask(say.ARM) == b"ES"
    unit.simulator.faults.set(Fault.RESET)
    unit.ask(CONTROL)
    assert unit.ask(say.ARM) == b"E\x89"


async def test_with_the_pause_that_it_needs_it_goes_on(device):
    unit = device()
    await unit.ready(say.set_power(100), *TRAIN)
    for run in (1, 2):
        unit.ask(say.FIRE)
        await unit.clock.advance_s(2.0 + 2.81)  # twenty periods, and 20 (10 * 252 - 1050) / (1050 * 10)
        assert (unit.simulator.total_pulses, unit.simulator.error) == (20 * run, 0)


async def test_too_much_energy_in_one_train_breaks_it(device):
    unit = device()
    await unit.ready(say.set_power(100), say.set_duration(100, V11), say.set_frequency(400), say.set_pulses(400, V11))
    unit.ask(say.FIRE)
    await unit.clock.advance_s(10.0)
    assert unit.simulator.error == 102
    assert unit.simulator.total_pulses in range(245, 255)


@pytest.mark.hazard("HZ-11")
async def test_starts_within_half_a_second_are_acknowledged_and_lost(device):
    unit = device()
    await unit.ready()
    unit.ask(say.FIRE)
    await unit.clock.advance_s(0.45)
    assert unit.ask(say.FIRE)[:1] == b"E"
    await unit.clock.advance_s(0.1)
    assert unit.ask(say.FIRE) == b"ES"
    await unit.clock.advance_s(0.45)
    unit.ask(say.FIRE)
    assert unit.simulator.total_pulses == 2


async def test_power_follows_slowly_and_pulses_have_what_it_has(device):
    unit = device()
    await unit.ready(say.set_power(80))
    unit.ask(say.set_power(60))
    await unit.clock.advance_s(1.0)
    unit.ask(say.FIRE)
    await unit.clock.advance_s(1.0)
    unit.ask(say.set_power(90))
    await unit.clock.advance_s(0.1)
    unit.ask(say.FIRE)
    assert [round(percent) for _, percent in unit.simulator.given] == [70, 70]


@pytest.mark.hazard("HZ-19")
async def test_pulses_warm_the_coil_until_it_cuts_out(device):
    unit = device()
    await unit.ready(say.set_power(100))
    for _ in range(2_000):
        unit.ask(say.FIRE)
        if not unit.simulator.armed:
            break
        await unit.clock.advance_s(1.0, settle_rounds=1)
    assert unit.simulator.celsius > 40
    assert unit.ask(say.ARM) == b"ES"
    assert unit.simulator.total_pulses in range(900, 1_300)
    assert say.Temperatures.read(unit.ask(say.ASK_TEMPERATURE)[2:].decode()).warmest_c > 40
    assert not unit.ask(say.ASK_SYSTEM_STATUS)[2] & say.Rapid.COIL_READY


async def test_enhanced_power_is_for_single_pulses_in_standby(device):
    unit = device()
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(b"^@")) == b"^\x89\x38"
    assert unit.ask(encode_frame(b"@110")) == b"@\x89"
    assert unit.ask(say.set_duration(10, V11)) == b"[S"
    assert unit.ask(say.ENHANCED_POWER_OFF) == b"_\x89\x39"
    assert unit.ask(say.ASK_RAPID_PARAMETERS)[3:6] == b"100"


@pytest.mark.parametrize(
    ("name", "wanted", "word"),
    [
        ("magstim-200", {"version": "9.0.0"}, "no --version"),
        ("magstim-bistim", {"unlock_code": CODE}, "no --unlock-code"),
        ("magstim-rapid2", {"version": "8.0.0", "unlock_code": CODE}, "knows no unlock code"),
        ("magstim-rapid2", {"unlock_code": "1234"}, "hhhh"),
        ("magstim-rapid2", {"version": "new"}, "is no version"),
        ("magstim-rapid2", {"faults": Faults([Fault.OTHER_COIL])}, "does not tell the type of its coil"),
    ],
)
def test_what_a_simulator_cannot_be(name, wanted, word):
    with pytest.raises(ValueError, match=word):
        simulate(name, Wanted(SteppedClock(), **wanted))


def test_a_fault_that_it_cannot_have_is_refused_by_its_switchboard_too():
    unit = simulate("magstim-200", Wanted(SteppedClock()))
    assert "has no fault other-coil" in answer(unit, b'{"set": "other-coil"}')["error"]
    assert unit.faults.present == []
