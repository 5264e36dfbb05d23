"""The HTTP application of a service: one way to write problems, guard bodies and name requests."""

import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from socket import gaierror
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from spoel_common.errors import NotFound, SpoelError
from spoel_common.messaging import BrokerAway
from spoel_common.metrics import Metrics
from spoel_common.runtime import Runtime, Unavailable
from spoel_common.web import events_routes, health, projections_routes
from spoel_common.web.docs_page import add_docs_page
from spoel_common.web.middleware import BodyGuard, RequestFrame
from spoel_common.web.openapi import describe
from spoel_common.web.problems import (
    ErrorRenderer,
    MalformedJson,
    MethodNotAllowed,
    Renderers,
    RequestRefused,
    UnsupportedMediaType,
    ValidationFailed,
)
from spoel_common.web.reads import Reads

JSON_ONLY = ("application/json",)
ERRORS_AT_MOST = 50
"""How many wrong fields are listed: a body of a mebibyte can have tens of thousands."""

_LONGEST_NAME = 64
_AWAY_SQLSTATES = ("08", "40", "53", "55P03", "57")
"""PostgreSQL: no connection, deadlock, out of resources, lock not had in time, cancelled or shut down."""

_log = structlog.get_logger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(
    runtime: Runtime,
    *,
    title: str,
    routers: Sequence[APIRouter],
    description: str = "",
    error_renderers: Mapping[str, ErrorRenderer] | None = None,
    open_paths: str | None = None,
    state: Mapping[str, object] | None = None,
) -> FastAPI:
    """Return the application of a service; its lifespan opens and closes ``runtime``.

    Args:
        runtime: the service's runtime, not yet open.
        title: the service's name for people.
        routers: the service's routes.
        description: what the service is for.
        error_renderers: by prefix of the path, who writes refusals there; problem details elsewhere.
        open_paths: regular expression of whole paths whose requests are not looked at before their route; such a
            route reads no body.
        state: further members of ``app.state``.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with runtime:
            yield

    app = plain_app(
        title,
        runtime.metrics,
        lifespan=lifespan,
        description=description,
        error_renderers=error_renderers,
        open_paths=open_paths,
        runtime=runtime,
    )
    for name, value in {**(state or {}), "runtime": runtime}.items():
        setattr(app.state, name, value)
    for router in (*routers, events_routes.router, projections_routes.router, health.router):
        app.include_router(router)
    return app


def plain_app(  # noqa: PLR0913 - the parts of an application, each by name
    title: str,
    metrics: Metrics,
    *,
    lifespan: Lifespan | None = None,
    description: str = "",
    error_renderers: Mapping[str, ErrorRenderer] | None = None,
    open_paths: str | None = None,
    media_types: Collection[str] = JSON_ONLY,
    runtime: Runtime | None = None,
) -> FastAPI:
    """Return an application with problems, body limit, correlation ids and documentation, but no routes and no runtime.

    Args:
        title: its name for people.
        metrics: where requests are counted.
        lifespan: what is open while it serves.
        description: what it is for.
        error_renderers: as for ``create_app``.
        open_paths: as for ``create_app``.
        media_types: content types of bodies; ``application/json`` stands for all JSON types.
        runtime: says how far what its reads show is behind; None where there are no such reads.
    """
    render = Renderers(error_renderers or {})
    app = FastAPI(
        title=title,
        description=description,
        version=version("spoel-common"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    if runtime is not None:
        app.add_middleware(Reads, runtime=runtime, render=render)
    app.add_middleware(
        BodyGuard,
        render=render,
        media_types=frozenset(media_types),
        open_paths=re.compile(open_paths) if open_paths else None,
    )
    app.add_middleware(RequestFrame, metrics=metrics, render=render)
    _handle_errors(app, render)
    describe(app, waits=runtime is not None)

    add_docs_page(app)
    return app


def _handle_errors(app: FastAPI, render: Renderers) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        return render(request, as_refusal(request, error))

    for kind in (
        SpoelError,
        RequestValidationError,
        HTTPException,
        BrokerAway,
        DBAPIError,
        PoolTimeout,
        ConnectionError,
        TimeoutError,
        gaierror,
    ):
        app.add_exception_handler(kind, refused)


def as_refusal(request: Request, error: Exception) -> SpoelError:
    """Return the refusal that says what ``error`` means to the client.

    Raises:
        DBAPIError: the database refused a statement: a fault of the service.
    """
    if isinstance(error, SpoelError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _of_framework(request, error)
    if isinstance(error, BrokerAway):
        return Unavailable("This needs NATS, which is not connected. Try again shortly.")
    if isinstance(error, DBAPIError) and not _is_away(error):
        raise error
    _log.error("http.unavailable", exc_info=error)
    return Unavailable(
        "The database, or something else that this needs, did not answer in time. "
        "Try again shortly, with the same Idempotency-Key."
    )


def _is_away(error: DBAPIError) -> bool:
    """Tell a database that is away, stopped or overloaded from one that refused a statement."""
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, OperationalError | InterfaceError) or sqlstate.startswith(_AWAY_SQLSTATES)


def _invalid(error: RequestValidationError) -> SpoelError:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return MalformedJson("The body is not JSON. Correct it and send it again.")
    errors = [
        {"loc": [str(part)[:_LONGEST_NAME] for part in item["loc"]], "msg": item["msg"], "kind": item["type"]}
        for item in found[:ERRORS_AT_MOST]
    ]
    unknown = [".".join(item["loc"]) for item in errors if item["kind"] == "extra_forbidden"]
    detail = "; ".join(f"{'.'.join(item['loc'])}: {item['msg']}" for item in errors[:10])
    facts: dict[str, Any] = {"errors": errors}
    if unknown:
        facts["unknown_fields"] = unknown
    return ValidationFailed(f"{detail}. Correct these and send the request again.", **facts)


def _of_framework(request: Request, error: HTTPException) -> SpoelError:
    path, method = request.scope["path"], request.method
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound(f"Nothing is at {path[:200]}. /openapi.json lists what there is.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(f"{method} is not for {path[:200]}; use {allow}.", allow=allow)
    if error.status_code == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return UnsupportedMediaType("Send the body as application/json.")
    refusal = RequestRefused(str(error.detail))
    refusal.status = error.status_code
    return refusal
