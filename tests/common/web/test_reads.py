"""Reads over HTTP: they wait for a write, say as of when they are, and show what is known and what is rebuilt."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple

import httpx
import pytest
from tests.common import ledger as ledgers
from tests.common.shop import Shop
from tests.common.web.trial_service import ANNA, BERT, NOBODY_LISTENS, Tokens, router

from spoel_common.messaging import NEVER_S, Projection
from spoel_common.people import Actor, Role
from spoel_common.runtime import Runtime
from spoel_common.store import StoreName
from spoel_common.web import create_app

SUE = Actor(person_id="sue", roles=frozenset({Role.SUPERVISOR}))
POSITION, AS_OF = "x-spoel-position", "x-spoel-as-of"


class Gate:
    """A read model that takes an event in only once it is open, and fails where it is told to.

    Attributes:
        entered: set when an event waits before it.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = asyncio.Event()
        self.fails = False

    async def apply(self, _conn, _envelope, _decoded, _raw) -> None:
        self.entered.set()
        await self.open.wait()
        if self.fails:
            raise ArithmeticError("cannot take this")


class Following(NamedTuple):
    """A trial service that follows a shop, and its client."""

    client: httpx.AsyncClient
    runtime: Runtime
    gate: Gate


@pytest.fixture(scope="session")
def package(tmp_path_factory) -> str:
    ledgers.write_package(tmp_path_factory.mktemp("reads"))
    return ledgers.PACKAGE


@pytest.fixture
async def following(settings, package, trial, served, nats_settings, site) -> AsyncIterator[Following]:
    gate = Gate()
    update = {"nats_url": nats_settings.servers, "nats_monitor_url": nats_settings.monitor_url, "site": site}
    projections = [
        Projection("gate", 1, ("intake", "trial"), None, gate.apply, tables=(ledgers.LEDGER,)),
        Projection("log", 1, ("intake",), None, pass_over),
    ]
    runtime = Runtime(settings.model_copy(update=update), package, projections, verifier=Tokens(ANNA, BERT, SUE))
    app = create_app(runtime, title="Trial", routers=[router], state={"trial": trial})
    async with served(app) as client:
        yield Following(client, runtime, gate)


async def pass_over(_conn, _envelope, _decoded, _raw) -> None:
    pass


async def add(client, signed_in, key: str = "k-1") -> httpx.Response:
    answer = await client.post("/counters", json={"number": 3}, headers=signed_in(key=key))
    assert answer.status_code == 201, answer.text
    return answer


def reading(signed_in, position: str, wait: str | None = "wait=10") -> dict[str, str]:
    prefer = {} if wait is None else {"Prefer": wait}
    return {**signed_in(), POSITION: position, **prefer}


async def test_a_command_answers_with_the_place_of_its_events_and_a_repeat_with_the_same(client, signed_in):
    first = await add(client, signed_in)
    assert first.headers[POSITION] == "/spoel/local/trial/main@0.1"
    assert (await add(client, signed_in, "k-2")).headers[POSITION] == "/spoel/local/trial/main@0.2"
    repeated = await add(client, signed_in)
    assert (repeated.headers[POSITION], repeated.headers["idempotency-replayed"]) == (first.headers[POSITION], "true")


async def test_what_a_service_wrote_itself_is_in_its_next_read(client, signed_in):
    written = await add(client, signed_in)
    headers = reading(signed_in, written.headers[POSITION], "respond-async, wait=0")
    answer = await client.get(written.headers["location"], headers=headers)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait")
    assert AS_OF not in answer.headers, "nothing here is built from others' events"


