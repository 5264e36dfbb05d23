"""A device takes its own time over what it is told, and a session with it goes its whole way all the same."""

import asyncio
import time
from random import Random

import pytest

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.magpro.codec import FrameParser
from spoel_stimulation.devices.magstim.adapter import MagstimAdapter
from spoel_stimulation.devices.manual.simulator import TriggerBoxSimulator
from spoel_stimulation.devices.simulation.pace import PROMPT, Pace, pace_of
from spoel_stimulation.devices.simulation.ports import on_tcp
from spoel_stimulation.devices.simulators import SIMULATORS, Wanted, simulate

BIPHASIC = TrainSettings(rate_hz=10.0, stimuli=5, percent_mso=40)
SINGLE = TrainSettings(rate_hz=1.0, stimuli=2, percent_mso=40)
MONO = TrainSettings(waveform="monophasic", rate_hz=0.2, stimuli=1, percent_mso=40)


def magstim(kind):
    return lambda address, clock: MagstimAdapter(address, clock, kind=kind)


DEVICES = [
    ("magpro-x100", MagProAdapter, BIPHASIC),
    ("magstim-rapid2", magstim("rapid2"), BIPHASIC),
    ("magstim-200", magstim("200"), MONO),
    ("duomag", DuoMagAdapter, SINGLE),
]


@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize(("name", "adapter_of", "train"), DEVICES, ids=[name for name, _, _ in DEVICES])
async def test_at_a_devices_own_pace_a_train_goes_its_whole_way(name, adapter_of, train):
    clock = ScaledClock.starting_now(1)
    device = simulate(name, Wanted(clock))
    async with on_tcp(device) as address:
        adapter = adapter_of(address, clock)
        await adapter.connect()
        await adapter.stage(train)
        await adapter.arm()
        result = await adapter.run_train(train)
        assert (result.outcome, device.total_pulses) == ("complete", train.pulses)
        assert await adapter.disarm()
        assert adapter.unasked.empty()
        await adapter.close()
    device.close()


async def test_questions_are_answered_one_after_the_other_each_in_its_time():
    device = simulate("magpro-x100", Wanted(ScaledClock.starting_now(1)))
    async with on_tcp(device) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        began_s = time.monotonic()
        writer.write(bytes.fromhex("fe010000ff") * 5)
        parser, answers = FrameParser(), []
        async with asyncio.timeout(10):
            while len(answers) < 5:
                answers += parser.feed(await reader.read(100))
        assert time.monotonic() - began_s >= 5 * device.pace.shortest_s
        writer.close()
    device.close()


async def test_a_setting_holds_only_after_a_while(until):
    device = simulate("magpro-x100", Wanted(ScaledClock.starting_now(1)))
    before, began_s = device.settings.timing, time.monotonic()
    for body in ("07 02 00", "06 00 64 00 32 00 14 00 50"):
        device.take(bytes.fromhex(body))
    assert device.settings.timing == before
    await until(lambda: device.settings.timing.pulses == 50)
    assert time.monotonic() - began_s >= device.pace.settle_s
    device.close()


async def test_a_frame_is_written_down_when_it_arrives_not_when_it_is_obeyed(tmp_path, until):
    log = tmp_path / "sim.jsonl"
    slow = Pace(30.0, 30.0, 0.0)
    device = simulate("magpro-x100", Wanted(ScaledClock.starting_now(1), log_path=log, pace=slow))
    async with on_tcp(device) as address:
        _, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(bytes.fromhex("fe020201cfff"))
        await until(lambda: "fe020201cfff" in log.read_text())
        assert not device.enabled
        writer.close()
    device.close()


@pytest.mark.parametrize("name", sorted(SIMULATORS))
def test_every_simulator_has_times_that_a_faster_clock_shortens(name):
    own, fast = (simulate(name, Wanted(ScaledClock.starting_now(speed))).pace for speed in (1, 60))
    assert 0 < own.shortest_s <= own.answer_s(Random(1)) <= own.longest_s
    assert fast == own.at(60)
    assert fast.longest_s * 60 == pytest.approx(own.longest_s)
    assert simulate(name, Wanted(ScaledClock.starting_now(1), pace=PROMPT)).pace == PROMPT


def test_of_an_unknown_device_no_times_are_known():
    with pytest.raises(KeyError):
        pace_of("cool-coil")
    assert TriggerBoxSimulator(ScaledClock.starting_now(1)).pace == pace_of("trigger-box")
