"""The events of stimulation: what happened in a room, in a session, and on the supervisors' roster.

Intensities are in percent of maximum stimulator output (``…percent_mso``) or of the resting motor threshold
(``…percent_rmt``), durations in seconds. Pulse counts of a device are those of its own counter.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from spoel_common.events import Catalogue, EventData, UtcTime, gap_detected, parked_event_discarded
from spoel_stimulation.orders import LocationName, MeasurementOrder, Part, Site, TreatmentOrder

SessionKind = Literal["measurement", "treatment"]
Response = Literal["yes", "no", "repeat"]
Parameter = Literal["percent_rmt", "train_interval_s", "trains", "coil_shift_mm", "coil_turn_deg"]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)*$", max_length=40), Field(examples=["other"])]
"""A reason as it stands in an event: one of the lists below at the time of writing; a reader takes any."""

DailyOutcome = Literal["go", "ask-supervisor", "no-session-today"]
Decider = Literal["supervisor", "physician"]
AlarmClass = Literal["act-now", "supervisor-today", "list"]
Severity = Literal["mild", "moderate", "severe"]
SideEffect = Literal[
    "headache",
    "scalp-pain",
    "nausea",
    "dizziness",
    "fatigue",
    "sleeplessness",
    "hearing-complaint",
    "facial-twitch",
    "mania",
    "worsening",
    "suicidal-thoughts",
    "hand-movement",
    "arm-movement",
    "leg-movement",
]
PatientState = Literal["well", "mild-complaints", "with-supervisor", "with-physician", "to-hospital", "not-seen"]
ReleaseReason = Literal["faint-explained", "seizure-excluded", "seizure-assessed", "reported-by-mistake"]
TrainOutcome = Literal["complete", "partial", "none"]
Evidence = Literal["frames-and-counter", "counter", "status", "operator"]
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
CouplingReason = Literal[
    "too-few-trains",
    "too-few-beats",
    "too-much-artefact",
    "uneven-trains",
    "belt-lost",
    "belt-silent",
    "contact-lost",
    "beats-missing",
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
    "coil-temperature",
    "coil-changed",
    "status-too-old",
    "presence-missed",
    "patient-not-awake",
    "limb-movement",
    "loss-of-consciousness",
    "patient-blocked",
    "daily-maximum",
    "grant-ended",
    "no-session-today",
]
ChangeReason = Literal[
    "patient-discomfort", "pain", "facial-twitch", "anxiety", "clinical-judgement", "technical", "other"
]


GrantRevocationReason = Literal["access-withdrawn", "not-in-the-room", "other"]


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


class RoomChecked(StimulationEvent):
    """The opening check of a room was done; it holds for one local day (ST-02).

    Attributes:
        items: item of the list → whether it is in order.
    """

    event_name: ClassVar[str] = "room-checked"

    room_id: str
    day: date
    list_version: str
    items: dict[str, bool]


class DeviceFault(StimulationEvent):
    """A device or its link did something that it should not.

    Attributes:
        sealed_detail: in a blinded session what the device said, which could tell the condition, sealed to the patient
            (ST-09); ``detail`` says only so.
    """

    event_name: ClassVar[str] = "device-fault"

    room_id: str
    session_id: str | None = None
    kind: str
    detail: str
    sealed_detail: str | None = None


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
        stopped_at: clock time of the stop, which may be long before it could be recorded.
        source: network address from which the guard was asked; ``room`` where the room's own process asked it.
    """

    event_name: ClassVar[str] = "emergency-stopped"

    room_id: str
    session_id: str | None = None
    outcome: StopOutcome
    person: str
    stopped_at: UtcTime | None = None
    source: str | None = None


