"""Events of a heart-brain search: runs at locations, what the heart did, the ranking. Aggregate ``session``."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from spoel_stimulation.events.base import SessionEvent
from spoel_stimulation.events.words import CouplingReason
from spoel_stimulation.orders import LocationName, Part, Site


class SearchRunStarted(SessionEvent):
    """The operator put the coil at a location of a heart-brain search, chose side and name, and started its trains.

    Attributes:
        run: from 0.
        trains: that follow, each authorised on its own.
    """

    event_name: ClassVar[str] = "search-run-started"

    run: int = Field(ge=0)
    measurement_order_id: str
    site: Site
    location: LocationName
    percent_mso: int = Field(ge=1, le=100)
    trains: int = Field(ge=1)
    ear_protection: Literal[True]


class CouplingResult(Part):
    """How heart rate followed the trains of one run.

    Attributes:
        cycle_hz: one over the seconds from train to train.
        mean_bpm: mean heart rate.
        power_bpm2: power of heart rate at the cycle frequency; ``noise_bpm2`` that beside it.
        p_value: chance of such a ratio without coupling.
        amplitude_bpm: of the fitted cosine.
        trough_s: when heart rate was lowest, after a train's onset.
        slows: it was lowest during a train or shortly after.
    """

    cycle_hz: float = Field(gt=0)
    mean_bpm: float = Field(gt=0)
    power_bpm2: float = Field(ge=0)
    noise_bpm2: float = Field(gt=0)
    p_value: float = Field(ge=0, le=1)
    amplitude_bpm: float = Field(ge=0)
    trough_s: float = Field(ge=0)
    slows: bool


class CouplingMeasured(SessionEvent):
    """A run at one location ended, with what the heart did, or why that cannot be said (PL-11).

    Attributes:
        trains: that were delivered.
        beats: intervals that the belt gave; ``artefacts`` of them were left out.
        result: None where there is a ``reason``.
    """

    event_name: ClassVar[str] = "coupling-measured"

    run: int = Field(ge=0)
    measurement_order_id: str
    site: Site
    location: LocationName
    percent_mso: int = Field(ge=1, le=100)
    trains: int = Field(ge=0)
    beats: int = Field(ge=0)
    artefacts: int = Field(ge=0)
    result: CouplingResult | None = None
    reason: CouplingReason | None = None

    @model_validator(mode="after")
    def _result_or_reason(self) -> Self:
        if (self.result is None) == (self.reason is None):
            raise ValueError("a run has a result, or a reason why there is none")
        return self


class RankedPlace(Part):
    """One location of a ranking.

    Attributes:
        coupled: the heart slowed with the trains beyond chance, for the number of locations.
        fall_bpm: amplitude of heart rate at the cycle frequency; negative where it rose with the trains.
        ratio: power at the cycle frequency over that beside it.
    """

    location: LocationName
    percent_mso: int
    coupled: bool
    fall_bpm: float
    ratio: float
    p_value: float


class LocationsRanked(SessionEvent):
    """A heart-brain search was closed: its locations from strongest to weakest coupling (PL-11).

    Attributes:
        best: only where one stands out from every other.
    """

    event_name: ClassVar[str] = "locations-ranked"

    measurement_order_id: str
    site: Site
    verdict: Literal["ranked", "no-location-differs", "no-coupling", "too-few-locations"]
    best: LocationName | None
    locations: tuple[RankedPlace, ...]
