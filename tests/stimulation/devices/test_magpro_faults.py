"""Every fault of the switchboard, thrown at a MagPro: nothing is lost or started twice, nothing believed blindly."""

import asyncio
from contextlib import suppress

import pytest

from spoel_stimulation.devices.adapter import (
    DeviceError,
    InterlockOpen,
    NotReady,
    RefusedByDevice,
)
from spoel_stimulation.devices.magpro import conversation
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.pace import PROMPT


async def first_unasked(room, kind):
    while True:
        unasked = await room.unasked()
        if unasked.kind == kind:
            return unasked


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(("fault", "word"), [(Fault.OVERHEAT, "45 °C"), (Fault.COIL_UNPLUGGED, "No coil")])
async def test_a_coil_that_is_missing_or_too_hot_is_an_open_interlock(room, ten_hz, fault, word):
    room.simulator.faults.set(fault)
    await room.adapter.stage(ten_hz)
    with pytest.raises(InterlockOpen, match=word):
        await room.adapter.arm()
    assert "0201" not in room.bodies_in()
    room.simulator.faults.clear(fault)
    await room.arm(ten_hz)
    assert (await room.adapter.run_train(ten_hz)).outcome == "complete"


@pytest.mark.hazard("HZ-19")
@pytest.mark.hazard("HZ-08")
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault.OVERHEAT, "disabled at the device"),
        (Fault.COIL_UNPLUGGED, "coil none instead of Cool-B65"),
        (Fault.OTHER_COIL, "coil C-B60 instead of Cool-B65"),
        (Fault.PANEL_CHANGE, "amplitude 62 % instead of 55 %"),
        (Fault.RESET, "disabled at the device"),
    ],
)
async def test_what_happens_to_an_armed_device_disarms_it_and_is_told(open_room, ten_hz, fault, word):
    async with open_room(adapter_options={"poll_s": 0.05}) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.simulator.faults.set(fault)
        unasked = await first_unasked(room, "change")
        assert word in unasked.detail
        assert unasked.disarmed
        assert not room.simulator.enabled
        with pytest.raises(NotReady):
            await room.adapter.run_train(ten_hz)
        assert (room.starts(), room.simulator.total_pulses) == (0, 0)


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


@pytest.mark.hazard("HZ-19")
async def test_pulses_warm_the_coil_until_the_unit_cuts_out(room, ten_hz):
    hot = ten_hz.model_copy(update={"percent_mso": 100, "rate_hz": 50.0, "stimuli": 500})
    await room.arm(hot)
    heat = room.simulator.coil.heat
    heat.excess, heat.since_ns = 20.99, room.clock.monotonic_ns()
    result = await room.adapter.run_train(hot)
    assert (result.outcome, result.pulses) == ("partial", room.simulator.total_pulses)
    assert 1 <= result.pulses < 500
    assert "disabled at the device" in (await first_unasked(room, "change")).detail


async def test_a_device_that_refuses_is_not_armed_and_a_start_that_it_refuses_is_none(
    room, hurried, ten_hz, monkeypatch
):
    monkeypatch.setattr(conversation, "ENABLE_TIMEOUT_S", 0.1)
    await room.arm(ten_hz)
    room.simulator.faults.set(Fault.REFUSE)
    result = await room.adapter.run_train(ten_hz)
    assert (result.outcome, result.pulses, room.starts()) == ("none", 0, 1)
    await room.adapter.stage(ten_hz)
    with pytest.raises(RefusedByDevice):
        await room.adapter.arm()


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_pulse_from_the_panel_at_the_first_arming_is_told(open_room, ten_hz):
    async with open_room(faults=Faults([Fault.PANEL_FIRE])) as room:
        await room.adapter.connect()
        await room.adapter.stage(ten_hz)
        with suppress(NotReady, RefusedByDevice):
            await room.adapter.arm()
        unasked = await first_unasked(room, "pulse")
        assert (unasked.pulses, unasked.device_total_pulses, unasked.disarmed) == (1, 1, True)
        assert not room.simulator.enabled


@pytest.mark.hazard("HZ-10")
@pytest.mark.parametrize("fault", [Fault.DISABLE_AFTER_TRAIN, Fault.DISABLE_IGNORED])
async def test_a_disarm_that_does_not_take_effect_is_never_called_confirmed(open_room, hurried, until, ten_hz, fault):
    async with open_room(speed=4.0) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.simulator.faults.set(fault)
        train = asyncio.create_task(room.adapter.run_train(ten_hz))
        await until(lambda: room.simulator.total_pulses >= 2)
        assert not await room.adapter.disarm()
        assert room.simulator.enabled
        result = await train
        assert (result.outcome, result.pulses) == ("complete", room.simulator.total_pulses)
        room.simulator.faults.clear(fault)
        assert await room.adapter.disarm()


@pytest.mark.invariant("INV-9")
@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize("fault", [Fault.DROP_BYTES, Fault.CORRUPT_CHECKSUM, Fault.GO_SILENT])
@pytest.mark.parametrize("pulses_before", [0, 3])
async def test_on_a_bad_line_a_train_is_started_once_and_never_miscounted(
    open_room, hurried, until, ten_hz, fault, pulses_before
):
    async with open_room(adapter_options={"answer_timeout_s": 0.1}) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        if not pulses_before:
            room.simulator.faults.set(fault)
        train = asyncio.create_task(room.adapter.run_train(ten_hz))
        await until(lambda: room.simulator.total_pulses >= pulses_before or train.done())
        room.simulator.faults.set(fault)
        (result,) = await asyncio.gather(train, return_exceptions=True)
        assert isinstance(result, DeviceError) or result.pulses in {None, room.simulator.total_pulses}
        assert room.starts() <= 1
        assert room.simulator.total_pulses in range(ten_hz.pulses + 1)
        room.simulator.faults.clear(fault)
        room.adapter._answer_timeout_s = 2.0
        await room.adapter.connect()
        assert (await room.adapter.counters()).pulses == room.simulator.total_pulses


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize("lost", range(28))
async def test_whichever_answer_is_lost_nothing_is_started_a_second_time(open_room, hurried, ten_hz, lost, monkeypatch):
    monkeypatch.setattr(conversation, "ENABLE_TIMEOUT_S", 0.3)
    short = ten_hz.model_copy(update={"stimuli": 4})
    async with open_room(adapter_options={"poll_s": 60.0}, pace=PROMPT) as room:
        await room.adapter.connect()
        room.adapter._talk.link._answer_timeout_s = 0.1
        room.cable.lose_frame = lost
        try:
            await room.arm(short)
            result = await room.adapter.run_train(short)
        except DeviceError:
            assert (room.starts(), room.simulator.total_pulses) == (0, 0)
        else:
            assert room.starts() == 1
            assert result.pulses in {None, room.simulator.total_pulses}
            assert room.cable.lose_frame < 0 or result.outcome != "complete"