async def test_a_place_that_the_store_has_not_reached_is_not_seen(client, signed_in):
    written = await add(client, signed_in)
    headers = reading(signed_in, "/spoel/local/trial/main@0.9", "wait=0")
    answer = await client.get(written.headers["location"], headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:spoel:problem:write-not-seen-yet")


@pytest.mark.invariant("INV-4")
async def test_a_read_waits_until_the_write_is_in_the_read_model(following, signed_in, background, eventually):
    client, _, gate = following
    written = await add(client, signed_in)
    path, position = written.headers["location"], written.headers[POSITION]
    await asyncio.wait_for(gate.entered.wait(), 10)

    late = await client.get(path, headers=reading(signed_in, position, "wait=0"))
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")
    (feed,) = late.json()["feeds"]
    assert (feed["source"], feed["position"]) == (position.partition("@")[0], 0)
    assert "is taken in up to 0, not 1" in late.json()["detail"]
    assert (await client.get(path, headers=reading(signed_in, position, None))).status_code == 200

    waiting = asyncio.create_task(client.get(path, headers=reading(signed_in, position)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    gate.open.set()
    answer = await waiting
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait")


@pytest.mark.invariant("INV-4")
async def test_an_event_that_is_aside_counts_as_not_seen(following, signed_in, eventually):
    client, runtime, gate = following
    gate.fails = True
    gate.open.set()
    written = await add(client, signed_in)
    source = written.headers[POSITION].partition("@")[0]
    await eventually(lambda: runtime.known_of(source).held == 1)
    headers = reading(signed_in, written.headers[POSITION], "wait=0")
    answer = await client.get(written.headers["location"], headers=headers)
    assert answer.status_code == 503
    assert "with 1 of its events aside" in answer.json()["detail"]


@pytest.mark.invariant("INV-4")
async def test_a_read_says_as_of_when_the_oldest_feed_is_known(following, signed_in, sqlite_shop, publish, eventually):
    client, runtime, gate = following
    gate.open.set()
    written = await add(client, signed_in)
    path = written.headers["location"]
    assert (await client.get(path, headers=signed_in())).headers[AS_OF] == "never"
    await eventually(lambda: runtime.known_of("trial").as_of is not None)
    assert (await client.get(path, headers=signed_in())).headers[AS_OF] == "never", "nothing is known of intake"
    assert runtime.known_of("intake").as_of is None
    publish(sqlite_shop)
    await sqlite_shop.count("a", 1)
    await eventually(lambda: runtime.known_of("intake").position == 1 and runtime.known_of("intake").as_of)
    moment, _, age = (await client.get(path, headers=signed_in())).headers[AS_OF].partition(";age=")
    assert datetime.fromisoformat(moment).tzinfo is not None
    assert 0 <= float(age) < 5


async def test_what_is_known_of_a_feed_is_never_an_error(following, sqlite_shop, publish, eventually, site):
    _, runtime, _gate = following
    for feed in ("intake", f"/spoel/{site}/intake/main", "nobody", "/spoel/elsewhere/intake/main"):
        known = runtime.known_of(feed)
        assert (known.as_of, known.age_s, known.position) == (None, NEVER_S, 0)
        assert known.source.startswith(feed if feed.startswith("/") else f"/spoel/{site}/{feed}/")
    second = Shop(sqlite_shop.database, StoreName(site=site, service="intake", store="second"))
    publish(sqlite_shop)
    await eventually(lambda: runtime.known_of("intake").as_of)
    assert runtime.known_of(sqlite_shop.name.source).as_of is not None
    assert runtime.known_of(second.name.source).as_of is None


@pytest.mark.parametrize(
    ("position", "slug"),
    [
        ("yesterday", "position-invalid"),
        ("/spoel/local/trial/main@7", "position-invalid"),
        ("/spoel/local/trial/main@-1.2", "position-invalid"),
        (",".join(["/spoel/local/trial/main@0.1"] * 9), "position-invalid"),
    ],
)
async def test_a_position_that_no_command_gave_is_refused(client, signed_in, position, slug):
    written = await add(client, signed_in)
    answer = await client.get(written.headers["location"], headers=reading(signed_in, position, "wait=0"))
    assert (answer.status_code, answer.json()["type"]) == (400, f"urn:spoel:problem:{slug}")


async def test_what_cannot_be_in_an_answer_is_not_claimed_to_be(client, signed_in):
    written = await add(client, signed_in)
    for place in ("/spoel/local/planning/main@0.1", f"/spoel/other/trial/main@0.1,{written.headers[POSITION]}"):
        answer = await client.get(written.headers["location"], headers=reading(signed_in, place))
        assert answer.status_code == 200
        assert "preference-applied" not in answer.headers
    odd = await client.get(written.headers["location"], headers=reading(signed_in, "x", "wait=soon"))
    assert odd.status_code == 200


async def test_feeds_and_read_models_are_listed_for_those_who_are_signed_in(
    following, signed_in, sqlite_shop, publish, eventually, site
):
    client, runtime, gate = following
    gate.open.set()
    assert (await client.get("/operations/feeds")).status_code == 401
    await eventually(lambda: runtime.keepers)
    publish(sqlite_shop)
    await eventually(lambda: runtime.known_of("intake").as_of)
    feeds = (await client.get("/operations/feeds", headers=signed_in("bert"))).json()
    assert feeds["service"] == "trial"
    known = {feed["source"]: feed for feed in feeds["feeds"]}
    assert known[f"/spoel/{site}/intake/main"]["as_of"] is not None

    async def listed() -> bool:
        return (await client.get("/operations/projections", headers=signed_in("bert"))).status_code == 200

    await eventually(listed)
    answer = (await client.get("/operations/projections", headers=signed_in("bert"))).json()
    assert [(one["name"], one["version"], one["rebuildable"], one["rebuild"]) for one in answer["projections"]] == [
        ("gate", 1, True, None),
        ("log", 1, False, None),
    ]


async def test_a_rebuild_is_asked_for_by_those_who_may_and_comes_to_its_end(
    following, signed_in, sqlite_shop, publish, eventually
):
    client, runtime, gate = following
    gate.open.set()
    publish(sqlite_shop)
    await eventually(lambda: runtime.known_of("intake").as_of)
    path = "/operations/projections/gate/rebuild"
    refused = await client.post(path, headers=signed_in(key="r-1"))
    assert (refused.status_code, refused.json()["act"]) == (403, "rebuild-projection")
    before = (await client.get("/operations/projections", headers=signed_in())).json()["projections"][0]["since"]

    asked = await client.post(path, headers=signed_in("sue", key="r-1"))
    assert (asked.status_code, asked.json()["projection"]) == (202, "gate")

    async def rebuilt() -> bool:
        gate_now = (await client.get("/operations/projections", headers=signed_in())).json()["projections"][0]
        return gate_now["rebuild"] is None and gate_now["since"] > before

    await add(client, signed_in)
    await eventually(rebuilt)
    for name, slug in (("log", "projection-not-rebuildable"), ("nobody", "not-found")):
        other = await client.post(f"/operations/projections/{name}/rebuild", headers=signed_in("sue", key="r-2"))
        assert other.json()["type"] == f"urn:spoel:problem:{slug}"


async def test_a_rebuild_that_waits_says_for_what_and_can_be_given_up(following, signed_in, eventually):
    client, runtime, gate = following
    gate.open.set()
    written = await add(client, signed_in)
    await eventually(lambda: runtime.known_of(written.headers[POSITION].partition("@")[0]).position == 1)
    gate.fails = True
    await client.post("/operations/projections/gate/rebuild", headers=signed_in("sue", key="r-1"))

    async def told() -> bool:
        kept = (await client.get("/operations/projections", headers=signed_in())).json()["projections"][0]
        return "has taken in and the new one has not" in ((kept["rebuild"] or {}).get("problem") or "")

    await eventually(told)
    path = "/operations/projections/gate/rebuild/cancellation"
    assert (await client.post(path, headers=signed_in("sue", key="c-1"))).json()["cancelled"] is True
    assert (await client.post(path, headers=signed_in("sue", key="c-2"))).json()["cancelled"] is False
    assert (await client.get("/operations/projections", headers=signed_in())).json()["projections"][0][
        "rebuild"
    ] is None


async def test_without_nats_nothing_is_known_and_read_models_cannot_be_looked_after(
    settings, package, trial, served, signed_in
):
    projection = Projection("gate", 1, ("intake",), None, pass_over)
    update = {"nats_url": NOBODY_LISTENS}
    runtime = Runtime(settings.model_copy(update=update), package, [projection], verifier=Tokens(ANNA))
    async with served(create_app(runtime, title="Trial", routers=[router], state={"trial": trial})) as client:
        written = await add(client, signed_in)
        headers = reading(signed_in, "/spoel/local/intake/main@0.1", "wait=0")
        answer = await client.get(written.headers["location"], headers=headers)
        assert answer.json()["type"] == "urn:spoel:problem:write-not-seen-yet"
        assert (await client.get(written.headers["location"], headers=signed_in())).headers[AS_OF] == "never"
        assert (await client.get("/operations/projections", headers=signed_in())).status_code == 503


async def test_the_headers_are_documented(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    read = paths["/counters/{counter_id}"]["get"]
    assert {parameter["name"] for parameter in read["parameters"]} >= {"Prefer", "X-Spoel-Position"}
    assert "X-Spoel-As-Of" in read["responses"]["200"]["headers"]
    assert "X-Spoel-Position" in paths["/counters"]["post"]["responses"]["201"]["headers"]
