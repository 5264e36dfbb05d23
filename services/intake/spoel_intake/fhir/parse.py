"""Reading resources: JSON that is valid FHIR R4, or a refusal that says where it is not.

The models are those of ``fhir.resources`` R4B: for Patient and ServiceRequest they equal R4 (4.0.1). They check
structure only, and forgive what FHIR's JSON does not allow; that and the required bindings are checked here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from fhir.resources.R4B.domainresource import DomainResource
from pydantic import ValidationError

from spoel_common.web import MalformedJson
from spoel_intake.fhir.outcome import FhirInvalid, Issue

R = TypeVar("R", bound=DomainResource)

_ELEMENT = re.compile(r"_?[A-Za-z][A-Za-z0-9]*")
"""Names that FHIR's JSON can have; the models would also take names of their own, such as ``resource_type``."""
_DATES = frozenset({"birthDate", "authoredOn"})
"""Elements that are text in FHIR's JSON; the models would take a number of seconds too."""
_CONTAINED = frozenset({"Patient"})
_REQUIRED_KINDS = frozenset({"missing", "model_field_validation.missing"})
_ISSUES_AT_MOST = 20


def read_resource(body: bytes, model: type[R]) -> R:
    """Return the resource of a request's body.

    Raises:
        MalformedJson: no JSON object.
        FhirInvalid: an element that R4 does not have, a missing or empty one, or one of another type.
    """
    raw = _read_object(body)
    name = model.__name__
    if raw.get("resourceType") != name:
        raise FhirInvalid(Issue("structure", "resourceType", f"This address takes a {name}."))
    _refuse(list(_empty_or_misnamed(raw, name)))
    _refuse(list(_contained_others(raw, name)))
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        issues = [_issue(name, dict(found)) for found in error.errors(include_input=False, include_url=False)]
        raise FhirInvalid(*issues[:_ISSUES_AT_MOST]) from None  # the cause would repeat the resource in a log


def check_code(value: str | None, allowed: frozenset[str], expression: str) -> None:
    """Refuse a code outside a required binding.

    Raises:
        FhirInvalid: missing, or no code of the value set.
    """
    if value is None:
        raise FhirInvalid(Issue("required", expression, f"Give one of {', '.join(sorted(allowed))}."))
    if value not in allowed:
        raise FhirInvalid(Issue("code-invalid", expression, f"No such code; use one of {', '.join(sorted(allowed))}."))


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(body)
    except ValueError as error:
        raise MalformedJson("The body is not JSON. Send one FHIR resource.") from error
    if not isinstance(raw, dict):
        raise MalformedJson("The body is not a JSON object. Send one FHIR resource.")
    return raw


def _refuse(issues: list[Issue]) -> None:
    if issues:
        raise FhirInvalid(*issues[:_ISSUES_AT_MOST])


def _empty_or_misnamed(value: object, expression: str) -> Iterator[Issue]:
    """Find what FHIR's JSON does not allow: null, empty values, names that no element has."""
    if value is None or value in ("", [], {}):
        yield Issue("structure", expression, "An element is left out rather than empty or null.")
    elif isinstance(value, dict):
        for name, member in value.items():
            place = f"{expression}.{name[:64]}"
            if not _ELEMENT.fullmatch(name):
                yield Issue("structure", place, "FHIR R4 has no such element.")
            elif name in _DATES and not isinstance(member, str):
                yield Issue("value", place, "A date is written as text.")
            else:
                yield from _empty_or_misnamed(member, place)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _empty_or_misnamed(member, f"{expression}[{number}]")


def _contained_others(raw: dict[str, Any], name: str) -> Iterator[Issue]:
    contained = raw.get("contained", [])
    for number, resource in enumerate(contained if isinstance(contained, list) else [contained]):
        if not isinstance(resource, dict) or resource.get("resourceType") not in _CONTAINED:
            yield Issue("not-supported", f"{name}.contained[{number}]", "Only a Patient can be contained here.")


def _issue(name: str, found: dict[str, Any]) -> Issue:
    expression = name
    for part in found["loc"]:
        expression += f"[{part}]" if isinstance(part, int) else f".{part}"
    if found["type"] == "extra_forbidden":
        return Issue("structure", expression, "FHIR R4 has no such element here.")
    if found["type"] in _REQUIRED_KINDS:
        return Issue("required", expression, "This element is required.")
    return Issue("value", expression, "The value is not of the type or form that FHIR R4 asks for here.")