class GuardDisarmed(StimulationEvent):
    """A room's guard disarmed the device by itself though nobody was in danger: nothing is latched (INV-11).

    Attributes:
        reason: ``port-opened`` (its first word to every device), ``ending`` (its last), or ``silence`` and
            ``room-gone`` while the device was not armed.
        stopped_at: clock time, which may be long before it could be recorded.
        pulses_after: pulses that the device told of after it had read back as disabled.
    """

    event_name: ClassVar[str] = "guard-disarmed"

    room_id: str
    session_id: str | None = None
    reason: Code
    outcome: StopOutcome
    stopped_at: UtcTime
    pulses_after: int = Field(default=0, ge=0)


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
        operator_id: who runs the session; with role, BIG number, supervisor and end the session's grant.
        grant_until: clock time at which the grant ends; None in events from before it was kept.
        offline: opened on knowledge older than an online start allows (``known`` says how old).
        consent_asked_again: the patient was asked for consent again, the room being cut off.
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
    grant_until: UtcTime | None = None
    offline: bool = False
    consent_asked_again: bool = False

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


class DailyCheckAnswered(SessionEvent):
    """The patient was asked the questions of the day (HZ-15, HZ-20).

    Attributes:
        day: the local day for which the answers hold.
        answers: question → code of the answer.
        outcome: the strictest of all answers.
        undecided: question → whose decision its answer waits for.
    """

    event_name: ClassVar[str] = "daily-check-answered"

    day: date
    list_version: str
    answers: dict[str, str]
    outcome: DailyOutcome
    undecided: dict[str, Decider]


class DailyCheckDecided(SessionEvent):
    """The supervisor, or a physician, decided on one answer."""

    event_name: ClassVar[str] = "daily-check-decided"

    question: str
    decision: Literal["go", "no-session-today"]
    decided_as: Decider


class PresenceConfirmed(SessionEvent):
    """A trained person in the room showed that they are there and watch the patient (ST-11)."""

    event_name: ClassVar[str] = "presence-confirmed"

    awake: bool


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
    consent_asked_again: bool = False


class SessionStarted(SessionEvent):
    """The operator started the session.

    Attributes:
        offline: on knowledge older than an online start allows.
        consent_asked_again: the patient was asked for consent again, the room being cut off.
    """

    event_name: ClassVar[str] = "session-started"

    offline: bool = False
    consent_asked_again: bool = False


class SessionPaused(SessionEvent):
    """No next train, until a person resumes.

    Attributes:
        reason: one of ``PauseReason`` or ``InterlockReason``.
        paused_at: clock time; None in old events.
    """

    event_name: ClassVar[str] = "session-paused"
    event_version: ClassVar[int] = 2

    by: Literal["operator", "interlock"]
    reason: Code
    paused_at: UtcTime | None = None


class SessionResumed(SessionEvent):
    """The operator checked coil and ears and resumed.

    Attributes:
        site_confirmed: side or site was chosen again, as after a long pause, and is the order's.
    """

    event_name: ClassVar[str] = "session-resumed"

    ear_protection: Literal[True]
    site_confirmed: bool = False
    consent_asked_again: bool = False


class SessionGrantRevoked(SessionEvent):
    """A supervisor ended the grant under which a session was run: it is interrupted, and its operator runs it no more.

    Attributes:
        operator_id: whose grant it was.
    """

    event_name: ClassVar[str] = "session-grant-revoked"

    operator_id: str
    reason: GrantRevocationReason


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
        evidence: from the device's frames and counter, from the counter alone, from what its status said, or from what
            the operator read from its counter.
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
        parameter: one of ``Parameter``; the coil's shift from the target in mm, its turn from the prescribed angle in
            degrees.
        from_percent_mso: for an intensity, the output before; ``to_percent_mso`` after. None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "parameter-changed"
    event_version: ClassVar[int] = 2

    parameter: Annotated[str, Field(examples=["percent_rmt"])]
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
    """The operator chose the side, or site, at which the coil was placed, and it is the block's.

    Attributes:
        placed_at: clock time; None in old events.
    """

    event_name: ClassVar[str] = "coil-placed"

    block: int = Field(ge=1)
    site: Site
    ear_protection: Literal[True]
    placed_at: UtcTime | None = None


class StimulusAnswered(SessionEvent):
    """The operator saw, or did not see, a twitch."""

    event_name: ClassVar[str] = "stimulus-answered"

    train_id: str
    measurement_order_id: str
    percent_mso: int
    response: Response


