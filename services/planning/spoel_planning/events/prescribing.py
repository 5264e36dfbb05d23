"""Events of prescriptions, their grades and signatures, and of a trial's allocation (PL-07, PL-10, ST-09)."""

from typing import ClassVar, Literal

from pydantic import Field

from spoel_planning.events.model import CaseEvent
from spoel_planning.events.orders import BlindingMethod, TreatmentOrder, Value

Grade = Literal["within", "beyond-stricter-table", "beyond-longest-tested", "not-covered", "beyond-limit"]
WithdrawalReason = Literal[
    "side-effects", "patient-wish", "indication-changed", "medication-changed", "entered-in-error", "course-completed"
]
OverrideReason = Literal["earlier-course-tolerated", "benefit-outweighs-risk", "no-response-within-limits"]
UnblindingReason = Literal["medical-emergency", "adverse-event", "pregnancy", "patient-asked", "trial-ended"]


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
