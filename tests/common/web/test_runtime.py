import asyncio
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.common.web.trial_service import ANNA, COUNTER, NOBODY_LISTENS, Counted, Tokens, TrialSettings, router

from spoel_common import readiness
from spoel_common.events import Catalogue
from spoel_common.messaging import Projection
from spoel_common.messaging.relay import read_cursor
from spoel_common.people import Actor, Role
from spoel_common.runtime import Runtime, Unavailable
from spoel_common.settings import CannotStart
from spoel_common.web import create_app, run_service

SYSTEM = Actor(person_id="system", roles=frozenset({Role.ROOM}))


async def add(runtime: Runtime, counter_id: str, number: int) -> None:
    async with runtime.units.begin(SYSTEM, "test") as work:
        loaded = await work.load(COUNTER, counter_id)
        await work.append(COUNTER, counter_id, loaded, [Counted(number=number)])


async def test_a_second_process_of_a_service_is_ready_while_the_first_publishes(
    settings, trial_package, postgres_url, served, eventually, nats_settings, site
):
    where = {"database_url": postgres_url, "nats_url": nats_settings.servers, "site": site}
    settings = settings.model_copy(update={**where, "nats_monitor_url": nats_settings.monitor_url})
    runtimes = [Runtime(settings, trial_package, verifier=Tokens(ANNA)) for _ in range(2)]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(served(create_app(each, title="Trial", routers=[]))) for each in runtimes
        ]

        async def both_ready() -> bool:
            return [(await client.get("/health/ready")).status_code for client in clients] == [200, 200]

        await eventually(both_ready)
        found = [check.detail for each in runtimes for check in await each.checks() if check.name == "relay"]
        assert sorted(found) == ["another process publishes", "publishes"]


@pytest.mark.requirement("SY-02")
async def test_with_nats_it_publishes_consumes_and_calls_itself_ready(
    settings, trial_package, served, eventually, nats_settings, site
):
    seen: list[int] = []

    async def apply(_conn, _envelope, decoded, _raw) -> None:
        seen.append(decoded.number)

    settings = settings.model_copy(
        update={"nats_url": nats_settings.servers, "nats_monitor_url": nats_settings.monitor_url, "site": site}
    )
    projection = Projection("echo", 1, ("trial",), Catalogue([Counted]), apply)
    runtime = Runtime(settings, trial_package, [projection], verifier=Tokens(ANNA))
    assert runtime.knowledge() == []
    async with served(create_app(runtime, title="Trial", routers=[router])) as client:
        await eventually(lambda: runtime.broker is not None and runtime.broker.connected)
        await add(runtime, "c", 3)
        await eventually(lambda: seen == [3])

        async def is_ready() -> bool:
            return (await client.get("/health/ready")).status_code == 200

        await eventually(is_ready)
        await eventually(lambda: runtime.knowledge() and runtime.knowledge()[0].age_s < 5)
        (feed,) = runtime.knowledge()
        assert (feed.source, feed.position) == (f"/spoel/{site}/trial/main", 1)
        assert [known.source for known in runtime.knowledge(["trial"])] == [feed.source]
        assert runtime.knowledge(["intake"]) == []
        metrics = (await client.get("/metrics")).text
        assert "spoel_relay_position 1.0" in metrics
        assert f'spoel_feed_lag_events{{projection="echo",source="/spoel/{site}/trial/main"}} 0.0' in metrics
        assert 'spoel_feed_waiting_events{kind="parked",projection="echo"} 0.0' in metrics
        for sample in (
            "spoel_store_appended_events_total 1.0",
            "spoel_relay_published_events_total 1.0",
            "spoel_relay_published_batches_total 1.0",
            "spoel_relay_lag_events 0.0",
            'spoel_consumer_events_total{kind="applied",projection="echo"} 1.0',
            'spoel_consumer_events_total{kind="parked",projection="echo"} 0.0',
            'spoel_feed_problems{projection="echo"} 0.0',
        ):
            assert sample in metrics
        assert runtime.require_broker() is runtime.broker


async def test_events_are_published_again_where_they_are_published_at_all(
    settings, trial_package, eventually, nats_settings, site
):
    async with Runtime(settings, trial_package, verifier=Tokens(ANNA)) as without_nats:
        with pytest.raises(Unavailable, match="NATS was not reached"):
            without_nats.republish_from(1)
    settings = settings.model_copy(
        update={"nats_url": nats_settings.servers, "nats_monitor_url": nats_settings.monitor_url, "site": site}
    )
    async with Runtime(settings, trial_package, verifier=Tokens(ANNA)) as runtime:
        await add(runtime, "c", 3)

        async def published(count: int) -> bool:
            saved = await read_cursor(runtime.store)
            return saved is not None and saved.sequence == count

        await eventually(lambda: published(1))
        runtime.republish_from(1)
        await eventually(lambda: published(2))


@pytest.mark.requirement("ST-03")
async def test_while_nats_is_away_it_serves_and_stops_within_seconds(settings, trial_package):
    settings = settings.model_copy(update={"nats_url": NOBODY_LISTENS})
    runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA))
    async with runtime:
        await add(runtime, "c", 3)
        assert (await runtime.units.load(COUNTER, "c")).state == 3
        with pytest.raises(Unavailable):
            runtime.require_broker()
        stopping_s = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - stopping_s < 6


