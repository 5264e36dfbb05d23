"""Events of the trains and stimuli of a session, and of what was changed between them. Aggregate ``session``."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from spoel_common.events import UtcTime
from spoel_stimulation.events.base import Known, SessionEvent
from spoel_stimulation.events.words import ChangeReason, Evidence, Response, TrainOutcome, UnknownReason
from spoel_stimulation.orders import Part


class Realised(Part):
    """The output of a train as the device measured it, beside set point and read-back (INV-2).

    Attributes:
        quantity: what was measured.
        stimuli: measurements.
        lowest: of them; ``mean`` and ``highest`` likewise.
    """

    quantity: Literal["didt_a_per_us"]
    stimuli: int = Field(ge=1)
    lowest: float
    mean: float
    highest: float


class TrainAuthorised(SessionEvent):
    """One train may leave the host: durable before the first byte that can cause a pulse does (INV-1).

    Attributes:
        train_index: from 0; for a stimulus its number in the session.
        pulses: pulses of the whole train, bursts included.
        planned_onset_at: clock time at which the train was due.
        device_total_pulses_before: the device's counter, to close the gap with after a crash; None on a device without.
        block: which block of the order, from 0.
        percent_mso: None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "train-authorised"
    event_version: ClassVar[int] = 2

    train_id: str
    train_index: int = Field(ge=0)
    pulses: int = Field(ge=1)
    percent_mso: int | None = Field(ge=0, le=100)
    bursts: int = Field(ge=1)
    pulses_per_burst: int = Field(ge=1)
    burst_interval_s: float
    pulse_interval_s: float | None = None
    planned_onset_at: UtcTime
    device_total_pulses_before: int | None = Field(ge=0)
    known: tuple[Known, ...]
    block: int = Field(default=0, ge=0)
    sealed_output: str | None = None


class TrainDelivered(SessionEvent):
    """How a train ended.

    Attributes:
        pulses: pulses that were delivered.
        percent_mso: the set point, which was read back before the start; None in a blinded session.
        device_total_pulses_after: the device's counter; None on a device without one.
        evidence: from the device's frames and counter, from the counter alone, from what its status said, or from what
            the operator read from its counter.
        first_onset_at: clock time of the first pulse; None if there was none or it was not seen.
        realised: what the device says that it gave; None where it does not tell, and in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "train-delivered"
    event_version: ClassVar[int] = 2

    train_id: str
    train_index: int
    outcome: TrainOutcome
    pulses: int = Field(ge=0)
    percent_mso: int | None
    device_total_pulses_after: int | None
    evidence: Evidence
    first_onset_at: UtcTime | None = None
    ended_at: UtcTime
    realised: Realised | None = None
    sealed_output: str | None = None


class TrainOutcomeUnknown(SessionEvent):
    """Nobody can say how many pulses of a train were delivered; it counts as all for maxima, as none for minima."""

    event_name: ClassVar[str] = "train-outcome-unknown"

    train_id: str
    train_index: int
    pulses_at_most: int = Field(ge=0)
    reason: UnknownReason


class ParameterChanged(SessionEvent):
    """The operator changed a parameter within the signed band (ST-05).

    Attributes:
        parameter: one of ``Parameter``; the coil's shift from the target in mm, its turn from the prescribed angle in
            degrees.
        from_percent_mso: for an intensity, the output before; ``to_percent_mso`` after. None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "parameter-changed"
    event_version: ClassVar[int] = 2

    parameter: Annotated[str, Field(examples=["percent_rmt"])]
    from_value: float
    to_value: float
    from_percent_mso: int | None = None
    to_percent_mso: int | None = None
    reason: ChangeReason
    from_train_index: int
    sealed_output: str | None = None


class StimulusAnswered(SessionEvent):
    """The operator saw, or did not see, a twitch."""

    event_name: ClassVar[str] = "stimulus-answered"

    train_id: str
    measurement_order_id: str
    percent_mso: int
    response: Response
