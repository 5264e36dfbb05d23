"""Data files of the engine: every number with where it comes from, and whether somebody compared it with that."""

import tomllib
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Rule(BaseModel):
    """A part of a data file; unknown keys are refused, so that a misspelt limit does not vanish."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sourced(Rule):
    """Numbers with where they come from."""

    source: str = Field(min_length=1)
    verified: bool


def read_data(name: str) -> dict[str, Any]:
    """Return a data file of this package.

    Raises:
        FileNotFoundError: there is none of this name.
    """
    return tomllib.loads(files(__package__).joinpath("data", name).read_text(encoding="utf-8"))
