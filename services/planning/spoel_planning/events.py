"""The public events of planning: plans (one a case) and room calendars.

An event names its values with their units: ``percent_mso`` is percent of maximum stimulator output, ``percent_rmt``
percent of the resting motor threshold, ``…_s`` seconds, ``…_cm`` centimetres.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.events import Catalogue, EventData, UtcTime, gap_detected, parked_event_discarded

Site = Literal["left-dlpfc", "right-dlpfc"]
MotorSite = Literal["left-motor-cortex", "right-motor-cortex"]
Muscle = Literal["left-apb", "right-apb", "left-fdi", "right-fdi"]
"""Abductor pollicis brevis (thumb) or first dorsal interosseus (index finger), and the hand that is watched."""
Waveform = Literal["biphasic", "monophasic"]
CurrentDirection = Literal["normal", "reverse"]
Response = Literal["yes", "no", "repeat"]
"""Whether the muscle moved; ``repeat``: could not be judged."""
Grade = Literal["within", "beyond-stricter-table", "beyond-longest-tested", "not-covered", "beyond-limit"]
SessionKind = Literal["measurement", "treatment"]
WithdrawalReason = Literal[
    "side-effects", "patient-wish", "indication-changed", "medication-changed", "entered-in-error", "course-completed"
]
CancellationReason = Literal[
    "patient-cancelled", "patient-absent", "staff-absent", "device-unavailable", "plan-changed", "entered-in-error"
]
OverrideReason = Literal["earlier-course-tolerated", "benefit-outweighs-risk", "no-response-within-limits"]

BlindingMethod = Literal["device-code"]
"""How a condition is delivered unseen: the device takes the patient's code and chooses. Nothing weaker is blinding."""
UnblindingReason = Literal["medical-emergency", "adverse-event", "pregnancy", "patient-asked", "trial-ended"]

Percent = Annotated[int, Field(ge=0, le=100)]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]


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


class MeasurementOrder(ThresholdKey):
    """What may be delivered before a plan exists: single pulses to find the motor threshold (ST-02).

    Attributes:
        ceiling_percent_mso: highest intensity.
        max_stimuli: most stimuli in all sessions under this order.
        min_interval_s: shortest time between two stimuli.
        valid_on: the one local day on which it holds.
    """

    order_id: str
    case_id: str
    patient_id: str
    purpose: Literal["motor-threshold"]
    site: MotorSite
    ceiling_percent_mso: Percent
    max_stimuli: int = Field(ge=1)
    min_interval_s: float = Field(gt=0)
    valid_on: date


class Stimulus(Value):
    """One stimulus of a threshold session and what was seen."""

    train_id: str
    percent_mso: Percent
    response: Response


class Finding(Value):
    """One published limit, and how a prescription stands to it (PL-07).

    Attributes:
        advisory: shown to the person who decides; does not count for the prescription's grade.
        verified: somebody compared the number with its source.
    """

    limit: str
    grade: Grade
    explanation: str
    source: str
    verified: bool
    advisory: bool = False


class Override(Value):
    """A person's reasoned decision to go beyond *within* (PL-07)."""

    by: str
    big_number: str
    reason_code: OverrideReason


class PlanningEvent(EventData):
    """An event of planning."""

    service: ClassVar[str] = "planning"


class CaseEvent(PlanningEvent):
    """An event about one case."""

    case_id: str
    patient_id: str


class HeadMeasured(CaseEvent):
    """The head was measured (PL-01)."""

    event_name: ClassVar[str] = "head-measured"

    nasion_inion_cm: float
    tragus_tragus_cm: float
    circumference_cm: float


class TargetCalculated(CaseEvent):
    """A site on the scalp follows from the head measures (PL-02).

    Attributes:
        x_cm: along the circumference from the midline in front, towards the side of the site.
        y_cm: from the vertex along the line to the mark at ``x_cm``.
        source: of the method.
    """

    event_name: ClassVar[str] = "target-calculated"

    site: Site
    method: Literal["beam-f3", "beam-f4"]
    x_cm: float
    y_cm: float
    source: str


class MeasurementOrdered(MeasurementOrder, PlanningEvent):
    """A measurement order was drafted; it allows nothing until it is signed."""

    event_name: ClassVar[str] = "measurement-ordered"

    drafted_by: str


class MeasurementOrderSigned(CaseEvent):
    """A measurement order was signed (PL-10)."""

    event_name: ClassVar[str] = "measurement-order-signed"

    order_id: str
    signed_by: str
    big_number: str
    self_signed: bool
    order: MeasurementOrder


