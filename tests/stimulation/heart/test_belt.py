"""A belt on its wire: who answers, what is recorded, and what spoils a recording."""

import asyncio
import json
import os
import sys
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from tests.stimulation.clinic import fast_clock
from tests.stimulation.heart.conftest import place_of

from spoel_common.clock import NS_PER_S, ScaledClock
from spoel_stimulation.engine.coupling import Beats
from spoel_stimulation.heart.belt import BeltSimulator, on_tcp
from spoel_stimulation.heart.bluetooth import BluetoothBelt, uuid_of
from spoel_stimulation.heart.model import HeartSetting
from spoel_stimulation.heart.profile import HEART_RATE_MEASUREMENT, Measurement
from spoel_stimulation.heart.recorder import Came, HeartRecorder, placed
from spoel_stimulation.heart.rules import heart_rules
from spoel_stimulation.heart.source import Belt, HeartLost
from spoel_stimulation.heart.sources import source_of
from spoel_stimulation.heart.tcp import TcpBelt, frame

BELT = heart_rules().belt
WAIT_S = 10.0


async def until(condition):
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def worn(clock=None, *, clinical=False, **rules):
    """Yield a belt and the recorder that listens to it."""
    clock = clock or fast_clock(30)
    belt = BeltSimulator(clock, HeartSetting(), seed=3)
    async with on_tcp(belt) as ports:
        recorder = HeartRecorder(TcpBelt(ports.address), clock, BELT.model_copy(update=rules), clinical=clinical)
        listening = asyncio.create_task(recorder.run())
        try:
            yield belt, recorder
        finally:
            listening.cancel()


async def test_a_belt_says_who_it_is_and_its_beats_are_recorded():
    async with worn() as (_belt, recorder):
        await until(lambda: recorder.state.problem is None)
        state = recorder.state
        assert (state.belt, state.contact) == (Belt("SIM-BELT-1", 90), "good")
        assert state.belt.simulated
        assert 40 < state.rate_bpm < 100
        recorder.begin()
        await until(lambda: recorder.state.beats >= 20)
        beats = recorder.end(0)
        assert isinstance(beats, Beats)
        assert np.allclose(np.diff(beats.time_s), beats.rr_ms[1:] / 1_000)
        assert recorder.state.beats == 0, "nothing is kept of a recording that is over"


@pytest.mark.parametrize(
    ("fault", "rules", "trouble"),
    [
        ("contact-lost", {}, "contact-lost"),
        ("gone", {}, "belt-lost"),
        ("silent", {"max_silence_s": 0.2}, "belt-silent"),
        ("drop-beats", {"max_silence_s": 0.5}, "beats-missing"),
    ],
)
async def test_a_recording_that_was_spoilt_is_none(fault, rules, trouble):
    async with worn(**rules) as (belt, recorder):
        await until(lambda: recorder.state.problem is None)
        recorder.begin()
        await until(lambda: recorder.state.beats >= 3)
        belt.fault = fault
        await until(lambda: recorder.trouble is not None)
        assert recorder.state.problem is not None
        belt.fault = "none"
        await until(lambda: recorder.state.problem is None)
        assert recorder.end(0) == trouble, "a belt that is back does not mend what it missed"


async def test_nobody_waits_for_a_belt_that_is_heard_and_tells_no_beats():
    async with worn(max_silence_s=0.5) as (belt, recorder):
        await until(lambda: recorder.state.problem is None)
        recorder.begin()
        belt.fault = "drop-beats"
        async with asyncio.timeout(WAIT_S):
            await recorder.told_until(fast_clock(1).utc_ns() + 3_600 * NS_PER_S)
        assert recorder.trouble == "beats-missing"


class Stumbling(TcpBelt):
    """A belt whose library fails in an unforeseen way at first."""

    stumbled = False

    async def listen(self):
        if not self.stumbled:
            self.stumbled = True
            raise KeyError("org.bluez.Device1")
        async with aclosing(super().listen()) as heard:
            async for each in heard:
                yield each


async def test_a_fault_in_a_belts_library_is_told_and_ends_no_task_of_the_room():
    clock = fast_clock(30)
    async with on_tcp(BeltSimulator(clock, HeartSetting())) as ports:
        recorder = HeartRecorder(Stumbling(ports.address), clock, BELT, clinical=False)
        listening = asyncio.create_task(recorder.run())
        await until(lambda: "org.bluez.Device1" in recorder.state.problem)
        await until(lambda: recorder.state.problem is None)
        listening.cancel()


@pytest.mark.hazard("HZ-25")
async def test_a_simulated_belt_is_refused_where_people_are_treated():
    async with worn(ScaledClock.starting_now(), clinical=True) as (_belt, recorder):
        await until(lambda: "clinical" in recorder.state.problem)


