import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from spoel_common.ids import new_id
from spoel_common.store import idempotency
from spoel_common.web import commands

KEY = "key-1"


async def events_of(app) -> list[dict]:
    async with app.state.runtime.database.read() as conn:
        rows = await conn.exec_driver_sql("SELECT raw FROM events ORDER BY position")
        return [json.loads(raw) for (raw,) in rows]


async def test_a_command_answers_with_its_result_and_where_it_is(client, signed_in):
    response = await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))
    assert response.status_code == 201
    assert response.headers["location"] == f"/counters/{response.json()['counter_id']}"
    assert "idempotency-replayed" not in response.headers
    again = await client.get(response.headers["location"], headers=signed_in())
    assert again.json()["total"] == 3


@pytest.mark.requirement("SY-01")
async def test_a_repeat_gets_the_same_answer_and_does_nothing_again(client, signed_in, trial):
    first = await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))
    second = await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert trial.handled == 1
    assert "spoel_idempotency_replays_total 1.0" in (await client.get("/metrics")).text


async def test_a_key_with_another_body_is_refused(client, signed_in, trial):
    await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))
    other = await client.post("/counters", json={"number": 4}, headers=signed_in(key=KEY))
    assert (other.status_code, other.json()["type"]) == (422, "urn:spoel:problem:idempotency-key-reused")
    query = await client.post("/counters?x=1", json={"number": 3}, headers=signed_in(key=KEY))
    assert query.json()["type"] == "urn:spoel:problem:idempotency-key-reused"
    assert trial.handled == 1


async def test_a_key_counts_for_one_person_and_one_path(client, signed_in, trial):
    ids = set()
    for person in ("anna", "bert"):
        response = await client.post("/counters", json={"number": 3}, headers=signed_in(person, KEY))
        ids.add(response.json()["counter_id"])
    response = await client.post("/counters/c/contested", json={"number": 3}, headers=signed_in(key=KEY))
    assert response.status_code == 201
    assert len(ids) == 2
    assert trial.handled == 3


@pytest.mark.parametrize("key", [None, "", "with space", "x" * 256, "é".encode(), "tab\there"])
async def test_a_command_needs_a_key_of_visible_ascii(client, signed_in, key, trial):
    headers = signed_in() if key is None else {**signed_in(), "Idempotency-Key": key}
    response = await client.post("/counters", json={"number": 3}, headers=headers)
    assert (response.status_code, response.json()["type"]) == (400, "urn:spoel:problem:idempotency-key-missing")
    assert trial.handled == 0


async def test_a_refusal_is_not_stored_so_the_same_key_may_succeed_later(client, signed_in, trial):
    trial.limit = 1
    refused = await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:spoel:problem:too-much")
    trial.limit = 10
    assert (await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))).status_code == 201


async def test_a_twin_waits_for_the_first_and_gets_its_answer(client, signed_in, trial):
    def ask():
        return client.post("/counters/c/slow", json={"number": 3}, headers=signed_in(key=KEY))

    twins = [asyncio.create_task(ask()) for _ in range(3)]
    await asyncio.wait_for(trial.entered.wait(), 5)
    trial.gate.set()
    answers = await asyncio.wait_for(asyncio.gather(*twins), 10)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert trial.handled == 1


async def test_a_twin_of_something_slow_is_told_so(client, signed_in, trial, monkeypatch):
    monkeypatch.setattr(commands, "TWIN_WAIT_S", 0.05)
    first = asyncio.create_task(client.post("/counters/c/slow", json={"number": 3}, headers=signed_in(key=KEY)))
    await asyncio.wait_for(trial.entered.wait(), 5)
    twin = await client.post("/counters/c/slow", json={"number": 3}, headers=signed_in(key=KEY))
    assert (twin.status_code, twin.json()["type"]) == (409, "urn:spoel:problem:idempotency-twin-under-way")
    assert twin.headers["retry-after"] == "1"
    trial.gate.set()
    assert (await asyncio.wait_for(first, 10)).status_code == 201


