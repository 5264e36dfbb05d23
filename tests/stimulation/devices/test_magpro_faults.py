"""Every fault of the switchboard, thrown at a MagPro: nothing is lost or started twice, nothing believed blindly."""

import asyncio
from contextlib import suppress

import pytest

from spoel_stimulation.devices.adapter import (
    DeviceError,
    NotReady,
    RefusedByDevice,
)
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.pace import PROMPT


@pytest.mark.hazard("HZ-19")
@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize("fault", [Fault.OVERHEAT, Fault.COIL_UNPLUGGED, Fault.RESET])
async def test_a_train_that_a_fault_ends_is_partial_and_its_pulses_are_counted(
    open_room, hurried, until, ten_hz, fault
):
    async with open_room(adapter_options={"poll_s": 0.05}, speed=30.0) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        train = asyncio.create_task(room.adapter.run_train(ten_hz))
        await until(lambda: room.simulator.total_pulses >= 3)
        room.simulator.faults.set(fault)
        result = await train
        assert (result.outcome, result.pulses) == ("partial", room.simulator.total_pulses)
        assert 3 <= result.pulses < ten_hz.pulses


@pytest.mark.hazard("HZ-09")
@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize("again", [True, False])
async def test_a_device_that_answers_again_behind_the_last_question_is_stopped_and_its_pulses_are_counted(
    open_room, hurried, monkeypatch, until, ten_hz, again
):
    """Its counter alone is no end while nobody knows that it stopped; gone once more, it is asked when it is back."""
    async with open_room(adapter_options={"poll_s": 30.0}, speed=30.0) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        idle, disarm, asked = room.adapter._idle, room.adapter.disarm, 0

        async def answers_behind_it():
            found = await idle()
            room.simulator.faults.clear(Fault.GO_SILENT)
            return found

        async def gone_once_more():
            nonlocal asked
            asked += 1
            if asked > 1 and not again:
                room.simulator.faults.set(Fault.GO_SILENT)
            return await disarm()

        monkeypatch.setattr(room.adapter, "_idle", answers_behind_it)
        monkeypatch.setattr(room.adapter, "disarm", gone_once_more)
        train = asyncio.create_task(room.adapter.run_train(ten_hz))
        await until(lambda: room.simulator.total_pulses >= 3)
        room.simulator.faults.set(Fault.GO_SILENT)
        result = await train
        if again:
            assert (result.pulses, result.counters_after.pulses) == (room.simulator.total_pulses,) * 2
        else:
            assert (result.outcome, result.counters_after) == ("unknown", None)


@pytest.mark.hazard("HZ-19")
async def test_pulses_warm_the_coil_until_the_unit_cuts_out(room, ten_hz):
    hot = ten_hz.model_copy(update={"percent_mso": 100, "rate_hz": 50.0, "stimuli": 500})
    await room.arm(hot)
    heat = room.simulator.coil.heat
    heat.excess, heat.since_ns = 20.99, room.clock.monotonic_ns()
    result = await room.adapter.run_train(hot)
    assert (result.outcome, result.pulses) == ("partial", room.simulator.total_pulses)
    assert 1 <= result.pulses < 500
    assert "disabled at the device" in (await room.unasked("change")).detail


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_pulse_from_the_panel_at_the_first_arming_is_told(open_room, ten_hz):
    async with open_room(faults=Faults([Fault.PANEL_FIRE])) as room:
        await room.adapter.connect()
        await room.adapter.stage(ten_hz)
        with suppress(NotReady, RefusedByDevice):
            await room.adapter.arm()
        unasked = await room.unasked("pulse")
        assert (unasked.pulses, unasked.device_total_pulses, unasked.disarmed) == (1, 1, True)
        assert not room.simulator.enabled


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize("lost", range(28))
async def test_whichever_answer_is_lost_nothing_is_started_a_second_time(open_room, hurried, ten_hz, lost):
    """A device that takes its settings at once has 28 things to say from staging to the end of such a train."""
    short = ten_hz.model_copy(update={"stimuli": 4})
    async with open_room(adapter_options={"poll_s": 60.0}, pace=PROMPT) as room:
        await room.adapter.connect()
        room.expect_answers_within(0.1)
        room.cable.lose_frame = lost
        try:
            await room.arm(short)
            result = await room.adapter.run_train(short)
        except DeviceError:
            assert (room.starts(), room.simulator.total_pulses) == (0, 0)
        else:
            assert room.starts() == 1
            assert result.pulses in {None, room.simulator.total_pulses}
        assert room.cable.lose_frame < 0, "it was lost"
