"""The event by which a service records that an event of another store is missing here.

It is appended in the transaction in which the gap is noticed, once for each time that an aggregate begins to wait. That
the gap has closed is no event: what was missing is then in the read model itself.
"""

from functools import cache
from typing import ClassVar

from pydantic import Field

from spoel_common.events.model import EventData


class EventMissing(EventData):
    """An event came to a read model of this service, but not the one before it.

    Attributes:
        projection: the read model, in which the aggregate waits.
        source: the store whose event is missing.
        last_version: the last version of the aggregate that is applied; 0 for none.
        came_version: of the event that came.
    """

    projection: str
    projection_version: int
    source: str
    aggregate_type: str
    aggregate_id: str
    last_version: int = Field(ge=0)
    came_version: int = Field(ge=2)


@cache
def gap_detected(service_name: str) -> type[EventMissing]:
    """Return the model of ``spoel.<service>.gap-detected.v1`` of one service."""

    class GapDetected(EventMissing):
        service: ClassVar[str] = service_name
        event_name: ClassVar[str] = "gap-detected"

    return GapDetected
