"""Clocks: every piece of timing code is handed one.

*Clock time* (pulse onsets, pauses, device charge, event times) may run faster than the wall across processes, by
``SPOEL_CLOCK``; *wall time* (tokens, HTTP, SQL and NATS time-outs, freshness and presence) never does and is read
with ``time.monotonic`` and ``time.time`` directly.
"""

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """What timing code may ask of a clock."""

    @property
    def speed(self) -> float:
        """Seconds of clock time per second of wall time."""

    def utc_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary moment; never goes back."""

    async def sleep_until(self, monotonic_ns: int) -> None:
        """Return at or after ``monotonic_ns`` of this clock."""


def utc_now(clock: Clock) -> datetime:
    """Return the clock's moment as an aware datetime in UTC, to the microsecond."""
    seconds, ns = divmod(clock.utc_ns(), NS_PER_S)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1_000)


async def sleep_s(clock: Clock, duration_s: float) -> None:
    """Sleep for ``duration_s`` seconds of clock time."""
    await clock.sleep_until(clock.monotonic_ns() + round(duration_s * NS_PER_S))


class ScaledClock(BaseModel):
    """A clock that runs at ``speed`` times the machine's monotonic clock, from a common start.

    Processes that share one ``SPOEL_CLOCK`` agree on the time, since Linux's monotonic clock is one for all of them.

    Attributes:
        utc_ns_at_start: clock time UTC at the start, in nanoseconds (``utc_ns`` in JSON).
        machine_ns_at_start: the machine's ``time.monotonic_ns`` at the start (``monotonic_ns`` in JSON).
        speed: seconds of clock time per second of wall time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    utc_ns_at_start: int = Field(alias="utc_ns", ge=0)
    machine_ns_at_start: int = Field(alias="monotonic_ns", ge=0)
    speed: float = Field(gt=0, le=1_000)

    @classmethod
    def starting_now(cls, speed: float = 1.0) -> Self:
        """Return a clock that shows the wall's time now and runs at ``speed``."""
        return cls(utc_ns_at_start=time.time_ns(), machine_ns_at_start=time.monotonic_ns(), speed=speed)

    def to_setting(self) -> str:
        """Return the text for ``SPOEL_CLOCK``."""
        return self.model_dump_json(by_alias=True)

    def monotonic_ns(self) -> int:
        """Nanoseconds of clock time since the start."""
        return round((time.monotonic_ns() - self.machine_ns_at_start) * self.speed)

    def utc_ns(self) -> int:
        """Nanoseconds of clock time since 1970-01-01 UTC."""
        return self.utc_ns_at_start + self.monotonic_ns()

    async def sleep_until(self, monotonic_ns: int) -> None:
        """Return at ``monotonic_ns`` of clock time, to the resolution of the event loop's timer."""
        left_ns = monotonic_ns - self.monotonic_ns()
        await asyncio.sleep(max(0.0, left_ns / NS_PER_S / self.speed))


class SteppedClock:
    """Virtual time for tests in one process: it moves only when told to, and then exactly.

    Sleepers wake in the order of their moments; between two wake-ups the event loop runs until it is idle for a few
    rounds, so that what a sleeper starts gets its turn.
    """

    speed = 1.0

    def __init__(self, utc_ns: int = 1_767_225_600 * NS_PER_S) -> None:
        self._utc_ns_at_start = utc_ns
        self._now_ns = 0
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def monotonic_ns(self) -> int:
        """Nanoseconds of virtual time since the start."""
        return self._now_ns

    def utc_ns(self) -> int:
        """Nanoseconds of virtual time since 1970-01-01 UTC."""
        return self._utc_ns_at_start + self._now_ns

    async def sleep_until(self, monotonic_ns: int) -> None:
        """Return when virtual time has reached ``monotonic_ns``."""
        if monotonic_ns <= self._now_ns:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (monotonic_ns, next(self._order), wake))
        await wake

    async def advance_s(self, duration_s: float, settle_rounds: int = 20) -> None:
        """Move virtual time on by ``duration_s`` seconds and wake everybody whose moment lies within."""
        target_ns = self._now_ns + round(duration_s * NS_PER_S)
        await self._settle(settle_rounds)
        while self._sleepers and self._sleepers[0][0] <= target_ns:
            moment_ns, _, wake = heapq.heappop(self._sleepers)
            self._now_ns = moment_ns
            if not wake.done():
                wake.set_result(None)
            await self._settle(settle_rounds)
        self._now_ns = target_ns
        await self._settle(settle_rounds)

    @staticmethod
    async def _settle(rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)
