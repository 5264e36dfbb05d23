"""Rooms with one stimulator, and what tests of every maker need."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest
from tests.stimulation.devices import rooms

from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.duomag import adapter as duomag_adapter
from spoel_stimulation.devices.duomag import talk as duomag_talk
from spoel_stimulation.devices.magpro import adapter as magpro_adapter
from spoel_stimulation.devices.magpro import conversation as magpro_conversation
from spoel_stimulation.devices.magstim import conversation as magstim_conversation
from spoel_stimulation.devices.magstim import following as magstim_following

HURRIED = {
    magpro_adapter: {"START_TIMEOUT_S": 0.2, "END_MARGIN_S": 0.3},
    magpro_conversation: {"DISABLE_TIMEOUT_S": 0.3, "DISABLE_ATTEMPT_S": 0.1, "ENABLE_TIMEOUT_S": 0.3},
    magstim_following: {"BEGIN_TIMEOUT_S": 0.3, "END_MARGIN_S": 0.8},
    magstim_conversation: {"READY_TIMEOUT_S": 0.8, "DISARM_TIMEOUT_S": 0.8, "DISARM_ATTEMPT_S": 0.3},
    duomag_adapter: {"ANSWER_TIMEOUT_S": 0.3, "CHARGE_TIMEOUT_S": 0.5},
    duomag_talk: {"DISARM_TIMEOUT_S": 0.5},
}


@pytest.fixture
def until():
    """Return a wait for a condition, of at most ten seconds."""

    async def wait(condition):
        for _ in range(2_000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise TimeoutError("the condition did not come true")

    return wait


@pytest.fixture
def simulator_process():
    """Return a context manager: a simulator in a process of its own, and the first line that it said."""

    @asynccontextmanager
    async def started(*arguments, **environment):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spoel_stimulation.devices", *arguments),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | environment,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(20):
                yield process, json.loads(await process.stdout.readline())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return started


@pytest.fixture
def hurried(monkeypatch):
    """Nobody waits for long."""
    for module, limits in HURRIED.items():
        for name, limit_s in limits.items():
            monkeypatch.setattr(module, name, limit_s)


@pytest.fixture
def ten_hz():
    return TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=55)


@pytest.fixture
def itbs():
    return TrainSettings(pulses_per_burst=3, pulse_interval_s=0.02, rate_hz=5.0, stimuli=10, percent_mso=48)


@pytest.fixture
def open_room(tmp_path):
    """Return a context manager: a room with a MagPro; not yet connected."""
    return partial(rooms.magpro, tmp_path)


@pytest.fixture
async def room(open_room):
    """A room over TCP, connected."""
    async with open_room() as opened:
        await opened.adapter.connect()
        yield opened


@pytest.fixture
def open_duomag(tmp_path):
    """Return a context manager: a room with a DuoMAG; not yet connected."""
    return partial(rooms.duomag, tmp_path)


@pytest.fixture
async def duomag(open_duomag):
    """A room with a DuoMAG over TCP, connected."""
    async with open_duomag() as opened:
        await opened.adapter.connect()
        yield opened
