"""Two files of one person in a running service: merged over HTTP, seen over FHIR, and raced with other acts."""

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import insert, text
from tests.intake.resources import patient, service_request
from tests.intake.service import PEOPLE, decision_body, patient_body, referral_body, running_intake

from spoel_common.clock import utc_now
from spoel_common.persons import keep_merge
from spoel_common.sealing import open_sealed
from spoel_intake.commands import MergePatient, WithdrawConsent
from spoel_intake.handlers import take_over_withdrawal, withdraw_consent
from spoel_intake.merging import merge_patient
from spoel_intake.room_withdrawals import RoomWithdrawals
from spoel_intake.tables import room_withdrawals


@pytest.fixture
async def on_either(database_url, tmp_path):
    async with running_intake(tmp_path, database_url=database_url) as service:
        await service.verify_staff("nurse", "professional", "physician", "supervisor")
        yield service


OTHER_BSN = {"patient": patient_body(bsn="123456782")}


async def to_consent(service, case_id):
    await service.screen(case_id)
    await indicate(service, case_id)
    body = {"form_version": "1", "given_by": "patient"}
    assert (await service.post(f"/cases/{case_id}/consent", body, "nurse")).status_code == 201


async def indicate(service, case_id):
    answer = await service.post(f"/cases/{case_id}/indication", decision_body(), "professional")
    assert answer.status_code == 201, answer.text


async def two_files(service, *, consented=True):
    """One person who was referred twice; returns the ids of both files, each with an open case."""
    old, new = await service.refer(), await service.refer(who="other-hospital", **OTHER_BSN)
    for ids in (old, new) if consented else ():
        await to_consent(service, ids["case_id"])
    return old, new


async def merge_files(service, old, new, who="nurse", **changes):
    body = {"into_patient_id": new["patient_id"], "ground": "wrong-bsn", "reason": "Paspoort gezien: zelfde persoon."}
    return await service.post(f"/patients/{old['patient_id']}/merge", body | changes, who)


def wrong_bsn(into):
    return MergePatient(into_patient_id=into["patient_id"], ground="wrong-bsn", reason="Paspoort gezien.")


async def case_of(service, ids):
    return (await service.get(f"/cases/{ids['case_id']}", "nurse")).json()


def slug(answer):
    problem = answer.json()
    kind = problem["type"] if "type" in problem else problem["issue"][0]["details"]["coding"][0]["code"]
    return kind.rpartition(":")[2]


@pytest.mark.requirement("IN-15")
@pytest.mark.invariant("INV-6")
async def test_two_files_are_merged_the_event_names_nobody_and_the_reason_opens(on_either):
    old, new = await two_files(on_either)
    answer = await merge_files(on_either, old, new)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {
        "patient_id": old["patient_id"],
        "into_patient_id": new["patient_id"],
        "files": sorted([old["patient_id"], new["patient_id"]]),
        "ended_cases": [],
    }
    (raw,) = [row["raw"] for row in await on_either.rows("events") if b"patient-merged" in bytes(row["raw"])]
    event = json.loads(raw)
    assert (event["subject"], event["actorid"]) == (old["patient_id"], "nurse")
    for personal in ("Paspoort", "Aardappel", "999911120", "123456782"):
        assert personal.encode() not in bytes(raw)
    (key,) = [row for row in await on_either.rows("vault") if row["patient_id"] == old["patient_id"]]
    unwrapped = on_either.app.state.intake.vault._unwrap(key["wrapped_private_key"], old["patient_id"])
    text = open_sealed(event["data"]["sealed_reason"], unwrapped, event["id"], event["type"])
    assert text == "Paspoort gezien: zelfde persoon."


@pytest.mark.requirement("IN-15")
async def test_open_cases_go_on_and_the_merged_file_takes_no_new_referral(on_either):
    old, new = await two_files(on_either, consented=False)
    await merge_files(on_either, old, new, ground="new-bsn")
    for ids in (old, new):
        await to_consent(on_either, ids["case_id"])
    refused = await on_either.post("/referrals", referral_body(), "hospital")
    assert (refused.status_code, slug(refused)) == (409, "file-merged")
    assert "clinic" in refused.json()["detail"]
    assert new["patient_id"] not in refused.text
    own = await on_either.post("/referrals", referral_body(), "nurse")
    assert own.json()["into_patient_id"] == new["patient_id"]


