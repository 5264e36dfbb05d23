"""The words from which the events choose: kinds, outcomes, reasons.

Commands take the lists as they stand. Where an event has a ``Code``, its readers take any word: lists grow.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

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
    "consent-missing",
    "indication-missing",
    "order-missing",
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
