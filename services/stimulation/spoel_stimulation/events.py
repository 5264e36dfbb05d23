"""The events of stimulation: what happened in a room, in a session, and on the supervisors' roster.

Intensities are in percent of maximum stimulator output (``…percent_mso``) or of the resting motor threshold
(``…percent_rmt``), durations in seconds. Pulse counts of a device are those of its own counter.
"""

from typing import ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from spoel_common.events import Catalogue, EventData, UtcTime, gap_detected, parked_event_discarded
from spoel_stimulation.orders import MeasurementOrder, Part, Site, TreatmentOrder

SessionKind = Literal["measurement", "treatment"]
Response = Literal["yes", "no", "repeat"]
Parameter = Literal["percent_rmt", "train_interval_s"]
TrainOutcome = Literal["complete", "partial", "none"]
Evidence = Literal["frames-and-counter", "counter", "status"]
SessionOutcome = Literal["completed", "partial", "not-started"]
StopOutcome = Literal["sent", "confirmed", "not-confirmed"]
UnknownReason = Literal["evidence-incomplete", "counter-restarted", "other-device", "link-lost"]
LatchReason = Literal[
    "device-fault",
    "link-lost",
    "unauthorised-pulse",
    "unasked-change",
    "outcome-unknown",
    "emergency-stop",
    "service-restart",
]
ResetReason = Literal["device-checked", "device-restarted", "link-restored", "false-alarm"]
PauseReason = Literal[
    "patient-asked", "patient-discomfort", "coil-check", "ear-protection", "limb-movement", "technical", "other"
]
StopReason = Literal[
    "patient-asked",
    "side-effect",
    "clinical-judgement",
    "technical",
    "time-over",
    "measurement-finished",
    "other",
]
InterlockReason = Literal[
    "consent-withdrawn",
    "indication-ended",
    "order-superseded",
    "order-withdrawn",
    "order-expired",
    "supervision-ended",
    "registration-ended",
    "device-fault",
    "link-lost",
    "unauthorised-pulse",
    "unasked-change",
    "outcome-unknown",
    "emergency-stop",
    "service-restart",
]
ChangeReason = Literal[
    "patient-discomfort", "pain", "facial-twitch", "anxiety", "clinical-judgement", "technical", "other"
]


class Known(Part):
    """How old the knowledge of one feed was (INV-4).

    Attributes:
        source: the store that publishes the feed.
        as_of: the last watermark that was fully applied; None if there was none.
        age_s: wall seconds since then, by a monotonic clock.
    """

    source: str
    as_of: UtcTime | None
    age_s: float


class DeviceSettings(Part):
    """What a device was told and what it answered: two things (INV-2).

    Attributes:
        set: setting → value that was written.
        read_back: setting → value that the device gave afterwards.
    """

    set: dict[str, JsonValue]
    read_back: dict[str, JsonValue]


class Realised(Part):
    """The output of a train as the device measured it, beside set point and read-back (INV-2).

    Attributes:
        quantity: what was measured.
        stimuli: measurements.
        lowest: of them; ``mean`` and ``highest`` likewise.
    """

    quantity: Literal["didt_a_per_us"]
    stimuli: int = Field(ge=1)
    lowest: float
    mean: float
    highest: float


class StimulationEvent(EventData):
    """An event of this service."""

    service: ClassVar[str] = "stimulation"


# --- aggregate room, id = room_id


class RoomOpened(StimulationEvent):
    """A device answered in a room, and it, or the room's key, differs from what was recorded."""

    event_name: ClassVar[str] = "room-opened"

    room_id: str
    stimulator_model: str
    stimulator_serial: str
    coil_model: str
    simulated: bool
    strip_public_key: str


class RoomLatched(StimulationEvent):
    """The room is safe and stays so until a person resets it (INV-7)."""

    event_name: ClassVar[str] = "room-latched"

    room_id: str
    reason: LatchReason
    detail: str
    session_id: str | None = None


class RoomReset(StimulationEvent):
    """A person looked and released the room."""

    event_name: ClassVar[str] = "room-reset"

    room_id: str
    reason: ResetReason


class DeviceFault(StimulationEvent):
    """A device or its link did something that it should not."""

    event_name: ClassVar[str] = "device-fault"

    room_id: str
    session_id: str | None = None
    kind: str
    detail: str


