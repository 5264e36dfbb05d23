"""What the FHIR R4 door refuses: as an OperationOutcome that says where, and nothing is stored."""

import pytest
from tests.intake.resources import AGB, BSN, outcome_of, patient, service_request

from spoel_common.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
        (service_request(modifierExtension=[{"url": "urn:x"}]), 422, "ServiceRequest.modifierExtension"),
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
async def test_a_service_request_that_is_not_taken_says_where_and_stores_nothing(
    shared_intake, body, status, expression
):
    before = await shared_intake.events(), await shared_intake.rows("vault")
    answer = await shared_intake.post("/fhir/R4/ServiceRequest", body, "hospital")
    issues = outcome_of(answer, status)
    assert expression in [issue["expression"][0] for issue in issues], answer.text
    for personal in ("999911120", "Aardappel", "Wilhelmina", "1971", "zomervakantie"):
        assert personal not in answer.text
    assert (await shared_intake.events(), await shared_intake.rows("vault")) == before


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        ({"identifier": [{"system": BSN, "value": "999998620"}]}, "bsn-invalid"),
        ({"birthDate": "2999-01-01"}, "impossible-value"),
    ],
)
async def test_a_patient_that_cannot_be_is_refused(shared_intake, change, slug):
    before = await shared_intake.events()
    (issue,) = outcome_of(await shared_intake.post("/fhir/R4/Patient", patient(**change), "hospital"), 422, "value")
    assert issue["details"]["coding"][0]["code"] == slug
    assert "999998620" not in str(issue)
    assert await shared_intake.events() == before


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"", b'"x"', b'{"resourceType":"Patient"}', b"{}"])
async def test_a_body_that_is_no_service_request_is_refused(shared_intake, body):
    headers = {"Authorization": "Bearer hospital", "Idempotency-Key": new_id(), "Content-Type": "application/fhir+json"}
    outcome_of(
        await shared_intake.http.post("/fhir/R4/ServiceRequest", content=body, headers=headers), 400, "structure"
    )


async def test_every_refusal_at_the_door_is_an_operation_outcome(shared_intake):
    sent = {"Authorization": "Bearer hospital", "Idempotency-Key": new_id()}
    post, get = shared_intake.http.post, shared_intake.http.get
    requests = "/fhir/R4/ServiceRequest"
    outcome_of(await post(requests, json=service_request(), headers={"Idempotency-Key": new_id()}), 401, "login")
    outcome_of(await shared_intake.post(requests, service_request(), "nobody"), 401, "login")
    outcome_of(await shared_intake.post(requests, service_request(), "auditor"), 403, "forbidden")
    outcome_of(await get(f"{requests}/nope", headers=sent), 404, "not-found")
    outcome_of(await get(f"{requests}/a b", headers=sent), 422)
    outcome_of(await get("/fhir/R4/Observation", headers=sent), 404, "not-found")
    outcome_of(await shared_intake.http.delete(f"{requests}/nope", headers=sent), 405, "not-supported")
    outcome_of(await get(f"{requests}/nope", headers={**sent, "Accept": "application/xml"}), 406, "not-supported")
    xml = {**sent, "Content-Type": "application/fhir+xml"}
    outcome_of(await post(requests, content=b"<a/>", headers=xml), 415, "not-supported")
    outcome_of(await post(requests, json={"a": "x" * 1_048_576}, headers=sent), 413, "too-long")
    outcome_of(await post(requests, json=service_request(), headers={"Authorization": "Bearer hospital"}), 400)
    conditional = {**sent, "If-None-Exist": f"identifier={BSN}|999911120"}
    outcome_of(await post("/fhir/R4/Patient", json=patient(), headers=conditional), 400)
    created = (await shared_intake.post(requests, service_request(), "hospital")).json()
    outcome_of(await get(f"{requests}/{created['id']}/_history/2", headers=sent), 404, "not-found")
    again = service_request(identifier=[{"value": "ORD-9"}])
    outcome_of(await shared_intake.post(requests, again, "hospital"), 409, "duplicate")
