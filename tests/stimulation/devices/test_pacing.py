"""Stimuli that the host times: when, and how fast at most."""

import asyncio

import pytest

from spoel_common.clock import NS_PER_S, SteppedClock
from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.pacing import paced, pacing_problems

HALF_HZ = TrainSettings(rate_hz=0.5, stimuli=4, percent_mso=50)


async def onsets_of(clock, settings, busy_s=()):
    """Return clock times in seconds at which stimuli were due; the host is busy for so long after each."""
    found = []
    async for number in paced(clock, settings):
        found.append(clock.monotonic_ns() / NS_PER_S)
        if number < len(busy_s):
            await clock.sleep_until(clock.monotonic_ns() + round(busy_s[number] * NS_PER_S))
    return found


async def test_stimuli_come_at_their_interval():
    clock = SteppedClock()
    following = asyncio.create_task(onsets_of(clock, HALF_HZ))
    await clock.advance_s(10)
    assert await following == [0, 2, 4, 6]


@pytest.mark.invariant("INV-11")
async def test_a_late_one_moves_the_later_ones_and_shortens_nothing():
    clock = SteppedClock()
    following = asyncio.create_task(onsets_of(clock, HALF_HZ, busy_s=(0.5, 3.0)))
    await clock.advance_s(20)
    assert await following == [0, 2, 5, 7]


@pytest.mark.parametrize(
    ("rate_hz", "stimuli", "allowed"), [(1, 10, True), (5, 1, True), (1.01, 2, False), (5, 10, False)]
)
def test_a_host_times_one_a_second_at_most(rate_hz, stimuli, allowed):
    settings = TrainSettings(rate_hz=rate_hz, stimuli=stimuli, percent_mso=50)
    assert (not pacing_problems(settings, 10.0)) is allowed
