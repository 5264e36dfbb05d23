"""The people of the demo: they speak to the services over HTTP, each with a token of their own.

A command keeps its Idempotency-Key when it is sent again, so that whoever did not hear an answer may simply ask again.
What was told to one service reaches the others a moment later: a refusal that says "not known here (yet)" is tried
again until it has arrived or the time is over.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from spoel_common.ids import new_id
from spoel_local.demo.report import Failure

JsonObject = dict[str, Any]

ARRIVES_WITHIN_S = 15.0
ANSWERS_WITHIN_S = 20.0
_AGAIN_AFTER_S = 0.1
_LOOK_AFTER_S = 0.05
_REQUEST_TIMEOUT_S = 10.0

MAY_ARRIVE = frozenset(
    {
        # another service's event is on its way
        "booking-unknown",
        "case-unknown-here",
        "consent-missing",
        "consent-not-given",
        "identity-strip-missing",
        "indication-missing",
        "indication-not-decided",
        "order-not-signed",
        "patient-booked-elsewhere",
        "registration-not-verified",
        "room-unknown-here",
        "session-unknown-here",
        "slot-taken",
        "stale-knowledge",
        "threshold-not-finished",
        # the device or the last train needs a moment
        "device-not-ready",
        "device-status-old",
        "stimulus-too-soon",
        "train-under-way",
        # the service is starting, or the first request is still under way
        "identity-unavailable",
        "idempotency-twin-under-way",
        "unavailable",
        "version-conflict",
    }
)
"""Kinds of refusal that a moment's patience cures; each says so in its text."""


class Refused(Exception):
    """A step of the demo was refused, or its answer did not come.

    Args:
        failure: the step, the request, and the problem.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class People:
    """Everybody who takes part, with the services' addresses.

    Args:
        services: service → URL.
        tokens: person → bearer token, good at every service.
        transport: how HTTP is spoken; for tests.
    """

    def __init__(
        self,
        services: Mapping[str, str],
        tokens: Mapping[str, str],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._services = services
        self._tokens = tokens
        self._client = httpx.AsyncClient(timeout=_REQUEST_TIMEOUT_S, trust_env=False, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(
        self, person: str, service: str, path: str, step: str, params: dict[str, str] | None = None
    ) -> JsonObject:
        """GET something as a person.

        Raises:
            Refused: after the time that arriving may take.
        """
        return await self._insist(self._request(person, service, "GET", path, params=params), step)

    async def tell(
        self,
        person: str,
        service: str,
        path: str,
        body: JsonObject,
        step: str,
        media_type: str = "application/json",
        arrives_within_s: float = ARRIVES_WITHIN_S,
    ) -> JsonObject:
        """POST a command as a person.

        Raises:
            Refused: at once, or after the time that arriving may take.
        """
        headers = {"Idempotency-Key": new_id(), "Content-Type": media_type}
        request = self._request(person, service, "POST", path, headers=headers, content=json.dumps(body))
        return await self._insist(request, step, arrives_within_s)

    async def insist(self, person: str, service: str, path: str, body: JsonObject, step: str) -> JsonObject:
        """POST a command with an effect on a device, and repeat it under the same key until its outcome is known.

        A repeat never acts again; it answers with what has become of the first.

        Raises:
            Refused: at once, or because it failed, or its outcome is unknown, or did not come in time.
        """
        headers = {"Idempotency-Key": new_id(), "Content-Type": "application/json"}
        request = self._request(person, service, "POST", path, headers=headers, content=json.dumps(body))
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while True:
            answer = await self._insist(request, step)
            if answer["outcome"] == "done":
                return answer
            if answer["outcome"] != "accepted" or time.monotonic() > deadline:
                message = f"{step}: POST {request.url} was accepted, and its outcome is {_shorten(answer)}"
                raise Refused(Failure(step=step, message=message, request=f"POST {request.url}", problem=answer))
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def until(
        self,
        person: str,
        service: str,
        path: str,
        holds: Callable[[JsonObject], bool],
        step: str,
        timeout_s: float = ARRIVES_WITHIN_S,
    ) -> JsonObject:
        """GET something again and again until it is as wanted.

        Raises:
            Refused: with the last answer, when the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            answer = await self.ask(person, service, path, step)
            if holds(answer):
                return answer
            if time.monotonic() > deadline:
                message = f"{step}: still not so after {timeout_s:g} s. The last answer was {_shorten(answer)}"
                raise Refused(Failure(step=step, message=message, request=f"GET {self._services[service]}{path}"))
            await asyncio.sleep(_LOOK_AFTER_S)

    def _request(self, person: str, service: str, method: str, path: str, **parts: Any) -> httpx.Request:  # noqa: ANN401 - handed on to httpx
        request = self._client.build_request(method, self._services[service] + path, **parts)
        request.headers["Authorization"] = f"Bearer {self._tokens[person]}"
        return request

    async def _insist(
        self, request: httpx.Request, step: str, arrives_within_s: float = ARRIVES_WITHIN_S
    ) -> JsonObject:
        deadline = time.monotonic() + arrives_within_s
        while True:
            try:
                answer = await self._client.send(request)
            except httpx.TransportError as error:
                refusal = Refused(_no_answer(step, request, error))
            else:
                if answer.is_success:
                    body: JsonObject = answer.json()
                    return body
                refusal = Refused(_failure_of(step, request, answer))
                if _slug(refusal.failure.problem) not in MAY_ARRIVE:
                    raise refusal
            if time.monotonic() > deadline:
                raise refusal
            await asyncio.sleep(_AGAIN_AFTER_S)


def _no_answer(step: str, request: httpx.Request, error: httpx.TransportError) -> Failure:
    what = f"{request.method} {request.url}"
    return Failure(step=step, message=f"{step}: {what} got no answer ({type(error).__name__}).", request=what)


def _failure_of(step: str, request: httpx.Request, answer: httpx.Response) -> Failure:
    what = f"{request.method} {request.url}"
    try:
        problem: JsonObject = answer.json()
    except json.JSONDecodeError:
        problem = {"detail": answer.text[:500]}
    detail = problem.get("detail") or _diagnostics(problem) or _shorten(problem)
    message = f"{step}: {what} was answered {answer.status_code}: {detail}"
    return Failure(step=step, message=message, request=what, status=answer.status_code, problem=problem)


def _diagnostics(outcome: JsonObject) -> str:
    """Return the text of a FHIR OperationOutcome."""
    return "; ".join(str(issue.get("diagnostics", "")) for issue in outcome.get("issue", ()))


def _slug(problem: JsonObject | None) -> str:
    return str((problem or {}).get("type", "")).rpartition(":")[2]


def _shorten(value: object) -> str:
    longest = 400
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else text[:longest] + "…"