class SearchRunStarted(SessionEvent):
    """The operator put the coil at a location of a heart-brain search, chose side and name, and started its trains.

    Attributes:
        run: from 0.
        trains: that follow, each authorised on its own.
    """

    event_name: ClassVar[str] = "search-run-started"

    run: int = Field(ge=0)
    measurement_order_id: str
    site: Site
    location: LocationName
    percent_mso: int = Field(ge=1, le=100)
    trains: int = Field(ge=1)
    ear_protection: Literal[True]


class CouplingResult(Part):
    """How heart rate followed the trains of one run.

    Attributes:
        cycle_hz: one over the seconds from train to train.
        mean_bpm: mean heart rate.
        power_bpm2: power of heart rate at the cycle frequency; ``noise_bpm2`` that beside it.
        p_value: chance of such a ratio without coupling.
        amplitude_bpm: of the fitted cosine.
        trough_s: when heart rate was lowest, after a train's onset.
        slows: it was lowest during a train or shortly after.
    """

    cycle_hz: float = Field(gt=0)
    mean_bpm: float = Field(gt=0)
    power_bpm2: float = Field(ge=0)
    noise_bpm2: float = Field(gt=0)
    p_value: float = Field(ge=0, le=1)
    amplitude_bpm: float = Field(ge=0)
    trough_s: float = Field(ge=0)
    slows: bool


class CouplingMeasured(SessionEvent):
    """A run at one location ended, with what the heart did, or why that cannot be said (PL-11).

    Attributes:
        trains: that were delivered.
        beats: intervals that the belt gave; ``artefacts`` of them were left out.
        result: None where there is a ``reason``.
    """

    event_name: ClassVar[str] = "coupling-measured"

    run: int = Field(ge=0)
    measurement_order_id: str
    site: Site
    location: LocationName
    percent_mso: int = Field(ge=1, le=100)
    trains: int = Field(ge=0)
    beats: int = Field(ge=0)
    artefacts: int = Field(ge=0)
    result: CouplingResult | None = None
    reason: CouplingReason | None = None

    @model_validator(mode="after")
    def _result_or_reason(self) -> Self:
        if (self.result is None) == (self.reason is None):
            raise ValueError("a run has a result, or a reason why there is none")
        return self


class RankedPlace(Part):
    """One location of a ranking.

    Attributes:
        coupled: the heart slowed with the trains beyond chance, for the number of locations.
        fall_bpm: amplitude of heart rate at the cycle frequency; negative where it rose with the trains.
        ratio: power at the cycle frequency over that beside it.
    """

    location: LocationName
    percent_mso: int
    coupled: bool
    fall_bpm: float
    ratio: float
    p_value: float


class LocationsRanked(SessionEvent):
    """A heart-brain search was closed: its locations from strongest to weakest coupling (PL-11).

    Attributes:
        best: only where one stands out from every other.
    """

    event_name: ClassVar[str] = "locations-ranked"

    measurement_order_id: str
    site: Site
    verdict: Literal["ranked", "no-location-differs", "no-coupling", "too-few-locations"]
    best: LocationName | None
    locations: tuple[RankedPlace, ...]


class SessionClosed(SessionEvent):
    """The session is over and stays so (ST-12).

    Attributes:
        reason: one of ``StopReason`` or ``InterlockReason``, ``last-train-ended`` or ``daily-check``.
        patient_state: how the patient was; None where it was not said (yet): see ``patient-state-recorded``.
    """

    event_name: ClassVar[str] = "session-closed"
    event_version: ClassVar[int] = 2

    outcome: SessionOutcome
    reason: Code
    pulses_planned: int
    pulses_delivered: int
    trains_delivered: int
    pulses_unknown: int
    patient_state: PatientState | None = None


# --- aggregate side-effect, id = side_effect_id


class SideEffectReported(SessionEvent):
    """A side effect, during a session or after it (ST-07); codes only."""

    event_name: ClassVar[str] = "side-effect-reported"

    side_effect_id: str
    effect: SideEffect
    severity: Severity


# --- aggregate alert, id = alert_id


