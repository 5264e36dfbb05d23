"""What every maker's adapter does when something happens at the device or on its line."""

import asyncio
import re

import pytest
from tests.stimulation.devices.makers import MAKERS, cases, each

from spoel_stimulation.devices.adapter import DeviceError, InterlockOpen, NotReady, RefusedByDevice
from spoel_stimulation.devices.simulation.faults import Fault

# --- what happens at the device -------------------------------------------------------------------------------------


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(
    ("maker", "fault", "word"),
    cases(
        ("magpro", Fault.OVERHEAT, "45 °C"),
        ("magpro", Fault.COIL_UNPLUGGED, "No coil"),
        ("rapid2", Fault.OVERHEAT, "45 °C"),
        ("rapid2", Fault.COIL_UNPLUGGED, "no coil"),
        ("200", Fault.OVERHEAT, "45 °C"),
        ("200", Fault.COIL_UNPLUGGED, "no coil"),
        ("duomag", Fault.OVERHEAT, "oo hot|voided"),
        ("duomag", Fault.COIL_UNPLUGGED, "o coil|voided"),
    ),
)
async def test_a_coil_that_is_missing_or_too_hot_is_an_open_interlock(tmp_path, maker, fault, word):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        room.simulator.faults.set(fault)
        await room.adapter.refresh_status()
        with pytest.raises((InterlockOpen, NotReady) if "voided" in word else InterlockOpen, match=word):
            await room.arm(maker.settings)
        assert room.disarmed
        assert maker.arms.hex() not in room.frames_in()
        room.simulator.faults.clear(fault)
        await room.adapter.refresh_status()
        await room.arm(maker.settings)
        result = await room.adapter.run_train(maker.settings)
        assert result.outcome == "complete", result


@pytest.mark.hazard("HZ-08")
@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize(
    ("maker", "fault", "word"),
    cases(
        ("magpro", Fault.OVERHEAT, "disabled at the device"),
        ("magpro", Fault.COIL_UNPLUGGED, "coil none instead of Cool-B65"),
        ("magpro", Fault.OTHER_COIL, "coil C-B60 instead of Cool-B65"),
        ("magpro", Fault.PANEL_CHANGE, "amplitude 62 % instead of 55 %"),
        ("magpro", Fault.RESET, "disabled at the device"),
        ("rapid2", Fault.OVERHEAT, "disarmed itself: .*(45 °C|coil is not ready)"),
        ("rapid2", Fault.COIL_UNPLUGGED, "disarmed itself: no coil"),
        ("rapid2", Fault.PANEL_CHANGE, "percent_mso reads 50 instead of 45"),
        ("200", Fault.COIL_UNPLUGGED, "disarmed itself: no coil"),
        ("200", Fault.PANEL_CHANGE, "percent_mso reads 50 instead of 45"),
        ("200", Fault.RESET, "disarmed at the device, or by itself"),
        ("bistim", Fault.PANEL_CHANGE, "percent_mso reads 45 instead of 40"),
        ("duomag", Fault.OVERHEAT, "too hot"),
        ("duomag", Fault.COIL_UNPLUGGED, "no coil"),
        ("duomag", Fault.OTHER_COIL, "coil type 2 instead of 1"),
        ("duomag", Fault.PANEL_CHANGE, "intensity 62 % instead of 55 %"),
        ("duomag", Fault.RESET, "intensity 0 % instead of 55 %"),
    ),
)
async def test_what_happens_to_an_armed_device_disarms_it_and_is_told(tmp_path, maker, fault, word):
    async with maker.open(tmp_path, **maker.often) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        room.simulator.faults.set(fault)
        unasked = await room.unasked("change")
        assert unasked.disarmed
        assert re.search(word, unasked.detail), unasked.detail
        assert room.disarmed
        with pytest.raises(NotReady):
            await room.adapter.run_train(maker.settings)
        assert (room.starts(), room.simulator.total_pulses) == (0, 0)


