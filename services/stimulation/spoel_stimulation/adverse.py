"""Units of work of what happens to the patient: side effects, loss of consciousness, release, the state afterwards."""

from pydantic import BaseModel, ConfigDict

from spoel_common.ids import new_id
from spoel_common.people import check_act, check_role
from spoel_common.work import Aggregate, Work
from spoel_stimulation import commands as asked
from spoel_stimulation import patient_days, projections
from spoel_stimulation.aggregates import append, load_opened
from spoel_stimulation.checks import raise_alert
from spoel_stimulation.domain import adverse
from spoel_stimulation.domain.conduct import pausing
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.events import ADVERSE_EVENTS, AFTERCARE_EVENTS, RELEASE_EVENTS, SIDE_EFFECT_EVENTS
from spoel_stimulation.events.harm import PatientStateRecorded
from spoel_stimulation.events.words import PatientState, StopOutcome
from spoel_stimulation.surroundings import Look

SIDE_EFFECT = Aggregate("side-effect", lambda: False, lambda _state, _event: True, SIDE_EFFECT_EVENTS)
ADVERSE_EVENT = Aggregate("adverse-event", lambda: False, lambda _state, _event: True, ADVERSE_EVENTS)
RELEASE = Aggregate("release", lambda: False, lambda _state, _event: True, RELEASE_EVENTS)


def _said(state: PatientState | None, event: object) -> PatientState | None:
    return event.patient_state if isinstance(event, PatientStateRecorded) else state


def _not_said() -> PatientState | None:
    return None


AFTERCARE = Aggregate("aftercare", _not_said, _said, AFTERCARE_EVENTS)


class SideEffectAnswer(BaseModel):
    """A side effect was recorded; ``state`` is the session's afterwards."""

    model_config = ConfigDict(frozen=True)

    side_effect_id: str
    session_id: str
    state: Phase
    paused: bool


class ReleaseAnswer(BaseModel):
    """A patient may be treated again, in all rooms when they have heard of it."""

    model_config = ConfigDict(frozen=True)

    patient_id: str
    adverse_event_ids: list[str]


class PatientStateAnswer(BaseModel):
    """How the patient was after a session."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    patient_state: PatientState


async def report_side_effect(
    work: Work, session_id: str, command: asked.ReportSideEffect, look: Look
) -> SideEffectAnswer:
    """Record a side effect; one that pauses does so in the same transaction, and the caller has disarmed the device."""
    check_role("report-side-effect", work.actor)
    loaded = await load_opened(work, session_id)
    event = adverse.report_side_effect(loaded.state, command, new_id())
    before = await work.load(SIDE_EFFECT, event.side_effect_id)
    await work.append(SIDE_EFFECT, event.side_effect_id, before, [event], room=event.room_id)
    for kind, alarm_class in adverse.alarms_of(command).items():
        await raise_alert(work, loaded.state, alarm_class, kind)
    events = pausing(loaded.state, "limb-movement", work.now) if adverse.pauses(command) else []
    after = await append(work, look(), session_id, loaded, events)
    return SideEffectAnswer(
        side_effect_id=event.side_effect_id, session_id=session_id, state=after.state.phase, paused=bool(events)
    )


async def record_loss(work: Work, session_id: str, person: str, stop: StopOutcome) -> None:
    """Record a loss of consciousness, block the patient, and raise the alarm; the device was disarmed before."""
    state = (await load_opened(work, session_id)).state
    event = adverse.report_loss(state, new_id(), person, stop)
    before = await work.load(ADVERSE_EVENT, event.adverse_event_id)
    await work.append(ADVERSE_EVENT, event.adverse_event_id, before, [event], room=event.room_id)
    await patient_days.keep(work.conn, patient_days.OWN, event, local_day(work.now))
    await raise_alert(work, state, "act-now", event.kind)


async def release_patient(work: Work, patient_id: str, command: asked.ReleasePatient) -> ReleaseAnswer:
    """Let a patient be treated again: a physician's decision."""
    people = await projections.registrations_of(work.conn, {work.actor.person_id})
    today = local_day(work.now)
    check_act("release-patient", work.actor, people.get(work.actor.person_id), today)
    blocking = await patient_days.blocking(work.conn, patient_id)
    event = adverse.release(patient_id, command, new_id(), blocking)
    before = await work.load(RELEASE, event.release_id)
    await work.append(RELEASE, event.release_id, before, [event])
    await patient_days.keep(work.conn, patient_days.OWN, event, today)
    return ReleaseAnswer(patient_id=patient_id, adverse_event_ids=list(event.adverse_event_ids))


async def record_patient_state(work: Work, session_id: str, command: asked.RecordPatientState) -> PatientStateAnswer:
    """Record how the patient was after a session that was closed without saying so."""
    check_role("report-side-effect", work.actor)
    state = (await load_opened(work, session_id)).state
    before = await work.load(AFTERCARE, session_id)
    event = adverse.record_patient_state(state, command, state.patient_state or before.state)
    await work.append(AFTERCARE, session_id, before, [event], room=event.room_id)
    return PatientStateAnswer(session_id=session_id, patient_state=event.patient_state)
