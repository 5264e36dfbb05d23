"""OpenAPI: what FastAPI cannot know by itself about every operation of a service."""

from typing import Any

from fastapi import FastAPI

from spoel_common.web.problems import PROBLEM_MEDIA_TYPE
from spoel_common.web.reads import AS_OF_HEADER, LONGEST_WAIT_S, POSITION_HEADER

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457 problem details.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "examples": ["urn:spoel:problem:validation-failed"]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "Which input, what is wrong with it, what to do."},
        "instance": {"type": "string", "format": "uri", "description": "Names this request, as the log does."},
        "errors": {
            "type": "array",
            "description": "Only for validation-failed: each field that does not fit.",
            "items": {
                "type": "object",
                "required": ["loc", "msg", "kind"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": "string"}},
                    "msg": {"type": "string"},
                    "kind": {"type": "string"},
                },
            },
        },
    },
    "additionalProperties": True,
}

_PROBLEM: dict[str, Any] = {
    "description": "A problem (RFC 9457).",
    "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_WAITING: list[dict[str, Any]] = [
    {
        "name": "Prefer",
        "in": "header",
        "description": f"`wait=SECONDS`, at most {LONGEST_WAIT_S}: answer once what `{POSITION_HEADER}` names is in it "
        "(RFC 7240). The answer then has `Preference-Applied: wait`; if the time is over first, status 503.",
        "schema": {"type": "string", "examples": ["wait=5"]},
    },
    {
        "name": POSITION_HEADER,
        "in": "header",
        "description": "What a command of this or any other service answered with; several separated by commas.",
        "schema": {"type": "string", "examples": ["/spoel/local/intake/main@0.42"]},
    },
]
_AS_OF: dict[str, Any] = {
    "description": "As of when others' events are known here, at the oldest, and seconds since; `never` before that.",
    "schema": {"type": "string", "examples": ["2026-11-22T10:00:00.000000Z;age=1.2", "never"]},
}
_POSITION: dict[str, Any] = {
    "description": "Place of the store that has this command's events: for reads that are to have them.",
    "schema": {"type": "string", "examples": ["/spoel/local/intake/main@0.42"]},
}
_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
_METHODS = ("get", "put", "post", "delete", "patch")


def describe(app: FastAPI, *, waits: bool) -> None:
    """Make ``app`` document problems and the ``Idempotency-Key`` at each of its operations.

    Args:
        app: the application.
        waits: whether its reads can wait for a write, and say as of when they are.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate(), waits=waits)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any], *, waits: bool) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    for path in document.get("paths", {}).values():
        for method in _METHODS:
            if method in path:
                _complete_operation(path[method])
        if waits and "get" in path:
            _complete_read(path["get"])
    return document


def _complete_operation(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        responses["422"] = _PROBLEM
    responses.setdefault("default", _PROBLEM)
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "Idempotency-Key":
            parameter["required"] = True
            parameter["schema"] = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"}
            _add_header(operation, POSITION_HEADER, _POSITION)


def _complete_read(operation: dict[str, Any]) -> None:
    operation["parameters"] = [*operation.get("parameters", ()), *_WAITING]
    _add_header(operation, AS_OF_HEADER, _AS_OF)


def _add_header(operation: dict[str, Any], name: str, header: dict[str, Any]) -> None:
    """Document a header of the answers of success."""
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            response.setdefault("headers", {})[name] = header
