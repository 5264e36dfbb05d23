"""The safety questionnaire of ``data/safety_screen.toml``, and what its answers mean (IN-05)."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spoel_intake.domain.refusals import QuestionnaireUnknown, ScreenIncomplete


class Bilingual(BaseModel):
    """A text for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nl: str
    en: str


class Item(BaseModel):
    """One question with a plain yes or no.

    Attributes:
        topic: which of the thirteen topics it belongs to.
        absolute: a yes excludes treatment.
        medical: a yes is judged by a physician.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    topic: int
    absolute: bool
    medical: bool
    source: str
    text: Bilingual


class Questionnaire(BaseModel):
    """The questionnaire in use.

    Attributes:
        verified: whether a clinic's physician has confirmed it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    version: str
    verified: bool
    source: str
    items: tuple[Item, ...]

    def item(self, item_id: str) -> Item | None:
        """Return an item by its id."""
        return next((item for item in self.items if item.id == item_id), None)


class Findings(NamedTuple):
    """The items answered yes, in the questionnaire's order."""

    absolute: list[str]
    to_judge: list[str]


@cache
def safety_questionnaire() -> Questionnaire:
    """Return the safety questionnaire in use."""
    text = files("spoel_intake").joinpath("data/safety_screen.toml").read_text(encoding="utf-8")
    return Questionnaire.model_validate(tomllib.loads(text))


def check_version(questionnaire: Questionnaire, name: str, version: str) -> None:
    """Refuse answers to another questionnaire.

    Raises:
        QuestionnaireUnknown: other name or version than the one in use.
    """
    if (name, version) != (questionnaire.id, questionnaire.version):
        raise QuestionnaireUnknown(
            f"The questionnaire in use is {questionnaire.id} version {questionnaire.version}; "
            f"the answers are to {name[:64]!r} version {version[:64]!r}. Ask the questions of the one in use.",
        )


def findings(questionnaire: Questionnaire, answers: dict[str, bool]) -> Findings:
    """Sort the items that were answered yes.

    Raises:
        ScreenIncomplete: an item without answer, or an answer without item.
    """
    missing = [item.id for item in questionnaire.items if item.id not in answers]
    unknown = sorted(item_id[:64] for item_id in answers if questionnaire.item(item_id) is None)
    if missing or unknown:
        raise ScreenIncomplete(
            f"Not answered: {', '.join(missing) or 'none'}. Not in the questionnaire: {', '.join(unknown) or 'none'}. "
            "Answer every item with true or false, and no other.",
            missing=missing,
            unknown=unknown,
        )
    yes = [item for item in questionnaire.items if answers[item.id]]
    return Findings(
        absolute=[item.id for item in yes if item.absolute],
        to_judge=[item.id for item in yes if not item.absolute],
    )
