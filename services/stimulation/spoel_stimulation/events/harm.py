"""Events of what happened to a patient, each an aggregate of its own.

Side effects, alarms, loss of consciousness, release by a physician, the state after a session.
"""

from typing import ClassVar, Literal

from pydantic import Field

from spoel_stimulation.events.base import SessionEvent, StimulationEvent
from spoel_stimulation.events.words import (
    AlarmClass,
    Code,
    PatientState,
    ReleaseReason,
    Severity,
    SideEffect,
    StopOutcome,
)


class SideEffectReported(SessionEvent):
    """A side effect, during a session or after it (ST-07); codes only."""

    event_name: ClassVar[str] = "side-effect-reported"

    side_effect_id: str
    effect: SideEffect
    severity: Severity


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


class PatientStateRecorded(SessionEvent):
    """How the patient was after a session that was closed without saying so (ST-12)."""

    event_name: ClassVar[str] = "patient-state-recorded"

    patient_state: PatientState


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
