"""How long a simulated device takes over what it is told (``pace.toml``)."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


@dataclass(frozen=True)
class Pace:
    """Times of a device, wall seconds.

    Attributes:
        shortest_s: from a whole frame until the device has done what it says and answered, at least.
        longest_s: the same, at most.
        settle_s: until a setting that was written holds.
    """

    shortest_s: float
    longest_s: float
    settle_s: float

    def at(self, speed: float) -> "Pace":
        """Return the times where the clock runs at ``speed``."""
        return Pace(self.shortest_s / speed, self.longest_s / speed, self.settle_s / speed)

    def answer_s(self, chance: Random) -> float:
        """Return how long the next frame takes."""
        return chance.uniform(self.shortest_s, self.longest_s)


PROMPT = Pace(0.0, 0.0, 0.0)
"""That of no device: everything is done and answered at once."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    answer_s: tuple[float, float]
    settle_s: float = Field(ge=0)
    source: str = Field(min_length=1)
    verified: bool

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        shortest_s, longest_s = self.answer_s
        if not 0 <= shortest_s <= longest_s:
            raise ValueError(f"answer_s is {self.answer_s}; give the shortest and the longest")
        return self


@cache
def pace_of(name: str) -> Pace:
    """Return a device's own times, by the name of its simulator (the MagPros share one row).

    Raises:
        KeyError: the data have none of this name.
    """
    row = _Row.model_validate(_data()[name])
    return Pace(*row.answer_s, row.settle_s)


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("pace.toml").read_text(encoding="utf-8"))
