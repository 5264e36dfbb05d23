"""The live stream of a room, over a real socket: it does not wait, does not hang, and says how old each value is."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from tests.stimulation.clinic import WAIT_S
from tests.stimulation.story import OPERATOR, TECHNICIAN

from spoel_stimulation import live

pytestmark = pytest.mark.requirement("ST-03")


@asynccontextmanager
async def served(app):
    """Serve an application whose lifespan is entered already; yields its address."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            app.state.stopping = True
            await asyncio.wait_for(serving, 10)


class Screen:
    """Somebody who watches a room."""

    def __init__(self, response):
        self._lines = response.aiter_lines()
        self.number = 0

    async def next(self):
        async with asyncio.timeout(WAIT_S):
            async for line in self._lines:
                if line.startswith("data: "):
                    look = json.loads(line.removeprefix("data: "))
                    assert look["number"] > self.number
                    self.number = look["number"]
                    return look
        raise AssertionError("the stream ended")

    async def until(self, condition):
        async with asyncio.timeout(WAIT_S):
            while True:
                look = await self.next()
                if condition(look):
                    return look


@asynccontextmanager
async def watching(url, room_id="room-1", by=OPERATOR):
    headers = {"Authorization": f"Bearer {by.person_id}", "Accept": "text/event-stream"}
    async with (
        httpx.AsyncClient(timeout=WAIT_S) as client,
        client.stream("GET", f"{url}/rooms/{room_id}/live", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield Screen(response)


def value(look, name):
    return look[name]["value"]


@pytest.fixture
async def url(clinic):
    async with served(clinic.app) as (url, _):
        yield url


async def test_a_screen_follows_a_session_without_nats(clinic, url):
    async with watching(url) as screen:
        first = await screen.next()
        assert (value(first, "state"), value(first, "train"), value(first, "latch")) == ("free", None, None)
        assert value(first, "device_ready")
        assert value(first, "coil_temperature_c") > 0
        assert 0 <= first["coil_temperature_c"]["age_s"] < 5
        assert {feed["source"] for feed in first["knowledge"]} == {
            "/spoel/local/intake/main",
            "/spoel/local/planning/main",
        }
        assert first["knowledge_age_s"] == 0.5
        session_id = await clinic.started(await clinic.prepare())
        running = await screen.until(lambda look: value(look, "state") == "running")
        assert value(running, "session_id") == session_id
        assert value(running, "pulses_planned") == 3_000
        after = await screen.until(lambda look: value(look, "pulses_delivered"))
        train = value(after, "train")
        assert (train["of"], train["pulses"]) == (75, 40)
        assert value(after, "pulses_delivered") % 40 == 0
        waiting = await screen.until(lambda look: value(look, "next_train_in_s"))
        assert 0 < value(waiting, "next_train_in_s") <= 30
        await clinic.ask(session_id, "pause", reason="coil-check")
        paused = await screen.until(lambda look: value(look, "state") == "paused")
        assert value(paused, "reason") == "coil-check"
        assert value(paused, "next_train_in_s") is None


async def test_a_latch_is_shown_and_a_quiet_room_speaks_by_itself(clinic, url):
    async with watching(url) as screen:
        numbers = [(await screen.next())["number"] for _ in range(3)]
        assert numbers == sorted(set(numbers))
        await clinic.post("/rooms/room-1/emergency-stop")
        look = await screen.until(lambda look: value(look, "latch"))
        assert value(look, "latch")["reason"] == "emergency-stop"


@pytest.mark.invariant("INV-4")
async def test_without_its_journal_and_its_device_a_room_shows_old_values_as_old(clinic, url):
    session_id = await clinic.started(await clinic.prepare())
    async with watching(url) as screen:
        await screen.until(lambda look: value(look, "state") == "running")
        store = clinic.runtime.store
        head, store.head = store.head, _fails
        try:
            old = await screen.until(lambda look: look["state"]["age_s"] > 1.0)
            assert (value(old, "state"), value(old, "session_id")) == ("running", session_id)
            assert old["percent_mso"]["age_s"] < old["state"]["age_s"]
        finally:
            store.head = head
        fresh = await screen.until(lambda look: look["state"]["age_s"] < 0.5)
        assert value(fresh, "state") == "running"


async def _fails():
    raise TimeoutError("the journal does not answer")


async def test_a_room_that_cannot_be_shown_ends_the_stream_rather_than_freeze_it(clinic, url, monkeypatch):
    look = clinic.room.look

    def broken():
        raise ArithmeticError("a fault of the code")

    async with watching(url) as screen:
        await screen.next()
        monkeypatch.setattr(live, "SILENT_S", 1.0)
        clinic.room.look = broken
        with pytest.raises(AssertionError, match="the stream ended"):
            await screen.until(lambda _look: False)
    clinic.room.look = look
    monkeypatch.undo()
    async with watching(url) as screen:
        for _ in range(4):
            await screen.next()


async def test_nobody_works_for_a_screen_that_left(clinic, url):
    board = clinic.node.live["room-1"]
    async with watching(url) as one, watching(url) as two:
        await one.next()
        await two.next()
        assert board.watchers == 2
    await clinic.until(lambda: board.watchers == 0 and board._looking is None, "both gone")
    async with watching(url) as again:
        assert value(await again.next(), "state") == "free"
    await clinic.until(lambda: board.watchers == 0, "it too")
    shown = clinic.runtime.metrics.render().decode()
    assert 'route="/rooms/{room_id}/live",status="200"' in shown
    assert not [line for line in shown.splitlines() if "duration_seconds" in line and "/live" in line]


async def test_a_screen_that_takes_nothing_is_dropped_and_the_others_go_on(clinic, monkeypatch):
    monkeypatch.setattr(live, "SLOW_S", 0.2)
    board = clinic.node.live["room-1"]
    stuck = asyncio.Event()

    async def send(message):
        if message["type"] == "http.response.body":
            await stuck.wait()

    async def receive():
        await stuck.wait()

    async with served(clinic.app) as (url, _), watching(url) as screen:
        await screen.next()
        stream = live.EventStream(board.watch(), lambda: False)
        async with asyncio.timeout(WAIT_S):
            await stream({}, receive, send)
        await clinic.until(lambda: board.watchers == 1, "the slow one dropped")
        await screen.next()


async def test_so_many_screens_and_no_more(clinic, url, monkeypatch):
    monkeypatch.setattr(live, "WATCHERS_AT_MOST", 1)
    async with watching(url) as screen:
        await screen.next()
        refused = await clinic.get("/rooms/room-1/live")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:spoel:problem:too-many-watchers")


async def test_a_stop_of_the_service_does_not_wait_for_screens(clinic):
    async with served(clinic.app) as (url, server), watching(url) as screen:
        await screen.next()
        server.should_exit = True
        clinic.app.state.stopping = True
        with pytest.raises(AssertionError, match="the stream ended"):
            await screen.until(lambda _look: False)


async def test_the_stream_is_for_those_who_work_in_the_room(clinic, url):
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/rooms/room-1/live")).status_code == 401
    assert (await clinic.get("/rooms/nowhere/live", by=TECHNICIAN)).status_code == 404
