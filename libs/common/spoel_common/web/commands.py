"""Commands over HTTP: one unit of work each, once for each ``Idempotency-Key``.

The answer is stored in the transaction in which the events are appended, so either both are there or neither is. A
repeat gets the stored answer. A refusal is not stored: the same key may be used again when its reason is gone.
"""

import asyncio
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from spoel_common.errors import SpoelError, VersionConflict
from spoel_common.people import Actor
from spoel_common.runtime import Runtime
from spoel_common.store import Position, idempotency
from spoel_common.web.dependencies import ActorDep, RuntimeDep
from spoel_common.web.problems import IdempotencyKeyMissing, IdempotencyKeyReused, IdempotencyTwinUnderWay
from spoel_common.web.reads import POSITION_HEADER
from spoel_common.work import Work

ATTEMPTS = 3
"""How often a handler is tried when others are faster: on PostgreSQL a conflict may be a mere race."""

TWIN_WAIT_S = 5.0
_LOOK_AGAIN_S = 0.1
REPLAY_HEADER = "Idempotency-Replayed"

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PLACE = re.compile(r"\{([a-z_]+)\}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

Body = dict[str, Any]
Handler = Callable[[Work], Awaitable[BaseModel]]
Current = Callable[[Body], Awaitable[Body]]
Effect = Callable[[Body], Awaitable[None]]


class Scope(NamedTuple):
    """What a repeated command has in common with the first.

    Attributes:
        client: the person or system that asks.
        route: method and path.
        key: the ``Idempotency-Key``.
    """

    client: str
    route: str
    key: str


class Answer(NamedTuple):
    """An answer as it is kept: the bytes of the body exactly as they were sent.

    Attributes:
        position: place of the store that has the command's events; None in answers from before it was kept.
    """

    status: int
    body: str
    location: str | None
    position: str | None


class _TwinWasFaster(Exception):
    """The same command was completed by another process in the meantime."""


class _TwinUnderWay(Exception):
    """The same command is being worked on by another process."""


@dataclass(frozen=True)
class CommandCall:
    """One command as it came over HTTP.

    Attributes:
        actor: who asks.
        runtime: the service's runtime.
        scope: client, route and ``Idempotency-Key``: what a repeat has in common with the first.
        body_hash: HMAC-SHA256 of query and body, in hexadecimal.
        correlation_id: names the request in logs and events.
        traceparent: W3C trace context of the request, if there was one; events carry it where tracing is off.
    """

    actor: Actor
    runtime: Runtime
    scope: Scope
    body_hash: str
    correlation_id: str
    traceparent: str | None

    @property
    def idempotency_key(self) -> str:
        """The client's name for this command."""
        return self.scope.key

    def under(self, supervisor_id: str | None) -> "CommandCall":
        """Return the same call, done under the supervision of ``supervisor_id``."""
        return replace(self, actor=self.actor.model_copy(update={"supervisor_id": supervisor_id}))

    async def run(
        self,
        handler: Handler,
        status: int = 201,
        current: Current | None = None,
        location: str | None = None,
        *,
        effect: Effect | None = None,
    ) -> Response:
        """Do the command, or give the answer that it got before.

        Args:
            handler: loads, decides and appends; called again if somebody else was faster, so it has no
                effects but through its unit of work.
            status: HTTP status of success.
            current: turns the stored answer into the state of things now, at the first call and at every repeat.
            location: the ``Location`` header; may name fields of the answer, as in ``/cases/{case_id}``.
            effect: done once, after the commit, and never at a repeat.

        Raises:
            IdempotencyKeyReused: the key stood with another body.
            IdempotencyTwinUnderWay: the same command is still being worked on.
            VersionConflict: somebody else was faster, every time.
            SpoelError: the handler refuses; nothing is stored.
        """
        async with _alone(self.runtime.under_way, self.scope):
            answer, replayed = await self._do_or_find(handler, status, location)
            if replayed:
                self.runtime.metrics.idempotency_replays.inc()
            elif effect is not None:
                await effect(json.loads(answer.body))
            return await _respond(answer, current, replayed=replayed)

    async def _do_or_find(self, handler: Handler, status: int, location: str | None) -> tuple[Answer, bool]:
        """Return the answer, and whether it was there already; wait for a twin in another process."""
        give_up_s = time.monotonic() + TWIN_WAIT_S
        while True:
            kept = await self._find()
            if kept is not None:
                return kept, True
            try:
                return await self._do(handler, status, location), False
            except _TwinUnderWay as twin:
                if time.monotonic() > give_up_s:
                    raise _under_way() from twin
                await asyncio.sleep(_LOOK_AGAIN_S)
            except (SpoelError, _TwinWasFaster):
                kept = await self._find()
                if kept is None:
                    raise
                return kept, True

    async def _find(self) -> Answer | None:
        async with self.runtime.database.read() as conn:
            kept = await idempotency.find(conn, *self.scope)
        if kept is None:
            return None
        if kept.body_hash != self.body_hash:
            raise IdempotencyKeyReused(
                "This Idempotency-Key stood with another request. Give every new request a key of its own."
            )
        stored = json.loads(kept.body)
        return Answer(kept.status, stored["body"], stored["location"], stored.get("position"))

    async def _do(self, handler: Handler, status: int, location: str | None) -> Answer:
        for _ in range(ATTEMPTS - 1):
            with suppress(VersionConflict):
                return await self._do_once(handler, status, location)
        return await self._do_once(handler, status, location)

    async def _do_once(self, handler: Handler, status: int, location: str | None) -> Answer:
        begin = self.runtime.units.begin(self.actor, self.correlation_id, traceparent=self.traceparent)
        async with begin as work:
            if not await idempotency.claim(work.conn, *self.scope):
                raise _TwinUnderWay
            result = await handler(work)
            body = result.model_dump_json(by_alias=True)
            position = await self._position(work)
            answer = Answer(status, body, location and _filled(location, json.loads(body)), position)
            try:
                await idempotency.keep(
                    work.conn,
                    *self.scope,
                    body_hash=self.body_hash,
                    status=status,
                    body=json.dumps({"body": body, "location": answer.location, "position": position}).encode(),
                    created_at=datetime.now(UTC),
                )
            except IntegrityError as error:
                raise _TwinWasFaster from error
        return answer

    async def _position(self, work: Work) -> str:
        """Return the place of the store that has all that this command appended, and all that it saw."""
        store = self.runtime.store
        return str(Position(store.name.source, await store.head_seen_by(work.conn)))


def _under_way() -> IdempotencyTwinUnderWay:
    return IdempotencyTwinUnderWay(
        f"The same request has been worked on for {TWIN_WAIT_S:g} s. "
        "Ask again shortly with the same Idempotency-Key to get its answer."
    )


def _filled(template: str, body: Body) -> str:
    """Put fields of the answer into the places that name them; other braces stay as they are."""

    def value(match: re.Match[str]) -> str:
        return quote(str(body[match[1]]), safe="") if match[1] in body else match[0]

    return _PLACE.sub(value, template)


async def command_call(
    request: Request,
    runtime: RuntimeDep,
    actor: ActorDep,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Names this command: a repeat with the same key gets the same answer and does nothing again.",
        ),
    ] = None,
) -> CommandCall:
    """Return the command that ``request`` is.

    Raises:
        IdempotencyKeyMissing: no ``Idempotency-Key``, or not 1 to 255 visible ASCII characters.
    """
    if key is None or not _KEY.fullmatch(key):
        raise IdempotencyKeyMissing(
            "A command needs the header Idempotency-Key: 1 to 255 visible ASCII characters, for example a new UUID. "
            "Repeat it unchanged when you repeat the request."
        )
    body = await request.body()
    traceparent = request.headers.get("traceparent", "")
    return CommandCall(
        actor=actor,
        runtime=runtime,
        scope=Scope(actor.person_id, f"{request.method} {request.scope['path']}", key),
        body_hash=hmac.digest(runtime.body_hash_key, request.scope["query_string"] + b"\n" + body, "sha256").hex(),
        correlation_id=request.scope["spoel.correlation_id"],
        traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
    )


CommandDep = Annotated[CommandCall, Depends(command_call)]


@asynccontextmanager
async def _alone(under_way: dict[object, asyncio.Event], scope: Scope) -> AsyncIterator[None]:
    """Wait until no twin of ``scope`` is worked on in this process.

    Raises:
        IdempotencyTwinUnderWay: it still is after ``TWIN_WAIT_S``.
    """
    try:
        async with asyncio.timeout(TWIN_WAIT_S):
            while (twin := under_way.get(scope)) is not None:
                await twin.wait()
    except TimeoutError as error:
        raise _under_way() from error
    done = under_way[scope] = asyncio.Event()
    try:
        yield
    finally:
        del under_way[scope]
        done.set()


async def _respond(answer: Answer, current: Current | None, *, replayed: bool) -> Response:
    body = answer.body
    if current is not None:
        body = json.dumps(await current(json.loads(body)), ensure_ascii=False)
    headers = {REPLAY_HEADER: "true"} if replayed else {}
    if answer.position:
        headers[POSITION_HEADER] = answer.position
    if answer.location:
        headers["Location"] = answer.location
    return Response(body, answer.status, headers, "application/json")
