"""The search for the resting motor threshold by visible movement, one stimulus at a time.

It starts weak and steps up until the muscle first moves; from there a digital control sequence (harmonic, adaptive;
SAMT, after Wang, Peterchev and Goetz 2023) moves against every answer by a step that shrinks with each change of the
answer, and stops after a fixed number of answers. Its whole state follows from the stimuli so far, so it is asked
anew after each one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from typing import Literal, Protocol

from spoel_planning.domain.rules import StaircaseRules
from spoel_planning.events.measuring import Response

NotFoundReason = Literal["no-response-at-ceiling", "response-at-lowest", "too-many-stimuli"]


class Answered(Protocol):
    """A stimulus that was delivered and judged."""

    @property
    def percent_mso(self) -> int:
        """Intensity at which it was delivered."""

    @property
    def response(self) -> Response:
        """What was seen."""


@dataclass(frozen=True)
class Next:
    """Deliver one more stimulus, at this intensity."""

    percent_mso: int


@dataclass(frozen=True)
class Finished:
    """The threshold, rounded to a whole %MSO, halves down, and never above the order's ceiling.

    An over-estimate is the worse error (HZ-06).
    """

    estimate_percent_mso: int


@dataclass(frozen=True)
class NotFound:
    """The search ended without a threshold."""

    reason: NotFoundReason


Step = Next | Finished | NotFound


@dataclass
class _Search:
    level: float
    refining: bool = False
    divisor: int = 1
    last: Response = "yes"
    answers: int = 0


def next_stimulus(
    stimuli: Sequence[Answered], ceiling_percent_mso: int, max_stimuli: int, rules: StaircaseRules
) -> Step:
    """Return what to do after these stimuli.

    A stimulus that could not be judged, or was delivered at another intensity than was asked for, answers nothing:
    it is asked for again and counts only against ``max_stimuli``. Stimuli after the end change nothing.

    Args:
        stimuli: all stimuli of the session, in the order in which they were answered.
        ceiling_percent_mso: highest intensity of the signed order; nothing above it is ever returned.
        max_stimuli: most stimuli that may be delivered.
        rules: start, steps and end of the search.
    """
    search = _Search(level=min(rules.start_percent_mso, ceiling_percent_mso))
    for stimulus in stimuli:
        asked = _fired(search.level, ceiling_percent_mso, rules)
        if stimulus.response == "repeat" or stimulus.percent_mso != asked:
            continue
        reason = _dead_end(asked, stimulus.response, ceiling_percent_mso, rules)
        if reason is not None:
            return NotFound(reason)
        _move(search, asked, stimulus.response, rules)
        if search.answers > rules.refinement_stimuli:
            # The last step may lead past what may be delivered, and so past every stimulus that was seen to move.
            return Finished(min(_rounded(search.level, ROUND_HALF_DOWN), ceiling_percent_mso))
    if len(stimuli) >= max_stimuli:
        return NotFound("too-many-stimuli")
    return Next(_fired(search.level, ceiling_percent_mso, rules))


def _dead_end(asked: int, response: Response, ceiling: int, rules: StaircaseRules) -> NotFoundReason | None:
    if response == "no" and asked >= ceiling:
        return "no-response-at-ceiling"
    if response == "yes" and asked <= rules.lowest_percent_mso:
        return "response-at-lowest"
    return None


def _move(search: _Search, asked: int, response: Response, rules: StaircaseRules) -> None:
    if not search.refining and response == "no":
        search.level = asked + rules.step_up_percent_mso
        return
    if not search.refining:
        search.refining = True
        search.level = asked
    elif response != search.last:
        search.divisor += 1
    step = rules.first_step_percent_mso / search.divisor
    # The state stays continuous; only what is fired is rounded. Otherwise the walk stalls at steps below 0.5.
    search.level += step if response == "no" else -step
    search.last = response
    search.answers += 1


def _fired(level: float, ceiling: int, rules: StaircaseRules) -> int:
    return min(max(_rounded(level, ROUND_HALF_UP), rules.lowest_percent_mso), ceiling)


def _rounded(level: float, rounding: str) -> int:
    return int(Decimal(str(round(level, 9))).to_integral_value(rounding=rounding))  # a sum of thirds is no exact half
