"""The simulator as the device is described, byte by byte and in virtual time; no adapter takes part."""

import asyncio
import json
from dataclasses import replace

import pytest

from spoel_common.clock import NS_PER_S, ScaledClock, SteppedClock
from spoel_stimulation.devices.magpro.codec import FrameParser
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magpro.simulator_state import Settings
from spoel_stimulation.devices.magpro.values import Mode, Model, Page, Wave
from spoel_stimulation.devices.simulation.log import last_total
from spoel_stimulation.devices.simulation.pace import PROMPT
from spoel_stimulation.devices.simulation.ports import on_tcp

TIMING = Settings(page=Page.TIMING, amplitude_a=50)
ITBS_WAVE = "09 01 03 00 00 03 02 00 c8 00 64"


def one_train(rate_tenth_hz, pulses, trains=1, pause_tenth_s=10):
    timing = replace(TIMING.timing, rate_tenth_hz=rate_tenth_hz, pulses=pulses, trains=trains)
    return replace(TIMING, timing=replace(timing, pause_tenth_s=pause_tenth_s))


class Desk:
    """A simulator in virtual time, spoken to without a port."""

    def __init__(self, clock, simulator, log_path):
        self.clock = clock
        self.device = simulator
        self._log_path = log_path
        self._parser = FrameParser()
        self._said = []
        simulator.speak = lambda frames: self._said.extend(self._parser.feed(frames))

    def say(self, body):
        """Say a body to the device; return what it says at once."""
        self._said.clear()
        self.device.take(bytes.fromhex(body))
        return self.said()

    def said(self):
        bodies, self._said = [body.hex(" ") for body in self._said], []
        return bodies

    def pulses(self):
        """Moments (ns since the clock's start) and totals that the log tells of."""
        start_ns = self.clock.utc_ns() - self.clock.monotonic_ns()
        lines = [json.loads(line) for line in self._log_path.read_text().splitlines()]
        return [(line["t_ns"] - start_ns, line["pulses"]) for line in lines if "pulses" in line]


@pytest.fixture
async def desk(tmp_path):
    desks = []

    def make(settings=None, **options):
        clock = SteppedClock()
        path = tmp_path / "log.jsonl"
        simulator = MagProSimulator(clock, settings=settings, log_path=path, pace=PROMPT, **options)
        desks.append(simulator)
        return Desk(clock, simulator, path)

    yield make
    for simulator in desks:
        simulator.close()


async def settled():
    await asyncio.sleep(0.005)


async def test_it_says_who_it_is(desk):
    device = desk(TIMING, number=0x105)
    assert device.say("00") == ["00 64 f0 01 05 16 3c 32 00"]
    assert device.say("05") == ["05 64 f0 01 05 16 3c 32 00 32 00 64 64 02 00"]
    assert device.device.serial == "SIM-261"


async def test_a_serial_number_beyond_three_bytes_is_refused(desk):
    with pytest.raises(ValueError, match="a simulator has one from 0"):
        desk(number=0x100000)


async def test_enabling_sends_three_frames(desk):
    assert desk(TIMING).say("02 01") == ["01 32 00 74", "03 16 3c 74", "01 32 00 74"]


async def test_an_amplitude_beyond_100_is_not_taken(desk):
    device = desk(TIMING)
    assert device.say("01 37") == ["01 37 00 64"]
    assert device.say("01 65") == ["01 37 00 64"]


async def test_pages_that_a_host_may_not_choose_are_not_shown(desk):
    device = desk()
    assert device.say("07 02 00") == ["08 02 00 64"]
    assert device.say("07 0d 00") == ["08 02 00 64"]


async def test_a_write_of_the_wave_is_not_answered_and_reads_back_by_index(desk):
    device = desk(TIMING)
    assert device.say(ITBS_WAVE) == []
    await settled()
    assert device.say("09 00") == ["09 00 03 00 00 03 02 50 00 50"]
    assert device.say("00")[0].startswith("00 6c")


async def test_a_number_in_between_goes_to_the_nearest_allowed(desk):
    device = desk(TIMING)
    device.say("09 01 03 00 00 03 02 00 cb 00 66")
    await settled()
    assert device.say("09 00") == ["09 00 03 00 00 03 02 50 00 50"]
    device.say("0b 01 00 00 69 04 24 00 00 ff ff 00")
    await settled()
    assert device.say("0b 00") == ["0b 00 00 00 64 04 4c 00 01 04 b0 00 64 0a"]


async def test_the_timing_page_is_written_only_while_it_is_shown(desk):
    device = desk()
    before = device.say("0b 00")
    assert device.say("0b 01 00 00 32 00 0a 00 01 00 50 00") == []
    assert device.say("06 00 64 00 32 00 14 00 50") == []
    await settled()
    assert device.say("0b 00") == before
    device.say("07 02 00")
    device.say("06 00 64 00 32 00 14 00 50")
    await settled()
    assert device.say("0b 00") == ["0b 00 00 00 64 00 32 00 14 00 50 01 64 0a"]


