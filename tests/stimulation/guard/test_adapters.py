"""An adapter's whole train through the real guard process, in the order in which a room stages, releases and arms."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.stimulation.clinic import fast_clock
from tests.stimulation.guard.parts import Guard, RoomProcess, Simulator, wait_for

from spoel_stimulation.devices.adapter import NotReady, TrainSettings
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


@asynccontextmanager
async def armed(start, folder, name):
    """Yield an armed adapter behind a guard, what its train is to be, the guard and the simulator."""
    device, make, settings = ADAPTERS[name]
    clock = fast_clock(4.0)
    simulator = start(Simulator(folder, name=name, clock=clock))
    guard = start(Guard(folder, {"room-1": simulator.address}, device=device, clock=clock)).until_open()
    room = start(RoomProcess(guard, data=False))
    held = room.hello()["held"]
    adapter = make(through_guard(data_socket(guard.directory, "room-1"), simulator.address), clock)
    async with beating(room):
        await adapter.connect()
        await adapter.stage(settings)
        room.say(release=held)
        assert (await asyncio.to_thread(room.until, "released"))["why_not"] is None
        await adapter.arm()
        yield adapter, settings, guard, simulator
        assert await adapter.disarm()
        await adapter.close()


@pytest.mark.invariant("INV-2")
@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize("name", ADAPTERS)
async def test_a_held_device_is_staged_then_released_armed_and_gives_its_train(start, tmp_path, name):
    async with armed(start, tmp_path, name) as (adapter, settings, _guard, simulator):
        result = await adapter.run_train(settings)
        assert (result.outcome, result.pulses, simulator.pulses) == ("complete", settings.pulses, settings.pulses)


@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
async def test_answers_to_the_guards_own_questions_never_make_a_train_that_was_held_back_look_given(
    start, tmp_path, monkeypatch
):
    async def check_nothing(*_args):
        """Go on as if the stop had come behind the last look at the device."""

    async with armed(start, tmp_path, "magstim-rapid2") as (adapter, settings, guard, simulator):
        monkeypatch.setattr(adapter, "_check_before_start", check_nothing)
        stopping = asyncio.create_task(asyncio.to_thread(guard.stop))
        await asyncio.to_thread(wait_for, lambda: guard.lines("stop")[-1]["reason"] == "emergency", "it is held")
        outcome = await outcome_of(adapter, settings)
        assert (await stopping)["outcome"] == "confirmed"
        assert outcome in {"none", "unknown"}
        assert simulator.pulses == 0


async def outcome_of(adapter, settings):
    """Return a train's outcome: none where the adapter has noticed by itself that the device was disarmed."""
    try:
        return (await adapter.run_train(settings)).outcome
    except NotReady:
        return "none"
