"""What is delivered: the levels above a pattern. Parts in a row make a session, sessions a day, days a course.

As in ``Pattern``, every interval runs from onset to onset.
"""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spoel_stimulation.engine.pattern import NS_PER_S, PULSES_OF_A_PAIR, Pattern, seconds_to_ns

MAX_PERCENT_MSO = 100
DAY_S = 86_400.0

PercentMso = Annotated[float, Field(ge=0, le=MAX_PERCENT_MSO)]


class _Level(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ramp(_Level):
    """A gentle beginning: the intensity rises in equal steps from train to train.

    Attributes:
        from_percent: of the part's intensity, in the first train.
        trains: how many trains are weaker; the one after them has the full intensity.
    """

    from_percent: float = Field(gt=0, le=100)
    trains: int = Field(ge=1)


class Part(_Level):
    """Trains of one pattern at one site.

    Attributes:
        pattern: their timing.
        percent_mso: intensity in percent of maximum stimulator output; a fraction is rounded down.
        second_percent_mso: intensity of the second pulse of a pair, where it differs.
        ramp: the weaker trains at its beginning.
        site: where the coil is; a name that the engine does not look at.
        channel: of a stimulator that has several.
        interval_s: from the first pulse of this part to the first of the next; None in the last part.
    """

    pattern: Pattern
    percent_mso: PercentMso
    second_percent_mso: PercentMso | None = None
    ramp: Ramp | None = None
    site: str = ""
    channel: int = Field(default=0, ge=0, le=127)
    interval_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.second_percent_mso is not None and self.pattern.pulses_per_burst != PULSES_OF_A_PAIR:
            raise ValueError("second_percent_mso belongs to a pair: pulses_per_burst is 2")
        if self.ramp is not None and self.ramp.trains >= self.pattern.trains:
            raise ValueError(f"a ramp of {self.ramp.trains} trains needs more than the {self.pattern.trains} there are")
        return self

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from its first to its last onset."""
        return (self.pattern.trains - 1) * self.pattern.train_interval_ns + self.pattern.train_duration_ns

    def set_percents_mso(self, train: int) -> tuple[int, ...]:
        """Return what a burst's pulses are set to, rounded down: one number where they are equal, else one a pulse.

        Args:
            train: index within the part, from 0.
        """
        percents = (
            (self.percent_mso,) if self.second_percent_mso is None else (self.percent_mso, self.second_percent_mso)
        )
        if self.ramp is None or train >= self.ramp.trains:
            return tuple(math.floor(percent) for percent in percents)
        start = Fraction(self.ramp.from_percent) / 100
        share = start + (1 - start) * Fraction(train, self.ramp.trains)
        return tuple(math.floor(Fraction(percent) * share) for percent in percents)


class Session(_Level):
    """Parts in a row: one in most protocols, two in a bilateral one.

    Attributes:
        parts: in the order of delivery; each but the last says when the next begins.
    """

    parts: tuple[Part, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        *earlier, last = self.parts
        if last.interval_s is not None:
            raise ValueError("the last part has no interval_s: nothing follows it")
        for index, part in enumerate(earlier):
            if part.interval_s is None or seconds_to_ns(part.interval_s) <= part.duration_ns:
                raise ValueError(
                    f"part {index} lasts {part.duration_ns / NS_PER_S:g} s and its interval_s is {part.interval_s}; "
                    "it says when the next part begins, and must be longer"
                )
        return self

    @classmethod
    def of(cls, pattern: Pattern, percent_mso: float) -> Self:
        """Return the session of one pattern at one intensity."""
        return cls(parts=(Part(pattern=pattern, percent_mso=percent_mso),))

    @classmethod
    def in_sequence(cls, parts: Iterable[Part], pause_s: float) -> Self:
        """Return parts one after another.

        Args:
            parts: without ``interval_s``.
            pause_s: from the last pulse of a part to the first of the next: the time to move the coil.
        """
        *earlier, last = parts
        timed = [
            part.model_copy(update={"interval_s": (part.duration_ns + seconds_to_ns(pause_s)) / NS_PER_S})
            for part in earlier
        ]
        return cls(parts=(*timed, last))

    @property
    def pulses(self) -> int:
        """Pulses of the session."""
        return sum(part.pattern.pulses for part in self.parts)

    @property
    def trains(self) -> int:
        """Trains of the session."""
        return sum(part.pattern.trains for part in self.parts)

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from the first to the last onset."""
        return self.part_starts_ns[-1] + self.parts[-1].duration_ns

    @property
    def part_starts_ns(self) -> tuple[int, ...]:
        """Onset of each part's first pulse."""
        starts = [0]
        for part in self.parts[:-1]:
            assert part.interval_s is not None  # noqa: S101 - the validator holds this
            starts.append(starts[-1] + seconds_to_ns(part.interval_s))
        return tuple(starts)


class Course(_Level):
    """The same session again and again: some a day, for some days.

    Attributes:
        session: each of them.
        sessions_per_day: ten in SNT.
        session_interval_s: from the first pulse of a session to that of the next on the same day.
        days: of treatment.
        day_interval_s: from the first pulse of a day to that of the next.
    """

    session: Session
    sessions_per_day: int = Field(default=1, ge=1, le=100)
    session_interval_s: float = Field(default=3_600.0, gt=0, le=DAY_S)
    days: int = Field(default=1, ge=1, le=1_000)
    day_interval_s: float = Field(default=DAY_S, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        session_ns = self.session.duration_ns
        if self.sessions_per_day > 1 and session_ns >= seconds_to_ns(self.session_interval_s):
            raise ValueError(
                f"a session lasts {session_ns / NS_PER_S:g} s and must be shorter than session_interval_s "
                f"({self.session_interval_s:g} s)"
            )
        day_ns = (self.sessions_per_day - 1) * seconds_to_ns(self.session_interval_s) + session_ns
        if self.days > 1 and day_ns >= seconds_to_ns(self.day_interval_s):
            raise ValueError(
                f"a day lasts {day_ns / NS_PER_S:g} s and must be shorter than day_interval_s "
                f"({self.day_interval_s:g} s)"
            )
        return self

    @property
    def sessions(self) -> int:
        """Sessions of the course."""
        return self.sessions_per_day * self.days

    @property
    def pulses(self) -> int:
        """Pulses of the course."""
        return self.sessions * self.session.pulses

    @property
    def session_starts_ns(self) -> Iterator[int]:
        """Onset of each session's first pulse."""
        session_ns, day_ns = seconds_to_ns(self.session_interval_s), seconds_to_ns(self.day_interval_s)
        return (day * day_ns + index * session_ns for day in range(self.days) for index in range(self.sessions_per_day))
