"""Refusals of the FHIR door, and how every refusal under it is written: as an OperationOutcome."""

from typing import Any, ClassVar, NamedTuple

from fastapi import Request
from starlette.responses import JSONResponse, Response

from spoel_common.errors import SpoelError
from spoel_intake.fhir.terms import MEDIA_TYPE, PROBLEM_SYSTEM

_CODE_BY_SLUG = {
    "active-case-exists": "duplicate",
    "body-too-large": "too-long",
    "bsn-invalid": "value",
    "impossible-value": "value",
    "method-not-allowed": "not-supported",
    "not-acceptable": "not-supported",
    "not-found": "not-found",
    "token-expired": "expired",
    "token-missing": "login",
    "unsupported-media-type": "not-supported",
    "version-conflict": "conflict",
}
_CODE_BY_STATUS = {
    400: "structure",
    401: "login",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    410: "deleted",
    422: "business-rule",
    429: "throttled",
    500: "exception",
    503: "transient",
}


class Issue(NamedTuple):
    """One thing that is wrong with a resource.

    Attributes:
        code: of R4's value set issue-type.
        expression: where, as a FHIRPath.
        message: what is wrong and what to do; it repeats no value of the resource.
    """

    code: str
    expression: str
    message: str


class FhirInvalid(SpoelError):
    """The resource is no valid FHIR R4: a syntax error (400)."""

    slug: ClassVar[str] = "fhir-invalid"
    status = 400
    title: ClassVar[str] = "Not a valid FHIR R4 resource"

    def __init__(self, *issues: Issue) -> None:
        super().__init__("; ".join(f"{issue.expression}: {issue.message}" for issue in issues))
        self.issues = issues


class FhirRefused(SpoelError):
    """The resource is valid, but not what this server takes: a business rule (422)."""

    slug: ClassVar[str] = "fhir-refused"
    status = 422
    title: ClassVar[str] = "Not a resource that is taken here"

    def __init__(self, *issues: Issue) -> None:
        super().__init__("; ".join(f"{issue.expression}: {issue.message}" for issue in issues))
        self.issues = issues


def render_outcome(_request: Request, error: SpoelError) -> Response:
    """Write a refusal as an OperationOutcome."""
    return JSONResponse(outcome_of(error), status_code=error.status, media_type=MEDIA_TYPE)


def outcome_of(error: SpoelError) -> dict[str, Any]:
    """Return the OperationOutcome that tells of ``error``, as JSON; one issue for each thing that is wrong."""
    details = {"coding": [{"system": PROBLEM_SYSTEM, "code": error.slug}], "text": error.title}
    issues = error.issues if isinstance(error, FhirInvalid | FhirRefused) else ()
    if not issues:
        code = _CODE_BY_SLUG.get(error.slug) or _CODE_BY_STATUS.get(error.status, "processing")
        return _outcome([{"severity": "error", "code": code, "details": details, "diagnostics": error.detail}])
    return _outcome(
        [
            {
                "severity": "error",
                "code": issue.code,
                "details": details,
                "diagnostics": issue.message,
                "expression": [issue.expression],
            }
            for issue in issues
        ]
    )


def _outcome(issues: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": issues}
