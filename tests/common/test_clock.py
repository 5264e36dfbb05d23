"""Clocks: stepped in one process, scaled across processes."""

import asyncio
import time
import uuid
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from spoel_common.clock import NS_PER_S, ScaledClock, SteppedClock, sleep_s, utc_now
from spoel_common.ids import new_id, uuid7


async def test_a_stepped_clock_moves_only_when_told_and_wakes_in_order():
    clock, woken = SteppedClock(), []

    async def sleeper(name: str, duration_s: float) -> None:
        await sleep_s(clock, duration_s)
        woken.append((name, clock.monotonic_ns() / NS_PER_S))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 30))
        group.create_task(sleeper("soon", 0.02))
        group.create_task(sleeper("at once", 0))
        await clock.advance_s(0)
        assert woken == [("at once", 0)]
        await clock.advance_s(29.99)
        assert woken[1:] == [("soon", 0.02)]
        await clock.advance_s(0.01)

    assert woken[2:] == [("late", 30)]
    assert utc_now(clock) == datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)


async def test_who_sleeps_again_when_woken_wakes_again_within_the_same_step():
    clock, ticks = SteppedClock(), []

    async def tick() -> None:
        for _ in range(5):
            await sleep_s(clock, 1)
            ticks.append(clock.monotonic_ns())

    task = asyncio.create_task(tick())
    await clock.advance_s(5)
    await task
    assert ticks == [second * NS_PER_S for second in range(1, 6)]


async def test_a_scaled_clock_runs_at_its_speed():
    clock = ScaledClock.starting_now(speed=100)
    begin_s, begin_ns = time.monotonic(), clock.monotonic_ns()
    await sleep_s(clock, 5)
    took_s, clock_s = time.monotonic() - begin_s, (clock.monotonic_ns() - begin_ns) / NS_PER_S
    assert took_s < 2
    assert 5 <= clock_s == pytest.approx(took_s * 100, rel=0.2)


def test_processes_that_share_the_setting_agree():
    clock = ScaledClock.starting_now(speed=60)
    other = ScaledClock.model_validate_json(clock.to_setting())
    assert other == clock
    assert abs(other.utc_ns() - clock.utc_ns()) < 60 * NS_PER_S


@pytest.mark.parametrize("speed", [0, -1, 1_001])
def test_an_impossible_speed_is_refused(speed):
    with pytest.raises(ValidationError):
        ScaledClock.starting_now(speed=speed)


def test_ids_are_version_7_and_ordered_by_their_time():
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) - time.time() * 1_000) < 5_000
    assert uuid7(1_000) < uuid7(1_001)
    assert len({new_id() for _ in range(1_000)}) == 1_000
