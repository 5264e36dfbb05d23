"""Signed orders, as they are frozen into a session: parts of events, and the vocabulary of what is ordered.

Intensities are in percent of maximum stimulator output (``…percent_mso``) or of the resting motor threshold
(``…percent_rmt``), durations in seconds.
"""

from datetime import date
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Site = Literal["left-dlpfc", "right-dlpfc", "left-motor-cortex", "right-motor-cortex"]
Waveform = Literal["biphasic", "monophasic"]
CurrentDirection = Literal["normal", "reverse"]


class Part(BaseModel):
    """A part of an event. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pattern(Part):
    """The timing of a session: nestable counts and onset-to-onset intervals (after NIBS-BIDS, BEP037).

    Attributes:
        pulses_per_burst: 1 where there are no bursts.
        pulse_interval_s: onset to onset within a burst; None where there are no bursts.
        bursts_per_train: bursts, or single pulses, in a train.
        burst_interval_s: onset to onset of bursts or single pulses.
        trains: trains in a session.
        train_interval_s: onset to onset of trains.
    """

    pulses_per_burst: int = Field(ge=1)
    pulse_interval_s: float | None = Field(default=None, gt=0)
    bursts_per_train: int = Field(ge=1)
    burst_interval_s: float = Field(gt=0)
    trains: int = Field(ge=1)
    train_interval_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _bursts_have_an_interval(self) -> Self:
        if (self.pulses_per_burst > 1) != (self.pulse_interval_s is not None):
            raise ValueError("pulse_interval_s is given with bursts of more than one pulse, and only then")
        return self

    @property
    def pulses(self) -> int:
        """Pulses of a whole session."""
        return self.pulses_per_burst * self.bursts_per_train * self.trains


class ThresholdKey(Part):
    """What a motor threshold holds for; another value of any of these makes it another threshold."""

    stimulator_model: str
    coil_model: str
    waveform: Waveform
    current_direction: CurrentDirection
    muscle: str


class RampUp(Part):
    """The first trains of a block are weaker: in equal steps from a lower intensity to the one in force.

    Attributes:
        trains: as prescribed, before slow ones are split for the device; the first has ``from_percent_rmt``.
        from_percent_rmt: of the first train, percent of the resting motor threshold.
    """

    trains: int = Field(ge=1)
    from_percent_rmt: float = Field(gt=0)


class Dose(Part):
    """What is given at one site, and the band within which the operator may change it.

    Attributes:
        percent_rmt: prescribed intensity in percent of the resting motor threshold.
        floor_percent_rmt: lowest intensity that the operator may set.
        ceiling_percent_rmt: highest intensity that the operator may set.
        threshold_percent_mso: the threshold on which the dose rests.
        percent_mso: percent_rmt of the threshold, rounded down: what the device is set to.
        ramp_up: None where every train has the same intensity.
    """

    site: Site
    pattern: Pattern
    percent_rmt: float = Field(gt=0)
    floor_percent_rmt: float = Field(gt=0)
    ceiling_percent_rmt: float = Field(gt=0)
    threshold_id: str
    threshold_percent_mso: int = Field(ge=1, le=100)
    percent_mso: int = Field(ge=0)
    floor_percent_mso: int = Field(ge=0)
    ceiling_percent_mso: int = Field(ge=0)
    ramp_up: RampUp | None = None


class Block(Dose):
    """One of several doses of a session, each at another site than the one before.

    Attributes:
        muscle: on which the block's threshold was measured.
    """

    muscle: str


class Blinding(Part):
    """That a session belongs to a blinded trial: which condition runs is not in the order (ST-09).

    Attributes:
        method: the stimulator, or its coil, chooses the condition by the code; its signs are equal in both.
        blind_code: the patient's own code, which the operator enters at the stimulator; says nothing by itself.
    """

    trial_id: str
    method: Literal["device-code"]
    blind_code: str


class TreatmentOrder(ThresholdKey, Dose):
    """A signed prescription, as far as a room needs it; its own dose is that of the first block.

    Attributes:
        pulses: pulses of one whole session, all blocks.
        further_blocks: what follows at other sites, in this order.
        max_pulses_per_day: most pulses of the patient in a local day; None where only the clinic's own limits hold.
        min_pause_between_sessions_s: from the end of one session to the start of the next.
        blinding: None outside blinded trials.
    """

    protocol_id: str
    protocol_version: int | str
    pulses: int = Field(ge=1)
    further_blocks: tuple[Block, ...] = ()
    max_pulses_per_day: int | None = None
    min_pause_between_sessions_s: float | None = None
    blinding: Blinding | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every block of the session, the first with the order's own dose."""
        first = Block(**{name: getattr(self, name) for name in Block.model_fields})
        return (first, *self.further_blocks)


class MeasurementOrder(ThresholdKey):
    """A signed measurement order: single pulses at one site on one day.

    Attributes:
        ceiling_percent_mso: highest output of a stimulus.
        max_stimuli: most stimuli under this order, over all its sessions.
        min_interval_s: shortest time from stimulus to stimulus.
        valid_on: the local day on which it may be used.
    """

    order_id: str
    case_id: str
    patient_id: str
    purpose: Literal["motor-threshold"]
    site: Site
    ceiling_percent_mso: int = Field(ge=1, le=100)
    max_stimuli: int = Field(ge=1)
    min_interval_s: float = Field(gt=0)
    valid_on: date