@pytest.mark.parametrize(
    ("maker", "refused", "not_armed"),
    cases(("magpro", "", "stays disabled"), ("rapid2", "refuses EH", "refuses EB"), ("duomag", "omitted", "not take")),
)
async def test_a_device_that_refuses_is_not_armed_and_a_start_that_it_refuses_is_none(
    tmp_path, hurried, maker, refused, not_armed
):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        room.simulator.faults.set(Fault.REFUSE)
        result = await room.adapter.run_train(maker.settings)
        assert (result.outcome, result.pulses, room.starts()) == ("none", 0, 1)
        assert refused in result.reason
        await room.adapter.disarm()
        await room.adapter.stage(maker.settings)
        with pytest.raises(RefusedByDevice, match=not_armed):
            await room.adapter.arm()
        assert room.disarmed


@pytest.mark.hazard("HZ-10")
@pytest.mark.parametrize("fault", [Fault.DISABLE_AFTER_TRAIN, Fault.DISABLE_IGNORED])
@pytest.mark.parametrize(
    ("maker", "speed", "outcomes"),
    cases(("magpro", 4.0, {"complete"}), ("rapid2", 2.0, {"complete", "unknown"})),
)
async def test_a_disarm_that_does_not_take_effect_in_a_train_is_never_called_confirmed(
    tmp_path, hurried, until, maker, speed, outcomes, fault
):
    async with maker.open(tmp_path, speed=speed) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        room.simulator.faults.set(fault)
        train = asyncio.create_task(room.adapter.run_train(maker.settings))
        await until(lambda: room.simulator.total_pulses >= 2)
        told_before = len(room.frames_in())
        assert not await room.adapter.disarm()
        assert not room.disarmed
        assert len(room.frames_in()) > told_before + 2, "it was told again and again"
        result = await train
        assert result.outcome in outcomes
        assert result.pulses in {None, room.simulator.total_pulses}
        room.simulator.faults.clear(fault)
        assert await room.adapter.disarm()


@pytest.mark.hazard("HZ-10")
@each("magpro", "200", "duomag")
async def test_a_disarm_that_is_ignored_is_never_called_confirmed(tmp_path, hurried, maker):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        room.simulator.faults.set(Fault.DISABLE_IGNORED)
        assert not await room.adapter.disarm()
        assert not room.disarmed
        room.simulator.faults.clear(Fault.DISABLE_IGNORED)
        assert await room.adapter.disarm()


# --- what happens on its line ---------------------------------------------------------------------------------------


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize("fault", [Fault.DROP_BYTES, Fault.CORRUPT_CHECKSUM, Fault.GO_SILENT])
@pytest.mark.parametrize(
    ("maker", "pulses_before", "most_starts"),
    cases(("magpro", 0, 1), ("magpro", 3, 1), ("rapid2", 0, 1), ("rapid2", 3, 1), ("duomag", 0, 4)),
)
async def test_on_a_bad_line_nothing_is_started_twice_or_miscounted(
    tmp_path, hurried, until, maker, fault, pulses_before, most_starts
):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        if maker is not MAKERS["duomag"]:
            room.expect_answers_within(0.1)
        if not pulses_before:
            room.simulator.faults.set(fault)
        train = asyncio.create_task(room.adapter.run_train(maker.settings))
        await until(lambda: room.simulator.total_pulses >= pulses_before or train.done())
        room.simulator.faults.set(fault)
        (result,) = await asyncio.gather(train, return_exceptions=True)
        assert isinstance(result, DeviceError) or result.pulses in {None, room.simulator.total_pulses}
        assert room.starts() <= most_starts
        assert room.simulator.total_pulses <= maker.settings.pulses
        room.simulator.faults.clear(fault)
        if maker is MAKERS["magpro"]:
            await room.adapter.connect()
            assert (await room.adapter.counters()).pulses == room.simulator.total_pulses