async def test_delays_are_written_both_ways(desk):
    device = desk(TIMING)
    device.say("0a 01 00 0f fc 18 00 7d")
    await settled()
    assert device.say("0a 00") == ["0a 00 00 0f fc 18 00 7d"]
    device.say("08 00 00 00 00 00 00 00 00")
    await settled()
    assert device.say("0a 00") == ["0a 00 00 00 00 00 00 00"]


@pytest.mark.parametrize(
    ("model", "write", "taken"),
    [
        (Model.X100, ITBS_WAVE, True),
        (Model.R30, ITBS_WAVE, False),
        (Model.X100, "09 01 01 00 00 02 02 00 64 00 64", False),
        (Model.X100, "09 01 01 02 00 01 02 00 64 00 64", False),
        (Model.X100_OPTION, "09 01 03 02 00 01 02 00 64 00 64", True),
    ],
)
async def test_a_model_takes_only_what_it_has(desk, model, write, taken):
    device = desk(TIMING, model=model)
    before = device.device.settings
    device.say(write)
    await settled()
    assert (device.device.settings != before) == taken


async def test_an_r30_names_itself_wrongly_in_the_wave(desk):
    assert desk(model=Model.R30).say("09 00")[0].startswith("09 00 58 00")


@pytest.mark.parametrize(
    ("settings", "enabled"),
    [
        (replace(TIMING, page=Page.MAIN), True),
        (replace(TIMING, page=Page.PROTOCOL), True),
        (TIMING, False),
        (replace(TIMING, timing=replace(TIMING.timing, control=1)), True),
    ],
    ids=["main page", "protocol page", "disabled", "external trigger"],
)
async def test_a_start_is_ignored_unless_enabled_on_the_timing_page(desk, settings, enabled):
    device = desk(settings)
    if enabled:
        device.say("02 01")
    assert device.say("04") == []
    await device.clock.advance_s(5)
    assert (device.said(), device.pulses()) == ([], [])


