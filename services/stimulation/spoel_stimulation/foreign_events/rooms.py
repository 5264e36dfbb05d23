"""What a room reads of the events of the other nodes of its site, never of its own."""

from datetime import date
from typing import ClassVar, Literal

from spoel_common.events import ForeignEvent, UtcTime
from spoel_stimulation.events.words import DailyOutcome, SessionKind


class RoomEvent(ForeignEvent):
    """An event of another node of the site."""

    service: ClassVar[str] = "stimulation"


class PatientEvent(RoomEvent):
    """What was done in another room with a patient."""

    patient_id: str


class RoomOpened(RoomEvent):
    """A device answered in a room."""

    event_name: ClassVar[str] = "room-opened"

    room_id: str
    stimulator_model: str
    stimulator_serial: str
    coil_model: str


class RoomLatched(RoomEvent):
    """A room is latched."""

    event_name: ClassVar[str] = "room-latched"

    room_id: str
    reason: str


class RoomReset(RoomEvent):
    """A room was released."""

    event_name: ClassVar[str] = "room-reset"

    room_id: str


class SessionOpened(PatientEvent):
    """A session was taken into its room."""

    event_name: ClassVar[str] = "session-opened"
    event_version: ClassVar[int] = 2

    session_id: str
    case_id: str
    room_id: str
    kind: SessionKind


class SessionClosed(RoomEvent):
    """A session is over."""

    event_name: ClassVar[str] = "session-closed"
    event_version: ClassVar[int] = 2

    session_id: str


class LeaseReleased(RoomEvent):
    """A room gave a booking back."""

    event_name: ClassVar[str] = "lease-released"

    session_id: str


class ConsentWithdrawnInRoom(PatientEvent):
    """A patient withdrew consent in a room."""

    event_name: ClassVar[str] = "consent-withdrawn-in-room"

    case_id: str


class DailyCheckAnswered(PatientEvent):
    """The patient answered the questions of the day."""

    event_name: ClassVar[str] = "daily-check-answered"

    session_id: str
    day: date
    outcome: DailyOutcome


class DailyCheckDecided(PatientEvent):
    """Somebody decided on an answer."""

    event_name: ClassVar[str] = "daily-check-decided"

    session_id: str
    decision: Literal["go", "no-session-today"]


class TrainAuthorised(PatientEvent):
    """A train was about to leave its host."""

    event_name: ClassVar[str] = "train-authorised"
    event_version: ClassVar[int] = 2

    train_id: str
    session_id: str
    pulses: int
    planned_onset_at: UtcTime


class TrainDelivered(PatientEvent):
    """How a train ended."""

    event_name: ClassVar[str] = "train-delivered"
    event_version: ClassVar[int] = 2

    train_id: str
    session_id: str
    pulses: int
    ended_at: UtcTime


class UnauthorisedPulseObserved(RoomEvent):
    """The device in another room gave pulses that no train accounts for; the patient is the open session's, if any."""

    event_name: ClassVar[str] = "unauthorised-pulse-observed"
    event_version: ClassVar[int] = 2

    session_id: str | None = None
    patient_id: str | None = None
    pulses: int


class AdverseEventReported(PatientEvent):
    """The patient lost consciousness."""

    event_name: ClassVar[str] = "adverse-event-reported"

    adverse_event_id: str


class PatientReleased(PatientEvent):
    """A physician decided that the patient may be treated again."""

    event_name: ClassVar[str] = "patient-released"

    adverse_event_ids: tuple[str, ...]
