"""Events of the supervisors' roster. Aggregate ``roster``."""

from typing import ClassVar

from spoel_common.events import UtcTime
from spoel_stimulation.events.base import StimulationEvent


class SupervisionStarted(StimulationEvent):
    """A supervisor is on duty until a moment."""

    event_name: ClassVar[str] = "supervision-started"

    supervisor_id: str
    big_number: str
    until: UtcTime


class SupervisionEnded(StimulationEvent):
    """A supervisor went off duty."""

    event_name: ClassVar[str] = "supervision-ended"

    supervisor_id: str
