"""An adapter's whole train through the real guard process, in the order in which a room stages, releases and arms."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.stimulation.clinic import fast_clock
from tests.stimulation.guard.parts import Guard, RoomProcess, Simulator

from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.magstim.adapter import MagstimAdapter
from spoel_stimulation.devices.transport import through_guard
from spoel_stimulation.guard.settings import data_socket

ADAPTERS = {
    "magpro-x100": ("magpro", MagProAdapter, TrainSettings(rate_hz=10.0, stimuli=10, percent_mso=40)),
    "magstim-rapid2": ("magstim-rapid2", MagstimAdapter, TrainSettings(rate_hz=10.0, stimuli=10, percent_mso=40)),
    "duomag": ("duomag", DuoMagAdapter, TrainSettings(rate_hz=1.0, stimuli=3, percent_mso=40)),
}


@asynccontextmanager
async def beating(room):
    async def beat():
        while True:
            room.beat()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.invariant("INV-2")
@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize("name", ADAPTERS)
async def test_a_held_device_is_staged_then_released_armed_and_gives_its_train(start, tmp_path, name):
    device, make, settings = ADAPTERS[name]
    clock = fast_clock(4.0)
    simulator = start(Simulator(tmp_path, name=name, clock=clock))
    guard = start(Guard(tmp_path, {"room-1": simulator.address}, device=device, clock=clock)).until_open()
    room = start(RoomProcess(guard, data=False))
    held = room.hello()["held"]
    adapter = make(through_guard(data_socket(guard.directory, "room-1"), simulator.address), clock)
    async with beating(room):
        await adapter.connect()
        await adapter.stage(settings)
        room.say(release=held)
        assert (await asyncio.to_thread(room.until, "released"))["why_not"] is None
        await adapter.arm()
        result = await adapter.run_train(settings)
        assert (result.outcome, result.pulses, simulator.pulses) == ("complete", settings.pulses, settings.pulses)
        assert await adapter.disarm()
        await adapter.close()
