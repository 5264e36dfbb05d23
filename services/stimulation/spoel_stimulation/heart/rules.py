"""The data file on heart-brain coupling."""

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from spoel_stimulation.engine.coupling import CouplingRules


class BeltRules(BaseModel):
    """When a belt counts as lost, and when beats are missing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    verified: bool
    max_silence_s: float = Field(gt=0)
    max_missing_s: float = Field(gt=0)


class HeartRules(CouplingRules):
    """Everything in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    belt: BeltRules


@cache
def heart_rules() -> HeartRules:
    """Read the data file that comes with the package.

    Raises:
        pydantic.ValidationError: it lacks a number or has one too many.
    """
    text = files("spoel_stimulation").joinpath("data/heart.toml").read_text(encoding="utf-8")
    return HeartRules.model_validate(tomllib.loads(text))
