"""FHIR resources as an EHR sends them."""

from fhir.resources.R4B.operationoutcome import OperationOutcome

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
