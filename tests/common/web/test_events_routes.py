"""Looking after events over HTTP: who may, what is shown, what is recorded, what happens at a repeat."""

import hashlib
import json

import pytest
from sqlalchemy import text
from tests.common.shop import Shop
from tests.common.web.trial_service import ANNA, BERT, Tokens

from spoel_common.events import Catalogue, Envelope, ForeignEvent
from spoel_common.messaging import Inbox, Projection
from spoel_common.messaging.pull import Delivery
from spoel_common.people import Actor, Role
from spoel_common.runtime import Runtime
from spoel_common.store import START, StoreName
from spoel_common.web import create_app

CARLA = Actor(person_id="carla", roles=frozenset({Role.SUPERVISOR}), big_number="99000000325")
DAAN = Actor(person_id="daan", roles=frozenset({Role.TMS_PROFESSIONAL}))
PATIENT = "019ac1d2-6f03-7e55-8a44-c1d5e7f90b22"
WHY = {"reason": "corrected-later", "reference": "INC-2026-0117"}


class Counted(ForeignEvent):
    service = "intake"
    event_name = "counted"
    number: int


class Parking:
    """A read model of the trial service to which intake's events come by hand."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.intake = Shop(runtime.database, StoreName(site="local", service="intake"))
        self.applied: list[tuple[str, int]] = []
        projection = Projection("counts", 1, ("intake",), Catalogue([Counted]), self.apply)
        self.inbox = Inbox(projection, runtime.database, self.intake.name.source, ())

    async def apply(self, conn, envelope, decoded, _raw) -> None:
        await conn.execute(text("SELECT 1"))
        self.applied.append((envelope.subject, envelope.aggregateversion))

    async def bring(self, *messages: Envelope | bytes) -> None:
        deliveries = []
        for sequence, message in enumerate(messages, 1):
            envelope = self.intake.envelope("a", 1) if isinstance(message, bytes) else message
            raw = message if isinstance(message, bytes) else message.to_bytes()
            deliveries.append(Delivery(sequence, self.intake.name.subject_of(envelope), raw, 0, sequence, ""))
        await self.inbox.open("stream-1")
        await self.inbox.take(deliveries)

    async def recorded(self) -> list[Envelope]:
        stored = await self.runtime.store.read_after(START, 10)
        return [Envelope.from_bytes(event.raw) for event in stored]


@pytest.fixture
async def served_parking(settings, trial_package, served):
    runtime = Runtime(settings, trial_package, verifier=Tokens(ANNA, BERT, CARLA, DAAN))
    async with served(create_app(runtime, title="Trial", routers=[])) as client:
        yield client, Parking(runtime)


@pytest.fixture
async def stuck(served_parking):
    """Number 1: data that does not fit; 2 and 3 wait behind it; 4: bytes that are no event; 5: behind a gap."""
    client, parking = served_parking
    wrong = parking.intake.envelope("a", 1, data={"number": "thirteen", "patient_id": PATIENT, "case_id": "Jan"})
    behind = [parking.intake.envelope("a", version) for version in (2, 3)]
    await parking.bring(wrong, *behind, b"Jan de Vries, not an event", parking.intake.envelope("b", 2))
    return client, parking, wrong


async def test_everything_that_is_aside_is_listed_in_pages_with_what_it_is(stuck, signed_in):
    client, _, wrong = stuck
    first = (await client.get("/operations/held?limit=4", headers=signed_in("carla"))).json()
    rest = (await client.get(f"/operations/held?after={first['next']}", headers=signed_in("carla"))).json()
    gaps = (await client.get("/operations/held?state=gap&projection=counts", headers=signed_in("carla"))).json()

    told = [(line["held_id"], line["version"], line["state"]) for line in first["items"]]
    assert told == [(1, 1, "parked"), (2, 2, "parked"), (3, 3, "parked"), (4, None, "parked")]
    assert [line["held_id"] for line in rest["items"]] == [5]
    assert (rest["next"], gaps["items"]) == (None, rest["items"])
    assert first["items"][0] | {"held_at": ""} == {
        "held_id": 1,
        "projection": "counts",
        "projection_version": 1,
        "source": "/spoel/local/intake/main",
        "aggregate_type": "counter",
        "aggregate_id": "a",
        "version": 1,
        "event_id": wrong.id,
        "event_type": "spoel.intake.counted.v1",
        "state": "parked",
        "tries": 1,
        "error": "Counted does not fit: number: int_parsing",
        "held_at": "",
        "stream_sequence": 1,
    }


async def test_one_is_shown_with_its_envelope_and_what_waits_behind_it(stuck, signed_in):
    client, _, wrong = stuck
    shown = (await client.get("/operations/held/1", headers=signed_in("bert"))).json()
    assert shown["envelope"] == json.loads(wrong.to_bytes())
    assert (shown["first"], shown["waiting_behind"], shown["size_bytes"]) == (True, 2, len(wrong.to_bytes()))
    second = (await client.get("/operations/held/2", headers=signed_in("bert"))).json()
    assert (second["first"], second["waiting_behind"], second["error"]) == (False, 1, "")


@pytest.mark.invariant("INV-6")
async def test_bytes_that_are_no_event_are_not_shown_for_nothing_vouches_for_them(stuck, signed_in):
    client, _, _ = stuck
    answer = await client.get("/operations/held/4", headers=signed_in("carla"))
    assert answer.json()["envelope"] is None
    assert answer.json()["size_bytes"] == len(b"Jan de Vries, not an event")
    assert "Vries" not in answer.text


@pytest.mark.invariant("INV-5")
async def test_each_act_asks_for_its_role(stuck, signed_in):
    client, _, _ = stuck

    async def status(person: str, act: str) -> int:
        if act == "read":
            return (await client.get("/operations/held", headers=signed_in(person))).status_code
        path = "/operations/republish" if act == "republish" else f"/operations/held/1/{act}"
        body = {"replay": None, "discard": WHY, "republish": {"from_position": 1}}[act]
        return (await client.post(path, json=body, headers=signed_in(person, key=f"{person}-{act}"))).status_code

    acts = ("read", "replay", "discard", "republish")
    assert [await status("anna", act) for act in acts] == [403, 403, 403, 403]
    assert [await status("bert", act) for act in acts] == [200, 403, 403, 403]
    assert [await status("daan", act) for act in acts] == [200, 202, 403, 403]
    assert (await client.get("/operations/held")).status_code == 401
    assert (await client.get("/operations/held/1")).status_code == 401


async def test_a_replay_makes_the_whole_line_due_once(stuck, signed_in):
    client, parking, _ = stuck
    answers = [await client.post("/operations/held/2/replay", headers=signed_in("daan", key="k")) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"held_id": 2, "events": 3}] * 2
    assert (await parking.inbox.retry_due()).counts["failed"] == 1
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert await parking.recorded() == []


@pytest.mark.invariant("INV-5")
async def test_a_discard_is_an_event_that_says_who_what_and_why(stuck, signed_in):
    client, parking, wrong = stuck
    answer = await client.post("/operations/held/1/discard", json=WHY, headers=signed_in("carla", key="k"))

    (event,) = await parking.recorded()
    assert (answer.status_code, answer.json()) == (200, {"held_id": 1, "event_id": event.id, "events": 2})
    assert (event.type, event.source) == ("spoel.trial.parked-event-discarded.v1", "/spoel/local/trial/main")
    assert (event.actorid, event.actorroles, event.actorbig) == ("carla", "supervisor", "99000000325")
    assert event.data == {
        "projection": "counts",
        "projection_version": 1,
        "source": "/spoel/local/intake/main",
        "aggregate_type": "counter",
        "aggregate_id": "a",
        "version": 1,
        "stream_sequence": 1,
        "discarded_id": wrong.id,
        "discarded_type": "spoel.intake.counted.v1",
        "bytes_sha256": sha256(wrong.to_bytes()),
        "tries": 1,
        **WHY,
        "case_id": None,
        "patient_id": PATIENT,
        "session_id": None,
    }
    await parking.inbox.retry_due()
    assert parking.applied == [("a", 2), ("a", 3)]


async def test_a_repeated_discard_gets_its_answer_again_and_a_new_one_finds_nothing(stuck, signed_in):
    client, parking, _ = stuck
    first, twin, new = [
        await client.post("/operations/held/1/discard", json=WHY, headers=signed_in("carla", key=key))
        for key in ("k", "k", "other")
    ]
    assert (first.json(), new.status_code) == (twin.json(), 404)
    assert len(await parking.recorded()) == 1


async def test_bytes_that_are_no_event_are_discarded_by_their_hash(stuck, signed_in):
    client, parking, _ = stuck
    body = {"reason": "not-an-event"}
    assert (await client.post("/operations/held/4/discard", json=body, headers=signed_in("carla", key="k"))).is_success
    (event,) = await parking.recorded()
    assert (event.data["version"], event.data["discarded_id"], event.data["reference"]) == (None, None, None)
    assert event.data["bytes_sha256"] == sha256(b"Jan de Vries, not an event")


async def test_what_is_refused_records_nothing_and_says_what_to_do(stuck, signed_in):
    client, parking, _ = stuck
    for number, status, what_to_do in ((2, 409, "Replay or discard that one first"), (5, 409, "publish it again")):
        path, headers = f"/operations/held/{number}/discard", signed_in("carla", key=f"k{number}")
        answer = await client.post(path, json=WHY, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (status, "urn:spoel:problem:held-event-not-next")
        assert what_to_do in answer.json()["detail"]
    assert await parking.recorded() == []
    assert len((await client.get("/operations/held", headers=signed_in("carla"))).json()["items"]) == 5


@pytest.mark.invariant("INV-6")
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": "because"},
        {"reason": "test-data", "reference": "Jan de Vries was moved"},
        {"reason": "test-data", "note": "x"},
    ],
    ids=["none", "no-code", "a-text", "another-field"],
)
async def test_a_reason_is_a_code_and_a_reference_one_word(stuck, signed_in, body):
    client, parking, _ = stuck
    answer = await client.post("/operations/held/1/discard", json=body, headers=signed_in("carla", key="k"))
    assert (answer.status_code, await parking.recorded()) == (422, [])


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
async def test_a_number_that_cannot_be_one_is_refused(stuck, signed_in, number):
    client, _, _ = stuck
    assert (await client.get(f"/operations/held/{number}", headers=signed_in("carla"))).status_code == 422
    assert (await client.get("/operations/held/999", headers=signed_in("carla"))).status_code == 404


async def test_publishing_again_waits_for_nats_and_the_key_stays_free(stuck, signed_in):
    client, _, _ = stuck
    body, headers = {"from_position": 1}, signed_in("carla", key="k")
    for _ in range(2):
        answer = await client.post("/operations/republish", json=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:spoel:problem:unavailable")


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
