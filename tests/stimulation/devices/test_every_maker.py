"""What every maker's adapter promises its caller: order, one command at a time, and that stopping always wins."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.stimulation.devices.makers import MAKERS, each

from spoel_stimulation.devices.adapter import LinkLost, NotReady, NotSupported, RefusedByDevice

# --- the order of things --------------------------------------------------------------------------------------------


@pytest.mark.invariant("INV-1")
@each()
async def test_nothing_is_started_that_was_not_staged_and_armed(tmp_path, maker):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        assert room.frames_in()[0] == maker.disarms.hex(), "the first thing that a device hears"
        adapter, settings = room.adapter, maker.settings
        for ask in (adapter.arm(), adapter.run_train(settings), adapter.change_percent_mso(50)):
            with pytest.raises(NotReady):
                await ask
        with pytest.raises(NotSupported):
            await adapter.stage(settings.at(101))
        await adapter.stage(settings)
        with pytest.raises(NotReady):
            await adapter.run_train(settings)
        await adapter.arm()
        with pytest.raises(NotReady, match="not the settings"):
            await adapter.run_train(settings.at(30))
        assert await adapter.disarm()
        with pytest.raises(NotReady):
            await adapter.run_train(settings)
        assert (room.starts(), room.simulator.total_pulses) == (0, 0)


@each("magpro", "rapid2", "duomag")
async def test_before_connecting_everything_but_disarm_is_refused(tmp_path, maker):
    async with maker.open(tmp_path) as room:
        assert room.adapter.status is None
        assert not await room.adapter.disarm()
        for ask in (room.adapter.stage(maker.settings), room.adapter.counters(), room.adapter.refresh_status()):
            with pytest.raises(NotReady):
                await ask
        room.adapter.address = "socket://127.0.0.1:9"
        with pytest.raises(LinkLost, match="does not open"):
            await room.adapter.connect()


@pytest.mark.invariant("INV-9")
@each()
async def test_two_commands_at_once_are_one(tmp_path, maker):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        run = room.adapter.run_train
        first, *others = await asyncio.gather(
            run(maker.settings), run(maker.settings), room.adapter.stage(maker.settings), return_exceptions=True
        )
        assert first.outcome == "complete"
        assert [type(other) for other in others] == [NotReady, NotReady]
        assert room.simulator.total_pulses == maker.settings.pulses


# --- stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.invariant("INV-8")
@pytest.mark.parametrize(
    ("maker", "after_s"),
    [
        *((MAKERS["magpro"], 0.002 * turns) for turns in range(0, 60, 8)),
        *((MAKERS["rapid2"], after_s) for after_s in (0.0, 0.03, 0.1, 0.2)),
        *((MAKERS["duomag"], after_s) for after_s in (0.0, 0.02, 0.06, 0.1, 0.15, 0.2)),
    ],
)
async def test_nothing_goes_out_after_a_disarm_whenever_it_comes(tmp_path, maker, after_s):
    """A disarm at any turn of the event loop wins over staging, arming and starting."""

    async with maker.open(tmp_path) as room:
        await room.adapter.connect()

        async def treat():
            await room.arm(maker.settings)
            return await room.adapter.run_train(maker.settings)

        treating = asyncio.create_task(treat())
        await asyncio.sleep(after_s)
        assert await room.adapter.disarm()
        sent = len(room.frames_in())
        (result,) = await asyncio.gather(treating, return_exceptions=True)
        assert isinstance(result, NotReady | RefusedByDevice) or result.outcome in {"partial", "complete", "unknown"}
        assert not {maker.arms.hex(), maker.starts.hex()} & set(room.frames_in()[sent:])
        assert room.disarmed


@each()
async def test_a_disarm_overtakes_an_arm_under_way(tmp_path, maker):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        await room.adapter.stage(maker.settings)
        arming = asyncio.create_task(room.adapter.arm())
        await asyncio.sleep(0)
        assert await room.adapter.disarm()
        with pytest.raises((NotReady, RefusedByDevice)):
            await arming
        assert room.disarmed


# --- callers that go away -------------------------------------------------------------------------------------------


@asynccontextmanager
async def armed_by_a_frame_that_is_not_answered(room, maker, until):
    """An arming under way: the device is armed, and the adapter does not know it yet."""
    await room.adapter.connect()
    await room.adapter.stage(maker.settings)
    room.cable.deaf_from = maker.arms
    arming = asyncio.create_task(room.adapter.arm())
    await until(lambda: room.cable.deaf and not room.disarmed)
    yield arming
    with pytest.raises(NotReady):
        await room.adapter.run_train(maker.settings)
    assert (room.starts(), room.simulator.total_pulses) == (0, 0)


@pytest.mark.hazard("HZ-09")
@pytest.mark.invariant("INV-8")
@each()
async def test_arming_that_is_cancelled_ends_disarmed(tmp_path, until, maker):
    async with maker.open(tmp_path) as room:
        async with armed_by_a_frame_that_is_not_answered(room, maker, until) as arming:
            arming.cancel()
            room.cable.deaf, room.cable.deaf_from = False, None
            with pytest.raises(asyncio.CancelledError):
                await arming
            assert room.disarmed
        assert room.adapter.unasked.empty()
        await room.arm(maker.settings)
        assert (await room.adapter.run_train(maker.settings)).outcome == "complete"


@pytest.mark.hazard("HZ-09")
@each("magpro", "rapid2", "duomag")
async def test_cancelling_a_second_time_breaks_off_no_disarm(tmp_path, until, maker):
    async with maker.open(tmp_path) as room:
        async with armed_by_a_frame_that_is_not_answered(room, maker, until) as arming:
            arming.cancel()
            await asyncio.sleep(0)
            arming.cancel()
            room.cable.deaf, room.cable.deaf_from = False, None
            with pytest.raises(asyncio.CancelledError):
                await arming
            await until(lambda: room.disarmed)
        assert room.adapter.unasked.empty()


@pytest.mark.hazard("HZ-10")
@each("magpro", "rapid2", "duomag")
async def test_arming_that_is_cancelled_and_not_read_back_as_disarmed_is_told(tmp_path, hurried, until, maker):
    async with maker.open(tmp_path) as room, armed_by_a_frame_that_is_not_answered(room, maker, until) as arming:
        arming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await arming
        unasked = await room.unasked("change")
        assert "may be armed" in unasked.detail
        assert not unasked.disarmed


@pytest.mark.hazard("HZ-09")
@each("magpro", "rapid2", "200", "duomag")
async def test_another_intensity_that_is_cancelled_leaves_nothing_armed(tmp_path, maker):
    async with maker.open(tmp_path) as room:
        await room.adapter.connect()
        await room.arm(maker.settings)
        room.cable.deaf = True
        changing = asyncio.create_task(room.adapter.change_percent_mso(44))
        await asyncio.sleep(0)
        changing.cancel()
        room.cable.deaf = False
        with pytest.raises(asyncio.CancelledError):
            await changing
        assert room.disarmed
        for settings in (maker.settings, maker.settings.at(44)):
            with pytest.raises(NotReady):
                await room.adapter.run_train(settings)
        assert room.starts() == 0


@pytest.mark.invariant("INV-8")
@each("magpro", "rapid2", "duomag")
async def test_after_the_link_was_cut_in_mid_arming_nothing_is_armed(tmp_path, hurried, until, maker):
    async with maker.open(tmp_path) as room, armed_by_a_frame_that_is_not_answered(room, maker, until) as arming:
        room.cable.cut()
        with pytest.raises((LinkLost, NotReady, RefusedByDevice)):
            await arming
