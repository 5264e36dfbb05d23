"""What can be asked of planning. The case, order or prescription that is meant stands in the path."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from spoel_common.events import Command
from spoel_planning.events.booking import CancellationReason, SessionKind
from spoel_planning.events.orders import (
    CurrentDirection,
    Location,
    MotorSite,
    Muscle,
    Pattern,
    Site,
    Waveform,
)
from spoel_planning.events.prescribing import OverrideReason, UnblindingReason, WithdrawalReason

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Centimetres = Annotated[float, Field(gt=0, lt=1_000, allow_inf_nan=False)]
PercentOfThreshold = Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)]
ModelName = Annotated[str, Field(min_length=1, max_length=60)]


class MeasureHead(Command):
    """Record the head's measures, with a tape over the scalp, and calculate both targets."""

    nasion_inion_cm: Centimetres
    tragus_tragus_cm: Centimetres
    circumference_cm: Centimetres
    supervisor_id: Id | None = None


class OrderMeasurement(Command):
    """Draft an order to find the motor threshold. Limits that are left out are the clinic's."""

    site: MotorSite
    stimulator_model: ModelName
    coil_model: ModelName
    waveform: Waveform
    current_direction: CurrentDirection
    muscle: Muscle
    ceiling_percent_mso: int | None = None
    max_stimuli: int | None = None
    min_interval_s: Annotated[float, Field(allow_inf_nan=False)] | None = None
    valid_on: date | None = None


class OrderSearch(Command):
    """Draft an order to search where the heart follows stimulation. What is left out is the clinic's.

    Attributes:
        locations: around the mark of the site's target.
        trains: at each location.
        ceiling_percent_rmt: highest intensity, percent of the resting motor threshold of this side.
    """

    site: Site
    threshold_id: Id | None = None
    locations: Annotated[tuple[Location, ...], Field(max_length=12)] | None = None
    trains: int | None = None
    ceiling_percent_rmt: PercentOfThreshold | None = None
    valid_on: date | None = None


class SignMeasurementOrder(Command):
    """Sign the measurement order as it was drafted."""


class EstimateThreshold(Command):
    """Take the threshold that a session found."""

    session_id: Id
    supervisor_id: Id | None = None


class OverrideLimits(Command):
    """Decide, with a reason, to go beyond the published limits."""

    reason_code: OverrideReason


class Prescribe(Command):
    """Draft a prescription, or a new version of one. What is left out is the protocol's."""

    protocol_id: Id
    protocol_version: int | None = Field(default=None, ge=1)
    threshold_id: Id | None = None
    percent_rmt: PercentOfThreshold | None = None
    floor_percent_rmt: PercentOfThreshold | None = None
    ceiling_percent_rmt: PercentOfThreshold | None = None
    pattern: Pattern | None = None
    sessions: int | None = Field(default=None, ge=1, le=100)
    per_week: int | None = Field(default=None, ge=1, le=70)
    override: OverrideLimits | None = None


class Allocate(Command):
    """Tell which condition of a blinded trial a patient gets; asked by the trial's randomisation alone.

    Attributes:
        method: how the condition is to be delivered unseen; ``amplitude-zero`` and ``tilted-coil`` are refused.
        blind_code: the patient's own code for the stimulator.
        nonce: random text of the asker's, so that the kept hash of this request cannot be guessed.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    trial_id: Id
    allocation: Annotated[Literal["active", "sham"], Field(repr=False)]
    method: Literal["device-code", "amplitude-zero", "tilted-coil"] = "device-code"
    blind_code: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9-]+$")]
    nonce: Annotated[str, Field(min_length=16, max_length=100, repr=False)]


class Unblind(Command):
    """Ask, in an emergency, which condition a patient has."""

    reason_code: UnblindingReason


class SignPrescription(Command):
    """Sign exactly this version."""

    version: int = Field(ge=1)


class WithdrawPrescription(Command):
    """Withdraw a prescription with all its versions."""

    reason_code: WithdrawalReason


class Book(Command):
    """Book a session in a room; from now on if no start is given."""

    room_id: Id
    kind: SessionKind
    measurement_order_id: Id | None = None
    prescription_id: Id | None = None
    starts_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _order_fits_kind(self) -> Self:
        wanted, other = (
            (self.measurement_order_id, self.prescription_id)
            if self.kind == "measurement"
            else (self.prescription_id, self.measurement_order_id)
        )
        if wanted is None or other is not None:
            raise ValueError(
                "a measurement session names measurement_order_id only, a treatment session prescription_id only"
            )
        return self


class CancelBooking(Command):
    """Cancel a booked session."""

    reason_code: CancellationReason
