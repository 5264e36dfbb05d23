"""The FHIR R4 door, as an EHR sees it."""

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.servicerequest import ServiceRequest
from tests.intake.resources import BSN, outcome_of, patient, service_request

from spoel_common.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.requirement("SY-01", "IN-01")
@pytest.mark.parametrize(
    "media_type", ["application/fhir+json", "application/json", "application/fhir+json; charset=utf-8"]
)
async def test_a_referral_comes_in_as_a_service_request_with_its_patient(intake, media_type):
    answer = await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital", **{"Content-Type": media_type})
    assert answer.status_code == 201, answer.text
    resource = ServiceRequest.model_validate(answer.json())
    assert answer.headers["location"] == f"http://intake.test/fhir/R4/ServiceRequest/{resource.id}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["content-type"] == "application/fhir+json"

    case = (await intake.get(f"/cases/{resource.id}", "nurse")).json()
    assert case["referral"]["channel"] == "fhir"
    assert case["referral"]["external_id"] == "ORD-8"
    assert case["referral"]["referred_on"] == "2026-01-05"
    assert case["identity"]["given_name"] == "Wilhelmina Anna"
    assert [note["text"] for note in case["notes"]] == ["Somber sinds de zomervakantie."]


@pytest.mark.requirement("SY-01")
async def test_what_was_sent_can_be_read_back(intake):
    created = (await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital")).json()
    for path in (f"/fhir/R4/ServiceRequest/{created['id']}", f"/fhir/R4/ServiceRequest/{created['id']}/_history/1"):
        answer = await intake.get(path, "hospital")
        assert (answer.status_code, answer.json()) == (200, created)
        assert answer.headers["etag"] == 'W/"1"'
    shown = (await intake.get(f"/fhir/R4/{created['subject']['reference']}", "hospital")).json()
    Patient.model_validate(shown)
    assert shown["birthDate"] == "1971-03-14"
    assert shown["identifier"] == [{"system": BSN, "value": "999911120"}]
    assert created["note"] == [{"text": "Somber sinds de zomervakantie."}]


@pytest.mark.requirement("SY-01")
async def test_a_patient_can_be_sent_first(intake):
    answer = await intake.post("/fhir/R4/Patient", patient(), "hospital")
    assert answer.status_code == 201, answer.text
    patient_id = answer.json()["id"]
    assert answer.headers["location"].endswith(f"/fhir/R4/Patient/{patient_id}/_history/1")
    body = service_request(contained=..., subject={"reference": f"Patient/{patient_id}"})
    answer = await intake.post("/fhir/R4/ServiceRequest", body, "hospital")
    assert answer.status_code == 201, answer.text
    assert answer.json()["subject"] == {"reference": f"Patient/{patient_id}"}


@pytest.mark.invariant("INV-6")
async def test_the_bsn_of_a_patient_who_was_sent_first_is_no_order_number(intake):
    sent = (await intake.post("/fhir/R4/Patient", patient(), "hospital")).json()
    before = await intake.events()
    subject = {"reference": f"Patient/{sent['id']}"}
    body = service_request(contained=..., subject=subject, identifier=[{"value": "999911120"}])
    (issue,) = outcome_of(await intake.post("/fhir/R4/ServiceRequest", body, "hospital"), 422, "business-rule")
    assert issue["details"]["coding"][0]["code"] == "personal-data-in-field"
    assert await intake.events() == before


@pytest.mark.requirement("IN-15")
async def test_a_known_bsn_gets_no_second_patient(intake):
    first = await intake.post("/fhir/R4/Patient", patient(), "hospital")
    before = await intake.events()
    second = await intake.post("/fhir/R4/Patient", patient(), "other-hospital")
    assert (second.status_code, second.json()["id"]) == (200, first.json()["id"])
    assert await intake.events() == before
    other = await intake.post("/fhir/R4/Patient", patient(birthDate="1971-03-15"), "hospital")
    outcome_of(other, 409, "conflict")


async def test_a_repeated_create_acts_once(intake):
    key = new_id()
    first = await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital", key=key)
    before = await intake.events()
    second = await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital", key=key)
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["location"] == first.headers["location"]
    assert await intake.events() == before


@pytest.mark.invariant("INV-6")
async def test_another_ehr_sees_nothing_of_it(intake):
    created = (await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital")).json()
    for path in (f"ServiceRequest/{created['id']}", created["subject"]["reference"]):
        outcome_of(await intake.get(f"/fhir/R4/{path}", "other-hospital"), 404, "not-found")
    body = service_request(contained=..., subject=created["subject"])
    outcome_of(await intake.post("/fhir/R4/ServiceRequest", body, "other-hospital"), 422, "business-rule")
    outcome_of(await intake.get(f"/fhir/R4/{created['subject']['reference']}", "technician"), 404, "not-found")


async def test_metadata_is_open_and_states_what_there_is(intake):
    answer = await intake.http.get("/fhir/R4/metadata")
    assert answer.status_code == 200
    statement = CapabilityStatement.model_validate(answer.json())
    assert (statement.kind, statement.fhirVersion, statement.status) == ("instance", "4.0.1", "active")
    stated = {
        (resource.type, interaction.code)
        for resource in statement.rest[0].resource
        for interaction in resource.interaction
    }
    assert stated == {(kind, act) for kind in ("Patient", "ServiceRequest") for act in ("create", "read", "vread")}


async def test_elements_of_a_patient_that_are_not_needed_are_left_aside(intake):
    body = patient(
        telecom=[{"system": "phone", "value": "0612345678"}],
        address=[{"city": "Utrecht"}],
        meta={"profile": ["http://nictiz.nl/fhir/StructureDefinition/nl-core-Patient"]},
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">W. Aardappel</div>'},
        deceasedBoolean=False,
    )
    answer = await intake.post("/fhir/R4/Patient", body, "hospital")
    assert answer.status_code == 201, answer.text
    assert "telecom" not in answer.json()
    for table in ("vault", "idempotency", "events"):
        assert "0612345678" not in str(await intake.rows(table))


async def test_a_failure_inside_tells_nothing_and_is_an_operation_outcome(intake):
    created = (await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital")).json()
    async with intake.runtime.database.write() as conn:
        await conn.exec_driver_sql("UPDATE vault SET wrapped_private_key = x'00112233445566778899aabbccddeeff'")
    (issue,) = outcome_of(await intake.get(f"/fhir/R4/ServiceRequest/{created['id']}", "hospital"), 500, "exception")
    assert "vault" not in issue["diagnostics"]


async def test_an_order_of_a_moment_is_of_its_local_day(intake):
    body = service_request(authoredOn="2026-01-05T23:30:00Z")
    created = (await intake.post("/fhir/R4/ServiceRequest", body, "hospital")).json()
    assert created["authoredOn"] == "2026-01-06"


async def test_plain_json_and_fhir_meet_in_one_file(intake):
    first = (await intake.post("/fhir/R4/Patient", patient(), "hospital")).json()
    assert (await intake.refer())["patient_id"] == first["id"]
    outcome_of(await intake.post("/fhir/R4/ServiceRequest", service_request(), "hospital"), 409, "duplicate")
