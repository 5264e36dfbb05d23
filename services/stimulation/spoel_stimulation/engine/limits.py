"""Published limits and the clinic's cleared list, as data (``data/limits.toml``, ``data/cleared.toml``)."""

import tomllib
from datetime import date
from functools import cache
from typing import Self

from pydantic import Field, model_validator

from spoel_stimulation.engine.sourced import Rule, Sourced, read_data


class HardLimits(Sourced):
    """What is refused, whoever signed."""

    max_percent_rmt: float
    max_unpatterned_hz: float
    refused_pause_s: float


class TableRow(Rule):
    """One frequency: longest train by column, and whether that is a limit or the longest that was tested."""

    hz: float = Field(gt=0)
    train_s: tuple[float, ...]
    limit: tuple[bool, ...]


class TrainTable(Sourced):
    """Longest train in seconds by frequency (rows) and percent of the motor threshold (columns)."""

    name: str
    percent_rmt: tuple[float, ...]
    rows: tuple[TableRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_rectangular_and_sorted(self) -> Self:
        width = len(self.percent_rmt)
        if any(len(row.train_s) != width or len(row.limit) != width for row in self.rows):
            raise ValueError(f"{self.name}: every row needs {width} columns")
        if list(self.percent_rmt) != sorted(self.percent_rmt):
            raise ValueError(f"{self.name}: columns must ascend")
        if [row.hz for row in self.rows] != sorted(row.hz for row in self.rows):
            raise ValueError(f"{self.name}: rows must ascend")
        return self


class PauseTable(Sourced):
    """Shortest pause between trains, from the end of one (its last slot) to the start of the next."""

    name: str
    min_pause_s: float
    safe_to_percent_rmt: float
    min_pause_above_s: float


class Margin(Sourced):
    """By how much a threshold by visible movement is higher than one by EMG, in percent of the latter."""

    mean_percent: float
    range_percent: tuple[float, float]


class Limits(Rule):
    """The data file of published limits."""

    hard: HardLimits
    longest: TrainTable
    stricter: TrainTable
    pause: PauseTable
    margin: Margin

    @model_validator(mode="after")
    def _tables_reach_the_hard_limits(self) -> Self:
        for table in (self.longest, self.stricter):
            if table.percent_rmt[-1] != self.hard.max_percent_rmt or table.rows[-1].hz != self.hard.max_unpatterned_hz:
                raise ValueError(f"{table.name} must end where the hard limits are")
        return self


class ClearedRow(Sourced):
    """One row of the clinic's cleared list: what it says, and nothing beside it."""

    protocol_id: str
    protocol_version: int = Field(ge=1)
    site: str
    pulses_per_burst: int = Field(ge=1)
    pulse_interval_s: float | None = Field(default=None, gt=0)
    bursts_per_train: int = Field(ge=1)
    burst_interval_s: float = Field(gt=0)
    max_trains: int = Field(ge=1)
    min_train_interval_s: float = Field(gt=0)
    max_percent_rmt: float = Field(gt=0)
    max_pulses_per_session: int = Field(ge=1)
    max_pulses_per_day: int = Field(ge=1)
    min_pause_between_sessions_s: float = Field(ge=0)
    reason: str
    cleared_by: str
    cleared_on: date


@cache
def published_limits() -> Limits:
    """Return the limits of ``data/limits.toml``.

    Raises:
        pydantic.ValidationError: the file lacks a number or has one too many.
    """
    return Limits.model_validate(read_data("limits.toml"))


@cache
def example_cleared_list() -> tuple[ClearedRow, ...]:
    """Return the list that comes with the package; no clinic signed it."""
    return tuple(ClearedRow.model_validate(row) for row in read_data("cleared.toml")["row"])


def read_cleared_list(text: str) -> tuple[ClearedRow, ...]:
    """Return a clinic's own list, in the form of ``data/cleared.toml``, which is also planning's.

    Raises:
        tomllib.TOMLDecodeError: the text is not TOML.
        pydantic.ValidationError: a row lacks a field, has one too many, or one below what makes sense.
    """
    return tuple(ClearedRow.model_validate(row) for row in tomllib.loads(text).get("row", []))
