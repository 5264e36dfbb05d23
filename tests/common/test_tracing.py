"""Tracing: one trace a command, from HTTP over NATS to a projection in another process; nothing without a collector."""

import asyncio
import json
import sqlite3
import threading
import time

import httpx
import pytest
from tests.common.shop import ACTOR, COUNTER, Counted
from tests.common.web.processes import process

from spoel_common import tracing
from spoel_common.messaging import Relay
from spoel_common.settings import CannotStart, Settings, load_settings

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = CALLER[:-2] + "00"
SERVER, PRODUCER, CONSUMER = 2, 4, 5


async def test_one_command_is_one_trace_from_http_over_the_relay_to_a_projection_in_another_process(
    collector, nats_settings, site, tmp_path, eventually
):
    shared = {
        "SPOEL_OTLP_ENDPOINT": collector.endpoint,
        "SPOEL_NATS_URL": ",".join(nats_settings.servers),
        "SPOEL_SITE": site,
    }
    with process("trial", tmp_path / "trial", **shared) as trial, process("reader", tmp_path / "reader", **shared):
        async with httpx.AsyncClient(base_url=trial) as client:
            headers = {"Authorization": "Bearer anna", "Idempotency-Key": "k-1", "traceparent": CALLER}
            answer = await client.post("/counters", json={"number": 3, "note": "Zoë"}, headers=headers)
            repeat = await client.post("/counters", json={"number": 3, "note": "Zoë"}, headers=headers)
            assert (answer.status_code, repeat.status_code) == (201, 201)
        await eventually(lambda: "apply echo" in collector.names(), 30, collector.names)
    request, again = sorted(
        (span for span in collector.spans if span.name == "POST /counters"), key=lambda span: -span.duration_ns
    )
    unit, append, publish, apply = map(collector.named, ("unit of work", "append", "publish", "apply echo"))
    if unit.parent != request.id:
        request, again = again, request
    assert len(collector.spans) == 6
    assert {span.trace for span in collector.spans} == {CALLER.split("-")[1]}
    assert {request.parent, again.parent} == {CALLER.split("-")[2]}
    assert (unit.parent, append.parent, publish.parent, apply.parent) == (request.id, unit.id, unit.id, unit.id)
    assert [span.service for span in (request, unit, append, publish)] == ["spoel-trial"] * 4
    assert apply.service == "spoel-reader"
    assert [span.kind for span in (request, publish, apply)] == [SERVER, PRODUCER, CONSUMER]
    (raw,) = sqlite3.connect(tmp_path / "trial" / "trial.db").execute("SELECT raw FROM events").fetchone()
    envelope = json.loads(raw)
    assert envelope["traceparent"] == f"00-{unit.trace}-{unit.id}-01"
    assert envelope["id"] == publish.attributes["messaging.message.id"] == apply.attributes["messaging.message.id"]
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/counters",
        "http.response.status_code": 201,
    }
    assert {name for span in collector.spans for name in span.attributes} <= tracing.ATTRIBUTES
    assert "Zoë".encode() not in b"".join(collector.bodies)
    lines = [json.loads(line) for line in (tmp_path / "trial" / "log").read_text().splitlines()]
    assert {line.get("trace_id") for line in lines if line["event"] == "http.request"} == {unit.trace}


async def test_every_event_of_a_batch_belongs_to_the_trace_of_its_own_command(collector, sqlite_shop, broker):
    relay = Relay(sqlite_shop.store, broker)
    await relay.resume()
    await sqlite_shop.count("untraced", 1, 2)
    with tracing.exporting("intake", "main", collector.endpoint):
        await sqlite_shop.count("a", 1, 2)
        await sqlite_shop.count("b", 3)
        assert await relay.push() == 5
        await relay.resume()
        assert await relay.push() == 0
    units = [span for span in collector.spans if span.name == "unit of work"]
    sent = [span for span in collector.spans if span.name == "publish"]
    assert len({unit.trace for unit in units}) == 2
    assert sorted((span.trace, span.parent) for span in sent) == sorted(
        (unit.trace, unit.id) for unit in (units[0], units[0], units[1])
    )
    assert {span.attributes["messaging.batch.message_count"] for span in sent} == {5}