class ThresholdEstimated(ThresholdKey, CaseEvent):
    """The motor threshold was estimated; every stimulus behind it is kept (PL-03).

    Attributes:
        site: where it was measured; the side counts for the treatment.
        margin_note: what is known of the method's error; never changes a dose.
        estimated_at: when the last stimulus behind it was answered; its age counts from then.
    """

    event_name: ClassVar[str] = "threshold-estimated"

    threshold_id: str
    order_id: str
    session_id: str
    site: MotorSite
    threshold_percent_mso: Percent
    method: Literal["visible-twitch-staircase"]
    margin_note: str
    stimuli: tuple[Stimulus, ...]
    estimated_at: UtcTime


class PrescriptionDrafted(CaseEvent):
    """A version of a prescription was drafted; it allows nothing until it is signed."""

    event_name: ClassVar[str] = "prescription-drafted"
    event_version: ClassVar[int] = 2

    prescription_id: str
    version: int = Field(ge=1)
    order: TreatmentOrder
    sessions: int
    per_week: int
    grade: Grade
    findings: tuple[Finding, ...]
    override: Override | None
    drafted_by: str


class PrescriptionSigned(CaseEvent):
    """Exactly this version was signed (PL-10)."""

    event_name: ClassVar[str] = "prescription-signed"
    event_version: ClassVar[int] = 2

    prescription_id: str
    version: int = Field(ge=1)
    course_id: str
    signed_by: str
    big_number: str
    self_signed: bool
    order: TreatmentOrder
    sessions: int
    per_week: int
    grade: Grade


class PrescriptionWithdrawn(CaseEvent):
    """A prescription, all its versions, no longer allows anything."""

    event_name: ClassVar[str] = "prescription-withdrawn"

    prescription_id: str
    version: int = Field(ge=1)
    reason_code: WithdrawalReason


class AllocationRecorded(CaseEvent):
    """A trial's randomisation allocated a condition to the patient; nobody here can read which (ST-09).

    Attributes:
        allocation_event_id: this event's own id, with which the sealed text opens.
        sealed_allocation: the condition, sealed to the patient's key; intake opens it for a physician who unblinds.
    """

    event_name: ClassVar[str] = "allocation-recorded"

    trial_id: str
    method: BlindingMethod
    blind_code: str
    allocation_event_id: str
    sealed_allocation: str


class AllocationUnblinded(CaseEvent):
    """A physician asked which condition a patient has, and was told (HZ-23)."""

    event_name: ClassVar[str] = "allocation-unblinded"

    trial_id: str
    physician_id: str
    big_number: str
    reason_code: UnblindingReason


class SessionBooked(CaseEvent):
    """A session has a room and a time (PL-08)."""

    event_name: ClassVar[str] = "session-booked"

    session_id: str
    room_id: str
    kind: SessionKind
    measurement_order_id: str | None
    prescription_id: str | None
    prescription_version: int | None
    course_id: str | None
    starts_at: UtcTime
    ends_at: UtcTime


class SessionBookingCancelled(CaseEvent):
    """A booked session will not take place."""

    event_name: ClassVar[str] = "session-booking-cancelled"

    session_id: str
    room_id: str
    reason_code: CancellationReason


class SlotTaken(PlanningEvent):
    """A room is taken for a session."""

    event_name: ClassVar[str] = "slot-taken"

    room_id: str
    session_id: str
    starts_at: UtcTime
    ends_at: UtcTime


class SlotReleased(PlanningEvent):
    """A room is free again where it was taken for this session."""

    event_name: ClassVar[str] = "slot-released"

    room_id: str
    session_id: str


class ErasureCompleted(PlanningEvent):
    """What was held here of an erased patient is cleared; ``cleared``: what → how many."""

    event_name: ClassVar[str] = "erasure-completed"

    patient_id: str
    erasure_id: str
    cleared: dict[str, int]


ParkedEventDiscarded = parked_event_discarded("planning")
"""An event of the aggregate ``discarded-event``, one for each event that was given up."""

GapDetected = gap_detected("planning")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""

PLAN_EVENTS: Catalogue[EventData] = Catalogue(
    [
        HeadMeasured,
        TargetCalculated,
        MeasurementOrdered,
        MeasurementOrderSigned,
        ThresholdEstimated,
        PrescriptionDrafted,
        PrescriptionSigned,
        PrescriptionWithdrawn,
        AllocationRecorded,
        AllocationUnblinded,
        SessionBooked,
        SessionBookingCancelled,
    ],
    {("planning", "prescription-drafted", 1): dict, ("planning", "prescription-signed", 1): dict},
)
"""Events of the aggregate ``plan``, one for each case."""

CALENDAR_EVENTS: Catalogue[EventData] = Catalogue([SlotTaken, SlotReleased])
"""Events of the aggregate ``calendar``, one for each room."""
