"""A patient is erased on a ground: nothing that was sealed to the patient can be read again, by anybody."""

import asyncio
import json
import stat
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from tests.intake.service import decision_body, patient_body, referral_body, running_intake
from tests.intake.story import NOW, given

from spoel_common.errors import NotAllowed, PatientErased, ProfessionNotAllowed
from spoel_common.events import Envelope
from spoel_common.people import Profession, Role
from spoel_common.sealing import CannotOpen, open_sealed
from spoel_intake.commands import ErasePatient
from spoel_intake.domain.patient import OnFile, Patient, erase
from spoel_intake.domain.refusals import PatientUnknown, RetentionNotOver, TreatmentUnderWay
from spoel_intake.projections import answers_projection
from spoel_intake.tables import strips

ON_REQUEST = {"ground": "patient-request"}
ANNA = Patient(patient_id="patient-1", public_key="key")
PHYSICIAN = given(Role.PHYSICIAN, Profession.ARTS)


@pytest.fixture
async def on_either(database_url, tmp_path):
    async with running_intake(tmp_path, database_url=database_url) as service:
        await service.verify_staff("nurse", "professional", "physician", "supervisor")
        yield service


async def consented(service, **changes):
    """A patient with a case as far as consent; return the ids."""
    ids = await service.refer(**changes)
    case = f"/cases/{ids['case_id']}"
    await service.screen(ids["case_id"])
    decision = decision_body(severity="mild", reason="Behandelwens van patiënt.")
    assert (await service.post(f"{case}/indication", decision, "professional")).status_code == 201
    consent = {"form_version": "1", "given_by": "patient"}
    assert (await service.post(f"{case}/consent", consent, "nurse")).status_code == 201
    return ids


async def erased(service, patient_id, who="physician", body=None):
    answer = await service.post(f"/patients/{patient_id}/erasure", body or ON_REQUEST, who)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.requirement("AU-06")
@pytest.mark.invariant("INV-6")
async def test_the_vault_holds_nothing_and_the_case_shows_nobody(on_either):
    ids = await consented(on_either)
    other = await on_either.refer(patient=patient_body(bsn="123456782", family_name="Zuurkool"))
    answer = await erased(on_either, ids["patient_id"])
    assert [row["patient_id"] for row in await on_either.rows("vault")] == [other["patient_id"]]
    shown = (await on_either.get(f"/cases/{ids['case_id']}", "nurse")).json()
    assert (shown["identity"], shown["notes"], shown["consent"]["given"]) == (None, [], False)
    (line,) = [row for row in await on_either.rows("cases") if row["case_id"] == ids["case_id"]]
    assert (line["status"], bool(line["is_open"]), line["external_id"]) == ("erased", False, None)
    assert (await on_either.get(f"/cases/{other['case_id']}", "nurse")).json()["identity"] is not None
    (event,) = [row for row in await on_either.rows("events") if row["id"] == answer["erasure_id"]]
    assert json.loads(event["raw"])["data"] == {"patient_id": ids["patient_id"], "ground": "patient-request"}
    assert json.loads(event["raw"])["actorid"] == "physician"


@pytest.mark.requirement("AU-06")
async def test_the_sender_is_told_that_the_patient_is_gone_and_nothing_more_is_recorded(on_either):
    ids = await consented(on_either)
    await erased(on_either, ids["patient_id"])
    gone = await on_either.get(f"/fhir/R4/Patient/{ids['patient_id']}", "hospital")
    assert (gone.status_code, gone.json()["issue"][0]["code"]) == (410, "deleted")
    before = await on_either.events()
    refused = await on_either.post(
        f"/cases/{ids['case_id']}/consent", {"form_version": "1", "given_by": "patient"}, "nurse"
    )
    assert (refused.status_code, refused.json()["type"]) == (410, "urn:spoel:problem:patient-erased")
    again = await on_either.post(f"/patients/{ids['patient_id']}/erasure", ON_REQUEST, "physician")
    assert again.status_code == 410
    assert await on_either.events() == before


