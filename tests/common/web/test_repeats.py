"""A repeated command over processes and restarts: done once, answered alike."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from sqlalchemy import update
from tests.common.web.processes import process
from tests.common.web.trial_service import ANNA, Tokens, router

from spoel_common.runtime import Runtime
from spoel_common.store.schema import idempotency
from spoel_common.web import commands, create_app

HEADERS = {"Authorization": "Bearer anna"}
KEYS = 10


@pytest.fixture
def make_process_app(database_url, settings, trial, trial_package):
    """Return a function that makes the application of one more process of one service, on one database."""
    settings = settings.model_copy(update={"database_url": database_url})

    def make():
        runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA))
        return create_app(runtime, title="Trial", routers=[router], state={"trial": trial})

    return make


async def test_a_repeat_after_a_restart_gets_the_same_answer(make_process_app, served, signed_in, trial):
    async with served(make_process_app()) as client:
        first = await client.post("/counters", json={"number": 3}, headers=signed_in(key="k"))
    async with served(make_process_app()) as client:
        second = await client.post("/counters", json={"number": 3}, headers=signed_in(key="k"))
        reused = await client.post("/counters", json={"number": 4}, headers=signed_in(key="k"))
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert reused.json()["type"].endswith("idempotency-key-reused")
    assert trial.handled == 1


@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
async def test_a_repeat_after_a_restart_never_acts_on_the_device_again(make_process_app, served, signed_in, trial):
    for _ in range(3):
        async with served(make_process_app()) as client:
            answer = await client.post("/counters/c/device", json={"number": 3}, headers=signed_in(key="k"))
            assert (answer.status_code, answer.json()["outcome"]) == (202, trial.states.get("c", "accepted"))
        trial.states["c"] = "unknown"
    assert len(trial.effects) == 1


async def test_a_twin_under_way_in_another_process_is_waited_for_and_then_told_of(
    postgres_url, settings, trial, trial_package, served, signed_in, monkeypatch
):
    monkeypatch.setattr(commands, "TWIN_WAIT_S", 0.3)
    settings = settings.model_copy(update={"database_url": postgres_url})

    def app():
        runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA))
        return create_app(runtime, title="Trial", routers=[router], state={"trial": trial})

    def ask(client):
        return client.post("/counters/c/slow", json={"number": 3}, headers=signed_in(key="k"))

    async with served(app()) as one, served(app()) as two:
        first = asyncio.create_task(ask(one))
        await asyncio.wait_for(trial.entered.wait(), 5)
        twin = await ask(two)
        assert (twin.status_code, twin.json()["type"]) == (409, "urn:spoel:problem:idempotency-twin-under-way")
        assert twin.headers["retry-after"] == "1"
        monkeypatch.setattr(commands, "TWIN_WAIT_S", 30)
        waiting = asyncio.create_task(ask(two))
        await asyncio.sleep(0)
        trial.gate.set()
        answers = await asyncio.gather(first, waiting)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    assert trial.handled == 1


async def test_other_commands_do_not_wait_for_one_that_is_slow(make_process_app, served, signed_in, trial):
    """But on SQLite, where there is one writer: there a handler that waits holds it."""
    async with served(make_process_app()) as one, served(make_process_app()) as two:
        if one._transport.app.state.runtime.database.dialect == "sqlite":
            trial.gate.set()
        slow = asyncio.create_task(one.post("/counters/c/slow", json={"number": 3}, headers=signed_in(key="k")))
        await asyncio.wait_for(trial.entered.wait(), 5)
        other = await two.post("/counters/d/slow-not", json={"number": 3}, headers=signed_in(key="k"))
        assert other.status_code == 404
        assert (await two.post("/counters", json={"number": 3}, headers=signed_in(key="k"))).status_code == 201
        trial.gate.set()
        assert (await slow).status_code == 201


async def test_twins_at_two_processes_on_postgresql_are_done_once_and_answered_alike(postgres_url, tmp_path):
    """Real processes; one is ended and started again in between, and answers as before."""
    shared = {"SPOEL_DATABASE_URL": postgres_url, "SPOEL_NATS_URL": "nats://127.0.0.1:1"}

    async def ask(client, number):
        headers = {**HEADERS, "Idempotency-Key": f"key-{number}"}
        return await client.post("/counters", json={"number": number}, headers=headers)

    async def ask_all(*addresses):
        async with contextlib.AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20)) for url in addresses
            ]
            return [await asyncio.gather(*(ask(client, number) for client in clients * 3)) for number in range(KEYS)]

    with process("trial", tmp_path / "one", **shared) as one:
        with process("trial", tmp_path / "two", **shared) as two:
            twins = await ask_all(one, two)
            for answers in twins:
                assert {answer.status_code for answer in answers} == {201}
                assert len({(answer.content, answer.headers["location"]) for answer in answers}) == 1
                assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        with process("trial", tmp_path / "again", **shared) as again:
            repeats = await ask_all(again)
            assert [answers[0].content for answers in repeats] == [answers[0].content for answers in twins]
            assert all("idempotency-replayed" in answer.headers for answers in repeats for answer in answers)
    conn = await asyncpg.connect(postgres_url)
    assert await conn.fetchval("SELECT count(*) FROM events") == KEYS
    await conn.close()


async def test_the_service_itself_forgets_answers_after_seven_days(make_process_app, served, signed_in, eventually):
    async with served(make_process_app()) as client:
        for key in ("old", "young"):
            await client.post("/counters", json={"number": 3}, headers=signed_in(key=key))
        runtime = client._transport.app.state.runtime
        for key, age in (("old", timedelta(days=7, minutes=1)), ("young", timedelta(days=6, hours=23))):
            async with runtime.database.write() as conn:
                of_key = update(idempotency).where(idempotency.c.key == key)
                await conn.execute(of_key.values(created_at=datetime.now(UTC) - age))
    app = make_process_app()
    async with served(app):

        async def left():
            async with app.state.runtime.database.read() as conn:
                return (await conn.exec_driver_sql("SELECT key FROM idempotency")).scalars().all()

        async def old_is_gone():
            return await left() == ["young"]

        await eventually(old_is_gone)
