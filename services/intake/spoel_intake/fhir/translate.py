"""From resources to commands. What this server cannot keep is refused, never dropped in silence.

Of a Patient only what is needed is taken: BSN, name, birth date, gender. Elements such as address or telecom are
left aside (data minimisation); elements that change the meaning of the rest are refused.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.humanname import HumanName
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import ValidationError

from spoel_common.events import Command
from spoel_intake.commands import PatientIdentity, Referral
from spoel_intake.fhir.outcome import FhirInvalid, FhirRefused, Issue
from spoel_intake.fhir.parse import check_code
from spoel_intake.fhir.terms import (
    AGB_SYSTEM,
    BSN_SYSTEM,
    GENDERS,
    INDICATION_SYSTEM,
    REFERRER_KIND_URL,
    REQUEST_INTENT,
    REQUEST_PRIORITY,
    REQUEST_STATUS,
    SERVICE_CODE,
    SERVICE_SYSTEM,
)

C = TypeVar("C", bound=Command)

_FULL_DATE_LENGTH = len("2026-11-22")

_KEPT = frozenset(
    {
        "authoredOn",
        "code",
        "contained",
        "doNotPerform",
        "extension",
        "id",
        "identifier",
        "intent",
        "language",
        "meta",
        "note",
        "priority",
        "reasonCode",
        "requester",
        "resourceType",
        "status",
        "subject",
        "text",
    }
)
"""Elements of a ServiceRequest that are taken, or that say nothing about the order itself."""

_MEANING_CHANGED = frozenset({"deceasedDateTime", "implicitRules", "link", "modifierExtension"})
"""Elements of a Patient that nobody may leave aside."""

_PLACES = {
    "bsn": "Patient.identifier",
    "given_name": "Patient.name.given",
    "family_name": "Patient.name.family",
    "birth_date": "Patient.birthDate",
    "gender": "Patient.gender",
    "referrer_kind": f"ServiceRequest.extension('{REFERRER_KIND_URL}')",
    "referrer_agb": f"ServiceRequest.requester.identifier (system {AGB_SYSTEM})",
    "indication": f"ServiceRequest.reasonCode.coding (system {INDICATION_SYSTEM})",
    "referred_on": "ServiceRequest.authoredOn",
    "question": "ServiceRequest.note.text",
    "external_id": "ServiceRequest.identifier.value",
}
"""Where in the resources a field of a command comes from."""


class Order(NamedTuple):
    """What a ServiceRequest asks.

    Attributes:
        patient: the contained patient; None where ``patient_id`` names one who was sent before.
    """

    referral: Referral
    patient: PatientIdentity | None
    patient_id: str | None


def identity_of(patient: Patient) -> PatientIdentity:
    """Return who a Patient is.

    Raises:
        FhirInvalid: a gender outside R4's value set.
        FhirRefused: no or several BSNs, no name or full birth date, or an element that changes the meaning.
    """
    present = _present(patient)
    refused = sorted(present & _MEANING_CHANGED)
    if patient.active is False:
        refused.append("active")
    if patient.deceasedBoolean:
        refused.append("deceasedBoolean")
    if refused:
        raise FhirRefused(*(Issue("not-supported", f"Patient.{name}", "This is not handled here.") for name in refused))
    if patient.gender is not None:
        check_code(patient.gender, GENDERS, "Patient.gender")
    numbers = {found.value for found in patient.identifier or [] if found.system == BSN_SYSTEM}
    if len(numbers) != 1:
        raise FhirRefused(Issue("required", "Patient.identifier", f"Give one identifier of system {BSN_SYSTEM}."))
    name = _official(patient.name or [])
    return _build(
        PatientIdentity,
        {
            "bsn": numbers.pop(),
            "given_name": " ".join(part for part in name.given or [] if part),
            "family_name": name.family,
            "birth_date": _full_date(patient.birthDate, "Patient.birthDate"),
            "gender": patient.gender or "unknown",
        },
    )


def order_of(request: ServiceRequest, zone: ZoneInfo) -> Order:
    """Return what a ServiceRequest asks.

    Args:
        request: the resource.
        zone: the clinic's time zone, for the day of ``authoredOn``.

    Raises:
        FhirInvalid: a code outside a required binding of R4.
        FhirRefused: not an active order of rTMS with indication, requester and question.
    """
    _check_kept(request)
    _check_active_order(request)
    _check_service(request)
    referral = _build(
        Referral,
        {
            "referrer_kind": _referrer_kind(request),
            "referrer_agb": _agb(request),
            "indication": _indication(request),
            "referred_on": _day(request.authoredOn, zone),
            "question": _question(request),
            "external_id": _external_id(request),
        },
    )
    reference = request.subject.reference or ""
    if reference.startswith("#"):
        return Order(referral, identity_of(_contained(request, reference[1:])), None)
    kind, _, patient_id = reference.partition("/")
    if kind != "Patient" or not patient_id or request.contained:
        raise FhirRefused(
            Issue("not-supported", "ServiceRequest.subject", "Refer to a contained Patient by #id, or to Patient/id.")
        )
    return Order(referral, None, patient_id)


def _build(command: type[C], fields: dict[str, Any]) -> C:
    """Build a command; what does not fit is told at its place in the resource."""
    try:
        return command.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        issues = []
        for found in error.errors(include_input=False, include_url=False):
            missing = found["type"] in {"missing", "string_too_short"}
            place = _PLACES[str(found["loc"][0])]
            issues.append(Issue("required" if missing else "value", place, f"{found['msg']}."))
        raise FhirRefused(*issues) from None  # the cause would repeat the resource in a log


def _present(resource: Patient | ServiceRequest) -> set[str]:
    return {name.lstrip("_") for name in resource.model_dump(by_alias=True, exclude_none=True)}


def _check_kept(request: ServiceRequest) -> None:
    others = sorted(_present(request) - _KEPT)
    if others:
        raise FhirRefused(
            *(
                Issue("not-supported", f"ServiceRequest.{name}", "This is not kept here; leave it out.")
                for name in others
            )
        )


def _check_active_order(request: ServiceRequest) -> None:
    check_code(request.status, REQUEST_STATUS, "ServiceRequest.status")
    check_code(request.intent, REQUEST_INTENT, "ServiceRequest.intent")
    if request.priority is not None:
        check_code(request.priority, REQUEST_PRIORITY, "ServiceRequest.priority")
    issues = []
    if request.status != "active":
        issues.append(Issue("business-rule", "ServiceRequest.status", "A referral is taken in as active."))
    if request.intent != "order":
        issues.append(Issue("business-rule", "ServiceRequest.intent", "A referral is an order."))
    if request.priority not in {None, "routine"}:
        issues.append(
            Issue("business-rule", "ServiceRequest.priority", "Nobody watches for urgent referrals here: telephone.")
        )
    if request.doNotPerform:
        issues.append(Issue("business-rule", "ServiceRequest.doNotPerform", "A referral asks for something."))
    if issues:
        raise FhirRefused(*issues)


def _check_service(request: ServiceRequest) -> None:
    codes = _codes([request.code] if request.code else [], SERVICE_SYSTEM)
    if codes != {SERVICE_CODE}:
        raise FhirRefused(
            Issue("required", "ServiceRequest.code", f"Give the code {SERVICE_CODE} of system {SERVICE_SYSTEM}.")
        )


def _indication(request: ServiceRequest) -> str:
    codes = _codes(request.reasonCode or [], INDICATION_SYSTEM)
    if len(codes) != 1:
        raise FhirRefused(
            Issue("required", "ServiceRequest.reasonCode", f"Give one code of system {INDICATION_SYSTEM}.")
        )
    return codes.pop()


def _codes(concepts: Sequence[CodeableConcept], system: str) -> set[str]:
    codings = [coding for concept in concepts for coding in concept.coding or []]
    return {coding.code for coding in codings if coding.system == system and coding.code}


def _referrer_kind(request: ServiceRequest) -> str | None:
    found = [extension.valueCode for extension in request.extension or [] if extension.url == REFERRER_KIND_URL]
    return found[0] if len(found) == 1 else None


def _agb(request: ServiceRequest) -> str | None:
    identifier = request.requester.identifier if request.requester else None
    return identifier.value if identifier is not None and identifier.system == AGB_SYSTEM else None


def _external_id(request: ServiceRequest) -> str | None:
    identifiers = request.identifier or []
    if len(identifiers) > 1:
        raise FhirRefused(Issue("not-supported", "ServiceRequest.identifier", "Give one: your own order number."))
    return identifiers[0].value if identifiers else None


def _question(request: ServiceRequest) -> str:
    texts = [note.text for note in request.note or []] + [reason.text for reason in request.reasonCode or []]
    return "\n\n".join(dict.fromkeys(text for text in texts if text))


def _official(names: Sequence[HumanName]) -> HumanName:
    if not names:
        raise FhirRefused(Issue("required", "Patient.name", "Give the name with family and given."))
    return next((name for name in names if name.use == "official"), names[0])


def _contained(request: ServiceRequest, patient_id: str) -> Patient:
    found = [one for one in request.contained or [] if isinstance(one, Patient) and one.id == patient_id]
    if len(found) != 1 or len(request.contained or []) != 1:
        raise FhirInvalid(
            Issue("structure", "ServiceRequest.contained", "Contain the Patient that subject refers to, and no other.")
        )
    return found[0]


def _full_date(value: object, expression: str) -> date:
    """Return a date; FHIR also has years and months, which do not tell who somebody is."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise FhirRefused(Issue("required", expression, "Give the full date: year, month and day."))


def _day(value: object, zone: ZoneInfo) -> date:
    if isinstance(value, datetime):
        return value.astimezone(zone).date()
    return _full_date(value, "ServiceRequest.authoredOn")
