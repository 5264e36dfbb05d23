"""Events of the head measures, the measurement orders and the motor threshold (PL-01 to PL-03)."""

from typing import ClassVar, Literal

from spoel_common.events import UtcTime
from spoel_planning.events.model import CaseEvent, PlanningEvent
from spoel_planning.events.orders import MeasurementOrder, MotorSite, Percent, Site, ThresholdKey, Value

Response = Literal["yes", "no", "repeat"]
"""Whether the muscle moved; ``repeat``: could not be judged."""


class Stimulus(Value):
    """One stimulus of a threshold session and what was seen."""

    train_id: str
    percent_mso: Percent
    response: Response


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
    event_version: ClassVar[int] = 2

    drafted_by: str


class MeasurementOrderSigned(CaseEvent):
    """A measurement order was signed (PL-10)."""

    event_name: ClassVar[str] = "measurement-order-signed"
    event_version: ClassVar[int] = 2

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
