"""The FHIR R4 door, as an EHR sees it."""

import copy

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.servicerequest import ServiceRequest
from tests.intake.service import referral_body

from spoel_common.ids import new_id

BSN = "http://fhir.nl/fhir/NamingSystem/bsn"
AGB = "http://fhir.nl/fhir/NamingSystem/agb-z"


def patient(**changes):
    resource = {
        "resourceType": "Patient",
        "identifier": [{"system": BSN, "value": "999911120"}],
        "name": [{"use": "official", "family": "Aardappel", "given": ["Wilhelmina", "Anna"]}],
        "gender": "female",
        "birthDate": "1971-03-14",
    }
    return {name: value for name, value in {**resource, **changes}.items() if value is not ...}


def service_request(**changes):
    resource = {
        "resourceType": "ServiceRequest",
        "contained": [patient(id="p")],
        "extension": [{"url": "urn:spoel:fhir:StructureDefinition:referrer-kind", "valueCode": "gp"}],
        "identifier": [{"system": "urn:oid:1.2.3", "value": "ORD-8"}],
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": "urn:spoel:fhir:CodeSystem:service", "code": "rtms"}]},
        "subject": {"reference": "#p"},
        "authoredOn": "2026-01-05",
        "requester": {"identifier": {"system": AGB, "value": "01012345"}},
        "reasonCode": [{"coding": [{"system": "urn:spoel:fhir:CodeSystem:indication", "code": "depression"}]}],
        "note": [{"text": "Somber sinds de zomervakantie."}],
    }
    return {name: value for name, value in {**resource, **changes}.items() if value is not ...}


