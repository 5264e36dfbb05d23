"""``spoel events`` as a person types it, on a running instance with an event that a room cannot take in."""

import asyncio
import json
import time

import httpx
import pytest
from typer.testing import CliRunner

from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.store import AggregateRef, Database, EventStore, StoreName
from spoel_local.__main__ import app
from spoel_local.launcher import Options, Ports, running
from spoel_local.status import status_of
from spoel_local.tokens import fetch_tokens

CASE, PATIENT = new_id(), new_id()


class House:
    """A running instance, and the commands typed at it."""

    def __init__(self, instance):
        self.instance = instance

    def spoel(self, *arguments):
        where = ["--data-dir", str(self.instance.data_dir)]
        return CliRunner().invoke(app, ["events", *map(str, arguments), *where], env={"COLUMNS": "200"})

    def held(self):
        return json.loads(self.spoel("parked", "--json").stdout)["held"]

    def until(self, condition, within_s=20):
        deadline_s = time.monotonic() + within_s
        while not condition(found := self.held()):
            assert time.monotonic() < deadline_s, found
            time.sleep(0.1)
        return found

    def times_parked(self):
        log = self.instance.process("stimulation").log.read_text(encoding="utf-8")
        return sum(json.loads(line)["event"] == "event-parked" for line in log.splitlines() if line.startswith("{"))

    def stream(self, service):
        """Return the last sequence of a service's stream, as NATS's monitor says."""
        said = httpx.get(f"{self.instance.nats_monitor_url}/jsz?streams=true", trust_env=False).json()
        streams = [stream for account in said["account_details"] for stream in account["stream_detail"]]
        return next(one["state"]["last_seq"] for one in streams if f"_{service}_" in one["name"])

    def lag(self):
        return sum(consumer.lag_events for consumer in status_of(self.instance).consumers)

    def token(self, person):
        return fetch_tokens([person], self.instance.data_dir, self.instance.issuer)[person]

    def log(self, **query):
        headers = {"Authorization": f"Bearer {self.token('auditor')}"}
        url = f"{self.instance.services['audit']}/events"
        return httpx.get(url, params=query, headers=headers, trust_env=False).json()["items"]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    options = Options(tmp_path_factory.mktemp("house") / "data", "local", rooms=1, ports=Ports.any_free())
    with running(options) as (_, instance):
        asyncio.run(publish_what_a_room_cannot_read(instance))
        house = House(instance)
        house.until(lambda found: len(found) == 2)
        yield house


async def publish_what_a_room_cannot_read(instance):
    """Append to intake's store what a faulty release of it might: a moment without its time zone."""
    about = {"case_id": CASE, "patient_id": PATIENT}
    given = about | {"form_version": "2026-1", "given_by": "patient", "given_at": "2026-11-25T09:00:00"}
    withdrawn = about | {"withdrawn_at": "2026-11-25T10:00:00Z", "sealed_reason": None}
    name = StoreName(site=instance.site, service="intake")
    database = await Database.open(next(store.url for store in instance.stores if store.service == "intake"))
    envelopes = [
        Envelope.model_validate(
            {
                "id": new_id(),
                "source": name.source,
                "type": f"spoel.intake.{event}.v1",
                "subject": CASE,
                "time": "2026-11-25T10:00:00Z",
                "aggregatetype": "case",
                "aggregateversion": version,
                "correlationid": "c",
                "actorid": "physician",
                "site": name.site,
                "data": data,
            }
        )
        for version, (event, data) in enumerate((("consent-given", given), ("consent-withdrawn", withdrawn)), 1)
    ]
    async with database.write() as conn:
        await EventStore(database, name).append(conn, AggregateRef("case", CASE), 0, envelopes)
    await database.close()


