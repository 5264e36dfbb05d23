"""Reads of what others' events built: how old that is, and waiting until one's own write is in it (RFC 7240).

A command answers with ``X-Spoel-Position``, the place of the store at which its events are. Whoever sends that place
with a read, to this service or any other, together with ``Prefer: wait=SECONDS``, gets an answer that has it, marked by
``Preference-Applied: wait``; or a problem that says how far this service is. Nothing else is ever taken for success.
"""

import asyncio
import re
import time

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spoel_common.errors import SpoelError
from spoel_common.events.model import format_utc
from spoel_common.runtime import Runtime
from spoel_common.store import Position, PositionUnreadable
from spoel_common.web.problems import Renderers

POSITION_HEADER = "X-Spoel-Position"
AS_OF_HEADER = "X-Spoel-As-Of"
APPLIED_HEADER = "Preference-Applied"
LONGEST_WAIT_S = 10
POSITIONS_AT_MOST = 8

_LOOK_EVERY_S = 0.01
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=[,;]|$)", re.IGNORECASE)


class PositionInvalid(SpoelError):
    """``X-Spoel-Position`` is not what a command answered with."""

    slug = "position-invalid"
    status = 400
    title = "Not a position of a store"


class WriteNotSeen(SpoelError):
    """The write that the reader waits for has not come into this service's read models in time."""

    slug = "write-not-seen-yet"
    status = 503
    title = "Your write has not arrived here yet"


class Reads:
    """ASGI middleware around every GET: waits as the client prefers, and says as of when the answer is.

    Args:
        app: what it frames.
        runtime: knows how far each feed is taken in.
        render: writes a refusal.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime, render: Renderers) -> None:
        self._app = app
        self._runtime = runtime
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            waited = await self._wait(Headers(scope=scope))
        except SpoelError as refusal:
            await self._render(Request(scope), refusal)(scope, receive, send)
            return
        # before the route reads: what it reads is at least as young
        told = {APPLIED_HEADER: "wait"} if waited else {}
        if self._runtime.projections:
            told[AS_OF_HEADER] = as_of(self._runtime)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told)
            await send(message)

        await self._app(scope, receive, answer)

    async def _wait(self, headers: Headers) -> bool:
        """Wait as the client prefers; tell whether the read has all that it asked for.

        Raises:
            PositionInvalid: a position cannot be read.
            WriteNotSeen: it was not applied in time.
        """
        preferred = _WAIT.search(",".join(headers.getlist("prefer")))
        places = [part.strip() for line in headers.getlist(POSITION_HEADER) for part in line.split(",")]
        if preferred is None or not places:
            return False
        positions = [_position(place) for place in places[: POSITIONS_AT_MOST + 1]]
        if len(positions) > POSITIONS_AT_MOST:
            raise PositionInvalid(f"{POSITION_HEADER} has more than {POSITIONS_AT_MOST} positions. Send the newest.")
        followed = [position for position in positions if self._runtime.follows(position.source)]
        await self._until_applied(followed, min(int(preferred[1]), LONGEST_WAIT_S))
        return len(followed) == len(positions)

    async def _until_applied(self, positions: list[Position], wait_s: float) -> None:
        until_s = time.monotonic() + wait_s
        while missing := [position for position in positions if not await self._runtime.has_applied(position)]:
            if time.monotonic() >= until_s:
                raise self._not_seen(missing)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _not_seen(self, missing: list[Position]) -> WriteNotSeen:
        known = [self._runtime.known_of(position.source) for position in missing]
        places = "; ".join(
            f"{feed.source} is taken in up to {feed.position}, not {position.cursor.position}"
            + (f", with {feed.held} of its events aside" if feed.held else "")
            + (f", and no further: {feed.stopped}" if feed.stopped else "")
            for feed, position in zip(known, missing, strict=True)
        )
        return WriteNotSeen(
            f"{places}. Ask again shortly; or leave Prefer out to read what is known now.",
            feeds=[feed.model_dump(mode="json") for feed in known],
        )


def as_of(runtime: Runtime) -> str:
    """Return as of when the service knows the feed that it knows least of: ``2026-11-22T10:00:00.000000Z;age=1.2``.

    ``never`` where a feed was never fully applied since the service started. The time is the clock's, the age in
    seconds of wall time.
    """
    known = runtime.knowledge()
    oldest = max(known, key=lambda feed: feed.age_s, default=None)
    if oldest is None or oldest.as_of is None:
        return "never"
    return f"{format_utc(oldest.as_of)};age={oldest.age_s:.1f}"


def _position(text: str) -> Position:
    try:
        return Position.parse(text)
    except PositionUnreadable as error:
        raise PositionInvalid(f"{POSITION_HEADER}: {error}. Send what a command answered with.") from error
