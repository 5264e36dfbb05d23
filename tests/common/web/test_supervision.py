import asyncio

import pytest

from spoel_common import supervision
from spoel_common.supervision import Supervisor


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE_S", 0.01)


async def test_a_task_that_fails_is_started_again_and_its_failure_stays_visible():
    restarts: list[str] = []
    supervisor, again = Supervisor(restarts.append), asyncio.Event()

    async def fails_once() -> None:
        if restarts:
            again.set()
            await asyncio.Event().wait()
        raise ConnectionError("away")

    supervisor.start("relay", fails_once)
    await asyncio.wait_for(again.wait(), 5)
    state = supervisor.states["relay"]
    assert restarts == ["relay"]
    assert (state.running, state.restarts, state.last_error) == (True, 1, "ConnectionError: away")
    await supervisor.stop(1)


async def test_a_task_that_ends_by_itself_counts_as_failed_unless_it_may():
    again = asyncio.Event()
    supervisor = Supervisor(lambda _name: again.set())

    async def ends() -> None:
        await asyncio.sleep(0)

    supervisor.start("may", ends, may_end=True)
    supervisor.start("may-not", ends)
    await asyncio.wait_for(again.wait(), 5)
    assert supervisor.states["may"].finished
    assert supervisor.states["may-not"].last_error == "ended by itself"
    await supervisor.stop(1)


async def test_stopping_does_not_wait_for_ever():
    supervisor, release = Supervisor(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()
            raise

    supervisor.start("stubborn", stubborn)
    await asyncio.sleep(0)
    task = supervisor._tasks["stubborn"]
    await asyncio.wait_for(supervisor.stop(0.05), 2)
    assert not task.done()
    release.set()
    await asyncio.wait([task], timeout=2)


async def test_a_name_is_given_once():
    supervisor = Supervisor()
    supervisor.start("a", asyncio.Event().wait)
    with pytest.raises(ValueError, match="a task named a"):
        supervisor.start("a", asyncio.Event().wait)
    await supervisor.stop(1)