def outcome_of(answer, status, *codes):
    """Check that an answer is an OperationOutcome, and return its issues."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    outcome = OperationOutcome.model_validate(answer.json())
    issues = [issue.model_dump(by_alias=True) for issue in outcome.issue]
    assert all(issue["severity"] == "error" and issue["diagnostics"] for issue in issues)
    if codes:
        assert {issue["code"] for issue in issues} == set(codes), answer.text
    return issues


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


def without(name):
    return pytest.param(service_request(**{name: ...}), 422, f"ServiceRequest.{name}", id=f"without {name}")


@pytest.mark.parametrize(
    ("body", "status", "expression"),
    [
        (service_request(shoeSize=43), 400, "ServiceRequest.shoeSize"),
        (service_request(subject=...), 400, "ServiceRequest.subject"),
        (service_request(status=...), 400, "ServiceRequest.status"),
        (service_request(status="actief"), 400, "ServiceRequest.status"),
        (service_request(status=5), 400, "ServiceRequest.status"),
        (service_request(status="draft"), 422, "ServiceRequest.status"),
        (service_request(intent="bevel"), 400, "ServiceRequest.intent"),
        (service_request(intent="plan"), 422, "ServiceRequest.intent"),
        (service_request(priority="spoed"), 400, "ServiceRequest.priority"),
        (service_request(priority="stat"), 422, "ServiceRequest.priority"),
        (service_request(doNotPerform=True), 422, "ServiceRequest.doNotPerform"),
        (service_request(note=[]), 400, "ServiceRequest.note"),
        (service_request(note=None), 400, "ServiceRequest.note"),
        (service_request(note=[{"text": ""}]), 400, "ServiceRequest.note[0].text"),
        (service_request(authoredOn="gisteren"), 400, "ServiceRequest.authoredOn"),
        (service_request(authoredOn=1767571200), 400, "ServiceRequest.authoredOn"),
        (service_request(authoredOn="2026"), 422, "ServiceRequest.authoredOn"),
        (service_request(resource_type="ServiceRequest"), 400, "ServiceRequest.resource_type"),
        (service_request(fhir_comments=["x"]), 400, "ServiceRequest.fhir_comments"),
        (service_request(contained=[{"resourceType": "Foo"}]), 400, "ServiceRequest.contained[0]"),
        (service_request(contained=["x"]), 400, "ServiceRequest.contained[0]"),
        (service_request(contained=[patient(id="q")]), 400, "ServiceRequest.contained"),
        (service_request(contained=[patient(id="p", shoeSize=43)]), 400, "ServiceRequest.contained[0].shoeSize"),
        (service_request(contained=[patient(id="p", gender="vrouw")]), 400, "Patient.gender"),
        (service_request(contained=[patient(id="p", identifier=...)]), 422, "Patient.identifier"),
        (service_request(contained=[patient(id="p", birthDate="1971")]), 422, "Patient.birthDate"),
        (service_request(contained=[patient(id="p", birthDate=...)]), 422, "Patient.birthDate"),
        (service_request(contained=[patient(id="p", name=...)]), 422, "Patient.name"),
        (service_request(contained=[patient(id="p", name=[{"given": ["W"]}])]), 422, "Patient.name.family"),
        (service_request(contained=[patient(id="p", deceasedBoolean=True)]), 422, "Patient.deceasedBoolean"),
        (service_request(contained=[patient(id="p", active=False)]), 422, "Patient.active"),
        (service_request(subject={"reference": "Group/1"}), 422, "ServiceRequest.subject"),
        (service_request(subject={"reference": "Patient/1"}), 422, "ServiceRequest.subject"),
        (service_request(occurrenceDateTime="2026-02-01"), 422, "ServiceRequest.occurrenceDateTime"),
        (service_request(modifierExtension=[{"url": "urn:x", "valueCode": "not"}]), 422, "ServiceRequest.modifierExtension"),
        (service_request(reasonCode=[{"text": "depressie"}]), 422, "ServiceRequest.reasonCode"),
        (service_request(code={"text": "rTMS"}), 422, "ServiceRequest.code"),
        (service_request(identifier=[{"value": "a"}, {"value": "b"}]), 422, "ServiceRequest.identifier"),
        without("reasonCode"),
        without("code"),
        without("authoredOn"),
        (service_request(requester=...), 422, f"ServiceRequest.requester.identifier (system {AGB})"),
        (service_request(note=...), 422, "ServiceRequest.note.text"),
        (
            service_request(extension=...),
            422,
            "ServiceRequest.extension('urn:spoel:fhir:StructureDefinition:referrer-kind')",
        ),
    ],
)  # fmt: skip
async def test_a_service_request_that_is_not_taken_says_where_and_stores_nothing(intake, body, status, expression):
    before = await intake.events(), await intake.rows("vault")
    answer = await intake.post("/fhir/R4/ServiceRequest", body, "hospital")
    issues = outcome_of(answer, status)
    assert expression in [issue["expression"][0] for issue in issues], answer.text
    for personal in ("999911120", "Aardappel", "Wilhelmina", "1971", "zomervakantie"):
        assert personal not in answer.text
    assert (await intake.events(), await intake.rows("vault")) == before


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"identifier": [{"system": BSN, "value": "999998620"}]}, "bsn-invalid"),
        ({"birthDate": "2999-01-01"}, "impossible-value"),
    ],
)
async def test_a_patient_that_cannot_be_is_refused(intake, change, slug):
    before = await intake.events()
    (issue,) = outcome_of(await intake.post("/fhir/R4/Patient", patient(**change), "hospital"), 422, "value")
    assert issue["details"]["coding"][0]["code"] == slug
    assert "999998620" not in str(issue)
    assert await intake.events() == before


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


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"", b'"x"', b'{"resourceType":"Patient"}', b"{}"])
async def test_a_body_that_is_no_service_request_is_refused(intake, body):
    headers = {"Authorization": "Bearer hospital", "Idempotency-Key": new_id(), "Content-Type": "application/fhir+json"}
    outcome_of(await intake.http.post("/fhir/R4/ServiceRequest", content=body, headers=headers), 400, "structure")


async def test_every_refusal_at_the_door_is_an_operation_outcome(intake):
    sent = {"Authorization": "Bearer hospital", "Idempotency-Key": new_id()}
    post, get = intake.http.post, intake.http.get
    requests = "/fhir/R4/ServiceRequest"
    outcome_of(await post(requests, json=service_request(), headers={"Idempotency-Key": new_id()}), 401, "login")
    outcome_of(await intake.post(requests, service_request(), "nobody"), 401, "login")
    outcome_of(await intake.post(requests, service_request(), "auditor"), 403, "forbidden")
    outcome_of(await get(f"{requests}/nope", headers=sent), 404, "not-found")
    outcome_of(await get(f"{requests}/a b", headers=sent), 422)
    outcome_of(await get("/fhir/R4/Observation", headers=sent), 404, "not-found")
    outcome_of(await intake.http.delete(f"{requests}/nope", headers=sent), 405, "not-supported")
    outcome_of(await get(f"{requests}/nope", headers={**sent, "Accept": "application/xml"}), 406, "not-supported")
    xml = {**sent, "Content-Type": "application/fhir+xml"}
    outcome_of(await post(requests, content=b"<a/>", headers=xml), 415, "not-supported")
    outcome_of(await post(requests, json={"a": "x" * 1_048_576}, headers=sent), 413, "too-long")
    outcome_of(await post(requests, json=service_request(), headers={"Authorization": "Bearer hospital"}), 400)
    conditional = {**sent, "If-None-Exist": f"identifier={BSN}|999911120"}
    outcome_of(await post("/fhir/R4/Patient", json=patient(), headers=conditional), 400)
    created = (await intake.post(requests, service_request(), "hospital")).json()
    outcome_of(await get(f"{requests}/{created['id']}/_history/2", headers=sent), 404, "not-found")
    again = copy.deepcopy(service_request(identifier=[{"value": "ORD-9"}]))
    outcome_of(await intake.post(requests, again, "hospital"), 409, "duplicate")


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
    assert referral_body()["patient"]["bsn"] == patient()["identifier"][0]["value"]
