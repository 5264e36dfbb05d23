"""What all events of planning have in common."""

from typing import ClassVar

from spoel_common.events import EventData


class PlanningEvent(EventData):
    """An event of planning."""

    service: ClassVar[str] = "planning"


class CaseEvent(PlanningEvent):
    """An event about one case."""

    case_id: str
    patient_id: str