@pytest.mark.requirement("IN-15")
async def test_a_person_who_comes_back_is_a_new_patient(on_either):
    ids = await consented(on_either)
    await erased(on_either, ids["patient_id"])
    back = await on_either.refer()
    assert back["patient_id"] != ids["patient_id"]
    assert (await on_either.get(f"/cases/{back['case_id']}", "nurse")).json()["identity"] == patient_body()


@pytest.mark.invariant("INV-6")
async def test_no_key_is_left_in_the_files_of_the_database(tmp_path):
    async with running_intake(tmp_path) as service:
        await service.verify_staff("nurse", "professional", "physician")
        for number in range(40):
            await service.refer(patient=patient_body(bsn=test_bsn(number)), external_id=f"ORD-{number}")
        ids = await service.refer(patient=patient_body(bsn=test_bsn(40)))
        (row,) = [row for row in await service.rows("vault") if row["patient_id"] == ids["patient_id"]]
        secrets = [row["wrapped_private_key"], row["bsn_index"], row["sealed_identity"].encode()[:200]]
        assert all(any(found(tmp_path, secret)) for secret in secrets)
        await erased(service, ids["patient_id"])
        for secret in secrets:
            assert not any(found(tmp_path, secret))


@pytest.mark.invariant("INV-6")
async def test_postgresql_writes_the_vault_anew_without_what_was_deleted(tmp_path, postgres_url):
    async with running_intake(tmp_path, database_url=postgres_url) as service:
        await service.verify_staff("physician")
        ids = await service.refer()
        before = await file_of_vault(service)
        await erased(service, ids["patient_id"])
        assert await file_of_vault(service) != before
        assert (await dead_rows_of_vault(service)) == 0


async def file_of_vault(service):
    async with service.runtime.database.read() as conn:
        return await conn.scalar(text("SELECT pg_relation_filenode('vault')"))


async def dead_rows_of_vault(service):
    """Return how many bytes the vault still takes; an empty one that was written anew takes none."""
    async with service.runtime.database.read() as conn:
        return await conn.scalar(text("SELECT pg_relation_size('vault')"))


@pytest.mark.invariant("INV-6")
async def test_strips_of_days_past_forget_the_patient_and_are_deleted_from_the_bucket(on_either):
    ids = await on_either.refer()
    strip = {
        "session_id": "s-1",
        "room_id": "room-1",
        "patient_id": ids["patient_id"],
        "visible_from": NOW - timedelta(days=400),
        "visible_until": NOW - timedelta(days=399),
        "ended": False,
        "revision": 1,
        "pushed": 1,
    }
    async with on_either.runtime.database.write() as conn:
        await conn.execute(strips.insert(), [strip])
    await erased(on_either, ids["patient_id"])
    (row,) = await on_either.rows("strips")
    assert (row["patient_id"], bool(row["ended"])) == (None, True)
    assert row["revision"] > row["pushed"]


def found(folder, secret):
    return [secret in path.read_bytes() for path in folder.iterdir() if path.is_file()]


def test_bsn(number):
    for body in range(99990000 + 100 * number, 99990100 + 100 * number):
        check = sum(weight * int(digit) for weight, digit in zip(range(9, 1, -1), f"{body:08d}", strict=True)) % 11
        if check < 10:
            return f"{body:08d}{check}"
    raise AssertionError


test_bsn.__test__ = False


