"""Real processes for the tests of the guard."""

from contextlib import ExitStack

import pytest
from tests.stimulation.guard.parts import Guard, RoomProcess, Simulator, ending


@pytest.fixture
def start(tmp_path):
    """Return a function that makes a process, or a room process, which ends with the test."""
    with ExitStack() as stack:
        yield lambda thing: stack.enter_context(ending(thing))


@pytest.fixture
def simulator(start, tmp_path):
    return start(Simulator(tmp_path))


@pytest.fixture
def guard(start, tmp_path, simulator):
    return start(Guard(tmp_path, {"room-1": simulator.address})).until_open()


@pytest.fixture
def room(start, guard):
    return start(RoomProcess(guard))