async def test_two_processes_with_one_database_do_a_command_once(
    database_url, settings, trial, trial_package, served, signed_in
):
    settings = settings.model_copy(update={"database_url": database_url})

    def app():
        runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA))
        return create_app(runtime, title="Trial", routers=[router], state={"trial": trial})

    async with served(app()) as one, served(app()) as two:
        for number in range(8):
            body, headers = {"number": number}, signed_in(key=f"key-{number}")
            answers = await asyncio.gather(*(side.post("/counters", json=body, headers=headers) for side in (one, two)))
            assert [answer.status_code for answer in answers] == [201, 201]
            assert answers[0].content == answers[1].content
            assert answers[0].headers["location"] == answers[1].headers["location"]
            assert ["idempotency-replayed" in answer.headers for answer in answers].count(True) == 1


async def test_a_services_own_things_are_open_before_its_tasks_and_closed_after_them(settings, trial_package):
    story: list[str] = []
    started = asyncio.Event()

    @asynccontextmanager
    async def devices(runtime: Runtime) -> AsyncIterator[None]:
        await add(runtime, "c", 1)
        story.append("devices open")
        yield
        story.append("devices closed")

    async def watch(_runtime: Runtime) -> None:
        story.append("watching")
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            story.append("watching no more")

    async with Runtime(settings, trial_package, verifier=Tokens(), resources=devices, tasks={"watch": watch}):
        await asyncio.wait_for(started.wait(), 5)
    assert story == ["devices open", "watching", "watching no more", "devices closed"]


async def test_what_was_opened_is_closed_when_the_start_fails(settings, trial_package):
    story: list[str] = []

    @asynccontextmanager
    async def devices(_runtime: Runtime) -> AsyncIterator[None]:
        story.append("devices open")
        raise CannotStart("SPOEL_ROOMS names no device. Name one.")
        yield

    runtime = Runtime(settings, trial_package, verifier=Tokens(), resources=devices)
    with pytest.raises(CannotStart):
        await runtime.__aenter__()
    assert story == ["devices open"]
    assert not runtime.supervisor.states


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("mysql://x/y", "SPOEL_DATABASE_URL cannot be used"),
        ("nonsense", "SPOEL_DATABASE_URL cannot be used"),
        ("sqlite://", "SPOEL_DATABASE_URL cannot be used"),
        ("postgresql://nobody@127.0.0.1:1/x", "does not answer"),
    ],
)
async def test_a_database_that_cannot_be_used_says_which_setting_is_wrong(settings, trial_package, url, hint):
    runtime = Runtime(settings.model_copy(update={"database_url": url}), trial_package, verifier=Tokens())
    with pytest.raises(CannotStart, match=hint):
        await runtime.__aenter__()


async def test_the_password_of_the_database_comes_from_a_file(settings, trial_package, tmp_path: Path):
    secret = tmp_path / "password"
    secret.write_text("swordfish")
    secret.chmod(0o600)
    update = {"database_url": "postgresql://nobody@127.0.0.1:1/x", "database_password_file": secret}
    runtime = Runtime(settings.model_copy(update=update), trial_package, verifier=Tokens())
    with pytest.raises(CannotStart) as refusal:
        await runtime.__aenter__()
    assert "swordfish" not in str(refusal.value)


async def test_a_check_that_hangs_is_not_met_and_holds_up_nothing(settings, trial_package, monkeypatch):
    monkeypatch.setattr(readiness, "CHECK_TIMEOUT_S", 0.05)

    async def hangs(_runtime: Runtime) -> readiness.Check:
        await asyncio.Event().wait()
        raise AssertionError

    async with Runtime(settings, trial_package, verifier=Tokens(), checks=[hangs]) as runtime:
        checks = {check.name: check for check in await asyncio.wait_for(runtime.checks(), 5)}
    assert checks["service-1"].detail == "no answer within 0.05 s"


@pytest.mark.parametrize("trouble", ["setting", "port"])
def test_a_service_that_is_configured_wrongly_ends_with_status_2_and_says_why(
    monkeypatch, capsys, make_app, trouble, settings
):
    monkeypatch.setenv("SPOEL_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("SPOEL_PORT", "70000" if trouble == "setting" else "0")
    if trouble == "port":
        taken = socket.create_server(("127.0.0.1", 0))
        monkeypatch.setenv("SPOEL_PORT", str(taken.getsockname()[1]))
    with pytest.raises(SystemExit) as end:
        run_service(TrialSettings, lambda _settings: make_app())
    if trouble == "port":
        taken.close()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "SPOEL_PORT" in error
    assert "Traceback" not in error


SERVICE = """
import sys
from tests.common.web.trial_service import ANNA, Tokens, Trial, TrialSettings, router
from spoel_common.runtime import Runtime
from spoel_common.web import create_app, run_service

sys.path.insert(0, sys.argv[1])

def build(settings):
    settings = settings.model_copy(update={"nats_url": ()})
    runtime = Runtime(settings, "spoel_trial", verifier=Tokens(ANNA))
    return create_app(runtime, title="Trial", routers=[router], state={"trial": Trial()})

run_service(TrialSettings, build)
"""


def test_a_process_serves_without_a_banner_and_ends_well_when_asked_to(settings, trial_package, tmp_path: Path):
    package_root = str(Path(importlib.import_module(trial_package).__file__ or "").parent.parent)
    root = str(Path(__file__).parents[3])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SPOEL_")},
        "PYTHONPATH": root,
        "SPOEL_DATABASE_URL": settings.database_url,
        "SPOEL_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-c", SERVICE, package_root]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            lines = iter(process.stderr.readline, "")
            listening = next(line for line in lines if '"server.listening"' in line)
            port = json.loads(listening)["port"]
            answer = httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=10)
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert answer.status_code == 200
    assert "server" not in answer.headers
    assert "server.stopped" in rest
    assert "Traceback" not in rest
