"""HTTP of the audit service: pages, filters, single events, the tree, who may read."""

import json
from base64 import b64decode

import httpx
import pytest

from spoel_audit.app import build_app
from spoel_audit.entry import ENTRY_FORMAT
from spoel_audit.merkle import leaf_hash
from spoel_audit.settings import AuditSettings
from spoel_audit.verify import check_event, recompute_root
from spoel_common.identity import TokenInvalid
from spoel_common.people import Actor, Role

NOWHERE = "nats://127.0.0.1:1"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Tokens:
    """The token is the name of a role."""

    async def verify(self, token):
        if token not in list(Role):
            raise TokenInvalid("not a token of this test")
        return Actor(person_id=f"{token}-1", roles=frozenset({Role(token)}))


@pytest.fixture
def settings(tmp_path, database_url):
    return AuditSettings(database_url=database_url, data_dir=tmp_path, nats_url=NOWHERE, stop_timeout_s=1)


@pytest.fixture
async def app(settings):
    app = build_app(settings, verifier=Tokens())
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app):
    headers = {"Authorization": "Bearer auditor"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://audit", headers=headers
    ) as client:
        yield client


@pytest.fixture
def served_log(app, new_log):
    return new_log(app.state.runtime.database)


async def get(client, path, **params):
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def problem(client, path, **params):
    response = await client.get(path, params=params)
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["type"].removeprefix("urn:spoel:problem:")


async def all_pages(client, after_each=None, **params):
    items, cursor, size = [], {}, None
    while True:
        page = await get(client, "/events", **params, **cursor)
        items += page["items"]
        size = page["size"] if size is None else size
        assert page["size"] == size
        if page["next"] is None:
            return items
        cursor = {"after": page["next"], "size": size}
        if after_each:
            await after_each()


@pytest.mark.requirement("AU-03")
async def test_pages_do_not_shift_while_the_log_grows(client, served_log, new_feed):
    feed = new_feed("stimulation")
    await served_log.append(feed.events(23))
    items = await all_pages(client, after_each=lambda: served_log.append(feed.events(4)), limit=5)
    assert [item["sequence"] for item in items] == list(range(23))
    assert (await get(client, "/tlog/root"))["size"] > 23


@on_sqlite
async def test_a_page_says_when_it_is_the_last(client, served_log, new_feed):
    await served_log.append(new_feed("intake").events(4))
    assert (await get(client, "/events", limit=4))["next"] is None
    assert (await get(client, "/events", limit=3))["next"] == 2
    assert (await get(client, "/events", after=2)) == {
        "size": 4,
        "next": None,
        "items": (await get(client, "/events"))["items"][3:],
    }
    assert (await get(client, "/events", size=0)) == {"size": 0, "next": None, "items": []}


FILTERS = [
    ({}, [0, 1, 2, 3]),
    ({"case": "c1"}, [0, 1]),
    ({"patient": "p1"}, [0, 1, 3]),
    ({"patient": "p1", "case": "c2"}, [3]),
    ({"session": "s1"}, [1]),
    ({"room": "room-1"}, [1, 2]),
    ({"person": "dr-1"}, [0]),
    ({"type": "train-delivered"}, [1]),
    ({"type": "spoel.stimulation.train-delivered.v1"}, [1]),
    ({"type": "spoel.stimulation.train-delivered.v2"}, []),
    ({"type": "spoel.intake.train-delivered.v1"}, []),
    ({"from": "2026-11-22T10:00:01Z"}, [1, 2, 3]),
    ({"to": "2026-11-22T10:00:01Z"}, [0]),
    ({"from": "2026-11-22T11:00:01+01:00", "to": "2026-11-22T10:00:02.000001Z"}, [1, 2]),
    ({"case": "nobody"}, []),
]


@pytest.mark.requirement("AU-03")
async def test_filters(client, served_log, new_feed):
    intake, node, planning = new_feed("intake"), new_feed("stimulation", "node-1"), new_feed("planning")
    moment = "2026-11-22T10:00:0{}.000000Z".format
    await served_log.append(
        [
            intake.event("case-opened", {"case_id": "c1", "patient_id": "p1"}, time=moment(0), actorid="dr-1"),
            node.event(
                "train-delivered",
                {"case_id": "c1", "patient_id": "p1", "session_id": "s1", "room_id": "room-1", "pulses": 40},
                time=moment(1),
                supervisorid="sup-1",
            ),
            node.event("room-opened", {}, room="room-1", time=moment(2)),
            planning.event("head-measured", {"case_id": "c2", "patient_id": "p1"}, time=moment(3)),
        ]
    )
    for filters, found in FILTERS:
        assert [item["sequence"] for item in await all_pages(client, limit=2, **filters)] == found, filters