async def test_two_processes_with_the_same_command_do_it_once(make_app, served, signed_in, trial):
    key = new_id()
    async with served(make_app()) as one, served(make_app()) as two:
        for round_number in range(5):
            body, headers = {"number": round_number}, signed_in(key=f"{key}-{round_number}")
            answers = await asyncio.gather(*(side.post("/counters", json=body, headers=headers) for side in (one, two)))
            assert [answer.status_code for answer in answers] == [201, 201]
            assert answers[0].content == answers[1].content
            assert answers[0].headers["location"] == answers[1].headers["location"]
        assert sum("idempotency-replayed" in answer.headers for answer in answers) == 1


async def test_the_process_that_loses_the_race_stores_nothing(make_app, served, signed_in, trial):
    """The other process commits its answer while this one's handler is still at work."""
    app = make_app()
    async with served(app) as client:
        scope = commands.Scope("anna", "POST /counters/c/contested", KEY)
        find, looks = commands.CommandCall._find, []

        async def blind_at_first(call):
            looks.append(1)
            return None if len(looks) == 1 else await find(call)

        winner = await client.post("/counters/c/contested", json={"number": 3}, headers=signed_in(key=KEY))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commands.CommandCall, "_find", blind_at_first)
            loser = await client.post("/counters/c/contested", json={"number": 3}, headers=signed_in(key=KEY))
        assert loser.content == winner.content
        assert loser.headers["idempotency-replayed"] == "true"
        assert len(await events_of(app)) == 1
        assert scope not in app.state.runtime.under_way


async def test_a_lost_race_is_tried_again_unseen(client, signed_in, trial):
    trial.conflicts = 2
    response = await client.post("/counters/c/contested", json={"number": 3}, headers=signed_in(key=KEY))
    assert response.status_code == 201


async def test_a_race_that_is_lost_every_time_is_a_conflict(client, signed_in, trial):
    trial.conflicts = 99
    response = await client.post("/counters/c/contested", json={"number": 3}, headers=signed_in(key=KEY))
    assert (response.status_code, response.json()["type"]) == (409, "urn:spoel:problem:version-conflict")
    trial.conflicts = 0
    assert (await client.post("/counters/c/contested", json={"number": 3}, headers=signed_in(key=KEY))).is_success


@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
async def test_a_repeat_of_a_device_command_tells_how_it_stands_and_acts_no_second_time(client, signed_in, trial):
    async def ask():
        return await client.post("/counters/c/device", json={"number": 3}, headers=signed_in(key=KEY))

    first = await ask()
    assert (first.status_code, first.json()["outcome"]) == (202, "accepted")
    trial.states["c"] = "unknown"
    second = await ask()
    assert (second.status_code, second.json()["outcome"]) == (202, "unknown")
    assert len(trial.effects) == 1
    assert trial.handled == 1


@pytest.mark.invariant("INV-5")
async def test_events_say_who_asked_and_under_whom(make_app, served, signed_in):
    app = make_app()
    headers = {
        **signed_in(key=KEY),
        "X-Correlation-Id": "ward-7",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    async with served(app) as client:
        await client.post("/counters/c/device", json={"number": 3}, headers=headers)
        await client.post("/counters", json={"number": 3}, headers={**headers, "traceparent": "x; DROP"})
        supervised, plain = await events_of(app)
    assert (supervised["actorid"], supervised["actorroles"]) == ("anna", "clinician")
    assert supervised["supervisorid"] == "supervisor-1"
    assert supervised["correlationid"] == "ward-7"
    assert supervised["traceparent"] == headers["traceparent"]
    assert "supervisorid" not in plain
    assert "traceparent" not in plain


async def test_answers_are_forgotten_after_seven_days(make_app, served, signed_in):
    app = make_app()
    async with served(app) as client:
        await client.post("/counters", json={"number": 3}, headers=signed_in(key=KEY))
        runtime = app.state.runtime
        for age, left in ((timedelta(days=7), 1), (timedelta(0), 0)):
            async with runtime.database.write() as conn:
                await idempotency.forget_before(conn, datetime.now(UTC) - age)
            async with runtime.database.read() as conn:
                assert (await conn.exec_driver_sql("SELECT count(*) FROM idempotency")).scalar_one() == left
        assert runtime.supervisor.states["idempotency-cleaning"].running