@pytest.mark.requirement("ST-06")
async def test_a_train_keeps_its_schedule_to_the_nanosecond(desk):
    device = desk(one_train(100, 5))
    device.say("02 01")
    await device.clock.advance_s(3)
    assert device.say("04") == ["08 02 01 74"]
    await device.clock.advance_s(1)
    assert device.said() == ["02 50 00 74"] * 5 + ["08 02 00 74"]
    assert device.pulses() == [(3 * NS_PER_S + k * NS_PER_S // 10, k + 1) for k in range(5)]
    assert device.say("0c 00") == ["0c 00 00 01 00 00 00 05 00 00 05 00 00 02"]


async def test_a_burst_is_one_frame_and_all_its_pulses(desk):
    settings = replace(one_train(50, 10), wave=Wave.BIPHASIC_BURST, burst_pulses=3, interval_tenth_ms=200)
    device = desk(settings)
    device.say("02 01")
    device.say("04")
    await device.clock.advance_s(3)
    assert device.said().count("02 50 00 7c") == 10
    assert device.pulses()[-1] == (9 * NS_PER_S // 5, 30)
    assert device.say("0c 00") == ["0c 00 00 01 00 00 00 1e 00 00 0a 00 00 02"]


async def test_a_pair_is_two_pulses_and_one_frame_or_two(desk):
    device = desk(replace(one_train(10, 40), mode=Mode.TWIN))
    device.say("02 01")
    device.say("04")
    await device.clock.advance_s(40)
    assert 40 < sum(body.startswith("02") for body in device.said()) < 80
    assert device.device.total_pulses == 80


async def test_trains_of_the_device_pause_from_last_pulse_to_first(desk):
    device = desk(one_train(100, 2, trains=3, pause_tenth_s=15))
    device.say("02 01")
    device.say("04")
    await device.clock.advance_s(10)
    tenths = [moment * 10 // NS_PER_S for moment, _ in device.pulses()]
    assert tenths == [0, 1, 16, 17, 32, 33]
    assert device.device.trains == 3


async def test_disabling_stops_a_train_and_says_so(desk):
    device = desk(one_train(100, 40))
    device.say("02 01")
    device.say("04")
    await device.clock.advance_s(1)
    device.said()
    assert device.say("02 00") == ["01 32 00 64", "03 16 3c 64", "01 32 00 64", "08 02 00 64"]
    await device.clock.advance_s(10)
    assert len(device.pulses()) == 11


async def test_while_a_train_runs_nothing_else_starts_and_pages_stay(desk):
    device = desk(one_train(100, 10))
    device.say("02 01")
    device.say("04")
    assert device.say("04") == ["02 50 00 74"]
    assert device.say("03") == []
    assert device.say("07 01 00") == ["08 02 01 74"]
    assert device.say(ITBS_WAVE) == []
    await device.clock.advance_s(5)
    assert device.device.total_pulses == 10
    assert device.device.settings.wave is Wave.BIPHASIC


async def test_a_single_pulse_needs_the_device_enabled(desk):
    device = desk(TIMING)
    assert device.say("03") == []
    device.say("02 01")
    assert device.say("03 01") == ["02 50 00 74"]
    assert device.device.total_pulses == 1


@pytest.mark.hazard("HZ-08")
async def test_the_front_panel_acts_by_itself_and_tells(desk):
    device = desk(TIMING)
    device.device.panel_set_amplitude(77)
    device.device.panel_set_page(Page.MAIN)
    device.device.panel_set_mode(mode=Mode.DUAL)
    device.device.panel_enable(enabled=True)
    device.device.panel_fire()
    assert device.said()[:3] == ["01 4d 00 64", "08 01 00 64", "01 4d 00 67"]
    assert device.device.enabled
    assert device.device.total_pulses == 2


async def test_noise_and_unknown_commands_are_ignored(desk):
    device = desk(TIMING)
    assert device.say("0d 00") == []
    assert device.say("09 01 ff ff ff ff ff ff ff ff ff") == []


@pytest.mark.invariant("INV-1")
async def test_the_pulse_counter_survives_a_restart(desk):
    first = desk(one_train(100, 7))
    first.say("02 01")
    first.say("04")
    await first.clock.advance_s(2)
    first.device.close()
    again = desk()
    assert again.device.total_pulses == 7
    assert again.say("0c 00") == ["0c 00 00 00 00 00 00 07 00 00 00 00 00 01"]
    assert again.device.enabled is False


def test_the_last_total_is_read_past_a_torn_line_and_far_back(tmp_path):
    path = tmp_path / "log.jsonl"
    assert last_total(path) == 0
    assert last_total(None) == 0
    path.write_text('{"t_ns": 1, "pulses": 12}\n' + '{"t_ns": 2, "dir": "in", "frame": "fe"}\n' * 3000)
    assert last_total(path) == 12
    path.write_text('{"t_ns": 1, "pulses": 12}\n{"t_ns": 2, "pulses": 13}\n{"t_ns": 3, "pul')
    assert last_total(path) == 13
    path.write_text('{"t_ns": 1, "pulses": 12}\n{"t_ns": 2, "pulses": 1')
    assert last_total(path) == 12


async def say_by_tcp(address, *bodies):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    for frame in bodies:
        writer.write(bytes.fromhex(frame))
    return reader, writer


ENABLE, START, STATUS = "fe 02 02 01 cf ff", "fe 01 04 61 ff", "fe 01 00 00 ff"


@pytest.mark.invariant("INV-11")
@pytest.mark.hazard("HZ-09")
async def test_the_device_goes_on_with_its_train_when_its_host_is_gone(until):
    simulator = MagProSimulator(ScaledClock.starting_now(60), settings=one_train(100, 40))
    async with on_tcp(simulator) as address:
        _, writer = await say_by_tcp(address, ENABLE, START)
        await until(lambda: simulator.running)
        writer.transport.abort()
        await until(lambda: not simulator.running)
    assert simulator.total_pulses == 40
    simulator.close()


async def test_a_second_host_is_refused_while_the_first_lives_and_taken_when_it_is_gone():
    simulator = MagProSimulator(ScaledClock.starting_now(1))
    async with on_tcp(simulator) as address:
        _, first = await say_by_tcp(address, ENABLE)
        second_reader, second = await say_by_tcp(address, STATUS)
        assert await asyncio.wait_for(second_reader.read(100), 2) == b""
        first.transport.abort()
        third_reader, third = await say_by_tcp(address, STATUS)
        assert (await asyncio.wait_for(third_reader.readexactly(13), 2))[:3] == bytes.fromhex("fe 09 00")
        for writer in (first, second, third):
            writer.close()
    simulator.close()


async def test_what_is_left_of_a_torn_frame_does_not_hide_the_next():
    simulator = MagProSimulator(ScaledClock.starting_now(1))
    async with on_tcp(simulator) as address:
        reader, writer = await say_by_tcp(address, "fe 0b 09 01")
        await asyncio.sleep(0.3)
        writer.write(bytes.fromhex(STATUS))
        assert len(await asyncio.wait_for(reader.readexactly(13), 2)) == 13
        writer.close()
    simulator.close()


async def test_at_speed_120_no_pulse_is_lost():
    clock = ScaledClock.starting_now(120)
    simulator = MagProSimulator(clock, settings=one_train(100, 600))
    async with on_tcp(simulator) as address:
        reader, writer = await say_by_tcp(address, ENABLE, START)
        parser, bodies = FrameParser(), []
        async with asyncio.timeout(10):
            while not bodies or bodies[-1] != bytes.fromhex("08 02 00 74"):
                bodies += parser.feed(await reader.read(4096))
        writer.close()
    assert sum(body[0] == 2 for body in bodies) == simulator.total_pulses == 600
    simulator.close()