@pytest.mark.requirement("AU-03")
@pytest.mark.requirement("IN-15")
async def test_who_asks_for_one_file_of_a_person_finds_the_events_of_all(client, app, served_log, new_feed):
    intake = new_feed("intake")
    merges = [("p1", "p2"), ("p3", "p2")]
    events = [
        intake.event("patient-merged", {"patient_id": one, "into_patient_id": other, "ground": "x"}, subject=one)
        for one, other in merges
    ]
    await served_log.append([intake.event("case-opened", {"patient_id": f"p{number}"}) for number in range(1, 5)])
    await served_log.append(events)
    persons = app.state.runtime.projections[-1]
    async with served_log.database.write() as conn:
        for event in events:
            await persons.apply(conn, event.envelope, persons.catalogue.decode(event.envelope), b"")
    for patient in ("p1", "p2", "p3"):
        assert [item["sequence"] for item in await all_pages(client, patient=patient, limit=2)] == [0, 1, 2, 4, 5]
    assert [item["patient"] for item in await all_pages(client, patient="p4")] == ["p4"]


@on_sqlite
async def test_a_line_shows_the_event_and_its_columns(client, served_log, new_feed):
    data = {"case_id": "c", "patient_id": "p", "session_id": "s", "room_id": "room-1", "pulses": 40}
    arrival = new_feed("stimulation", "node-1").event("train-delivered", data, supervisorid="sup-1")
    await served_log.append([arrival])
    (line,) = (await get(client, "/events"))["items"]
    assert line == {
        "sequence": 0,
        "id": arrival.envelope.id,
        "type": "spoel.stimulation.train-delivered.v1",
        "service": "stimulation",
        "source": "/spoel/local/stimulation/node-1",
        "aggregate": "session",
        "subject": arrival.envelope.subject,
        "version": 1,
        "case": "c",
        "patient": "p",
        "session": "s",
        "room": "room-1",
        "person": "tech-1",
        "supervisor": "sup-1",
        "occurred": "2026-11-22T10:00:00.000000Z",
        "recorded": "2026-01-01T00:00:00.000000Z",
        "event": json.loads(arrival.event_bytes),
    }


@pytest.mark.requirement("AU-04")
@pytest.mark.invariant("INV-10")
async def test_an_event_is_served_byte_for_byte_with_what_proves_it(client, served_log, new_feed):
    arrivals = new_feed("intake").events(3)
    await served_log.append(arrivals)
    found = await get(client, f"/events/{arrivals[1].envelope.id}")
    entry = b64decode(found["entry"])
    assert found["sequence"] == 1
    assert b64decode(found["event_bytes"]) == arrivals[1].event_bytes
    assert b64decode(found["leaf_hash"]) == leaf_hash(entry)
    assert found["entry_parsed"] == json.loads(entry)
    assert found["entry_parsed"]["format"] == ENTRY_FORMAT
    assert check_event(entry, b64decode(found["salt"]), b64decode(found["event_bytes"]))


@pytest.mark.requirement("AU-04")
@pytest.mark.invariant("INV-10")
@on_sqlite
async def test_the_served_root_is_that_of_the_served_entries(client, served_log, new_feed):
    await served_log.append(new_feed("intake").events(7))
    entries, size = [], 1
    while len(entries) < size:
        part = await get(client, "/tlog/entries", start=len(entries), limit=3)
        assert part["start"] == len(entries)
        size = part["size"]
        entries += [b64decode(text) for text in part["entries"]]
    root = await get(client, "/tlog/root")
    assert root["size"] == 7
    assert b64decode(root["root_hash"]) == recompute_root(entries)
    assert (await get(client, "/tlog/entries", start=7))["entries"] == []


