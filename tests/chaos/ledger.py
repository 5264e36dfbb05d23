"""What was told to the services, and what became of it: the side of the books that the callers keep."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from spoel_common.ids import new_id

JsonObject = dict[str, Any]

ANSWER_WITHIN_S = 5.0
GIVE_UP_AFTER_S = 150.0
_AGAIN_AFTER_S = 0.15
_PASSES = frozenset({"idempotency-twin-under-way", "identity-unavailable", "unavailable", "version-conflict"})
"""Kinds of refusal that say "not now": the same command is sent again, with its key."""


class NeverAnswered(Exception):
    """A command got no final answer, however long it was repeated."""


@dataclass
class Told:
    """One command.

    Attributes:
        key: its Idempotency-Key, and the correlation id of whatever comes of it.
        makes: name of the event that it leaves exactly once where it is acknowledged.
        lost: how many of its answers did not come: each time nobody knew whether it had taken effect.
        state: ``open``, ``acknowledged`` or ``refused``.
    """

    key: str
    service: str
    makes: str
    lost: int = 0
    state: str = "open"


@dataclass
class Ledger:
    """Every command of a run.

    Attributes:
        not_now: answers that said to come again, by service and kind of problem.
        reads: answered reads, by service.
        roots: sizes and roots of the audit log as it was served, in the order of the answers.
    """

    told: dict[str, Told] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    not_now: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    roots: list[tuple[int, str]] = field(default_factory=list)

    def forget(self) -> None:
        """Begin anew."""
        self.told.clear()
        for counter in (self.acknowledged, self.refused, self.lost, self.not_now, self.reads):
            counter.clear()

    def answered(self, service: str) -> int:
        """Return how many commands and reads of a service are answered with a yes."""
        return self.acknowledged[service] + self.reads[service]

    def counts(self) -> dict[str, int]:
        """Return the totals: ``unknown`` are commands of which at least one answer was lost."""
        return {
            "told": len(self.told),
            "acknowledged": self.acknowledged.total(),
            "refused": self.refused.total(),
            "unknown_at_first": sum(bool(told.lost) for told in self.told.values()),
            "answers_lost": self.lost.total(),
            "answered_not_now": self.not_now.total(),
            "reads": self.reads.total(),
        }


class Callers:
    """People who speak to the services over HTTP, and repeat what was not answered, under the same key.

    Args:
        addresses: service → URLs of its processes; a repeat goes to the next one.
        tokens: person → bearer token.
    """

    def __init__(self, addresses: Mapping[str, Sequence[str]], tokens: Mapping[str, str], ledger: Ledger) -> None:
        self.ledger = ledger
        self.tokens = dict(tokens)
        self._addresses = addresses
        self._turn = 0
        self._client = httpx.AsyncClient(timeout=ANSWER_WITHIN_S, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def tell(self, person: str, service: str, path: str, body: JsonObject, makes: str) -> JsonObject | None:
        """Send a command until it is answered; return the answer, or None where it was refused.

        Raises:
            NeverAnswered: after two and a half minutes of repeating.
        """
        told = Told(new_id(), service, makes)
        self.ledger.told[told.key] = told
        headers = {"Idempotency-Key": told.key, "X-Correlation-Id": told.key, "Content-Type": "application/json"}
        answer = await self._until_answered(told, person, "POST", path, headers=headers, content=json.dumps(body))
        told.state = "acknowledged" if answer.is_success else "refused"
        (self.ledger.acknowledged if answer.is_success else self.ledger.refused)[service] += 1
        return answer.json() if answer.is_success else None

    async def read(self, person: str, service: str, path: str) -> JsonObject | None:
        """Read something; None where there is no such thing."""
        answer = await self._until_answered(Told(new_id(), service, ""), person, "GET", path)
        if not answer.is_success:
            return None
        self.ledger.reads[service] += 1
        return answer.json()

    async def _until_answered(self, told: Told, person: str, method: str, path: str, **parts: Any) -> httpx.Response:
        deadline_s = time.monotonic() + GIVE_UP_AFTER_S
        trouble = ""
        while time.monotonic() < deadline_s:
            urls = self._addresses[told.service]
            self._turn += 1
            request = self._client.build_request(method, urls[self._turn % len(urls)] + path, **parts)
            request.headers["Authorization"] = f"Bearer {self.tokens[person]}"
            try:
                answer = await self._client.send(request)
            except httpx.TransportError as error:
                trouble = repr(error)
                told.lost += 1
                self.ledger.lost[told.service] += 1
            else:
                if _is_final(answer):
                    return answer
                trouble = answer.text
                self.ledger.not_now[f"{told.service} {_kind_of(answer)}"] += 1
                if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                    told.lost += 1
                    self.ledger.lost[told.service] += 1
            await asyncio.sleep(_AGAIN_AFTER_S)
        raise NeverAnswered(f"{method} {path} of {told.service} ({told.key}): {trouble}")


def _is_final(answer: httpx.Response) -> bool:
    if answer.is_success:
        return True
    return answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR and _kind_of(answer) not in _PASSES


def _kind_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["type"]).rpartition(":")[2]
    except (ValueError, KeyError):
        return str(answer.status_code)
