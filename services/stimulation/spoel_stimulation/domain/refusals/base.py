"""What every refusal of a room has."""

from typing import ClassVar

from spoel_common.errors import SpoelError
from spoel_stimulation.events.words import InterlockReason


class RoomRefusal(SpoelError):
    """A refusal of this service; ``interlock`` is the reason that is recorded where it stops a running session."""

    status = 409
    interlock: ClassVar[InterlockReason | None] = None