@pytest.mark.requirement("AU-06")
async def test_an_erasure_lists_who_has_answered_and_who_is_awaited(on_either):
    ids = await consented(on_either)
    answer = await erased(on_either, ids["patient_id"], "supervisor")
    path = f"/patients/{ids['patient_id']}/erasure"
    view = (await on_either.get(path, "physician")).json()
    assert (view["erasure_id"], view["ground"], view["erased_by"]) == (
        answer["erasure_id"],
        "patient-request",
        "supervisor",
    )
    assert view["awaited"] == [f"/spoel/local/{service}/*" for service in ("audit", "planning", "stimulation")]
    await tell_answer(on_either, "/spoel/local/planning/main", ids["patient_id"], answer["erasure_id"])
    view = (await on_either.get(path, "supervisor")).json()
    assert [(each["source"], each["cleared"]) for each in view["answered"]] == [
        ("/spoel/local/planning/main", {"keys": 1})
    ]
    assert view["awaited"] == [f"/spoel/local/{service}/*" for service in ("audit", "stimulation")]
    assert (await on_either.get("/erasures", "supervisor")).json()["items"] == [view]
    assert (await on_either.get(path, "nurse")).status_code == 403
    assert (await on_either.get("/patients/nobody/erasure", "physician")).status_code == 404


async def tell_answer(service, source, patient_id, erasure_id):
    name = f"spoel.{source.split('/')[3]}.erasure-completed.v1"
    data = {"patient_id": patient_id, "erasure_id": erasure_id, "cleared": {"keys": 1}}
    envelope = Envelope(
        id="e-1",
        source=source,
        type=name,
        subject=patient_id,
        time=NOW,
        aggregatetype="erasure",
        aggregateversion=1,
        correlationid="c",
        actorid="system",
        site="local",
        data=data,
    )
    projection = answers_projection()
    async with service.runtime.database.write() as conn:
        await projection.apply(conn, envelope, projection.catalogue.decode(envelope), b"")


@pytest.mark.invariant("INV-6")
async def test_texts_in_events_open_for_nobody_any_more(on_either):
    ids = await consented(on_either)
    before = [json.loads(row["raw"]) for row in await on_either.rows("events")]
    sealed = [event for event in before for name in event["data"] if name.startswith("sealed_") and event["data"][name]]
    assert len(sealed) == 2
    await erased(on_either, ids["patient_id"])
    assert await on_either.rows("vault") == []
    for event in sealed:
        text = next(value for name, value in event["data"].items() if name.startswith("sealed_") and value)
        with pytest.raises(CannotOpen):
            open_sealed(text, bytes(range(32)), event["id"], event["type"])


async def test_a_repeat_with_the_same_key_gives_the_same_answer_and_two_at_once_erase_once(on_either):
    ids = await consented(on_either)
    path = f"/patients/{ids['patient_id']}/erasure"
    answers = await asyncio.gather(*(on_either.post(path, ON_REQUEST, "physician", key="same") for _ in range(3)))
    answers += await asyncio.gather(*(on_either.post(path, ON_REQUEST, "physician") for _ in range(3)))
    assert {answer.status_code for answer in answers[:3]} == {201}
    assert len({answer.text for answer in answers[:3]}) == 1
    assert {answer.status_code for answer in answers[3:]} == {410}
    erasures = [row for row in await on_either.rows("events") if row["type"].startswith("spoel.intake.patient-erased")]
    assert len(erasures) == 1


@pytest.mark.invariant("INV-6")
async def test_a_referral_that_meets_an_erasure_leaves_no_open_case_of_who_was_erased(on_either):
    for _ in range(3):
        ids = await on_either.refer()
        case = f"/cases/{ids['case_id']}"
        await on_either.screen(ids["case_id"])
        closed = decision_body("not-indicated", reason="Liever niet.")
        assert (await on_either.post(f"{case}/indication", closed, "professional")).status_code == 201
        erasure, referral = await asyncio.gather(
            on_either.post(f"/patients/{ids['patient_id']}/erasure", ON_REQUEST, "physician"),
            on_either.post("/referrals", referral_body(), "hospital"),
        )
        assert (erasure.status_code, referral.status_code) == (201, 201), (erasure.text, referral.text)
        found = {row["patient_id"]: row["status"] for row in await on_either.rows("cases") if row["is_open"]}
        assert ids["patient_id"] not in found
        for patient_id in found:
            await erased(on_either, patient_id)