@pytest.mark.hazard("HZ-01")
@pytest.mark.requirement("IN-15")
@pytest.mark.parametrize(
    ("ground", "birth_date"),
    [("wrong-bsn", "1971-03-14"), ("wrong-bsn", "1980-03-01"), ("wrong-bsn-and-birth-date", "1980-03-01")],
)
async def test_whose_the_wrong_bsn_is_gets_a_file_of_their_own(on_either, ground, birth_date):
    old, new = await two_files(on_either, consented=False)
    assert (await merge_files(on_either, old, new, ground=ground)).status_code == 201
    owner = {"patient": patient_body(birth_date=birth_date)}
    referred = await on_either.post("/referrals", referral_body(**owner), "other-hospital")
    assert referred.status_code == 201, referred.text
    assert referred.json()["patient_id"] not in {old["patient_id"], new["patient_id"]}
    assert slug(await on_either.post("/referrals", referral_body(**owner), "other-hospital")) == "active-case-exists"
    assert await case_of(on_either, old)  # the merged file opens as before


@pytest.mark.hazard("HZ-01")
@pytest.mark.requirement("SY-01")
async def test_a_patient_that_was_merged_for_its_bsn_takes_no_referral_by_reference_and_names_no_other(on_either):
    old, new = await two_files(on_either, consented=False)
    await merge_files(on_either, old, new)
    order = service_request(contained=..., subject={"reference": f"Patient/{old['patient_id']}"})
    refused = await on_either.post("/fhir/R4/ServiceRequest", order, "hospital")
    assert (refused.status_code, slug(refused)) == (409, "file-merged")
    assert new["patient_id"] not in refused.text
    created = await on_either.post("/fhir/R4/Patient", patient(), "hospital")
    assert created.status_code == 201
    assert created.json()["id"] not in {old["patient_id"], new["patient_id"]}


@pytest.mark.requirement("IN-15")
async def test_one_person_has_one_open_case_whichever_the_file(on_either):
    old, new = await on_either.refer(), await on_either.refer(**OTHER_BSN)
    await on_either.screen(new["case_id"])
    closed = await on_either.post(
        f"/cases/{new['case_id']}/indication", decision_body("not-indicated", reason="x"), "professional"
    )
    assert closed.status_code == 201, closed.text
    await merge_files(on_either, old, new)
    refused = await on_either.post("/referrals", referral_body(**OTHER_BSN), "hospital")
    assert slug(refused) == "active-case-exists"


@pytest.mark.requirement("IN-15")
async def test_what_cannot_be_merged_is_refused_and_nothing_is_stored(on_either):
    old, new = await two_files(on_either, consented=False)
    third = await on_either.refer(patient=patient_body(bsn="111222333", birth_date="1980-03-01"))
    nobody = {"patient_id": "nobody"}
    await merge_files(on_either, old, new)
    before = await on_either.events()
    for refused, status, kind in (
        (await merge_files(on_either, old, new), 409, "patient-merged-already"),
        (await merge_files(on_either, third, old), 409, "patient-merged-already"),
        (await merge_files(on_either, new, new), 422, "same-file"),
        (await merge_files(on_either, new, nobody), 422, "patient-unknown"),
        (await merge_files(on_either, nobody, new), 422, "patient-unknown"),
        (await merge_files(on_either, third, new), 409, "patient-identity-differs"),
        (await merge_files(on_either, third, new, who="technician"), 403, "role-not-allowed"),
        (await merge_files(on_either, third, new, reason=""), 422, "validation-failed"),
        (await merge_files(on_either, third, new, ground="because"), 422, "validation-failed"),
    ):
        assert (refused.status_code, slug(refused)) == (status, kind), refused.text
        assert "1980" not in refused.text
        assert "1971" not in refused.text
    erased = await on_either.post(f"/patients/{third['patient_id']}/erasure", {"ground": "court-order"}, "physician")
    assert erased.status_code == 201
    assert slug(await merge_files(on_either, third, new)) == "patient-erased"
    assert await on_either.events() == before + 1


