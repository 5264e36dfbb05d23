"""Events of the checks during a session: the patient's answers of the day, and presence. Aggregate ``session``."""

from datetime import date
from typing import ClassVar, Literal

from spoel_stimulation.events.base import SessionEvent
from spoel_stimulation.events.words import DailyOutcome, Decider


class DailyCheckAnswered(SessionEvent):
    """The patient was asked the questions of the day (HZ-15, HZ-20).

    Attributes:
        day: the local day for which the answers hold.
        answers: question → code of the answer.
        outcome: the strictest of all answers.
        undecided: question → whose decision its answer waits for.
    """

    event_name: ClassVar[str] = "daily-check-answered"

    day: date
    list_version: str
    answers: dict[str, str]
    outcome: DailyOutcome
    undecided: dict[str, Decider]


class DailyCheckDecided(SessionEvent):
    """The supervisor, or a physician, decided on one answer."""

    event_name: ClassVar[str] = "daily-check-decided"

    question: str
    decision: Literal["go", "no-session-today"]
    decided_as: Decider


class PresenceConfirmed(SessionEvent):
    """A trained person in the room showed that they are there and watch the patient (ST-11)."""

    event_name: ClassVar[str] = "presence-confirmed"

    awake: bool
