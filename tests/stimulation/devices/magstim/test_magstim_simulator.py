"""The simulators as the devices are described, spoken to byte by byte and without Spoel's adapter."""

import json
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoel_common.clock import SteppedClock
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim import simulator as simulator_module
from spoel_stimulation.devices.magstim.codec import Version, encode_frame
from spoel_stimulation.devices.simulation.control import answer
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulators import Wanted, simulate

CODE = "1a2b-3c4d5e6f-70"
OTHER_CODE = "1a2b-3c4d5e6f-71"
V11 = Version(11)
CONTROL = say.take_control()


class Device:
    """A simulator in stepped time, without a port."""

    def __init__(self, name, **wanted):
        self.clock = SteppedClock()
        self.simulator = simulate(name, Wanted(self.clock, 7, **wanted))
        self.said = []
        self.simulator.speak = self.said.append

    def ask(self, frame):
        """Return the one answer without its checksum; None for silence."""
        self.said.clear()
        for whole in self.simulator.framer().feed(frame):
            self.simulator.take(whole)
        assert len(self.said) <= 1
        return (self.said[0][:-1] if len(self.said[0]) > 1 else self.said[0]) if self.said else None

    def status(self):
        """Return the instrument's status, by the question that changes nothing."""
        return say.Instrument(self.ask(say.ASK_TEMPERATURE)[1])

    async def ready(self, *frames):
        """Take control, set, arm, and wait until it is ready."""
        for frame in (CONTROL, *frames, say.ARM):
            self.ask(frame)
        await self.clock.advance_s(1.0)
        assert self.status() & say.Instrument.READY


@pytest.fixture
def device():
    made = []

    def make(name="magstim-rapid2", **wanted):
        made.append(Device(name, **wanted))
        return made[-1]

    yield make
    for one in made:
        one.simulator.close()


TRAIN = (say.set_duration(10, V11), say.set_frequency(100), say.set_pulses(20, V11), say.set_duration(20, V11))


async def test_a_fresh_unit(device):
    unit = device(version="7.0.0")
    assert unit.ask(say.ASK_RAPID_PARAMETERS) == b"\\\x09\x38" + b"030" + b"0000" + b"0000" + b"000" + b"0001"
    assert unit.ask(CONTROL) == b"Q\x89"
    assert unit.ask(say.ASK_VERSION) == b"NV7.0.0\x00"
    assert unit.ask(say.RELEASE) == b"R\x09"


async def test_answers_tell_the_state_before_but_those_to_q_and_r(device):
    unit = device()
    assert unit.ask(CONTROL) == b"Q\x89"
    assert unit.ask(say.ARM) == b"E\x89"
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1] == 0x8A
    await unit.clock.advance_s(1.0)
    assert unit.ask(say.DISARM) == b"E\x8c"
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1] == 0x89


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b"E@", b"E?"),
        (b"@101", b"@?"),
        (b"@0x1", b"@?"),
        (b"B0000", b"B?"),
        (b"B0305", b"B?"),
        (b"D06001", b"D?"),
        (b"[6001", b"[?"),
        (b"[0305", b"[?"),
        (b"n10001", b"n?"),
        (b"EH", b"ES"),
        (b"I@", b"I\x89000"),
        (b"b@", b"b\x89"),
        (b"o@", b"o\x8900000"),
        (b"J@", b"?"),
    ],
)
async def test_wrong_data_wrong_state_and_unknown_commands(device, frame, answer):
    unit = device()
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(frame)) == answer


async def test_a_damaged_frame_is_answered_with_a_question_mark(device):
    unit = device()
    assert unit.ask(b"EAz") == b"?"
    assert unit.ask(b"!") == b"?"


