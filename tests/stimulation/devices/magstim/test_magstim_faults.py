"""What happens at a Magstim, on its line and to its answers, and that nothing is ever started twice because of it."""

import asyncio
import json
import time

import pytest

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import (
    BadChecksum,
    DeviceError,
    LinkLost,
    NotReady,
    RefusedByDevice,
    SettingNotTaken,
)
from spoel_stimulation.devices.magstim.adapter import MagstimAdapter
from spoel_stimulation.devices.magstim.guarding import GAP_S
from spoel_stimulation.devices.magstim.messages import DISARM
from spoel_stimulation.devices.magstim.unlocking import unlock_code
from spoel_stimulation.devices.simulation.faults import Fault

FIRED = b"E\x8c"


def answer_to_fire(frame):
    """The answer to a start: the state before it is ready."""
    return frame[:2] == FIRED


# --- every fault of the switchboard ---------------------------------------------------------------------------------


async def test_a_locked_unit_that_restarts_is_silent_and_the_link_is_told_lost(open_room, ten_hz):
    async with open_room(code="1a2b-3c4d5e6f-70", poll_s=0.05, answer_timeout_s=0.3) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.simulator.faults.set(Fault.RESET)
        assert (await room.unasked("link-lost")).disarmed
        await room.adapter.connect()
        await room.arm(ten_hz)
        assert (await room.adapter.run_train(ten_hz)).outcome == "complete"


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize(("kind", "settings"), [("rapid2", "ten_hz"), ("rapid2", "one_pulse"), ("200", "one_mono")])
async def test_a_start_at_the_panel_disarms_and_is_told(open_room, request, kind, settings):
    settings = request.getfixturevalue(settings)
    async with open_room(kind, poll_s=0.02, speed=5.0) as room:
        await room.adapter.connect()
        await room.arm(settings)
        await room.adapter.refresh_status()
        room.simulator.faults.set(Fault.PANEL_FIRE)
        unasked = await room.unasked("pulse")
        assert (unasked.pulses, unasked.disarmed) == (1, True)
        assert not room.simulator.armed
        assert room.simulator.total_pulses >= 1
        assert room.adapter.last_stimulus_monotonic_s is not None
        with pytest.raises(NotReady):
            await room.adapter.run_train(settings)
        assert room.starts() == 0


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize("fault", [Fault.OVERHEAT, Fault.COIL_UNPLUGGED, Fault.RESET])
async def test_a_train_that_a_fault_ends_is_unknown_since_nobody_counts(open_room, hurried, until, ten_hz, fault):
    async with open_room(speed=10.0) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.expect_answers_within(0.3)
        train = asyncio.create_task(room.adapter.run_train(ten_hz))
        await until(lambda: room.simulator.total_pulses >= 3)
        room.simulator.faults.set(fault)
        result = await train
        assert (result.outcome, result.pulses, result.evidence) == ("unknown", None, None)
        assert result.reason
        assert 3 <= room.simulator.total_pulses < ten_hz.pulses
        assert (room.starts(), room.simulator.armed) == (1, False)


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize("lost", range(0, 40, 3))
async def test_whichever_answer_is_lost_nothing_is_started_a_second_time(open_room, hurried, ten_hz, lost):
    short = ten_hz.model_copy(update={"stimuli": 10})
    async with open_room(poll_s=60.0) as room:
        await room.adapter.connect()
        room.expect_answers_within(0.05)
        numbers = iter(range(10_000))
        room.lose_answer(lambda _frame: next(numbers) == lost)
        try:
            await room.arm(short)
            result = await room.adapter.run_train(short)
        except DeviceError:
            assert (room.starts(), room.simulator.total_pulses) == (0, 0)
        else:
            assert room.starts() == 1
            assert result.pulses in {None, room.simulator.total_pulses}


# --- the start ------------------------------------------------------------------------------------------------------


@pytest.mark.hazard("HZ-11")
@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize(
    ("kind", "settings"), [("rapid2", "ten_hz"), ("rapid2", "one_pulse"), ("200", "one_mono"), ("bistim", "pair")]
)
async def test_a_start_whose_answer_is_lost_is_unknown_and_is_not_sent_again(open_room, request, kind, settings):
    settings = request.getfixturevalue(settings)
    async with open_room(kind) as room:
        await room.adapter.connect()
        await room.arm(settings)
        room.expect_answers_within(0.2)
        room.lose_answer(answer_to_fire)
        result = await room.adapter.run_train(settings)
        assert (result.outcome, result.pulses) == ("unknown", None)
        assert "was not acknowledged" in result.reason
        assert (room.starts(), room.simulator.armed) == (1, False)
        assert room.simulator.total_pulses <= settings.pulses
        with pytest.raises(NotReady):
            await room.adapter.run_train(settings)
        assert room.starts() == 1


