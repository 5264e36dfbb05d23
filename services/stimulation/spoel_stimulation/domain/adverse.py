"""Side effects, loss of consciousness, and what comes after a session. Pure."""

from collections.abc import Mapping

from spoel_stimulation.commands import RecordPatientState, ReleasePatient, ReportSideEffect
from spoel_stimulation.domain.conduct import ids_of
from spoel_stimulation.domain.lists import side_effects
from spoel_stimulation.domain.refusals import PatientNotBlocked, PatientStateKnown, TransitionNotAllowed
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.harm import (
    AdverseEventReported,
    AlertRaised,
    PatientReleased,
    PatientStateRecorded,
    SideEffectReported,
)
from spoel_stimulation.events.words import AlarmClass, PatientState, StopOutcome


def report_side_effect(state: SessionState, command: ReportSideEffect, side_effect_id: str) -> SideEffectReported:
    """Record a side effect of a session that was opened, also when it is closed."""
    return SideEffectReported(
        **ids_of(state), side_effect_id=side_effect_id, effect=command.effect, severity=command.severity
    )


def pauses(command: ReportSideEffect) -> bool:
    """Tell whether this side effect disarms and pauses at once."""
    return side_effects().row(command.effect).consequence == "pause"


def alert(state: SessionState, alert_id: str, alarm_class: AlarmClass, kind: str) -> AlertRaised:
    """Return an alarm about a session's patient, for its supervisor or else its operator (SY-05)."""
    opened = state.session
    return AlertRaised(
        **ids_of(state),
        alert_id=alert_id,
        alarm_class=alarm_class,
        kind=kind,
        owner_id=opened.supervisor_id or opened.operator_id,
    )


def alarms_of(command: ReportSideEffect) -> Mapping[str, AlarmClass]:
    """Return the alarms that a side effect raises: kind → class."""
    row = side_effects().row(command.effect)
    return {} if row.alarm is None else {row.id: row.alarm}


def report_loss(state: SessionState, adverse_event_id: str, person: str, stop: StopOutcome) -> AdverseEventReported:
    """Record a loss of consciousness; the device was disarmed before."""
    return AdverseEventReported(
        **ids_of(state),
        adverse_event_id=adverse_event_id,
        kind="loss-of-consciousness",
        person=person,
        stop=stop,
        last_train_id=state.trains[-1].train_id if state.trains else None,
    )


def release(patient_id: str, command: ReleasePatient, release_id: str, blocking: tuple[str, ...]) -> PatientReleased:
    """Let a patient be treated again, whatever the room in which it happened; the caller has checked the physician.

    Args:
        patient_id: whom.
        command: with the reason.
        release_id: a new id.
        blocking: the adverse events that block the patient.

    Raises:
        PatientNotBlocked: nothing blocks the patient, as far as this node knows.
    """
    if not blocking:
        raise PatientNotBlocked("Nothing blocks this patient, as far as this room knows. It may still arrive.")
    return PatientReleased(
        release_id=release_id, patient_id=patient_id, adverse_event_ids=blocking, reason=command.reason
    )


def record_patient_state(
    state: SessionState, command: RecordPatientState, known: PatientState | None
) -> PatientStateRecorded:
    """Record how the patient was after a session that was closed without saying so (ST-12).

    Raises:
        TransitionNotAllowed: the session is still open.
        PatientStateKnown: it was said before.
    """
    if not state.ended:
        raise TransitionNotAllowed("The session is still open. Say how the patient is when you stop it.")
    if known is not None:
        raise PatientStateKnown(f"The patient's state after this session is recorded: {known}.")
    return PatientStateRecorded(**ids_of(state), patient_state=command.patient_state)