@pytest.mark.parametrize(
    ("version", "pulses", "duration", "delay"),
    [
        ("8.0.0", b"D0040", b"[040", None),
        ("9.0.0", b"D00040", b"[0040", b"n0100"),
        ("10.0.0", b"D00040", b"[0040", b"n00100"),
    ],
)
async def test_formats_of_settings_by_version(device, version, pulses, duration, delay):
    unit = device(version=version)
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(duration)) == b"[\x89\x38"
    assert unit.ask(encode_frame(pulses)) == b"D\x89\x30"
    if delay is not None:
        before = b"n\x89\x30" + (b"\x00\x00" if version.startswith("10") else b"")
        assert unit.ask(encode_frame(delay)) == before
        assert unit.ask(say.ASK_SYSTEM_STATUS) == b"x\x89\x30\x00\x04"
        assert unit.ask(say.ASK_CHARGE_DELAY).endswith(b"0100")
    digits = unit.ask(say.ASK_RAPID_PARAMETERS)[3:].decode()
    assert say.RapidParameters.read(digits, Version.parse(version)) == say.RapidParameters(30, 0, 40, 40, 1)


async def test_from_software_9_up_it_is_silent_without_control_but_for_four_questions(device):
    unit = device(unlock_code=CODE)
    silent = [say.DISARM, say.ARM, say.ASK_VERSION, say.ASK_SYSTEM_STATUS, say.set_power(40), say.ASK_ERROR, CONTROL]
    assert [unit.ask(frame) for frame in silent] == [None] * len(silent)
    assert unit.ask(say.take_control(OTHER_CODE)) is None
    assert unit.ask(say.ASK_TEMPERATURE)[:2] == b"F\x09"
    assert unit.ask(say.ASK_RAPID_PARAMETERS)[:2] == b"\\\x09"
    assert unit.ask(say.RELEASE) == b"R\x09"
    assert unit.ask(say.take_control(CODE)) == b"Q\x89"
    assert unit.ask(say.ASK_VERSION) == b"NV11.0.0\x00"


async def test_an_unlock_code_is_not_written_down(device, tmp_path):
    log = tmp_path / "sim.jsonl"
    unit = device(unlock_code=CODE, log_path=log)
    unit.ask(say.take_control(OTHER_CODE))
    unit.ask(say.take_control(CODE))
    assert unit.simulator.controlled
    text = log.read_text()
    assert text.count('"in"') == 2
    assert CODE.encode().hex() not in text
    assert OTHER_CODE.encode().hex() not in text


async def test_what_damage_leaves_of_an_unlock_code_is_not_written_down(device, tmp_path):
    log = tmp_path / "sim.jsonl"
    unit = device(unlock_code=CODE, log_path=log)
    frame, framer = say.take_control(CODE), unit.simulator.framer()
    for damaged in (frame[1:], b"\x80" + frame, b"U" + frame[1:], b"Q-" + frame[2:]):
        for piece in framer.feed(damaged) + framer.give_up_pending():
            unit.simulator.take(piece)
    written = [bytes.fromhex(json.loads(line)["frame"]) for line in log.read_text().splitlines()]
    assert written.count(b"?") >= 4, "each was answered"
    assert all(piece.strip(b"*") in {b"", b"?"} for piece in written)


async def test_before_software_9_commands_without_control_conflict(device):
    unit = device(version="8.0.0")
    assert unit.ask(say.ARM) == b"ES"
    assert unit.ask(say.set_power(40)) == b"@S"
    assert unit.ask(say.DISARM) == b"E\x09"
    assert unit.ask(say.take_control(CODE)) == b"?"
    assert unit.ask(say.ASK_SYSTEM_STATUS) == b"?"


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


@pytest.mark.parametrize(("percent", "wait_s"), [(49, 2), (79, 3), (80, 4)])
async def test_a_200_is_ready_again_when_it_is_charged(device, percent, wait_s):
    unit = device("magstim-200")
    await unit.ready(say.set_power(percent))
    assert unit.ask(say.ASK_PARAMETERS)[2:] == b"%03d000000" % percent
    unit.ask(say.FIRE)
    await unit.clock.advance_s(wait_s - 0.01)
    assert unit.ask(say.FIRE) == b"ES"
    await unit.clock.advance_s(0.01)
    unit.ask(say.FIRE)
    assert unit.simulator.total_pulses == 2
    for frame in (b"A050", b"C010", b"X2", b"Y@", b"\\@", b"B0100"):
        assert unit.ask(encode_frame(frame)) == b"?"