async def test_a_unit_that_reacts_to_an_event_continues_its_trace(collector, sqlite_shop):
    with tracing.exporting("intake", "main", collector.endpoint):
        async with sqlite_shop.units.begin(ACTOR, "c-1", traceparent=CALLER) as work:
            loaded = await work.load(COUNTER, "a")
            await work.append(COUNTER, "a", loaded, [Counted(number=1)])
    unit = collector.named("unit of work")
    assert (unit.trace, unit.parent) == tuple(CALLER.split("-")[1:3])


async def test_a_caller_that_does_not_sample_gets_no_spans_but_its_trace_goes_on(collector, sqlite_shop, broker):
    relay = Relay(sqlite_shop.store, broker)
    await relay.resume()
    with tracing.exporting("intake", "main", collector.endpoint):
        async with sqlite_shop.units.begin(ACTOR, "c-1", traceparent=UNSAMPLED) as work:
            loaded = await work.load(COUNTER, "a")
            await work.append(COUNTER, "a", loaded, [Counted(number=1)])
            carried = work.traceparent
        assert await relay.push() == 1
    assert carried.startswith(UNSAMPLED[:36])
    assert carried.endswith("-00")
    assert collector.spans == []


@pytest.mark.parametrize("given", [None, "", "nonsense", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", CALLER.upper()])
async def test_what_is_no_trace_context_begins_a_new_trace(collector, sqlite_shop, given):
    with tracing.exporting("intake", "main", collector.endpoint):
        async with sqlite_shop.units.begin(ACTOR, "c-1", traceparent=given) as work:
            assert work.traceparent != given
    assert collector.named("unit of work").parent == ""


async def test_without_a_collector_nothing_is_made_and_the_callers_context_is_kept(sqlite_shop):
    with tracing.exporting("intake", "main", None):
        assert not tracing.on()
        async with sqlite_shop.units.begin(ACTOR, "c-1", traceparent=CALLER) as work:
            assert work.traceparent == CALLER
        with tracing.span("anything") as made:
            assert not made.is_recording()


async def test_a_collector_that_is_away_keeps_nothing_waiting_and_leaves_nothing_trying(collector, sqlite_shop):
    collector.close()
    before = set(threading.enumerate())
    with tracing.exporting("intake", "main", collector.endpoint):
        assert await sqlite_shop.count("a", 1) == 1
        began_s = time.monotonic()
    assert time.monotonic() - began_s < tracing.STOP_TIMEOUT_S + 5
    assert not [thread.name for thread in set(threading.enumerate()) - before if "aiosqlite" not in thread.name]


async def test_of_an_error_only_its_kind_is_told(collector):
    with tracing.exporting("intake", "main", collector.endpoint):
        for error in (ValueError("Zoë van den Berg"), asyncio.CancelledError("Zoë")):
            with pytest.raises(type(error)), tracing.span("failing"):
                raise error
    assert [span.status for span in collector.spans] == [(2, "ValueError"), (2, "CancelledError")]
    assert [span.attributes for span in collector.spans] == [
        {"error.type": "ValueError"},
        {"error.type": "CancelledError"},
    ]
    assert "Zoë".encode() not in b"".join(collector.bodies)


@pytest.mark.parametrize("wrong", ["collector:4318", "ftp://collector", "http://user:pw@collector", "http://c/v1?x=1"])
def test_an_endpoint_that_is_none_is_refused_at_start(monkeypatch, wrong):
    class Some(Settings):
        service: str = "some"
        port: int = 0
        database_url: str = "sqlite:///never"

    monkeypatch.setenv("SPOEL_OTLP_ENDPOINT", wrong)
    with pytest.raises(CannotStart, match="SPOEL_OTLP_ENDPOINT"):
        load_settings(Some)
