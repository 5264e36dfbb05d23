"""The public events of planning: plans (one a case) and room calendars.

An event names its values with their units: ``percent_mso`` is percent of maximum stimulator output, ``percent_rmt``
percent of the resting motor threshold, ``…_s`` seconds, ``…_cm`` centimetres.
"""

from typing import ClassVar

from spoel_common.events import Catalogue, EventData, gap_detected, parked_event_discarded
from spoel_planning.events.booking import SessionBooked, SessionBookingCancelled, SlotReleased, SlotTaken
from spoel_planning.events.measuring import (
    HeadMeasured,
    MeasurementOrdered,
    MeasurementOrderSigned,
    TargetCalculated,
    ThresholdEstimated,
)
from spoel_planning.events.model import PlanningEvent
from spoel_planning.events.prescribing import (
    AllocationRecorded,
    AllocationUnblinded,
    PrescriptionDrafted,
    PrescriptionSigned,
    PrescriptionWithdrawn,
)


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
    {
        ("planning", "measurement-ordered", 1): dict,
        ("planning", "measurement-order-signed", 1): dict,
        ("planning", "prescription-drafted", 1): dict,
        ("planning", "prescription-signed", 1): dict,
    },
)
"""Events of the aggregate ``plan``, one for each case."""

CALENDAR_EVENTS: Catalogue[EventData] = Catalogue([SlotTaken, SlotReleased])
"""Events of the aggregate ``calendar``, one for each room."""
