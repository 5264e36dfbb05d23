"""Problems that the HTTP layer itself finds, and how any problem is written (RFC 9457)."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from spoel_common.errors import SpoelError

PROBLEM_MEDIA_TYPE = "application/problem+json"
CORRELATION_HEADER = "X-Correlation-Id"

ErrorRenderer = Callable[[Request, SpoelError], Response]
"""Writes a refusal in another format, for example as FHIR ``OperationOutcome``."""


class ValidationFailed(SpoelError):
    """The request does not fit what the operation takes; ``errors`` lists each field."""

    slug = "validation-failed"
    status = 422
    title = "The request is not valid"


class MalformedJson(SpoelError):
    """The body is not JSON, or JSON that readers would not agree about."""

    slug = "malformed-json"
    status = 400
    title = "The body is not valid JSON"


class BodyTooLarge(SpoelError):
    """The body is larger than this service takes."""

    slug = "body-too-large"
    status = 413
    title = "The body is too large"


class BodyTooSlow(SpoelError):
    """The body did not arrive in time."""

    slug = "body-too-slow"
    status = 408
    title = "The body did not arrive in time"


class UnsupportedMediaType(SpoelError):
    """The body has a content type that this service does not read."""

    slug = "unsupported-media-type"
    status = 415
    title = "Unsupported content type"


class NotAcceptable(SpoelError):
    """The client accepts no format that this service writes."""

    slug = "not-acceptable"
    status = 406
    title = "No acceptable format"


class MethodNotAllowed(SpoelError):
    """The path exists, but not for this method."""

    slug = "method-not-allowed"
    status = 405
    title = "Method not allowed"


class RequestRefused(SpoelError):
    """A refusal of the framework that has no kind of its own; its status is in the answer."""

    slug = "request-refused"
    status = 400
    title = "The request was refused"


class InternalError(SpoelError):
    """A fault of this service; its log has the reason under the correlation id."""

    slug = "internal-error"
    status = 500
    title = "Internal error"


class IdempotencyKeyMissing(SpoelError):
    """A command without, or with an unusable, ``Idempotency-Key``."""

    slug = "idempotency-key-missing"
    status = 400
    title = "An Idempotency-Key is needed"


class IdempotencyKeyReused(SpoelError):
    """The key stood already with another request."""

    slug = "idempotency-key-reused"
    status = 422
    title = "The Idempotency-Key was used for another request"


class IdempotencyTwinUnderWay(SpoelError):
    """The same request is being worked on."""

    slug = "idempotency-twin-under-way"
    status = 409
    title = "The same request is under way"


def problem_document(error: SpoelError, correlation_id: str | None = None) -> dict[str, Any]:
    """Return the members of the RFC 9457 problem that tells of ``error``."""
    document: dict[str, Any] = {
        "type": error.problem_type,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if correlation_id:
        document["instance"] = f"urn:spoel:request:{correlation_id}"
    return {**error.facts, **document}


def render_problem(request: Request, error: SpoelError) -> Response:
    """Write ``error`` as ``application/problem+json``."""
    correlation_id = request.scope.get("spoel.correlation_id")
    return JSONResponse(
        problem_document(error, correlation_id),
        status_code=error.status,
        headers=dict(headers_of(error)),
        media_type=PROBLEM_MEDIA_TYPE,
    )


def headers_of(error: SpoelError) -> Mapping[str, str]:
    """Return the HTTP headers that the status of ``error`` asks for."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": challenge(error)}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": str(error.facts.get("allow", ""))}
    if isinstance(error, IdempotencyTwinUnderWay) or error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": "1"}
    if isinstance(error, BodyTooLarge | BodyTooSlow):
        return {"Connection": "close"}
    return {}


def challenge(error: SpoelError) -> str:
    """Return the Bearer challenge of RFC 6750 section 3: bare where no token came, else with its error code."""
    if error.slug == "token-missing":
        return 'Bearer realm="spoel"'
    return f'Bearer realm="spoel", error="invalid_token", error_description="{error.slug}"'


class Renderers:
    """Chooses who writes a refusal: by the longest prefix of the path, else as a problem document."""

    def __init__(self, by_prefix: Mapping[str, ErrorRenderer]) -> None:
        self._by_prefix: Sequence[tuple[str, ErrorRenderer]] = sorted(
            by_prefix.items(), key=lambda item: len(item[0]), reverse=True
        )

    def __call__(self, request: Request, error: SpoelError) -> Response:
        """Write ``error`` for ``request``."""
        path = request.scope["path"]
        for prefix, renderer in self._by_prefix:
            if path == prefix or path.startswith(prefix.rstrip("/") + "/"):
                response = renderer(request, error)
                response.headers.update(headers_of(error))
                return response
        return render_problem(request, error)
