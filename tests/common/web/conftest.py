"""A trial service with one aggregate, as small as a service can be, and an issuer on a pretended wire."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel

from spoel_common.errors import NotFound, SpoelError
from spoel_common.events import Catalogue, Command, EventData
from spoel_common.identity import TokenInvalid
from spoel_common.ids import new_id
from spoel_common.people import Actor, Role
from spoel_common.runtime import Runtime
from spoel_common.settings import Settings
from spoel_common.web import ActorDep, CommandDep, RuntimeDep, create_app
from spoel_common.work import Aggregate, Work

MIGRATION = """
from alembic import op
from spoel_common.store import migrations_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrations_v1.upgrade(op)
"""
NOBODY_LISTENS = "nats://127.0.0.1:1"


class TrialSettings(Settings):
    service: Literal["trial"] = "trial"
    port: int = 0
    database_url: str = "sqlite:///never"


class Counted(EventData):
    service = "trial"
    event_name = "counted"
    number: int


class Count(Command):
    number: int
    note: str = ""


class Counter(BaseModel):
    counter_id: str
    total: int


class TooMuch(SpoelError):
    slug = "too-much"
    status = 409
    title = "Too much"


COUNTER = Aggregate("counter", int, lambda total, event: total + event.number, Catalogue([Counted]))
ANNA = Actor(person_id="anna", roles=frozenset({Role.CLINICIAN}), name="Anna")
BERT = Actor(person_id="bert", roles=frozenset({Role.AUDITOR}), name="Bert")


class Tokens:
    """A verifier for tests: the token is the name of an actor."""

    def __init__(self, *actors: Actor) -> None:
        self.actors = {actor.person_id: actor for actor in actors}

    async def verify(self, token: str) -> Actor:
        if token not in self.actors:
            raise TokenInvalid("a token that no test has given")
        return self.actors[token]


@dataclass
class Trial:
    """The trial service as the tests see it: what ran, and where a handler waits.

    Attributes:
        gate: a handler of ``/slow`` waits until it is set.
        entered: set when such a handler began.
    """

    handled: int = 0
    effects: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    conflicts: int = 0
    stops: int = 0
    limit: int = 1_000


def trial_router(trial: Trial) -> APIRouter:
    router = APIRouter(tags=["counters"])

    async def count(work: Work, counter_id: str, command: Count) -> Counter:
        trial.handled += 1
        loaded = await work.load(COUNTER, counter_id)
        if loaded.state + command.number > trial.limit:
            raise TooMuch("number is too much. Send a smaller one.")
        loaded = await work.append(COUNTER, counter_id, loaded, [Counted(number=command.number)])
        return Counter(counter_id=counter_id, total=loaded.state)

    @router.post("/counters", status_code=201, response_model=Counter)
    async def new_counter(command: Count, call: CommandDep) -> Response:
        counter_id = new_id()
        return await call.run(lambda work: count(work, counter_id, command), location="/counters/{counter_id}")

    @router.post("/counters/{counter_id}/slow", status_code=201, response_model=Counter)
    async def slow(counter_id: str, command: Count, call: CommandDep) -> Response:
        async def handler(work: Work) -> Counter:
            trial.entered.set()
            await trial.gate.wait()
            return await count(work, counter_id, command)

        return await call.run(handler)

    @router.post("/counters/{counter_id}/contested", status_code=201, response_model=Counter)
    async def contested(counter_id: str, command: Count, call: CommandDep) -> Response:
        async def handler(work: Work) -> Counter:
            loaded = await work.load(COUNTER, counter_id)
            if trial.conflicts:
                trial.conflicts -= 1
                loaded = type(loaded)(loaded.state, loaded.version + 7)
            await work.append(COUNTER, counter_id, loaded, [Counted(number=command.number)])
            return Counter(counter_id=counter_id, total=loaded.state + command.number)

        return await call.run(handler)

    @router.post("/counters/{counter_id}/device", status_code=202)
    async def device(counter_id: str, command: Count, call: CommandDep) -> Response:
        async def effect(body: dict[str, Any]) -> None:
            trial.effects.append(body)

        async def current(body: dict[str, Any]) -> dict[str, Any]:
            return {**body, "outcome": trial.states.get(counter_id, "accepted")}

        supervised = call.under("supervisor-1")
        return await supervised.run(lambda work: count(work, counter_id, command), 202, current, effect=effect)

    @router.get("/counters/{counter_id}")
    async def get_counter(counter_id: str, actor: ActorDep, runtime: RuntimeDep) -> Counter:
        loaded = await runtime.units.load(COUNTER, counter_id)
        if not loaded.version:
            raise NotFound(f"No counter {counter_id} is known here.", asked_by=actor.person_id)
        return Counter(counter_id=counter_id, total=loaded.state)

    @router.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the secret reason")

    @router.post("/stop/{room}")
    async def stop(room: str) -> dict[str, str]:
        trial.stops += 1
        return {"room": room}

    @router.get("/fhir/R4/broken")
    async def fhir_broken() -> None:
        raise RuntimeError("the secret reason")

    return router


@pytest.fixture(scope="session")
def trial_package(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("packages")
    versions = root / "spoel_trial" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / "spoel_trial" / "__init__.py").touch()
    (versions / "v0001_first.py").write_text(MIGRATION)
    sys.path.insert(0, str(root))
    return "spoel_trial"


@pytest.fixture
def settings(tmp_path: Path) -> TrialSettings:
    return TrialSettings(database_url=f"sqlite:///{tmp_path}/trial.db", data_dir=tmp_path, nats_url=NOBODY_LISTENS)


@pytest.fixture
def trial() -> Trial:
    return Trial()


MakeApp = Callable[..., FastAPI]


@pytest.fixture
def make_app(settings: TrialSettings, trial: Trial, trial_package: str) -> MakeApp:
    def make(**options: Any) -> FastAPI:
        runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA, BERT))
        return create_app(runtime, title="Trial", routers=[trial_router(trial)], **options)

    return make


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://trial") as client,
    ):
        yield client


@pytest.fixture
def served() -> Callable[[FastAPI], AbstractAsyncContextManager[httpx.AsyncClient]]:
    return _served


@pytest.fixture
async def client(make_app: MakeApp) -> AsyncIterator[httpx.AsyncClient]:
    async with _served(make_app(open_paths="/stop/[^/]+")) as client:
        yield client


@pytest.fixture
def signed_in() -> Callable[..., dict[str, str]]:
    def headers(person: str = "anna", key: str | None = None) -> dict[str, str]:
        bearer = {"Authorization": f"Bearer {person}"}
        return bearer if key is None else {**bearer, "Idempotency-Key": key}

    return headers