def test_the_list_says_what_is_kept_aside_where_and_why(house):
    told = house.spoel("parked")
    assert told.exit_code == 0
    for text in ("stimulation", "intake.consent-given.v1", CASE, "given_at: timezone_aware"):
        assert text in told.stdout
    assert "2 events kept aside, 2 of them parked." in told.stdout
    assert "Nothing is kept aside at planning." in house.spoel("parked", "--service", "planning").stdout


def test_one_is_shown_with_its_content_and_its_place(house):
    number = house.held()[0]["held_id"]
    told = house.spoel("inspect", number, "--service", "stimulation", "--role", "auditor")
    assert "first, 1 event of its aggregate behind it" in told.stdout
    assert '"given_at": "2026-11-25T09:00:00"' in told.stdout
    found = json.loads(house.spoel("inspect", number, "--service", "stimulation", "--json").stdout)
    assert found["envelope"]["data"]["patient_id"] == PATIENT


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("replay", 1, "--service", "stimulation", "--role", "clinician"), "one of the roles supervisor, tms-prof"),
        (("replay", 99, "--service", "stimulation"), "No event 99 is kept aside"),
        (("replay", 1, "--service", "radiology"), "There is no service 'radiology' here"),
        (("discard", 2, "--service", "stimulation", "--reason", "test-data"), "waits behind 1, version 1"),
        (("discard", 1, "--service", "stimulation", "--reason", "no idea"), "'corrected-later'"),
        (("parked", "--url", "http://127.0.0.1:1"), "--url needs --token"),
        (("parked", "--url", "http://127.0.0.1:1", "--token", "x"), "--url needs --service"),
        (("parked", "--service", "audit", "--url", "http://127.0.0.1:1", "--token", "x"), "audit does not answer"),
        (("parked", "--token", "forged"), "not valid"),
    ],
)
def test_a_refusal_is_one_line_that_says_why(house, arguments, says):
    told = house.spoel(*arguments)
    assert (told.exit_code, told.stdout) == (1, "")
    assert says in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_service_elsewhere_is_asked_with_a_token_of_its_issuer(house):
    where = ("--service", "stimulation", "--url", house.instance.services["stimulation"])
    told = house.spoel("inspect", 1, *where, "--token", house.token("auditor"), "--json")
    assert json.loads(told.stdout)["held_id"] == 1


def test_a_replay_is_tried_by_the_running_service_and_what_fails_again_is_parked_again(house):
    before, parked_before = house.held(), house.times_parked()
    told = house.spoel("replay", 2, "--service", "stimulation", "--role", "tms-professional")
    assert "stimulation tries 2 events again" in told.stdout
    house.until(lambda found: house.times_parked() == parked_before + 1 and found == before)


@pytest.mark.invariant("INV-3")
@pytest.mark.invariant("INV-5")
def test_behind_a_discarded_event_the_running_service_goes_on_and_the_log_says_who_and_why(house):
    why = ("--reason", "corrected-later", "--reference", "INC-2026-0117")
    told = house.spoel("discard", 1, "--service", "stimulation", *why)
    assert "1 event behind it will be tried now" in told.stdout
    house.until(lambda found: not found)

    deadline_s = time.monotonic() + 20
    while not (logged := house.log(type="parked-event-discarded", patient=PATIENT)):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    (entry,) = logged
    assert (entry["person"], entry["service"], entry["case"]) == ("supervisor", "stimulation", CASE)
    assert entry["event"]["data"]["reference"] == "INC-2026-0117"


@pytest.mark.invariant("INV-3")
def test_published_again_the_stream_has_the_same_bytes_twice_and_every_reader_has_them_once(house):
    before, logged = house.stream("intake"), house.log(limit=500)
    told = house.spoel("republish", "--service", "intake", "--from", 1)
    assert told.stdout == "intake publishes again from position 1 to 2.\n"
    deadline_s = time.monotonic() + 20
    while house.stream("intake") < before + 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    assert house.spoel("republish", "--service", "intake", "--from", 0).exit_code == 2
    house.until(lambda found: not found and house.lag() == 0)
    assert house.log(limit=500) == logged
