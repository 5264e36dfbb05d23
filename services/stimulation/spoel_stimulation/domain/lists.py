"""The room's lists and limits: models of the files in ``spoel_stimulation/data``, each with its source.

``verified`` says that somebody compared what stands there with its source; where it is false, whoever relies on it is
shown that. Unknown keys are refused, so that a misspelt limit does not vanish.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spoel_stimulation.events.words import AlarmClass, DailyOutcome, Decider, SideEffect
from spoel_stimulation.orders import TreatmentOrder

PACKAGE = "spoel_stimulation"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Part):
    """What people read, in Dutch and English."""

    nl: str = Field(min_length=1)
    en: str = Field(min_length=1)


class Sourced(_Part):
    """Something with where it comes from."""

    source: str = Field(min_length=1)
    verified: bool


class Item(_Part):
    """One thing to look at."""

    id: str
    text: Text


class OpeningCheck(Sourced):
    """What is looked at in a room before the first session of a day."""

    id: str
    version: str
    items: tuple[Item, ...]


class Answer(_Part):
    """One answer that the patient can give, and what it leads to.

    Attributes:
        decider: who decides where the outcome is ``ask-supervisor``.
        alarm: in which class somebody is alarmed; None where nobody is.
    """

    id: str
    outcome: DailyOutcome
    decider: Decider = "supervisor"
    alarm: AlarmClass | None = None
    text: Text


class Question(_Part):
    """One question of the day."""

    id: str
    text: Text
    answers: tuple[Answer, ...] = Field(min_length=2)

    def answer(self, answer_id: str) -> Answer | None:
        """Return an answer by its code."""
        return next((answer for answer in self.answers if answer.id == answer_id), None)


class DailyCheck(Sourced):
    """The questions that the patient is asked before each session."""

    id: str
    version: str
    questions: tuple[Question, ...]

    @property
    def by_id(self) -> Mapping[str, Question]:
        """Each question by its code."""
        return {question.id: question for question in self.questions}


class SideEffectRow(_Part):
    """One side effect, and what the room does at once."""

    id: SideEffect
    consequence: Literal["record", "pause"] = "record"
    alarm: AlarmClass | None = None
    text: Text


class SideEffects(Sourced):
    """All side effects that can be recorded."""

    effects: tuple[SideEffectRow, ...]

    def row(self, effect: SideEffect) -> SideEffectRow:
        """Return the row of an effect."""
        return next(row for row in self.effects if row.id == effect)


class FirstAid(Sourced):
    """The card for any loss of consciousness."""

    steps: tuple[Text, ...]


class PresenceRule(Sourced):
    """How often a trained person shows that they are in the room, in wall seconds."""

    every_s: float = Field(gt=0)


class PauseRule(Sourced):
    """After how many seconds of clock time a pause is a long one."""

    long_s: float = Field(gt=0)


class CoilRule(Sourced):
    """Highest temperature of a coil at the patient, in °C; a device's own may be lower."""

    max_temperature_c: float


class PlacementRule(Sourced):
    """How far a coil may be from target and angle within the signed plan."""

    max_shift_mm: float = Field(ge=0)
    max_turn_deg: float = Field(ge=0)


class Rules(_Part):
    """Limits of a session in the room."""

    presence: PresenceRule
    pause: PauseRule
    coil: CoilRule
    placement: PlacementRule


class Maximum(Sourced):
    """Limits of one protocol over a patient's local day.

    Attributes:
        max_pulses_per_day: in all rooms; pulses of unknown outcome count as given.
        min_pause_between_sessions_s: from the last pulse of one session to the next session, clock time.
    """

    max_pulses_per_day: int = Field(ge=1)
    min_pause_between_sessions_s: float = Field(ge=0)


class _OfProtocol(Maximum):
    id: str


class _Maxima(_Part):
    default: Maximum
    protocol: tuple[_OfProtocol, ...]

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        names = [row.id for row in self.protocol]
        if len(set(names)) != len(names):
            raise ValueError("a protocol has two rows")
        return self


class ConditionText(Text):
    """A start condition in the words of the room, and the first act that asks for it."""

    asked_at: Literal["open", "arm", "start"]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(PACKAGE).joinpath("data", name).read_text(encoding="utf-8"))


@cache
def opening_check() -> OpeningCheck:
    """Return the opening check (``opening_check.toml``)."""
    return OpeningCheck.model_validate(_read("opening_check.toml"))


@cache
def daily_check() -> DailyCheck:
    """Return the questions of the day (``daily_check.toml``)."""
    return DailyCheck.model_validate(_read("daily_check.toml"))


@cache
def side_effects() -> SideEffects:
    """Return the side effects (``side_effects.toml``)."""
    return SideEffects.model_validate(_read("side_effects.toml"))


@cache
def first_aid() -> FirstAid:
    """Return the first-aid card (``first_aid.toml``)."""
    return FirstAid.model_validate(_read("first_aid.toml"))


@cache
def rules() -> Rules:
    """Return the limits of a session (``rules.toml``)."""
    return Rules.model_validate(_read("rules.toml"))


@cache
def _maxima() -> _Maxima:
    return _Maxima.model_validate(_read("maxima.toml"))


def maximum_of(order: TreatmentOrder) -> Maximum:
    """Return an order's limits over a day: its own where it carries them, else those of its protocol's row."""
    maxima = _maxima()
    listed: Maximum = next((row for row in maxima.protocol if row.id == order.protocol_id), maxima.default)
    own = {name: getattr(order, name) for name in ("max_pulses_per_day", "min_pause_between_sessions_s")}
    return listed.model_copy(update={name: value for name, value in own.items() if value is not None})


@cache
def condition_texts() -> dict[str, ConditionText]:
    """Return the start conditions' titles (``conditions.toml``), in the order in which they are asked."""
    return {name: ConditionText.model_validate(row) for name, row in _read("conditions.toml").items()}
