"""ASGI middleware: what happens around every request, before any route sees it."""

import asyncio
import json
import math
import re
import time
from typing import Any

import structlog
from fastapi import Request
from pydantic_core import from_json
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spoel_common import tracing
from spoel_common.errors import SpoelError
from spoel_common.ids import new_id
from spoel_common.logging import bind_correlation
from spoel_common.metrics import Metrics
from spoel_common.web.problems import (
    CORRELATION_HEADER,
    BodyTooLarge,
    BodyTooSlow,
    InternalError,
    MalformedJson,
    NotAcceptable,
    Renderers,
    UnsupportedMediaType,
)

MAX_BODY_BYTES = 1_048_576
BODY_TIMEOUT_S = 15.0
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_SANE_CORRELATION_ID = re.compile(r"(?![0-9]{8,9}\Z)[A-Za-z0-9-]{1,64}")
"""It goes into events and logs, so it may not look like a BSN."""
_LIKE_A_BSN = re.compile(r"(?<=/)[0-9]{8,9}(?=/|\Z)")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_QUIET_ROUTES = frozenset({"/health/live", "/health/ready", "/metrics"})
_WRITTEN_TYPES = frozenset(
    {
        "*/*",
        "application/*",
        "text/*",
        "application/octet-stream",
        "application/jose",
        "text/plain",
        "text/html",
        "text/event-stream",
    }
)

_log = structlog.get_logger("spoel.http")


class RequestFrame:
    """Correlation id, access log, metrics, trace, security headers, and an answer also when a handler fails.

    Args:
        app: what it frames.
        metrics: where requests are counted.
        render: writes a refusal.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, render: Renderers) -> None:
        self._app = app
        self._metrics = metrics
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        offered = headers.get(CORRELATION_HEADER, "")
        correlation_id = offered if _SANE_CORRELATION_ID.fullmatch(offered) else new_id()
        scope["spoel.correlation_id"] = correlation_id
        answer = _Answer(send, correlation_id)
        with bind_correlation(correlation_id):
            if scope["path"] in _QUIET_ROUTES:
                await self._serve(scope, receive, answer)
                return
            with tracing.request_span(method_of(scope), headers.get("traceparent")) as span:
                try:
                    await self._serve(scope, receive, answer)
                finally:
                    tracing.name_request(span, method_of(scope), route_of(scope), answer.status or 0)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        started_s = time.perf_counter()
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            _log.exception("http.failed", method=scope["method"], route=route_of(scope))
            if answer.status is not None:
                raise
            problem = InternalError(
                "The service failed on this request; nothing of it was stored unless a repeat says so. "
                "Try again with the same Idempotency-Key; if it lasts, name the correlation id to who runs it."
            )
            problem.__cause__ = error
            await self._render(Request(scope), problem)(scope, receive, answer.send)
        finally:
            self._account(scope, answer, time.perf_counter() - started_s)

    def _account(self, scope: Scope, answer: "_Answer", duration_s: float) -> None:
        route, method, status = route_of(scope), method_of(scope), answer.status or 0
        self._metrics.http_requests.labels(method, route, str(status)).inc()
        if not answer.endless:
            self._metrics.http_latency.labels(method, route).observe(duration_s)
        log = _log.debug if route in _QUIET_ROUTES else _log.info
        path = _LIKE_A_BSN.sub("-", scope["path"])  # a client may ask for a person by number where an id belongs
        log("http.request", method=method, path=path, status=status, duration_ms=round(duration_s * 1e3, 1))


class _Answer:
    """Passes an answer on, with the headers that every answer has; remembers its status, and whether it has no end."""

    def __init__(self, send: Send, correlation_id: str) -> None:
        self._send = send
        self._correlation_id = correlation_id
        self.status: int | None = None
        self.endless = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[CORRELATION_HEADER] = self._correlation_id
            self.endless = headers.get("content-type", "").startswith("text/event-stream")
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def route_of(scope: Scope) -> str:
    """Return the template of the route that served ``scope``: ``/cases/{case_id}``, never a path with ids in it."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    template = getattr(context, "path", None) or getattr(scope.get("route"), "path", None)
    return template or "unmatched"


def method_of(scope: Scope) -> str:
    """Return the method of a request; ``other`` for one that is not HTTP's own."""
    method: str = scope["method"]
    return method if method in _METHODS else "other"


class BodyGuard:
    """Takes a body in whole, within limits, and refuses what the routes should not see.

    Args:
        app: what it guards.
        render: writes a refusal.
        media_types: content types that are read; JSON types also with any ``+json`` suffix.
        open_paths: paths that skip every check; their routes read no body.
        max_bytes: largest body.
    """

    def __init__(
        self,
        app: ASGIApp,
        render: Renderers,
        media_types: frozenset[str],
        open_paths: re.Pattern[str] | None = None,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._app = app
        self._render = render
        self._media_types = media_types
        self._open_paths = open_paths
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or (self._open_paths and self._open_paths.fullmatch(scope["path"])):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            _check_accept(headers.get("accept", ""))
            body = await self._read(headers, receive)
            if body:
                self._check(headers, body)
        except SpoelError as refusal:
            await self._render(Request(scope), refusal)(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the body; None if the client left before its end."""
        too_large = BodyTooLarge(f"The body is larger than {self._max_bytes} bytes. Send less.")
        declared = headers.get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared) > self._max_bytes:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > self._max_bytes:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError as error:
            raise BodyTooSlow(f"The body was not complete after {BODY_TIMEOUT_S:g} s. Send it again.") from error

    def _check(self, headers: Headers, body: bytes) -> None:
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        is_json = media_type == "application/json" or (
            media_type.startswith("application/") and media_type.endswith("+json")
        )
        readable = media_type in self._media_types or (is_json and "application/json" in self._media_types)
        if not readable or headers.get("content-encoding", "identity").lower() != "identity":
            wanted = ", ".join(sorted(self._media_types))
            raise UnsupportedMediaType(f"Send the body as {wanted}, not compressed, and say so in Content-Type.")
        if is_json:
            check_json(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _check_accept(accept: str) -> None:
    ranges = [part.partition(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    if ranges and not any(item in _WRITTEN_TYPES or item.endswith(("/json", "+json")) for item in ranges):
        raise NotAcceptable("This service writes application/json. Name it in Accept, or leave Accept out.")


def check_json(body: bytes) -> None:
    """Refuse what two readers of JSON could take differently, or a database could not keep.

    Raises:
        MalformedJson: not JSON in UTF-8 (RFC 8259), a name twice in one object, NaN or an infinite number, half a
            surrogate pair, a NUL character, or nested too deeply.
    """
    try:
        from_json(body, allow_inf_nan=False)
        json.loads(body.decode(), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise MalformedJson("The body is nested too deeply. Send a flatter one.") from error
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON that can be read: {_place(error)}. Correct it there.") from error
    if _NUL_ESCAPE.search(body):
        raise MalformedJson("The body has the character U+0000 in a text. Leave it out.")


def _place(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return str(error)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:40]!r} stands twice in one object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")
