"""A room's belt: kept connected, and recorded while locations are searched.

The series stays in this process's memory, from the beginning of a recording to its result; it is never stored.
"""

import asyncio
import time
from contextlib import aclosing, suppress
from typing import Literal, NamedTuple

import numpy as np
import structlog

from spoel_common.clock import NS_PER_S, Clock
from spoel_stimulation.engine.coupling import Beats
from spoel_stimulation.heart.profile import Contact, Measurement
from spoel_stimulation.heart.rules import BeltRules
from spoel_stimulation.heart.source import Belt, HeartLost, HeartNotAllowed, HeartSource

RECONNECT_S = 1.0
MS_PER_S = 1_000.0
NEWEST = 10
"""Notifications at a recording's end of which one came without delay: about ten seconds of a belt's."""

Trouble = Literal["belt-lost", "belt-silent", "contact-lost", "beats-missing"]

_log = structlog.get_logger(__name__)


class Came(NamedTuple):
    """One notification of a recording: the clock's time UTC at which it came, and its intervals."""

    at_utc_ns: int
    rr_ms: tuple[float, ...]


class BeltState(NamedTuple):
    """A belt as it is now.

    Attributes:
        problem: why nothing can be recorded; None where it can.
        beats: of the recording that is under way.
        heard_age_s: wall seconds since it was heard.
    """

    problem: str | None
    belt: Belt | None
    contact: Contact
    rate_bpm: int | None
    beats: int
    heard_age_s: float | None