class UnauthorisedPulseObserved(StimulationEvent):
    """The device gave pulses that no train of this room accounts for, such as from its front panel.

    Attributes:
        pulses: by its counter, or at least as many as were heard of.
        device_total_pulses: its counter afterwards; None on a device without one.
    """

    event_name: ClassVar[str] = "unauthorised-pulse-observed"
    event_version: ClassVar[int] = 2

    room_id: str
    session_id: str | None = None
    pulses: int = Field(ge=1)
    device_total_pulses: int | None = Field(ge=0)


class EmergencyStopped(StimulationEvent):
    """The emergency stop was pressed; ``person`` is ``unverified`` when nobody had signed in (INV-8).

    Attributes:
        stopped_at: clock time of the stop, where the room's guard did it and told of it later.
        source: network address from which the guard was asked; ``room`` where the room's own process asked it.
    """

    event_name: ClassVar[str] = "emergency-stopped"

    room_id: str
    session_id: str | None = None
    outcome: StopOutcome
    person: str
    stopped_at: UtcTime | None = None
    source: str | None = None


# --- aggregate session, id = session_id


class SessionEvent(StimulationEvent):
    """An event of one session."""

    session_id: str
    case_id: str
    patient_id: str
    room_id: str


class SessionOpened(SessionEvent):
    """A person took a booked session into its room; the signed order is frozen into it.

    Attributes:
        operator_id: who runs the session; with role, BIG number and supervisor the session's grant.
    """

    event_name: ClassVar[str] = "session-opened"
    event_version: ClassVar[int] = 2

    kind: SessionKind
    operator_id: str
    operator_role: str
    operator_big_number: str | None = None
    supervisor_id: str | None = None
    treatment_order: TreatmentOrder | None = None
    measurement_order: MeasurementOrder | None = None
    prescription_id: str | None = None
    prescription_version: int | None = None
    measurement_order_id: str | None = None
    known: tuple[Known, ...]

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        orders = {"treatment": self.treatment_order, "measurement": self.measurement_order}
        given = [kind for kind, order in orders.items() if order is not None]
        if given != [self.kind]:
            raise ValueError(f"a {self.kind} session carries exactly its {self.kind} order")
        return self


class IdentityConfirmed(SessionEvent):
    """The operator asked name and birth date, and both agreed with the room's identity strip (ST-10)."""

    event_name: ClassVar[str] = "identity-confirmed"


class SessionArmed(SessionEvent):
    """Every setting was written and read back, and the device is enabled.

    Attributes:
        settings: empty in a blinded session.
        percent_mso: None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "session-armed"
    event_version: ClassVar[int] = 2

    ear_protection: Literal[True]
    settings: DeviceSettings
    coil_model: str
    percent_mso: int | None
    sealed_output: str | None = None


class SessionStarted(SessionEvent):
    """The operator started the session."""

    event_name: ClassVar[str] = "session-started"


class SessionPaused(SessionEvent):
    """No next train, until a person resumes."""

    event_name: ClassVar[str] = "session-paused"

    by: Literal["operator", "interlock"]
    reason: PauseReason | InterlockReason


class SessionResumed(SessionEvent):
    """The operator checked coil and ears and resumed."""

    event_name: ClassVar[str] = "session-resumed"

    ear_protection: Literal[True]


class TrainAuthorised(SessionEvent):
    """One train may leave the host: durable before the first byte that can cause a pulse does (INV-1).

    Attributes:
        train_index: from 0; for a stimulus its number in the session.
        pulses: pulses of the whole train, bursts included.
        planned_onset_at: clock time at which the train was due.
        device_total_pulses_before: the device's counter, to close the gap with after a crash; None on a device without.
        block: which block of the order, from 0.
        percent_mso: None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "train-authorised"
    event_version: ClassVar[int] = 2

    train_id: str
    train_index: int = Field(ge=0)
    pulses: int = Field(ge=1)
    percent_mso: int | None = Field(ge=0, le=100)
    bursts: int = Field(ge=1)
    pulses_per_burst: int = Field(ge=1)
    burst_interval_s: float
    pulse_interval_s: float | None = None
    planned_onset_at: UtcTime
    device_total_pulses_before: int | None = Field(ge=0)
    known: tuple[Known, ...]
    block: int = Field(default=0, ge=0)
    sealed_output: str | None = None