@pytest.mark.hazard("HZ-21")
async def test_a_withdrawal_in_one_file_ends_consent_in_the_other_until_it_is_given_again(on_either):
    old, new = await two_files(on_either)
    await merge_files(on_either, old, new)
    withdrawn = await on_either.post(f"/cases/{old['case_id']}/consent/withdrawal", {}, "nurse")
    assert withdrawn.status_code == 201
    assert not (await case_of(on_either, new))["consent"]["given"]
    told = [row["aggregate_id"] for row in await on_either.rows("events") if "consent-withdrawn" in row["type"]]
    assert told == [new["case_id"], old["case_id"]]  # the other first: no room sees the one alone
    body = {"form_version": "1", "given_by": "patient"}
    assert (await on_either.post(f"/cases/{new['case_id']}/consent", body, "nurse")).status_code == 201
    assert (await case_of(on_either, new))["consent"]["given"]
    assert not (await case_of(on_either, old))["consent"]["given"]


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
@pytest.mark.parametrize("hours_ago", [0, 1])
async def test_a_withdrawal_that_was_entered_in_a_room_ends_consent_in_the_other_file_too(on_either, hours_ago):
    old, new = await two_files(on_either)
    await merge_files(on_either, old, new)
    async with on_either.runtime.units.begin(PEOPLE["technician"], "from-a-room") as work:
        await take_over_withdrawal(work, old["case_id"], "room-event-1", work.now - timedelta(hours=hours_ago))
    for ids in (old, new):
        assert not (await case_of(on_either, ids))["consent"]["given"]


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
async def test_a_withdrawal_in_a_room_of_a_file_that_was_erased_is_recorded_and_ends_consent_in_the_other(on_either):
    old, new = await two_files(on_either)
    await merge_files(on_either, old, new)
    body = {"ground": "registered-by-mistake"}
    assert (await on_either.post(f"/patients/{old['patient_id']}/erasure", body, "physician")).status_code == 201
    assert (await case_of(on_either, new))["consent"]["given"]
    async with on_either.runtime.units.begin(PEOPLE["technician"], "from-a-room") as work:
        await take_over_withdrawal(work, old["case_id"], "room-event-1", work.now)
    assert not (await case_of(on_either, new))["consent"]["given"]
    events = [json.loads(row["raw"]) for row in await on_either.rows("events") if "consent-withdrawn" in row["type"]]
    assert [each["data"].get("room_event_id") for each in events if each["subject"] == old["case_id"]] == [
        None,
        "room-event-1",
    ]
    (row,) = [row for row in await on_either.rows("cases") if row["case_id"] == old["case_id"]]
    assert (row["status"], bool(row["is_open"])) == ("erased", False)


async def note_withdrawal(service, ids):
    """Have a withdrawal noted that was entered in a room, as the projection does."""
    noted = {
        "event_id": "room-event-1",
        "case_id": ids["case_id"],
        "withdrawn_at": utc_now(service.runtime.clock),
        "correlation_id": "from-a-room",
        "person_id": "technician",
        "roles": "tms-technician",
        "taken_over": False,
    }
    async with service.runtime.database.write() as conn:
        await conn.execute(insert(room_withdrawals), noted)


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
@pytest.mark.parametrize("entered_in", ["room", "case"])
async def test_no_exclusion_in_another_file_keeps_a_withdrawal_from_being_recorded(on_either, entered_in):
    old, new = await two_files(on_either, consented=False)
    await to_consent(on_either, old["case_id"])
    await on_either.screen(new["case_id"], "epilepsy")
    async with on_either.runtime.database.write() as conn:  # as if the merge had ended nothing
        await keep_merge(conn, old["patient_id"], new["patient_id"])
    if entered_in == "room":
        await note_withdrawal(on_either, old)
        await RoomWithdrawals().take_over_due(on_either.runtime)
    else:
        withdrawn = await on_either.post(f"/cases/{old['case_id']}/consent/withdrawal", {}, "nurse")
        assert withdrawn.status_code == 201, withdrawn.text
    assert not (await case_of(on_either, old))["consent"]["given"]


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
async def test_a_withdrawal_that_met_a_merge_is_rolled_back_and_recorded_the_next_time(on_postgres, made_to_wait):
    service = on_postgres
    old, new = await two_files(service)
    command = wrong_bsn(new)
    async with service.runtime.units.begin(PEOPLE["nurse"], "merge") as work:
        await merge_patient(work, service.app.state.intake, old["patient_id"], command)
        await note_withdrawal(service, old)
        meeting = asyncio.create_task(RoomWithdrawals().take_over_due(service.runtime))
        await made_to_wait(meeting)
    await meeting
    await RoomWithdrawals().take_over_due(service.runtime)
    for ids in (old, new):
        assert not (await case_of(service, ids))["consent"]["given"]


@pytest.mark.hazard("HZ-21")
@pytest.mark.hazard("HZ-14")
async def test_what_was_withdrawn_before_the_merge_counts_from_the_merge_on(on_either):
    old, new = await two_files(on_either)
    await on_either.post(f"/cases/{old['case_id']}/consent/withdrawal", {}, "nurse")
    assert (await case_of(on_either, new))["consent"]["given"]
    answer = await merge_files(on_either, old, new)
    assert answer.json()["ended_cases"] == [new["case_id"]]
    assert not (await case_of(on_either, new))["consent"]["given"]