class HeartRecorder:
    """Listens to one belt.

    Args:
        source: the belt.
        clock: clock time, in which beats are placed.
        rules: when it counts as lost.
        clinical: the site treats people: no simulated belt (HZ-25).
    """

    def __init__(self, source: HeartSource, clock: Clock, rules: BeltRules, *, clinical: bool) -> None:
        self._source = source
        self._clock = clock
        self._rules = rules
        self._clinical = clinical
        self._belt: Belt | None = None
        self._problem: str | None = "The belt has not answered yet."
        self._last: Measurement | None = None
        self._heard_at_s: float | None = None
        self._beat_at_s = 0.0
        self._series: list[Came] | None = None
        self._trouble: Trouble | None = None
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Keep the belt connected, until cancelled."""
        while True:
            try:
                await self._listen()
            except (HeartLost, HeartNotAllowed) as error:
                self._lose(str(error))
            except Exception as error:  # noqa: BLE001 - whatever a Bluetooth library raises: a room needs no belt to stop
                self._lose(f"The belt cannot be heard ({type(error).__name__}: {error}). Look at it, or use another.")
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        async with aclosing(self._source.listen()) as heard:
            async for each in heard:
                if isinstance(each, Belt):
                    self._check_allowed(each)
                    self._belt, self._problem = each, None
                else:
                    self._hear(each)

    def _check_allowed(self, belt: Belt) -> None:
        """Refuse a simulated belt where people are treated, and any other while the clock runs fast (HZ-25).

        Raises:
            HeartNotAllowed: says which.
        """
        if belt.simulated and self._clinical:
            raise HeartNotAllowed("This site is clinical, and the belt is a simulator. Wear a real one.")
        if not belt.simulated and self._clock.speed != 1:
            raise HeartNotAllowed(f"A real belt does not run at {self._clock.speed:g} times time. Use a simulator.")

    def _lose(self, problem: str) -> None:
        if self._problem != problem:
            _log.warning("belt.lost", address=self._source.address, detail=problem)
        self._belt, self._last, self._problem = None, None, problem
        self._fail("belt-lost")

    def _hear(self, measurement: Measurement) -> None:
        self._last, self._heard_at_s = measurement, time.monotonic()
        if measurement.contact == "lost":
            self._fail("contact-lost")
        if self._series is not None and measurement.rr_units:
            self._beat_at_s = self._heard_at_s
            self._series.append(Came(self._clock.utc_ns(), measurement.rr_ms))
            self._news.set()

    def _fail(self, trouble: Trouble) -> None:
        """Remember the first trouble of a recording: a series with a hole is no series."""
        if self._series is not None and self._trouble is None:
            self._trouble = trouble
            self._news.set()

    # --- what a search asks

    @property
    def state(self) -> BeltState:
        """The belt now."""
        age_s = None if self._heard_at_s is None else time.monotonic() - self._heard_at_s
        last = self._last
        return BeltState(
            problem=self._why_not(age_s),
            belt=self._belt,
            contact="not-told" if last is None else last.contact,
            rate_bpm=None if last is None else last.rate_bpm,
            beats=sum(len(came.rr_ms) for came in self._series or ()),
            heard_age_s=age_s,
        )

    def _why_not(self, age_s: float | None) -> str | None:
        if self._problem is not None:
            return self._problem
        if self._last is None or age_s is None or age_s > self._rules.max_silence_s:
            return "The belt is silent. Look whether it is worn, and wet its electrodes."
        if self._last.contact == "lost":
            return "The belt has no contact with the skin. Wet its electrodes and tighten it."
        if not self._last.rr_units:
            return "The belt gives no intervals between beats. Wait a moment, or use another belt."
        return None

    @property
    def trouble(self) -> Trouble | None:
        """What spoils the recording that is under way; None where nothing does."""
        if self._trouble is None and self._series is not None:
            if self._is_over(self._heard_at_s):
                self._trouble = "belt-silent"
            elif self._is_over(self._beat_at_s):
                self._trouble = "beats-missing"
        return self._trouble

    def _is_over(self, at_s: float | None) -> bool:
        """Tell whether a moment of wall time is longer ago than a belt may be silent."""
        return at_s is None or time.monotonic() - at_s > self._rules.max_silence_s

    async def told_until(self, utc_ns: int) -> None:
        """Return when intervals have come at or after a moment of clock time, or the recording is spoilt."""
        while self.trouble is None and not (self._series and self._series[-1].at_utc_ns >= utc_ns):
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rules.max_silence_s):
                    await self._news.wait()

    def begin(self) -> None:
        """Begin to record; what was recorded before is dropped."""
        self._series, self._trouble, self._beat_at_s = [], None, time.monotonic()

    def drop(self) -> None:
        """Keep nothing of the recording."""
        self._series, self._trouble = None, None

    def end(self, zero_utc_ns: int) -> Beats | Trouble:
        """End the recording and return its beats, in seconds since ``zero_utc_ns``, or what spoilt it."""
        trouble, series = self.trouble, self._series or []
        self.drop()
        if trouble is not None:
            return trouble
        return placed(series, zero_utc_ns, self._rules.max_missing_s)


def placed(series: list[Came], zero_utc_ns: int, max_missing_s: float) -> Beats | Trouble:
    """Return the beats of a recording, each at its moment.

    A belt says how long intervals were, not when: their sum gives the moments, but for one constant, which is the
    notification that came with the least delay. Where the newest notifications all came later than the sum says,
    intervals are missing before them.

    Args:
        series: notifications in the order in which they came.
        zero_utc_ns: the moment of second 0.
        max_missing_s: how much may be missing.
    """
    if not series:
        return "belt-silent"
    counts = [len(came.rr_ms) for came in series]
    rr_ms = np.array([rr for came in series for rr in came.rr_ms], dtype=np.float64)
    ends_s = np.cumsum(rr_ms) / MS_PER_S
    came_s = np.array([(came.at_utc_ns - zero_utc_ns) / NS_PER_S for came in series])
    delay_s = came_s - ends_s[np.cumsum(counts) - 1]
    if delay_s[-NEWEST:].min() - delay_s.min() > max_missing_s:
        return "beats-missing"
    return Beats(ends_s + float(delay_s.min()), rr_ms)
