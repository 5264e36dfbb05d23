"""Leadership: one holder a task; who loses it is stopped in what it does, and another takes over."""

import asyncio
import contextlib

import pytest
from sqlalchemy import text

from spoel_common.store import Database, LeadershipLost, leader, leadership


@pytest.fixture
async def postgres(open_database, new_postgres) -> Database:
    return await open_database(new_postgres())


@pytest.fixture
async def sqlite(open_database, new_sqlite) -> Database:
    return await open_database(new_sqlite())


class Held:
    """Somebody who leads until cancelled."""

    def __init__(self, background, database, signal=None) -> None:
        self.leads = False
        self.lost = asyncio.Event()
        self.task = background(self._lead(database, signal))

    async def _lead(self, database, signal) -> None:
        try:
            async with leadership(database, "task", signal):
                self.leads = True
                await asyncio.sleep(3600)
        except LeadershipLost:
            self.lost.set()
        finally:
            self.leads = False


async def end_sessions(database) -> None:
    """End every session that holds an advisory lock, as a restart of the server or a broken link would."""
    async with database.write() as conn:
        await conn.execute(
            text("""
            SELECT pg_terminate_backend(pid) FROM pg_locks
            WHERE locktype = 'advisory' AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""")
        )


async def test_one_leads_and_the_next_follows_when_it_ends(database, background, eventually):
    first = Held(background, database)
    await eventually(lambda: first.leads)
    second = Held(background, database)
    await asyncio.sleep(0.2)
    assert not second.leads

    first.task.cancel()

    await eventually(lambda: second.leads)
    assert not first.leads
    assert not first.lost.is_set()  # it was cancelled, which is another thing


async def test_tasks_have_leaders_of_their_own(database, background, eventually):
    first = Held(background, database)
    await eventually(lambda: first.leads)
    async with asyncio.timeout(5), leadership(database, "another task"):
        assert first.leads


async def test_a_leader_whose_session_ends_is_stopped_and_another_leads(postgres, background, eventually):
    first = Held(background, postgres)
    await eventually(lambda: first.leads)
    second = Held(background, postgres)

    await end_sessions(postgres)

    await asyncio.wait_for(first.lost.wait(), 10)
    await eventually(lambda: second.leads)


async def test_the_session_of_a_leader_that_does_not_look_after_it_is_ended(
    postgres, background, eventually, monkeypatch
):
    """As of one that was stopped: its link stays up, so nothing but silence tells."""
    monkeypatch.setattr(leader, "_LEASE_S", 0.2)
    monkeypatch.setattr(leader, "_LOOK_EVERY_S", 3600.0)
    first = Held(background, postgres)
    await eventually(lambda: first.leads)

    await asyncio.wait_for(first.lost.wait(), 10)


async def test_a_leader_that_looks_after_its_session_keeps_it(postgres, background, eventually, monkeypatch):
    monkeypatch.setattr(leader, "_LEASE_S", 2.0)
    monkeypatch.setattr(leader, "_LOOK_EVERY_S", 0.05)
    first = Held(background, postgres)
    await eventually(lambda: first.leads)

    await asyncio.sleep(2.5)

    assert first.leads


@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_leader_whose_lock_file_is_gone_is_stopped(sqlite, background, eventually, how):
    first = Held(background, sqlite)
    await eventually(lambda: first.leads)
    (lock,) = sqlite.path.parent.glob("*.lock")
    lock.unlink()
    if how == "replaced":
        lock.touch()

    await asyncio.wait_for(first.lost.wait(), 10)


async def test_work_that_fails_or_is_cancelled_says_so_itself(database):
    with pytest.raises(ArithmeticError):
        async with leadership(database, "task"):
            raise ArithmeticError
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1), leadership(database, "task"):
            await asyncio.sleep(3600)
            pytest.fail("was not cancelled")
    async with asyncio.timeout(5), leadership(database, "task"):
        pass  # and the lock is free again


async def test_a_signal_of_who_does_not_lead_reaches_who_does(postgres, background, eventually):
    of_leader, of_other = asyncio.Event(), asyncio.Event()
    first = Held(background, postgres, of_leader)
    await eventually(lambda: first.leads)
    Held(background, postgres, of_other)
    for _ in range(3):
        of_other.set()
        await asyncio.wait_for(of_leader.wait(), 10)
        of_leader.clear()
        assert not of_other.is_set()
