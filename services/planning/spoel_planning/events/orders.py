"""What is ordered: patterns, doses and orders, the parts of planning's events that a signature covers."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Site = Literal["left-dlpfc", "right-dlpfc"]
MotorSite = Literal["left-motor-cortex", "right-motor-cortex"]
Muscle = Literal["left-apb", "right-apb", "left-fdi", "right-fdi"]
"""Abductor pollicis brevis (thumb) or first dorsal interosseus (index finger), and the hand that is watched."""

MeasurementPurpose = Literal["motor-threshold", "heart-brain-search"]
LocationName = Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[A-Za-z0-9][A-Za-z0-9+-]*$")]
Waveform = Literal["biphasic", "monophasic"]
CurrentDirection = Literal["normal", "reverse"]
BlindingMethod = Literal["device-code"]
"""How a condition is delivered unseen: the device takes the patient's code and chooses. Nothing weaker is blinding."""

Percent = Annotated[int, Field(ge=0, le=100)]


class Value(BaseModel):
    """A part of an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pattern(Value):
    """A stimulation pattern: nested counts with onset-to-onset intervals (as in NIBS-BIDS, BEP037).

    Public sources count "the inter-train interval" in three ways; onset to onset is the one that needs no convention.

    Attributes:
        pulses_per_burst: pulses in a burst; 1 where there are single pulses only.
        pulse_interval_s: onset to onset inside a burst; None for single pulses.
        bursts_per_train: bursts (or single pulses) in a train.
        burst_interval_s: onset to onset of bursts (or single pulses).
        trains: trains in a session.
        train_interval_s: onset to onset of trains.
    """

    pulses_per_burst: int = Field(ge=1, le=10)
    pulse_interval_s: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    bursts_per_train: int = Field(ge=1, le=10_000)
    burst_interval_s: float = Field(gt=0, le=60, allow_inf_nan=False)
    trains: int = Field(ge=1, le=500)
    train_interval_s: float = Field(gt=0, le=10_000, allow_inf_nan=False)


class ThresholdKey(Value):
    """The combination for which a motor threshold holds (PL-03, HZ-04)."""

    stimulator_model: str = Field(min_length=1, max_length=60)
    coil_model: str = Field(min_length=1, max_length=60)
    waveform: Waveform
    current_direction: CurrentDirection
    muscle: Muscle


class RampUp(Value):
    """The first trains are weaker: in equal steps from a lower intensity to the prescribed one.

    Attributes:
        trains: how many; the first has ``from_percent_rmt``.
        from_percent_rmt: of the first train, percent of the resting motor threshold.
    """

    trains: int = Field(ge=1)
    from_percent_rmt: float = Field(gt=0)


class OrderedDose(Value):
    """What is given at one site: one pattern, one intensity and the band around it.

    Attributes:
        percent_mso: the intensity to set: ``percent_rmt`` of the threshold, rounded down (HZ-05).
        floor_percent_mso: lowest intensity that the operator may set.
        ceiling_percent_mso: highest intensity that the operator may set.
        ramp_up: None where every train has the same intensity.
    """

    site: Site
    pattern: Pattern
    percent_rmt: float
    floor_percent_rmt: float
    ceiling_percent_rmt: float
    threshold_id: str
    threshold_percent_mso: Percent
    percent_mso: Percent
    floor_percent_mso: Percent
    ceiling_percent_mso: Percent
    ramp_up: RampUp | None = None


class OrderedBlock(OrderedDose):
    """One of several doses of a session, each at another site than the one before.

    Attributes:
        muscle: on which the block's threshold was measured.
    """

    muscle: Muscle


class Blinding(Value):
    """That a course belongs to a blinded trial: which condition runs is not in the order (ST-09).

    Attributes:
        method: the stimulator, or its coil, chooses the condition by the code; its signs are equal in both.
        blind_code: the patient's own code, which the operator enters at the stimulator; says nothing by itself.
    """

    trial_id: str
    method: BlindingMethod
    blind_code: str


class TreatmentOrder(ThresholdKey, OrderedDose):
    """What a signature allows: one protocol, of one block or of several at different sites.

    Attributes:
        pulses: pulses in a session, all blocks.
        further_blocks: what follows the order's own dose, in this order.
        max_pulses_per_day: most pulses of the patient in a local day.
        min_pause_between_sessions_s: from the end of a session to the start of the next.
        blinding: None outside blinded trials.
    """

    protocol_id: str
    protocol_version: int
    pulses: int = Field(ge=1)
    further_blocks: tuple[OrderedBlock, ...] = ()
    max_pulses_per_day: int | None = None
    min_pause_between_sessions_s: float | None = None
    blinding: Blinding | None = None


class Location(Value):
    """Where the coil is put in a heart-brain search: a name, and how far it is from the site's mark on the scalp.

    Attributes:
        name: as marked on the cap, for example ``F3`` or ``F3+front``.
        forward_cm: towards the forehead; negative towards the back.
        outward_cm: away from the midline; negative towards it.
    """

    name: LocationName
    forward_cm: float = Field(default=0.0, ge=-6, le=6, allow_inf_nan=False)
    outward_cm: float = Field(default=0.0, ge=-6, le=6, allow_inf_nan=False)


class Search(Value):
    """What a heart-brain search gives at each location (PL-11).

    Attributes:
        locations: all on the side of the order's site.
        pattern: of one run at one location.
        threshold_id: the motor threshold on which the order rests.
        ceiling_percent_rmt: the order's highest intensity in percent of it; in output it is rounded down.
    """

    locations: tuple[Location, ...] = Field(min_length=2, max_length=12)
    pattern: Pattern
    threshold_id: str
    threshold_percent_mso: Percent
    ceiling_percent_rmt: float


class MeasurementOrder(ThresholdKey):
    """What may be delivered before a plan exists (ST-02).

    Single pulses to find the motor threshold, or trains at several locations to find where the heart follows them.

    Attributes:
        ceiling_percent_mso: highest intensity.
        max_stimuli: most stimuli, or trains of a search, in all sessions under this order.
        min_interval_s: shortest time from the onset of one to that of the next.
        valid_on: the one local day on which it holds.
        search: of a heart-brain search; None for a motor threshold.
    """

    order_id: str
    case_id: str
    patient_id: str
    purpose: MeasurementPurpose
    site: MotorSite | Site
    ceiling_percent_mso: Percent
    max_stimuli: int = Field(ge=1)
    min_interval_s: float = Field(gt=0)
    valid_on: date
    search: Search | None = None