@pytest.mark.invariant("INV-9")
@pytest.mark.parametrize("instead", [b"?", b"E\x8c\x00", b"E"], ids=["question-mark", "bad-checksum", "cut-short"])
async def test_a_start_whose_answer_is_damaged_is_unknown(open_room, ten_hz, instead):
    async with open_room(answer_timeout_s=0.3) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        speak = room.simulator.speak
        room.simulator.speak = lambda frame: speak(instead if answer_to_fire(frame) else frame)
        result = await room.adapter.run_train(ten_hz)
        assert (result.outcome, result.pulses, room.starts()) == ("unknown", None, 1)
        assert not room.simulator.armed


@pytest.mark.invariant("INV-9")
async def test_a_start_that_is_acknowledged_and_shows_nothing_is_unknown(open_room, hurried, ten_hz):
    async with open_room() as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.simulator._fire = lambda: None
        result = await room.adapter.run_train(ten_hz)
        assert (result.outcome, result.pulses, room.starts()) == ("unknown", None, 1)
        assert "did not show a beginning" in result.reason
        assert not room.simulator.armed


async def test_a_train_that_ends_too_early_is_unknown(open_room, ten_hz):
    async with open_room(speed=10.0) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        shot = room.simulator.part.shot

        def shorter():
            whole = shot()
            whole.pulses = 12
            return whole

        room.simulator.part.shot = shorter
        result = await room.adapter.run_train(ten_hz)
        assert (result.outcome, room.simulator.total_pulses) == ("unknown", 12)
        assert "ended it early" in result.reason


@pytest.mark.invariant("INV-9")
@pytest.mark.invariant("INV-11")
@pytest.mark.hazard("HZ-09")
async def test_a_cut_cable_makes_the_outcome_unknown_and_the_device_ends_it_within_a_second(open_room, until, ten_hz):
    long = ten_hz.model_copy(update={"stimuli": 100})
    async with open_room(speed=2.0) as room:
        await room.adapter.connect()
        await room.arm(long)
        train = asyncio.create_task(room.adapter.run_train(long))
        await until(lambda: room.simulator.total_pulses >= 3)
        room.cable.cut()
        result = await train
        assert (result.outcome, result.pulses) == ("unknown", None)
        unasked = await room.unasked()
        assert (unasked.kind, unasked.disarmed) == ("link-lost", False)
        with pytest.raises(LinkLost):
            await room.adapter.refresh_status()
        await until(lambda: not room.simulator.armed)
        assert room.simulator.total_pulses < long.pulses
        assert not await room.adapter.disarm()
        await room.adapter.connect()
        assert room.starts() == 1


@pytest.mark.hazard("HZ-09")
async def test_a_train_whose_follower_is_cancelled_is_stopped_and_told(open_room, until, ten_hz):
    async with open_room(speed=4.0, poll_s=0.05) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        train = asyncio.create_task(room.adapter.run_train(ten_hz))
        await until(lambda: room.simulator.total_pulses >= 2)
        train.cancel()
        unasked = await room.unasked("pulse")
        assert unasked.disarmed
        assert not room.simulator.armed
        assert room.simulator.total_pulses < ten_hz.pulses
        with pytest.raises(NotReady):
            await room.adapter.run_train(ten_hz)
        assert room.starts() == 1


@pytest.mark.hazard("HZ-10")
async def test_a_device_that_is_busy_with_a_disarm_hears_the_question_behind_it(open_room, ten_hz):
    async with open_room() as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        take, busy_until_s = room.simulator.take, [0.0]

        def take_unless_busy(frame):
            if time.monotonic() < busy_until_s[0]:
                return
            take(frame)
            if frame == DISARM:
                busy_until_s[0] = time.monotonic() + GAP_S / 2

        room.simulator.take = take_unless_busy
        assert await room.adapter.disarm()
        assert not room.simulator.armed


# --- other answers --------------------------------------------------------------------------------------------------


async def test_a_silent_device_is_a_lost_link_and_nobody_waits_for_ever(open_room, hurried):
    async with open_room(faults=[Fault.GO_SILENT], answer_timeout_s=0.1) as room:
        async with asyncio.timeout(5):
            with pytest.raises(LinkLost, match="does not answer"):
                await room.adapter.connect()
        with pytest.raises(NotReady):
            await room.adapter.refresh_status()


async def test_damaged_answers_are_told_as_such(open_room, hurried):
    async with open_room(answer_timeout_s=0.3, poll_s=60.0) as room:
        await room.adapter.connect()
        speak = room.simulator.speak
        room.simulator.speak = lambda frame: speak(frame[:-1] + bytes((frame[-1] ^ 1,)))
        with pytest.raises(BadChecksum, match="damaged"):
            await room.adapter.refresh_status()
        room.simulator.speak = speak
        assert (await room.adapter.refresh_status()).percent_mso == 30


