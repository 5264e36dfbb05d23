"""Remarks about a session: sealed in the room, also without network; gone from it when the patient is erased."""

import json

import pytest
from tests.stimulation.story import CLINICIAN, OPERATOR, PATIENT, PATTERN_10HZ, TECHNICIAN, treatment_order

from spoel_common.erasure import due
from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.sealing import generate_key_pair, open_sealed
from spoel_stimulation import foreign_events as told
from spoel_stimulation import projections

KEYS = generate_key_pair()
REMARK = "Vertelde over haar zus in Appelscha."


async def opened_session(clinic):
    session_id = await clinic.prepare()
    await clinic.tell(told.PatientRegistered(patient_id=PATIENT, public_key=KEYS.public_key))
    assert (await clinic.open(session_id)).status_code == 201
    return session_id


async def erase(clinic, erasure_id="erasure-1"):
    envelope = Envelope(
        id=erasure_id,
        source="/spoel/local/intake/main",
        type="spoel.intake.patient-erased.v1",
        subject=PATIENT,
        time="2026-11-22T10:00:00Z",
        aggregatetype="patient",
        aggregateversion=2,
        correlationid="c",
        actorid="physician",
        site="local",
        data={"patient_id": PATIENT, "ground": "patient-request"},
    )
    projection = clinic.node.projection()
    async with clinic.runtime.database.write() as conn:
        await projection.apply(conn, envelope, projection.catalogue.decode(envelope), envelope.to_bytes())
    await projection.after_commit([envelope])


@pytest.mark.invariant("INV-6")
async def test_a_room_that_is_cut_off_seals_a_remark_that_only_the_patients_key_opens(clinic):
    session_id = await opened_session(clinic)
    written = await clinic.ask(session_id, "notes", text=f"  {REMARK} ")
    assert written.status_code == 201, written.text
    assert REMARK not in written.text
    (envelope,) = [event for event in await clinic.events() if event.type == "spoel.stimulation.note-written.v1"]
    assert (envelope.data["session_id"], envelope.data["patient_id"], envelope.actorid) == (
        session_id,
        PATIENT,
        OPERATOR.person_id,
    )
    assert open_sealed(envelope.data["sealed_text"], KEYS.private_key, envelope.id, envelope.type) == REMARK
    files = [path.read_bytes() for path in clinic.folder.iterdir() if path.is_file()]
    assert not any(b"Appelscha" in content for content in files)


@pytest.mark.invariant("INV-6")
async def test_a_cut_off_room_says_that_it_cannot_read_remarks_and_who_may_not_read_is_refused(clinic):
    session_id = await opened_session(clinic)
    await clinic.ask(session_id, "notes", text=REMARK)
    away = await clinic.get(f"/sessions/{session_id}/notes?reason=treatment", CLINICIAN)
    assert (away.status_code, away.json()["type"]) == (503, "urn:spoel:problem:unavailable")
    assert (await clinic.get(f"/sessions/{session_id}/notes", CLINICIAN)).status_code == 422
    refused = await clinic.get(f"/sessions/{session_id}/notes?reason=treatment", TECHNICIAN)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:spoel:problem:role-not-allowed")


async def test_a_remark_that_is_none_or_about_no_session_is_refused_and_nothing_is_stored(clinic):
    session_id = await opened_session(clinic)
    before = len(await clinic.events())
    for path, body, status in (
        (f"/sessions/{session_id}/notes", {"text": " "}, 422),
        (f"/sessions/{session_id}/notes", {"text": "x" * 8_001}, 422),
        (f"/sessions/{session_id}/notes", {"text": "x", "shoe": 1}, 422),
        (f"/sessions/{new_id()}/notes", {"text": REMARK}, 404),
    ):
        refused = await clinic.post(path, body)
        assert refused.status_code == status, refused.text
        assert "Appelscha" not in refused.text
    assert len(await clinic.events()) == before


async def test_a_remark_is_refused_where_what_arrived_is_no_key(clinic):
    session_id = await opened_session(clinic)
    await clinic.tell(told.PatientRegistered(patient_id=PATIENT, public_key="key"))
    refused = await clinic.ask(session_id, "notes", text=REMARK)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:spoel:problem:patient-key-unknown")
    assert "note-written" not in await clinic.names()


@pytest.mark.requirement("AU-06")
@pytest.mark.invariant("INV-6")
async def test_of_an_erased_patient_no_key_and_no_remark_is_left_and_none_can_be_written(clinic):
    session_id = await opened_session(clinic)
    assert (await clinic.ask(session_id, "notes", text=REMARK)).status_code == 201
    await erase(clinic)
    async with clinic.runtime.database.read() as conn:
        assert await projections.key_of(conn, PATIENT) is None
        assert (await conn.execute(projections.notes.select())).all() == []
        (row,) = (await conn.execute(due.select())).all()
    assert json.loads(row.cleared) == {"keys": 1, "notes": 1}
    refused = await clinic.ask(session_id, "notes", text=REMARK)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:spoel:problem:patient-key-unknown")


@pytest.mark.requirement("AU-06")
async def test_the_answer_waits_until_the_strips_could_be_deleted(clinic):
    await opened_session(clinic)
    await erase(clinic)
    states = clinic.runtime.supervisor.states
    await clinic.until(lambda: states["erasures"].last_error is not None, "the task has tried")
    assert "NATS" in states["erasures"].last_error
    assert "erasure-completed" not in await clinic.names()


@pytest.mark.requirement("ST-02")
async def test_consent_ends_with_an_erasure(clinic):
    session_id = await clinic.prepare(treatment_order(PATTERN_10HZ))
    await erase(clinic)
    assert (await clinic.open(session_id)).json()["type"] == "urn:spoel:problem:consent-withdrawn"
