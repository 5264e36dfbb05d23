"""Rooms with a Magstim of any model."""

from functools import partial

import pytest
from tests.stimulation.devices import rooms
from tests.stimulation.devices.magstim.unit import Unit

from spoel_stimulation.devices.adapter import TrainSettings


@pytest.fixture
def device():
    """Return what makes units, each without a port."""
    made = []

    def make(name="magstim-rapid2", **wanted):
        made.append(Unit(name, **wanted))
        return made[-1]

    yield make
    for one in made:
        one.simulator.close()


@pytest.fixture
def ten_hz():
    return TrainSettings(rate_hz=10.0, stimuli=20, percent_mso=45)


@pytest.fixture
def one_pulse():
    return TrainSettings(rate_hz=1.0, stimuli=1, percent_mso=45)


@pytest.fixture
def one_mono():
    return TrainSettings(waveform="monophasic", rate_hz=0.2, stimuli=1, percent_mso=45)


@pytest.fixture
def pair():
    return TrainSettings(
        waveform="monophasic",
        rate_hz=0.2,
        stimuli=1,
        pulses_per_burst=2,
        pulse_interval_s=0.0025,
        percent_mso=40,
        second_percent_mso=60,
    )


@pytest.fixture
def open_room(tmp_path):
    """Return a context manager: a room with any model, speed or port; not yet connected."""
    return partial(rooms.magstim, tmp_path)


@pytest.fixture
async def room(open_room):
    """A Rapid² over TCP, connected."""
    async with open_room() as opened:
        await opened.adapter.connect()
        yield opened