async def test_after_garbage_the_next_answer_is_understood(open_room):
    async with open_room(answer_timeout_s=0.3, poll_s=60.0) as room:
        await room.adapter.connect()
        for garbage in (b"\\\x89", b"J", b"N123", b"\x00\xff?x", b"F~"):
            room.simulator.speak(garbage)
            await asyncio.sleep(0.15)
            assert (await room.adapter.refresh_status()).percent_mso == 30


@pytest.mark.hazard("HZ-08")
async def test_disarming_at_the_device_voids_what_was_armed(open_room, ten_hz):
    async with open_room(poll_s=60.0) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        room.simulator._stand_by()
        with pytest.raises((SettingNotTaken, NotReady)):
            await room.adapter.run_train(ten_hz)
        assert "disarmed at the device" in (await room.unasked()).detail
        assert room.starts() == 0


@pytest.mark.hazard("HZ-08")
async def test_arming_at_the_device_what_is_only_staged_disarms(open_room, ten_hz):
    async with open_room(poll_s=0.05) as room:
        await room.adapter.connect()
        await room.adapter.stage(ten_hz)
        room.simulator._arm()
        unasked = await room.unasked()
        assert ("armed at the device" in unasked.detail, unasked.disarmed) == (True, True)
        assert not room.simulator.armed


async def test_what_disarms_itself_after_a_minute_is_noticed_and_not_armed_again(open_room, ten_hz):
    async with open_room(speed=100.0, poll_s=0.1) as room:
        await room.adapter.connect()
        await room.arm(ten_hz)
        unasked = await room.unasked("change")
        assert "by itself" in unasked.detail
        assert room.asked().count("EB") == 1
        with pytest.raises(NotReady):
            await room.adapter.run_train(ten_hz)


@pytest.mark.hazard("HZ-10")
@pytest.mark.parametrize("when", ["staging", "arming"])
async def test_a_disarm_meanwhile_wins(open_room, ten_hz, until, when):
    async with open_room(speed=1.0) as room:
        await room.adapter.connect()
        if when == "arming":
            await room.adapter.stage(ten_hz)
        letter = "B" if when == "staging" else "EB"
        act = room.adapter.stage(ten_hz) if when == "staging" else room.adapter.arm()
        task = asyncio.create_task(act)
        await until(lambda: any(question.startswith(letter) for question in room.asked()))
        assert await room.adapter.disarm()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, NotReady | RefusedByDevice)
        assert not room.simulator.armed
        with pytest.raises(NotReady):
            await room.adapter.run_train(ten_hz)
        assert room.starts() == 0


# --- processes ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("magstim-rapid2", ("--tcp", "0", "--version", "9.0.0", "--unlock-code", "1a2b-3c4d5e6f-70")),
        ("magstim-bistim", ("--pty", "--number", "12")),
    ],
)
async def test_a_simulator_is_a_process_of_its_own(simulator_process, tmp_path, name, options, ten_hz, pair):
    clock, log = ScaledClock.starting_now(30), tmp_path / "sim.jsonl"
    settings = ten_hz if name == "magstim-rapid2" else pair
    async with simulator_process(name, *options, "--log", str(log), SPOEL_CLOCK=clock.to_setting()) as (_, first_line):
        adapter = MagstimAdapter(
            first_line["address"],
            clock,
            kind="rapid2" if name == "magstim-rapid2" else "bistim",
            unlock_code=unlock_code("1a2b-3c4d5e6f-70") if name == "magstim-rapid2" else None,
        )
        assert (await adapter.connect()).serial == first_line["serial"]
        await adapter.stage(settings)
        await adapter.arm()
        assert (await adapter.run_train(settings)).outcome == "complete"
        await adapter.close()
    totals = [json.loads(line).get("pulses", 0) for line in log.read_text().splitlines()]
    assert max(totals) == settings.pulses


@pytest.mark.hazard("HZ-09")
async def test_control_is_kept_while_the_host_is_busy_for_less_than_a_second_and_lost_beyond(simulator_process, ten_hz):
    async with simulator_process("magstim-rapid2", "--tcp", "0") as (_, first_line):
        adapter = MagstimAdapter(first_line["address"], ScaledClock.starting_now())
        await adapter.connect()
        await adapter.stage(ten_hz)
        await adapter.arm()
        await adapter.refresh_status()
        time.sleep(0.8)  # noqa: ASYNC251  (the loop is what is busy)
        assert (await adapter.refresh_status()).enabled
        assert adapter.unasked.empty()
        time.sleep(1.2)  # noqa: ASYNC251  (the loop is what is busy)
        unasked = await asyncio.wait_for(adapter.unasked.get(), 5)
        assert unasked.disarmed
        with pytest.raises(NotReady):
            await adapter.run_train(ten_hz)
        await adapter.close()
