"""Events of what was said in a room, each an aggregate of its own: consent withdrawn, remarks."""

from typing import ClassVar

from spoel_common.events import UtcTime
from spoel_stimulation.events.base import SessionEvent


class ConsentWithdrawnInRoom(SessionEvent):
    """The patient withdrew consent in the room, with or without network; it holds for the case, in all rooms, at once.

    Attributes:
        withdrawn_at: clock time at which it was entered.
    """

    event_name: ClassVar[str] = "consent-withdrawn-in-room"

    withdrawal_id: str
    withdrawn_at: UtcTime


class NoteWritten(SessionEvent):
    """Somebody wrote a remark about a session, sealed to the patient; intake opens it for who may read it."""

    event_name: ClassVar[str] = "note-written"

    note_id: str
    sealed_text: str