@pytest.mark.requirement("AU-01")
async def test_a_session_is_added_up_from_its_events(client, served_log, new_feed):
    node = new_feed("stimulation")
    ids = {"session_id": "s1", "train_id": "t"}
    delivered = {**ids, "outcome": "complete", "percent_mso": 50}
    await served_log.append(
        [
            node.event("session-started", ids),
            node.event("train-authorised", ids),
            node.event("train-delivered", {**delivered, "pulses": 40}),
            node.event("parameter-changed", {**ids, "parameter": "percent_rmt"}),
            node.event("train-authorised", ids),
            node.event("train-delivered", {**delivered, "pulses": 13, "outcome": "partial"}),
            node.event("train-authorised", ids),
            node.event("train-outcome-unknown", {**ids, "pulses_at_most": 40}),
            node.event("train-delivered", {**delivered, "pulses": 99, "session_id": "other"}),
        ]
    )
    assert await get(client, "/sessions/s1") == {
        "session_id": "s1",
        "trains_authorised": 3,
        "trains_delivered": 2,
        "pulses_delivered": 53,
        "trains_unknown": 1,
        "pulses_unknown_at_most": 40,
        "changes": 1,
        "size": 9,
    }


@on_sqlite
async def test_a_session_with_an_event_of_a_newer_version_is_not_added_up(client, served_log, new_feed):
    event = new_feed("stimulation").event(data={"session_id": "s1"}, type="spoel.stimulation.train-delivered.v2")
    await served_log.append([event])
    assert await problem(client, "/sessions/s1") == (503, "session-not-readable")


@pytest.mark.requirement("AU-07")
async def test_the_status_counts_the_events_of_each_store(client, served_log, new_feed):
    await served_log.append(new_feed("intake").events(2) + new_feed("stimulation", "node-1").events(3))
    status = await get(client, "/status")
    assert status["size"] == 5
    assert status["root_hash"] == (await get(client, "/tlog/root"))["root_hash"]
    assert status["per_source"] == {"/spoel/local/intake/main": 2, "/spoel/local/stimulation/node-1": 3}
    assert (status["held"], status["parked"]) == (0, 0)


@pytest.mark.invariant("INV-10")
@on_sqlite
async def test_a_restarted_service_goes_on_where_it_was(settings, new_log, new_feed):
    feed = new_feed("intake")
    for size in (3, 6):
        app = build_app(settings, verifier=Tokens())
        async with app.router.lifespan_context(app):
            log = new_log(app.state.runtime.database)
            await log.append(feed.events(3))
            assert (await log.head()).size == size
            assert (await log.head()).root() == recompute_root(await log.entries())


PATHS = ["/events", "/events/x", "/sessions/x", "/tlog/root", "/tlog/entries", "/status"]


@on_sqlite
async def test_only_auditors_and_supervisors_read_the_log(client):
    for role in set(Role) - {Role.AUDITOR, Role.SUPERVISOR}:
        client.headers["Authorization"] = f"Bearer {role}"
        for path in PATHS:
            assert await problem(client, path) == (403, "role-not-allowed")


@on_sqlite
async def test_nobody_reads_the_log_without_a_token(client):
    for path in PATHS:
        client.headers["Authorization"] = "Bearer forged"
        assert await problem(client, path) == (401, "token-invalid")
        del client.headers["Authorization"]
        assert await problem(client, path) == (401, "token-missing")


@on_sqlite
async def test_a_supervisor_reads_the_log(client):
    client.headers["Authorization"] = "Bearer supervisor"
    for path in ("/events", "/tlog/root", "/tlog/entries", "/status"):
        await get(client, path)


REFUSED = [
    ("/events/nobody", {}, (404, "not-found")),
    ("/sessions/nobody", {}, (404, "not-found")),
    ("/events", {"limit": 501}, (422, "validation-failed")),
    ("/events", {"limit": 0}, (422, "validation-failed")),
    ("/events", {"after": -1}, (422, "validation-failed")),
    ("/events", {"after": 2**63}, (422, "validation-failed")),
    ("/events", {"after": "x"}, (422, "validation-failed")),
    ("/events", {"size": 1}, (422, "size-beyond-log")),
    ("/events", {"case": ""}, (422, "validation-failed")),
    ("/events", {"case": "a\x00b"}, (422, "validation-failed")),
    ("/events", {"case": "x" * 201}, (422, "validation-failed")),
    ("/events", {"from": "2026-11-22T10:00:00"}, (422, "validation-failed")),
    ("/events", {"from": "yesterday"}, (422, "validation-failed")),
    ("/events", {"unknown": "x"}, (422, "validation-failed")),
    ("/events/a%00b", {}, (422, "validation-failed")),
    ("/tlog/entries", {"start": -1}, (422, "validation-failed")),
    ("/tlog/entries", {"limit": 1001}, (422, "validation-failed")),
]


async def test_what_cannot_be_asked_gets_its_own_problem(client):
    for path, params, expected in REFUSED:
        assert await problem(client, path, **params) == expected, (path, params)