class TrainDelivered(SessionEvent):
    """How a train ended.

    Attributes:
        pulses: pulses that were delivered.
        percent_mso: the set point, which was read back before the start; None in a blinded session.
        device_total_pulses_after: the device's counter; None on a device without one.
        evidence: from the device's frames and counter, from the counter alone, or from what its status said.
        first_onset_at: clock time of the first pulse; None if there was none or it was not seen.
        realised: what the device says that it gave; None where it does not tell, and in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "train-delivered"
    event_version: ClassVar[int] = 2

    train_id: str
    train_index: int
    outcome: TrainOutcome
    pulses: int = Field(ge=0)
    percent_mso: int | None
    device_total_pulses_after: int | None
    evidence: Evidence
    first_onset_at: UtcTime | None = None
    ended_at: UtcTime
    realised: Realised | None = None
    sealed_output: str | None = None


class TrainOutcomeUnknown(SessionEvent):
    """Nobody can say how many pulses of a train were delivered; it counts as all for maxima, as none for minima."""

    event_name: ClassVar[str] = "train-outcome-unknown"

    train_id: str
    train_index: int
    pulses_at_most: int = Field(ge=0)
    reason: UnknownReason


class ParameterChanged(SessionEvent):
    """The operator changed a parameter within the signed band (ST-05).

    Attributes:
        from_percent_mso: for an intensity, the output before; ``to_percent_mso`` after. None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "parameter-changed"

    parameter: Parameter
    from_value: float
    to_value: float
    from_percent_mso: int | None = None
    to_percent_mso: int | None = None
    reason: ChangeReason
    from_train_index: int
    sealed_output: str | None = None


class CoilAwaited(SessionEvent):
    """A block ended and the next is at another site: disarmed, until the coil is placed there (HZ-03).

    Attributes:
        block: the block that is waited for, from 0.
        site: where it is.
    """

    event_name: ClassVar[str] = "coil-awaited"

    block: int = Field(ge=1)
    site: Site


class CoilPlaced(SessionEvent):
    """The operator chose the side, or site, at which the coil was placed, and it is the block's."""

    event_name: ClassVar[str] = "coil-placed"

    block: int = Field(ge=1)
    site: Site
    ear_protection: Literal[True]


class StimulusAnswered(SessionEvent):
    """The operator saw, or did not see, a twitch."""

    event_name: ClassVar[str] = "stimulus-answered"

    train_id: str
    measurement_order_id: str
    percent_mso: int
    response: Response


class SessionClosed(SessionEvent):
    """The session is over and stays so (ST-12)."""

    event_name: ClassVar[str] = "session-closed"

    outcome: SessionOutcome
    reason: StopReason | InterlockReason | Literal["last-train-ended"]
    pulses_planned: int
    pulses_delivered: int
    trains_delivered: int
    pulses_unknown: int


# --- aggregate roster, id = site


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


# --- aggregate note, id = note_id


class NoteWritten(SessionEvent):
    """Somebody wrote a remark about a session, sealed to the patient; intake opens it for who may read it."""

    event_name: ClassVar[str] = "note-written"

    note_id: str
    sealed_text: str


# --- aggregate erasure, id = patient_id


class ErasureCompleted(StimulationEvent):
    """What was held here of an erased patient is cleared; ``cleared``: what → how many."""

    event_name: ClassVar[str] = "erasure-completed"

    patient_id: str
    erasure_id: str
    cleared: dict[str, int]


ParkedEventDiscarded = parked_event_discarded("stimulation")
"""An event of the aggregate ``discarded-event``, one for each event that was given up."""

GapDetected = gap_detected("stimulation")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""

ROOM_EVENTS: Catalogue[EventData] = Catalogue(
    [RoomOpened, RoomLatched, RoomReset, DeviceFault, UnauthorisedPulseObserved, EmergencyStopped],
    {("stimulation", "unauthorised-pulse-observed", 1): dict},
)
SESSION_EVENTS: Catalogue[EventData] = Catalogue(
    [
        SessionOpened,
        IdentityConfirmed,
        SessionArmed,
        SessionStarted,
        SessionPaused,
        SessionResumed,
        TrainAuthorised,
        TrainDelivered,
        TrainOutcomeUnknown,
        ParameterChanged,
        CoilAwaited,
        CoilPlaced,
        StimulusAnswered,
        SessionClosed,
    ],
    {
        ("stimulation", "session-opened", 1): dict,
        ("stimulation", "session-armed", 1): dict,
        ("stimulation", "train-authorised", 1): dict,
        ("stimulation", "train-delivered", 1): dict,
    },
)
ROSTER_EVENTS: Catalogue[EventData] = Catalogue([SupervisionStarted, SupervisionEnded])
NOTE_EVENTS: Catalogue[EventData] = Catalogue([NoteWritten])