async def test_the_file_beside_the_data_has_the_erasure_when_it_is_answered(tmp_path):
    async with running_intake(tmp_path) as service:
        await service.verify_staff("physician")
        ids = await service.refer()
        answer = await erased(service, ids["patient_id"])
        file = tmp_path / "intake-main-erasures.jsonl"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        head, event = map(json.loads, file.read_text().splitlines())
        assert head["format"] == "spoel-erasures/1"
        assert (event["id"], event["subject"]) == (answer["erasure_id"], ids["patient_id"])


@pytest.mark.invariant("INV-5")
def test_who_may_not_erase_cannot():
    with pytest.raises(NotAllowed):
        erase(ANNA, ErasePatient(ground="patient-request"), OnFile(), given(Role.CLINICIAN, Profession.VERPLEEGKUNDIGE))
    with pytest.raises(ProfessionNotAllowed):
        erase(ANNA, ErasePatient(ground="patient-request"), OnFile(), given(Role.PHYSICIAN, Profession.VERPLEEGKUNDIGE))


def test_who_is_not_on_file_cannot_be_erased():
    with pytest.raises(PatientUnknown):
        erase(Patient(), ErasePatient(ground="patient-request"), OnFile(), PHYSICIAN)
    with pytest.raises(PatientErased):
        erase(ANNA.model_copy(update={"is_erased": True}), ErasePatient(ground="court-order"), OnFile(), PHYSICIAN)


@pytest.mark.hazard("HZ-01")
def test_nobody_is_erased_while_a_session_is_booked_or_running():
    with pytest.raises(TreatmentUnderWay, match="session-1"):
        erase(ANNA, ErasePatient(ground="patient-request"), OnFile(sessions_to_come=["session-1"]), PHYSICIAN)


@pytest.mark.parametrize(
    ("last_changed", "allowed"),
    [
        (datetime(2006, 11, 21, tzinfo=UTC), True),
        (datetime(2006, 11, 22, tzinfo=UTC), False),
        (NOW - timedelta(days=1), False),
        (datetime(2004, 2, 29, tzinfo=UTC), True),
        (None, True),
    ],
)
def test_a_file_is_kept_for_twenty_years_unless_there_is_another_ground(last_changed, allowed):
    on_file = OnFile(last_changed_at=last_changed)
    if allowed:
        assert len(erase(ANNA, ErasePatient(ground="retention-ended"), on_file, PHYSICIAN)) == 1
    else:
        with pytest.raises(RetentionNotOver):
            erase(ANNA, ErasePatient(ground="retention-ended"), on_file, PHYSICIAN)
    assert len(erase(ANNA, ErasePatient(ground="patient-request"), on_file, PHYSICIAN)) == 1


async def test_a_ground_that_is_none_is_refused_and_nothing_is_stored(on_either):
    ids = await on_either.refer()
    before = await on_either.events()
    for body in ({}, {"ground": "because"}, {"ground": "patient-request", "why": "x"}):
        answer = await on_either.post(f"/patients/{ids['patient_id']}/erasure", body, "physician")
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:spoel:problem:validation-failed")
    kept = await on_either.post(f"/patients/{ids['patient_id']}/erasure", {"ground": "retention-ended"}, "physician")
    assert (kept.status_code, kept.json()["type"]) == (422, "urn:spoel:problem:retention-not-over")
    assert await on_either.events() == before
    assert len(await on_either.rows("vault")) == 1


async def test_a_referral_that_was_sealed_for_another_is_not_touched(on_either):
    ids = await on_either.refer()
    other = await on_either.refer(patient=patient_body(bsn="123456782"), external_id=referral_body()["external_id"])
    await erased(on_either, ids["patient_id"])
    shown = (await on_either.get(f"/cases/{other['case_id']}", "nurse")).json()
    assert [note["text"] for note in shown["notes"]] == [referral_body()["question"]]
    assert shown["referral"]["external_id"] == referral_body()["external_id"]
