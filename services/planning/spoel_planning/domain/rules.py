"""The clinic's rules: models of the data files in ``spoel_planning/data``, each number with its source.

``verified`` says that somebody compared a number with its source; where it is false the API shows that to the person
who relies on it.
"""

import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spoel_planning.events.orders import (
    BlindingMethod,
    Location,
    Pattern,
    RampUp,
    Site,
    ThresholdKey,
    Waveform,
)


class Rule(BaseModel):
    """A part of a data file; unknown keys, inf and nan are refused, so that no limit vanishes by a slip of the pen."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sourced(Rule):
    """Numbers with where they come from."""

    source: str = Field(min_length=1)
    verified: bool


class Bounds(Sourced):
    """Lowest and highest plausible value, both allowed."""

    min: float
    max: float

    def hold(self, value: float) -> bool:
        """Tell whether the value lies within."""
        return self.min <= value <= self.max


class Method(Sourced):
    """A named method."""

    name: str


class LinearTarget(Sourced):
    """A linear approximation of the target, and how far the method may be from it (a fraction)."""

    x_per_circumference: float
    y_per_mean_arc: float
    max_deviation: float


class HeadRules(Rule):
    """Plausible head measures and targets, in centimetres."""

    method: Method
    nasion_inion_cm: Bounds
    tragus_tragus_cm: Bounds
    circumference_cm: Bounds
    x_cm: Bounds
    y_cm: Bounds
    linear: LinearTarget


class MeasurementOrderRules(Sourced):
    """Defaults of a measurement order, and within what a person may set it."""

    default_ceiling_percent_mso: int
    min_ceiling_percent_mso: int
    max_ceiling_percent_mso: int
    default_max_stimuli: int
    min_max_stimuli: int
    max_max_stimuli: int
    default_min_interval_s: float
    min_min_interval_s: float
    max_min_interval_s: float
    max_days_ahead: int


class StaircaseRules(Sourced):
    """How the motor threshold is searched, in percent of maximum stimulator output."""

    start_percent_mso: int = Field(ge=1, le=100)
    step_up_percent_mso: int = Field(ge=1, le=20)
    first_step_percent_mso: float = Field(gt=0, le=20)
    refinement_stimuli: int = Field(ge=1)
    lowest_percent_mso: int = Field(ge=1, le=100)


class Margin(Sourced):
    """By how much the method reads higher than EMG, in percent of the EMG threshold."""

    mean_percent: float
    range_percent: tuple[float, float]
    note: str


class Validity(Sourced):
    """How long a threshold holds."""

    max_age_days: int


class ThresholdRules(Rule):
    """The data file on the motor threshold."""

    order: MeasurementOrderRules
    staircase: StaircaseRules
    margin: Margin
    validity: Validity

    @model_validator(mode="after")
    def _an_order_can_find_a_threshold(self) -> Self:
        if self.order.min_max_stimuli <= self.staircase.refinement_stimuli:
            raise ValueError(
                f"min_max_stimuli is {self.order.min_max_stimuli}; no search ends before the first response and "
                f"{self.staircase.refinement_stimuli} answers after it"
            )
        return self


class SearchOrderRules(Sourced):
    """What the order of a heart-brain search gives, and within what a person may set it.

    Attributes:
        spare_runs: runs beyond one a location that the order has trains for.
        min_interval_share: of the time from train to train, which no two trains may follow each other sooner than.
        max_distance_cm: of a location from the target's mark.
    """

    pulses_per_train: int = Field(ge=2)
    rate_hz: float = Field(gt=0)
    train_interval_s: float = Field(gt=0)
    default_trains: int
    min_trains: int
    max_trains: int
    default_ceiling_percent_rmt: float
    min_ceiling_percent_rmt: float
    max_ceiling_percent_rmt: float
    max_locations: int
    spare_runs: int = Field(ge=0)
    min_interval_share: float = Field(gt=0, le=1)
    max_distance_cm: float = Field(gt=0)


class HeartRules(Rule):
    """The data file on heart-brain searches."""

    order: SearchOrderRules
    location: dict[Site, tuple[Location, ...]]


class HardLimits(Sourced):
    """What is refused, whoever signs."""

    max_percent_rmt: float
    max_unpatterned_hz: float
    refused_pause_s: float


class TableRow(Rule):
    """One frequency of a table: longest train by column, and whether that is a limit or the longest tested."""

    hz: float
    train_s: tuple[float, ...]
    limit: tuple[bool, ...]


class TrainTable(Sourced):
    """Longest train in seconds by frequency and percent of the motor threshold."""

    name: str
    percent_rmt: tuple[float, ...]
    rows: tuple[TableRow, ...]

    @model_validator(mode="after")
    def _is_rectangular_and_sorted(self) -> Self:
        width = len(self.percent_rmt)
        if any(len(row.train_s) != width or len(row.limit) != width for row in self.rows):
            raise ValueError(f"{self.name}: every row needs {width} columns")
        if list(self.percent_rmt) != sorted(self.percent_rmt) or not self.rows:
            raise ValueError(f"{self.name}: columns must ascend")
        if [row.hz for row in self.rows] != sorted(row.hz for row in self.rows):
            raise ValueError(f"{self.name}: rows must ascend")
        return self


class PauseTable(Sourced):
    """Shortest pause between trains, from the end of one to the start of the next."""

    name: str
    min_pause_s: float
    safe_to_percent_rmt: float
    min_pause_above_s: float


class CourseFigures(Sourced):
    """Standard figures of a course; outside them warns."""

    name: str
    min_sessions: int
    max_sessions: int
    min_per_week: int
    max_per_week: int
    max_weeks: int
    min_pulses: int
    max_pulses: int


class LimitRules(Rule):
    """The data file of published limits."""

    hard: HardLimits
    longest: TrainTable
    stricter: TrainTable
    pause: PauseTable
    course: CourseFigures


class Capability(Sourced):
    """What a stimulator can do."""

    stimulator_models: tuple[str, ...]
    coil_models: tuple[str, ...]
    waveforms: tuple[Waveform, ...]
    max_percent_mso: int
    max_hz: float
    max_pulses_per_burst: int
    min_pulse_interval_s: float
    max_pulse_interval_s: float
    max_burst_hz: float


class ClearedRow(Sourced):
    """One row of the clinic's cleared list."""

    protocol_id: str
    protocol_version: int = Field(ge=1)
    site: Site
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


