"""A service as small as a service can be: it counts."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from spoel_common.errors import NotFound, SpoelError, VersionConflict
from spoel_common.events import Catalogue, Command, EventData
from spoel_common.identity import TokenInvalid
from spoel_common.ids import new_id
from spoel_common.people import Actor, Role
from spoel_common.settings import Settings
from spoel_common.web import ActorDep, CommandDep, RuntimeDep
from spoel_common.work import Aggregate, Work

MIGRATION = """
from alembic import op
from spoel_common.store import migrations_v1, migrations_v2

revision = "0001"
down_revision = None


def upgrade() -> None:
    migrations_v1.upgrade(op)
    migrations_v2.upgrade(op)
"""
NOBODY_LISTENS = ("nats://127.0.0.1:1",)


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


def trial_of(request: Request) -> Trial:
    return request.app.state.trial


TrialDep = Annotated[Trial, Depends(trial_of)]
router = APIRouter(tags=["counters"])


async def count(work: Work, counter_id: str, command: Count, trial: Trial) -> Counter:
    trial.handled += 1
    loaded = await work.load(COUNTER, counter_id)
    if loaded.state + command.number > trial.limit:
        raise TooMuch("number is too much. Send a smaller one.")
    loaded = await work.append(COUNTER, counter_id, loaded, [Counted(number=command.number)])
    return Counter(counter_id=counter_id, total=loaded.state)


@router.post("/counters", status_code=201, response_model=Counter)
async def new_counter(command: Count, call: CommandDep, trial: TrialDep) -> Response:
    counter_id = new_id()
    return await call.run(lambda work: count(work, counter_id, command, trial), location="/counters/{counter_id}")


@router.post("/counters/{counter_id}/slow", status_code=201, response_model=Counter)
async def slow(counter_id: str, command: Count, call: CommandDep, trial: TrialDep) -> Response:
    async def handler(work: Work) -> Counter:
        trial.entered.set()
        await trial.gate.wait()
        return await count(work, counter_id, command, trial)

    return await call.run(handler)


@router.post("/counters/{counter_id}/contested", status_code=201, response_model=Counter)
async def contested(counter_id: str, command: Count, call: CommandDep, trial: TrialDep) -> Response:
    async def handler(work: Work) -> Counter:
        if trial.conflicts:
            trial.conflicts -= 1
            raise VersionConflict("somebody was faster")
        return await count(work, counter_id, command, trial)

    return await call.run(handler)


@router.post("/counters/{counter_id}/device", status_code=202)
async def device(counter_id: str, command: Count, call: CommandDep, trial: TrialDep) -> Response:
    async def effect(body: dict[str, Any]) -> None:
        trial.effects.append(body)

    async def current(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "outcome": trial.states.get(counter_id, "accepted")}

    supervised = call.under("supervisor-1")
    return await supervised.run(lambda work: count(work, counter_id, command, trial), 202, current, effect=effect)


@router.get("/counters/{counter_id}")
async def get_counter(counter_id: str, actor: ActorDep, runtime: RuntimeDep) -> Counter:
    loaded = await runtime.units.load(COUNTER, counter_id)
    if not loaded.version:
        raise NotFound(f"No counter {counter_id} is known here.", asked_by=actor.person_id)
    return Counter(counter_id=counter_id, total=loaded.state)


@router.get("/broken")
@router.get("/fhir/R4/broken")
async def broken() -> None:
    raise RuntimeError("the secret reason")


@router.post("/stop/{room}")
async def stop(room: str, trial: TrialDep) -> dict[str, str]:
    trial.stops += 1
    return {"room": room}
