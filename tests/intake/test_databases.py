"""Intake does the same on SQLite and on PostgreSQL, also when requests meet."""

import asyncio

import pytest
from tests.intake.resources import service_request
from tests.intake.service import decision_body, patient_body, referral_body, running_intake

CONSENT = {"form_version": "2026-1", "given_by": "representative"}


@pytest.fixture
async def on_either(database_url, tmp_path):
    async with running_intake(tmp_path, database_url=database_url) as service:
        await service.verify_staff("nurse", "professional")
        yield service


@pytest.mark.requirement("IN-01", "IN-08", "IN-11")
async def test_a_case_goes_its_whole_way(on_either):
    ids = await on_either.refer()
    case = f"/cases/{ids['case_id']}"
    await on_either.screen(ids["case_id"])
    for path, body, who in (
        (f"{case}/indication", decision_body(), "professional"),
        (f"{case}/consent", CONSENT, "nurse"),
        (f"{case}/consent/withdrawal", {}, "technician"),
        (f"{case}/consent", CONSENT, "nurse"),
    ):
        answer = await on_either.post(path, body, who)
        assert answer.status_code == 201, answer.text
    shown = (await on_either.get(case, "nurse")).json()
    assert (shown["status"], shown["identity"]) == ("consented", patient_body())
    (line,) = (await on_either.get("/referrals", "nurse")).json()["items"]
    assert (line["status"], line["received_at"]) == ("consented", shown["referral"]["received_at"])
    assert len((await on_either.get("/staff", "supervisor")).json()["items"]) == 2


@pytest.mark.requirement("SY-01")
async def test_an_order_comes_in_over_fhir(on_either):
    answer = await on_either.post("/fhir/R4/ServiceRequest", service_request(), "hospital")
    assert answer.status_code == 201, answer.text
    assert (await on_either.get(f"/fhir/R4/ServiceRequest/{answer.json()['id']}", "hospital")).json() == answer.json()


@pytest.mark.requirement("IN-15")
@pytest.mark.hazard("HZ-14")
async def test_requests_for_one_person_that_meet_give_one_file_and_one_case(on_either):
    answers = await asyncio.gather(*(on_either.post("/referrals", referral_body(), "hospital") for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]
    refused = {answer.json()["type"] for answer in answers if answer.status_code == 409}
    assert refused == {"urn:spoel:problem:active-case-exists"}
    assert len(await on_either.rows("vault")) == 1
    assert len(await on_either.rows("cases")) == 1
    assert await on_either.events() == 2 + 2
