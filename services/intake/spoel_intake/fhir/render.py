"""From what intake knows to resources, as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from spoel_common.events.model import format_utc
from spoel_intake.domain.patient import Identity
from spoel_intake.fhir.terms import (
    AGB_SYSTEM,
    BSN_SYSTEM,
    INDICATION_SYSTEM,
    REFERRER_KIND_URL,
    SERVICE_CODE,
    SERVICE_SYSTEM,
)
from spoel_intake.reads import PatientLink
from spoel_intake.views import CaseView

FIRST_VERSION = "1"
"""What an EHR sends is kept as it was sent: a ServiceRequest has one version, a Patient one more for each merge."""


def patient_resource(
    patient_id: str, identity: Identity, registered_at: datetime, links: Sequence[PatientLink] = ()
) -> dict[str, Any]:
    """Return a Patient, with a link to every file that it was merged with; one that was replaced is not active."""
    resource = _patient(patient_id, identity)
    if links:
        resource["active"] = all(link.type != "replaced-by" for link in links)
        resource["link"] = [
            {"other": {"reference": f"Patient/{link.other_patient_id}"}, "type": link.type} for link in links
        ]
    moments = [registered_at, *(link.merged_at for link in links)]
    resource["meta"] = _meta(moments[-1], str(len(moments)))
    return resource


def _patient(patient_id: str, identity: Identity) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": patient_id,
        "identifier": [{"system": BSN_SYSTEM, "value": identity.bsn}],
        "name": [{"use": "official", "family": identity.family_name, "given": identity.given_name.split()}],
        "gender": identity.gender,
        "birthDate": identity.birth_date.isoformat(),
    }


def service_request_resource(case: CaseView) -> dict[str, Any]:
    """Return the ServiceRequest of a case; its question only where the reader may see it."""
    referral = case.referral
    resource: dict[str, Any] = {
        "resourceType": "ServiceRequest",
        "id": case.case_id,
        "meta": _meta(referral.received_at),
        "extension": [{"url": REFERRER_KIND_URL, "valueCode": referral.referrer_kind}],
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": SERVICE_SYSTEM, "code": SERVICE_CODE}]},
        "subject": {"reference": f"Patient/{case.patient_id}"},
        "authoredOn": referral.referred_on.isoformat(),
        "reasonCode": [{"coding": [{"system": INDICATION_SYSTEM, "code": referral.indication}]}],
    }
    if referral.external_id is not None:
        resource["identifier"] = [{"value": referral.external_id}]
    if referral.referrer_agb is not None:
        resource["requester"] = {"identifier": {"system": AGB_SYSTEM, "value": referral.referrer_agb}}
    question = [{"text": note.text} for note in case.notes if ".referral-received." in note.event]
    if question:
        resource["note"] = question
    return resource


def _meta(moment: datetime, version_id: str = FIRST_VERSION) -> dict[str, str]:
    return {"versionId": version_id, "lastUpdated": format_utc(moment)}