@pytest.mark.parametrize(
    ("mode", "interval", "pulses", "apart_ns"),
    [
        ("0", 25, 1, None),
        ("1", 0, 2, 0),
        ("2", 25, 2, 25_000_000),
        ("3", 25, 1, None),
        ("4", 25, 2, 2_500_000),
    ],
)
async def test_what_a_bistim_gives_in_each_mode(device, mode, interval, pulses, apart_ns):
    unit = device("magstim-bistim")
    await unit.ready(say.set_second_power(70), say.set_pair_mode(say.PairMode(mode)), say.set_interval(interval))
    unit.ask(say.FIRE)
    await unit.clock.advance_s(3.9)
    assert not unit.status() & say.Instrument.READY
    await unit.clock.advance_s(0.2)
    assert unit.status() & say.Instrument.READY
    moments = [utc_ns for utc_ns, _ in unit.simulator.given]
    assert (len(moments), moments[1] - moments[0] if pulses == 2 else None) == (pulses, apart_ns)


async def test_resolution_and_mode_of_a_bistim_are_chosen_in_standby_only(device):
    unit = device("magstim-bistim")
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(b"Y@")) == b"Y\x89"
    assert unit.ask(encode_frame(b"X4")) == b"X\x894"
    assert unit.ask(say.ASK_PARAMETERS)[2:] == b"030000010"
    assert unit.ask(encode_frame(b"X9")) == b"X?"
    unit.ask(say.ARM)
    for frame in (b"Y@", b"Z@", b"X2", b"C000"):
        assert unit.ask(encode_frame(frame)) == frame[:1] + b"S"
    assert unit.ask(encode_frame(b"C005")) == b"C\x8a"


async def test_as_a_slave_it_does_not_start(device):
    unit = device("magstim-bistim")
    await unit.ready(encode_frame(b"XQ"))
    assert unit.ask(say.FIRE) == b"ES"


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize("name", ["magstim-rapid2", "magstim-200", "magstim-bistim"])
async def test_a_simulator_tells_its_serial_number_to_who_asks_for_it_alone(device, name):
    unit = device(name)
    assert unit.ask(say.ASK_SERIAL) == b"F~SIM-7\x00"
    assert len(unit.ask(say.ASK_TEMPERATURE)) == 8


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


FRAMES = st.one_of(
    st.binary(max_size=12),
    st.builds(
        lambda letter, data: encode_frame(letter + data),
        st.sampled_from([bytes((byte,)) for byte in b"QRFE@ACXYZJ\\NI^_bB[Dxno"]),
        st.one_of(st.sampled_from([b"@", b"A", b"B", b"H", b"D"]), st.binary(max_size=6)),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["magstim-rapid2", "magstim-200", "magstim-bistim"]), st.lists(FRAMES, max_size=12))
async def test_whatever_is_said_to_it_it_answers_each_frame_at_most_once(name, frames):
    unit = Device(name)
    try:
        framer = unit.simulator.framer()
        for frame in frames:
            for whole in framer.feed(frame) + framer.give_up_pending():
                unit.said.clear()
                unit.simulator.take(whole)
                assert len(unit.said) <= 1
        assert not framer.pending
    finally:
        unit.simulator.close()


def test_a_fault_that_it_cannot_have_is_refused_by_its_switchboard_too():
    unit = simulate("magstim-200", Wanted(SteppedClock()))
    assert "has no fault other-coil" in answer(unit, b'{"set": "other-coil"}')["error"]
    assert unit.faults.present == []