class ShamEquipment(Sourced):
    """Equipment with which a sham condition has the same signs as the active one."""

    stimulator_models: tuple[str, ...]
    coil_models: tuple[str, ...]
    method: BlindingMethod

    def fits(self, key: ThresholdKey) -> bool:
        """Tell whether a condition may be delivered with this equipment."""
        return key.stimulator_model in self.stimulator_models and key.coil_model in self.coil_models


class Evidence(Sourced):
    """Where some fields of a protocol come from."""

    fields: tuple[str, ...]


class Range(Rule):
    """The usual number, and the least and most that may be prescribed."""

    standard: int
    min: int
    max: int


class BlockRule(Rule):
    """What a protocol gives at one site."""

    site: Site
    pattern: Pattern
    percent_rmt: float
    floor_percent_rmt: float
    ceiling_percent_rmt: float
    ramp_up: RampUp | None = None


class Protocol(Sourced, BlockRule):
    """One protocol of the catalogue (PL-04); its own block is the first, or the only one."""

    id: str
    version: int
    name: str
    indications: tuple[str, ...]
    further_block: tuple[BlockRule, ...] = ()
    pulses_per_session: int
    max_pulses_per_day: int
    min_pause_between_sessions_s: float
    sessions: Range
    per_week: Range
    evidence: tuple[Evidence, ...]


class BookingRules(Sourced):
    """Times around a session; ``coil_move_s`` is the time between two blocks at different sites."""

    treatment_set_up_s: float
    coil_move_s: float
    measurement_set_up_s: float
    start_tolerance_s: float
    max_days_ahead: int


class Rules(Rule):
    """All data files."""

    head: HeadRules
    threshold: ThresholdRules
    heart: HeartRules
    limits: LimitRules
    devices: tuple[Capability, ...]
    cleared: tuple[ClearedRow, ...]
    sham: tuple[ShamEquipment, ...]
    protocols: tuple[Protocol, ...]
    booking: BookingRules


@cache
def clinic_rules() -> Rules:
    """Read the data files that come with the package.

    Raises:
        pydantic.ValidationError: a file lacks a number or has one too many.
    """
    data = files("spoel_planning").joinpath("data")
    protocols = sorted(
        (path for path in data.joinpath("protocols").iterdir() if path.name.endswith(".toml")),
        key=lambda path: path.name,
    )
    return Rules.model_validate(
        {
            "head": _read(data.joinpath("head.toml")),
            "threshold": _read(data.joinpath("threshold.toml")),
            "heart": _read(data.joinpath("heart.toml")),
            "limits": _read(data.joinpath("limits.toml")),
            "devices": _read(data.joinpath("devices.toml"))["device"],
            "cleared": _read(data.joinpath("cleared.toml"))["row"],
            "sham": _read(data.joinpath("sham.toml"))["equipment"],
            "protocols": [_read(path) for path in protocols],
            "booking": _read(data.joinpath("booking.toml")),
        }
    )


def with_cleared_list(rules: Rules, text: str) -> Rules:
    """Return ``rules`` with a clinic's own cleared list, in the form of ``data/cleared.toml``.

    Raises:
        tomllib.TOMLDecodeError: the text is not TOML.
        pydantic.ValidationError: a row lacks a field, has one too many, or one below what makes sense.
    """
    rows = tuple(ClearedRow.model_validate(row) for row in tomllib.loads(text).get("row", []))
    return rules.model_copy(update={"cleared": rows})


def _read(path: Traversable) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