@pytest.mark.hazard("HZ-25")
async def test_a_real_belt_is_refused_under_a_fast_clock():
    clock = fast_clock(30)
    belt = BeltSimulator(clock, HeartSetting())
    belt.serial = "A1B2"
    async with on_tcp(belt) as ports:
        recorder = HeartRecorder(TcpBelt(ports.address), clock, BELT, clinical=False)
        listening = asyncio.create_task(recorder.run())
        await until(lambda: "30 times" in recorder.state.problem)
        listening.cancel()


def series(rr_ms=900.0, count=120, late_s=0.0, lost=()):
    """Return notifications of one interval each; those of ``lost`` never came, each came late by chance."""
    late = np.random.default_rng(1).uniform(0, 2, count)
    return [
        Came(round(((each + 1) * rr_ms / 1_000 + late_s + late[each]) * NS_PER_S), (rr_ms,))
        for each in range(count)
        if each not in lost
    ]


def test_beats_are_placed_by_their_intervals_and_the_least_delay():
    beats = placed(series(late_s=0.3), 0, BELT.max_missing_s)
    assert np.allclose(beats.time_s, 0.9 * np.arange(1, 121) + 0.3, atol=0.1)


@pytest.mark.parametrize("first", [5, 50, 85, 104])
def test_notifications_that_were_lost_are_noticed_wherever_they_were(first):
    assert placed(series(lost=range(first, first + 6)), 0, BELT.max_missing_s) == "beats-missing"


def test_a_recording_without_a_beat_is_none():
    assert placed([], 0, BELT.max_missing_s) == "belt-silent"


@pytest.mark.parametrize(
    "sent",
    [b"", frame(HEART_RATE_MEASUREMENT, b""), b"\xff\xff\x37\x2a", b"\x05\x00\x37\x2a\x00"],
    ids=["nothing", "no introduction", "too long", "cut"],
)
async def test_who_does_not_speak_as_a_belt_is_lost(sent):
    async def speak(_reader, writer):
        writer.write(sent)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        belt = TcpBelt(f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(HeartLost):
            async with aclosing(belt.listen()) as heard:
                await anext(heard)
    with pytest.raises(HeartLost, match="No belt answers"):
        async with aclosing(belt.listen()) as heard:
            await anext(heard)


async def test_a_cut_measurement_is_passed_over():
    async def speak(_reader, writer):
        writer.write(frame(0x2A25, b"SIM-X") + frame(0x2A19, b"\x32") + frame(HEART_RATE_MEASUREMENT, b"\x10\x3c\x00"))
        writer.write(frame(HEART_RATE_MEASUREMENT, b"\x00\x3c"))
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        belt = source_of(f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with aclosing(belt.listen()) as heard:
            assert [await anext(heard), await anext(heard)] == [Belt("SIM-X", 50), Measurement(60)]


async def test_bluetooth_without_its_library_says_what_to_install():
    belt = source_of("bluetooth://A0:9E:1A:00:00:01")
    assert isinstance(belt, BluetoothBelt)
    assert uuid_of(HEART_RATE_MEASUREMENT) == "00002a37-0000-1000-8000-00805f9b34fb"
    with pytest.raises(HeartLost, match="heart-bluetooth"):
        async with aclosing(belt.listen()) as heard:
            await anext(heard)


async def test_the_belt_is_a_process_of_its_own_that_feels_the_pulses_of_a_log(tmp_path):
    pulses, beats = tmp_path / "stimulator.jsonl", tmp_path / "belt.jsonl"
    clock = fast_clock(60)
    command = ["-m", "spoel_stimulation.heart", "--follow", str(pulses), "--log", str(beats), "--coupling", "15"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, "SPOEL_CLOCK": clock.to_setting()}
    )
    try:
        first = json.loads(await asyncio.wait_for(process.stdout.readline(), WAIT_S))
        assert first["serial"] == "SIM-BELT-1"
        async with aclosing(TcpBelt(first["address"]).listen()) as heard:
            assert await anext(heard) == Belt("SIM-BELT-1", 90)
            assert (await anext(heard)).contact == "good"
        begin_ns = clock.utc_ns() + 5 * NS_PER_S
        lines = (json.dumps({"t_ns": begin_ns + each * NS_PER_S // 10, "pulses": each}) for each in range(600))
        pulses.write_text("\n".join(lines) + "\n")
        await until(lambda: clock.utc_ns() > begin_ns + 70 * NS_PER_S)
        seen = [json.loads(line) for line in beats.read_text().splitlines()]
        during = [each["rr_ms"] for each in seen if 10 < (each["t_ns"] - begin_ns) / NS_PER_S < 55]
        before = [each["rr_ms"] for each in seen if each["t_ns"] < begin_ns]
        assert np.mean(during) > 1.1 * np.mean(before), "the heart slows while pulses come"
        reader, writer = await asyncio.open_connection(*place_of(first["control"]))
        writer.write(b'{"nonsense": 1}\n')
        assert b"wrong" in await reader.readline()
        writer.close()
    finally:
        process.terminate()
        await process.wait()