@pytest.mark.hazard("HZ-20")
async def test_an_exclusion_found_in_one_file_ends_the_other_and_cannot_be_decided_past(on_either):
    old, new = await on_either.refer(), await on_either.refer(**OTHER_BSN)
    third = await on_either.refer(patient=patient_body(bsn="111222333"))
    await to_consent(on_either, old["case_id"])
    await on_either.screen(third["case_id"])
    for ids in (old, third):
        assert (await merge_files(on_either, ids, new)).status_code == 201
    await on_either.screen(new["case_id"], "epilepsy")
    ended = await case_of(on_either, old)
    assert ended["indication"]["decision"] == "not-indicated"
    refused = await on_either.post(f"/cases/{third['case_id']}/indication", decision_body(), "professional")
    assert slug(refused) == "absolute-exclusion"
    await on_either.screen(third["case_id"])  # asked again, with what was learnt; the youngest word holds
    await indicate(on_either, third["case_id"])


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
async def test_consent_that_ends_after_the_case_was_closed_does_not_open_the_case_again(on_either):
    old, new = await on_either.refer(), await on_either.refer(**OTHER_BSN)
    await to_consent(on_either, old["case_id"])
    await merge_files(on_either, new, old)
    await on_either.screen(new["case_id"], "epilepsy")  # closes the case in the other file, in which consent stands
    body = decision_body("not-indicated", reason="x")
    assert (await on_either.post(f"/cases/{new['case_id']}/indication", body, "professional")).status_code == 201
    again = await on_either.post("/referrals", referral_body(), "hospital")
    assert again.status_code == 201, again.text
    withdrawn = await on_either.post(f"/cases/{old['case_id']}/consent/withdrawal", {}, "nurse")
    assert withdrawn.status_code == 201, withdrawn.text
    open_cases = [row["case_id"] for row in await on_either.rows("cases") if row["is_open"]]
    assert open_cases == [again.json()["case_id"]]


WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def on_postgres(tmp_path, postgres_url):
    async with running_intake(tmp_path, database_url=postgres_url) as service:
        await service.verify_staff("nurse", "professional")
        yield service


@pytest.fixture
def made_to_wait(on_postgres, eventually):
    """Check that a task is made to wait for a lock before it is done."""

    async def wait(task):
        async def waits_or_is_done():
            async with on_postgres.runtime.database.read() as conn:
                return task.done() or (await conn.execute(text(WAITING))).first() is not None

        await eventually(waits_or_is_done)
        assert not task.done()

    return wait


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-21")
async def test_a_merge_waits_for_an_act_that_is_under_way_in_one_of_the_files(on_postgres, made_to_wait):
    service = on_postgres
    old, new = await two_files(service)
    async with service.runtime.units.begin(PEOPLE["nurse"], "act") as work:
        await withdraw_consent(work, service.app.state.intake, old["case_id"], WithdrawConsent())
        merging = asyncio.create_task(merge_files(service, old, new))
        await made_to_wait(merging)
    assert (await merging).json()["ended_cases"] == [new["case_id"]]


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-21")
async def test_an_act_that_waited_for_a_merge_is_done_again_and_then_holds_for_both_files(on_postgres, made_to_wait):
    service = on_postgres
    old, new = await two_files(service)
    command = wrong_bsn(new)
    path = f"/cases/{old['case_id']}/consent/withdrawal"
    async with service.runtime.units.begin(PEOPLE["nurse"], "merge") as work:
        await merge_patient(work, service.app.state.intake, old["patient_id"], command)
        withdrawing = asyncio.create_task(service.post(path, {}, "nurse"))
        await made_to_wait(withdrawing)
    assert (await withdrawing).status_code == 201
    for ids in (old, new):
        assert not (await case_of(service, ids))["consent"]["given"]


@pytest.mark.requirement("SY-01")
@pytest.mark.requirement("IN-15")
async def test_the_fhir_patient_is_replaced_and_says_by_whom_in_a_new_version(on_either):
    old, new = await two_files(on_either, consented=False)
    await merge_files(on_either, old, new, ground="new-bsn")
    replaced = await on_either.get(f"/fhir/R4/Patient/{old['patient_id']}", "hospital")
    assert replaced.json()["active"] is False
    assert replaced.json()["link"] == [{"other": {"reference": f"Patient/{new['patient_id']}"}, "type": "replaced-by"}]
    assert (replaced.headers["ETag"], replaced.json()["meta"]["versionId"]) == ('W/"2"', "2")
    goes_on = (await on_either.get(f"/fhir/R4/Patient/{new['patient_id']}", "other-hospital")).json()
    assert goes_on["active"] is True
    assert goes_on["link"] == [{"other": {"reference": f"Patient/{old['patient_id']}"}, "type": "replaces"}]
    again = await on_either.post("/fhir/R4/Patient", patient(), "hospital")
    assert (again.status_code, again.json()) == (200, replaced.json())
    assert again.headers["Location"].endswith(f"/Patient/{old['patient_id']}/_history/2")
    first = await on_either.get(f"/fhir/R4/Patient/{old['patient_id']}/_history/1", "hospital")
    assert "link" not in first.json()
    assert (await on_either.get(f"/fhir/R4/Patient/{old['patient_id']}/_history/3", "hospital")).status_code == 404
    assert (await on_either.get(f"/fhir/R4/Patient/{new['patient_id']}", "hospital")).status_code == 404