class AlertRaised(SessionEvent):
    """Somebody has to act, and by when (SY-05).

    Attributes:
        kind: what happened, for example ``suicidal-thoughts``.
        owner_id: who is to act: the session's supervisor, else its operator.
    """

    event_name: ClassVar[str] = "alert-raised"

    alert_id: str
    alarm_class: AlarmClass
    kind: Code
    owner_id: str


# --- aggregate aftercare, id = session_id


class PatientStateRecorded(SessionEvent):
    """How the patient was after a session that was closed without saying so (ST-12)."""

    event_name: ClassVar[str] = "patient-state-recorded"

    patient_state: PatientState


# --- aggregate adverse-event, id = adverse_event_id


class AdverseEventReported(SessionEvent):
    """A loss of consciousness or suspected seizure: the patient is blocked in all rooms until a physician decides.

    Attributes:
        person: who pressed the button, ``unverified`` where nobody had signed in.
        stop: what the stop at the device came to.
        last_train_id: the train that was under way or the last before; None if there was none.
    """

    event_name: ClassVar[str] = "adverse-event-reported"

    adverse_event_id: str
    kind: Literal["loss-of-consciousness"]
    person: str
    stop: StopOutcome
    last_train_id: str | None = None


# --- aggregate release, id = release_id


class PatientReleased(StimulationEvent):
    """A physician decided that a patient may be treated again.

    Attributes:
        adverse_event_ids: those that block no longer, of any room.
    """

    event_name: ClassVar[str] = "patient-released"

    release_id: str
    patient_id: str
    adverse_event_ids: tuple[str, ...] = Field(min_length=1)
    reason: ReleaseReason


# --- aggregate lease, id = session_id


class LeaseReleased(SessionEvent):
    """A room learned that its booking was cancelled, and will never open it: another room may take the patient."""

    event_name: ClassVar[str] = "lease-released"


# --- aggregate withdrawal, id = withdrawal_id


class ConsentWithdrawnInRoom(SessionEvent):
    """The patient withdrew consent in the room, with or without network; it holds for the case, in all rooms, at once.

    Attributes:
        withdrawn_at: clock time at which it was entered.
    """

    event_name: ClassVar[str] = "consent-withdrawn-in-room"

    withdrawal_id: str
    withdrawn_at: UtcTime


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
    [
        RoomOpened,
        RoomLatched,
        RoomReset,
        RoomChecked,
        DeviceFault,
        UnauthorisedPulseObserved,
        EmergencyStopped,
        GuardDisarmed,
    ],
    {("stimulation", "unauthorised-pulse-observed", 1): dict},
)
SESSION_EVENTS: Catalogue[EventData] = Catalogue(
    [
        SessionOpened,
        IdentityConfirmed,
        DailyCheckAnswered,
        DailyCheckDecided,
        PresenceConfirmed,
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
        SearchRunStarted,
        CouplingMeasured,
        LocationsRanked,
        SessionClosed,
        SessionGrantRevoked,
    ],
    {
        ("stimulation", "session-opened", 1): dict,
        ("stimulation", "session-armed", 1): dict,
        ("stimulation", "train-authorised", 1): dict,
        ("stimulation", "train-delivered", 1): dict,
        ("stimulation", "session-paused", 1): dict,
        ("stimulation", "parameter-changed", 1): dict,
        ("stimulation", "session-closed", 1): dict,
    },
)
ROSTER_EVENTS: Catalogue[EventData] = Catalogue([SupervisionStarted, SupervisionEnded])
LEASE_EVENTS: Catalogue[EventData] = Catalogue([LeaseReleased])
WITHDRAWAL_EVENTS: Catalogue[EventData] = Catalogue([ConsentWithdrawnInRoom])
NOTE_EVENTS: Catalogue[EventData] = Catalogue([NoteWritten])
SIDE_EFFECT_EVENTS: Catalogue[EventData] = Catalogue([SideEffectReported])
ALERT_EVENTS: Catalogue[EventData] = Catalogue([AlertRaised])
AFTERCARE_EVENTS: Catalogue[EventData] = Catalogue([PatientStateRecorded])
ADVERSE_EVENTS: Catalogue[EventData] = Catalogue([AdverseEventReported])
RELEASE_EVENTS: Catalogue[EventData] = Catalogue([PatientReleased])
