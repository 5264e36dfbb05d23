"""Two patients' way on a whole installation: nothing of them stands in clear, and once erased they are gone."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from tests.system.walker import Finder, everything

from spoel_local.demo.checks import Room, all_checks, caught_up_log, simulator_pulses
from spoel_local.demo.patient_way import PHYSICIAN
from spoel_local.demo.patients import referral, service_request, two_patients
from spoel_local.demo.people import People, Refused
from spoel_local.demo.report import Silent
from spoel_local.demo.run import make_ways, prepare_clinic, together, treatments
from spoel_local.demo.world import own_world
from spoel_local.tokens import fetch_tokens, read_people

SPEED = 240.0
NAMES = (("Wilhelmijntje", "Aardappelkroet"), ("Zoë", "Bloemkoolstra"))
REMARK = "Vertelde over haar zus in Appelscha; wil daar niet over praten."
WITHDRAWN = "Verhuist naar Terschelling."
WAIT_S = 60.0

pytestmark = [pytest.mark.timeout(240), pytest.mark.invariant("INV-6")]


def patients():
    return [
        replace(patient, given_name=given, family_name=family)
        for patient, (given, family) in zip(two_patients(7), NAMES, strict=True)
    ]


def secrets_of(people):
    """Everything personal that is told to the installation."""
    today = people[0].birth_date
    told = {"remark in the room": REMARK, "reason of the withdrawal": WITHDRAWN}
    told |= {
        "question": referral(people[0], today)["question"],
        "note": service_request(people[1], today)["note"][0]["text"],
    }
    told["reason of a judgement"] = "geen aanwijzing voor epilepsie"
    for label, person in zip("AB", people, strict=True):
        born = person.birth_date
        told |= {f"bsn of {label}": person.bsn, f"family name of {label}": person.family_name}
        told |= {f"given name of {label}": person.given_name, f"birth date of {label}": born.isoformat()}
        told |= {f"birth date of {label}, {form}": born.strftime(form) for form in ("%d-%m-%Y", "%Y%m%d", "%d%m%Y")}
    return told


class Scenario:
    """What is done on the installation, and what is found behind each part of it."""

    def __init__(self, world):
        self.instance = world.instance
        self.world = world
        self.patients = patients()

    async def run(self):
        tokens = fetch_tokens(read_people(), self.instance.data_dir, self.instance.issuer)
        signatures = {f"token of {who}": token.rpartition(".")[2] for who, token in tokens.items()}
        self.finder = Finder({**secrets_of(self.patients), **signatures})
        async with People(self.instance.services, tokens) as self.people:
            await self.treat()
            self.notes = await self.read_notes()
            self.wrapped_keys = self.vault("wrapped_private_key")
            await caught_up_log(self.people, self.instance)
            self.before = await everything(self.instance)
            await self.erase()
            await caught_up_log(self.people, self.instance)
            self.after = await everything(self.instance)
            self.left = await self.read_notes()
            self.checks = await all_checks(self.people, self.instance, self.rooms)

    async def treat(self):
        """Treat the second patient; the first one's session is armed, and stopped only when an erasure was refused."""
        rooms = [room.room_id for room in self.instance.rooms]
        before = {room.room_id: simulator_pulses(room.log) for room in self.instance.rooms}
        await prepare_clinic(self.people, self.world, Silent())
        self.ways = make_ways(self.people, self.world, Silent(), self.patients, treatments(rooms))
        await together(*(way.to_the_treatment_chair() for way in self.ways))
        await self.ways[1].treat()
        for way in self.ways:
            path = f"/sessions/{way.session_id}/notes"
            await self.people.tell(way.treatment.operator, "stimulation", path, {"text": REMARK}, "remark")
        self.rooms = [
            Room(room.room_id, room.log, before[room.room_id], [way.measurement_session_id, way.session_id])
            for room, way in zip(self.instance.rooms, self.ways, strict=True)
        ]

    async def read_notes(self):
        """Return what a physician reads: of each patient's case in planning, and of the session in its room."""
        found = []
        for way in self.ways:
            for service, path in (
                ("planning", f"/cases/{way.case_id}/notes"),
                ("stimulation", f"/sessions/{way.session_id}/notes"),
            ):
                answer = await self.people.ask(PHYSICIAN, service, f"{path}?reason=treatment", "notes")
                found.append([note["text"] for note in answer["notes"]])
        return found

    async def erase(self):
        first = self.ways[0]
        try:
            await self.erase_patient(first)
            self.refused = None
        except Refused as refusal:
            self.refused = refusal.failure.problem
        stop = {"reason": "patient-asked"}
        await self.people.tell(
            first.treatment.operator, "stimulation", f"/sessions/{first.session_id}/stop", stop, "stop"
        )
        path = f"/cases/{first.case_id}/consent/withdrawal"
        await self.people.tell(PHYSICIAN, "intake", path, {"reason": WITHDRAWN}, "withdrawal")
        self.erasures = [await self.erase_when_over(way) for way in self.ways]

    async def erase_patient(self, way):
        path = f"/patients/{way.patient_id}/erasure"
        await self.people.tell(PHYSICIAN, "intake", path, {"ground": "patient-request"}, "erasure")
        step = "answers to the erasure"
        return await self.people.until(PHYSICIAN, "intake", path, lambda found: not found["awaited"], step, WAIT_S)

    async def erase_when_over(self, way):
        """Erase a patient as soon as intake has heard that the session is over."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return await self.erase_patient(way)
            except Refused as refusal:
                slug = (refusal.failure.problem or {}).get("type", "")
                if not slug.endswith("treatment-under-way") or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    def vault(self, column="*"):
        intake = next(store for store in self.instance.stores if store.service == "intake")
        with closing(sqlite3.connect(intake.url.removeprefix("sqlite:///"))) as connection:
            return [row[0] for row in connection.execute(f"SELECT {column} FROM vault")]


@pytest.fixture(scope="module")
def walked():
    with own_world(SPEED, [], lambda _: None, keep=False) as world:
        scenario = Scenario(world)
        asyncio.run(scenario.run())
        scenario.vault_after = scenario.vault()
        yield scenario


@pytest.mark.requirement("AU-05")
def test_who_may_read_reads_the_texts_in_planning_and_in_the_room(walked):
    (first_case, first_session), (second_case, second_session) = walked.notes[:2], walked.notes[2:]
    today = walked.patients[0].birth_date
    assert first_case == [referral(walked.patients[0], today)["question"]]
    assert second_case[0] == service_request(walked.patients[1], today)["note"][0]["text"]
    assert "geen aanwijzing voor epilepsie" in second_case[1]
    assert first_session == second_session == [REMARK]


def test_nothing_personal_stands_in_clear_in_any_table_stream_bucket_log_or_file(walked):
    places = {piece.place.partition(":")[0].partition(" ")[0] for piece in walked.before}
    assert {"intake", "planning", "stimulation", "audit", "stream"} <= places
    buckets = {piece.place for piece in walked.before if piece.place.startswith("stream KV_")}
    assert any(place.endswith("strips") for place in buckets)
    assert sum(piece.place.endswith(".log") for piece in walked.before) >= 5
    assert walked.finder.leaks(walked.before) == []


@pytest.mark.requirement("AU-05")
def test_the_access_log_has_a_line_for_every_text_that_was_opened_and_it_is_in_the_audit_log(walked):
    for service in ("intake", "audit"):
        lines = opened_lines(walked.before, service)
        assert len(lines) == sum(map(len, walked.notes)) == 5
        assert {line["actorid"] for line in lines} == {PHYSICIAN}
        assert {line["data"]["reason"] for line in lines} == {"treatment"}


def opened_lines(pieces, service):
    table = {"intake": "intake: events", "audit": "audit: log_content"}[service]
    lines = []
    for piece in pieces:
        if piece.place == table and b'"spoel.intake.text-opened.v1"' in piece.content:
            text = piece.content[piece.content.index(b'{"specversion"') :].decode().splitlines()[0]
            lines.append(json.loads(text))
    return lines


@pytest.mark.hazard("HZ-01")
def test_nobody_is_erased_in_the_middle_of_a_treatment(walked):
    assert walked.refused["type"] == "urn:spoel:problem:treatment-under-way"
    assert walked.refused["sessions"] == [walked.ways[0].session_id]


@pytest.mark.requirement("AU-06")
def test_every_service_answers_the_erasure(walked):
    for erasure in walked.erasures:
        answered = {answer["source"]: answer["cleared"] for answer in erasure["answered"]}
        assert answered["/spoel/local/audit/main"] == {}
        assert answered["/spoel/local/planning/main"]["keys"] == 1
        assert answered["/spoel/local/planning/main"]["sealed-texts"] >= 1
        assert answered["/spoel/local/stimulation/node-1"]["keys"] == 1
        assert answered["/spoel/local/stimulation/node-1"]["notes"] == 1


@pytest.mark.requirement("AU-06")
def test_after_the_erasure_the_vault_is_empty_and_no_key_is_left_in_any_file(walked):
    assert walked.vault_after == []
    assert len(walked.wrapped_keys) == 2
    before, after = (b"".join(piece.content for piece in pieces) for pieces in (walked.before, walked.after))
    for key in walked.wrapped_keys:
        assert key in before
        assert key not in after
    assert walked.finder.leaks(walked.after) == []


@pytest.mark.requirement("AU-06")
def test_after_the_erasure_nobody_reads_anything(walked):
    assert walked.left == [[], [], [], []]


@pytest.mark.requirement("AU-06", "AU-01", "AU-04")
def test_the_audit_log_is_whole_after_the_erasure_with_its_own_events_in_it(walked):
    assert [check.name for check in walked.checks if not check.ok] == []
    once = next(check for check in walked.checks if check.name.endswith("exactly once"))
    assert once.values["stores"]["audit"] == 2
