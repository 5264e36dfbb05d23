"""Units of work of what people ask of a session, a room and the roster: load, decide, append, in one transaction."""

from spoel_common.errors import PatientKeyUnknown
from spoel_common.people import check_act
from spoel_common.work import Work
from spoel_stimulation import commands as asked
from spoel_stimulation import projections
from spoel_stimulation.aggregates import ROOM, ROSTER, SESSION, append, append_as, load_opened
from spoel_stimulation.answers import DutyAnswer, Intention, RoomAnswer, SessionAnswer, describe
from spoel_stimulation.domain import conditions, conduct, grant, room, roster, session
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.domain.identity import IdentityStrip
from spoel_stimulation.domain.refusals import RoomBusy
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.gathering import gather
from spoel_stimulation.surroundings import Look, Supported


async def open_session(work: Work, command: asked.OpenSession, look: Look, check_supported: Supported) -> SessionAnswer:
    """Take a booked session into its room."""
    around = look()
    loaded = await work.load(SESSION, command.session_id)
    facts = await gather(work, around, command.session_id, loaded.state, command.supervisor_id)
    events = session.open_session(loaded.state, command, work.actor, facts)
    after = await append(work, around, command.session_id, loaded, events)
    check_supported(after.state)
    if after.state.blinded and await projections.key_of(work.conn, after.state.session.patient_id) is None:
        raise PatientKeyUnknown(
            "What is delivered in a blinded session is sealed to the patient, and no usable key of this patient is "
            "known here. It may still arrive."
        )
    return describe(after.state, around.limits)


async def confirm_identity(
    work: Work, session_id: str, command: asked.ConfirmIdentity, strip: IdentityStrip | None, look: Look
) -> SessionAnswer:
    """Compare what was said with the identity strip."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = session.confirm_identity(loaded.state, command, work.actor, facts, strip)
    after = await append(work, around, session_id, loaded, events)
    return describe(after.state, around.limits)


async def intend_to_arm(
    work: Work, session_id: str, command: asked.Arm, look: Look, check_supported: Supported
) -> Intention:
    """Look at every condition of arming; the device is staged and armed after the commit."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    session.check_arm(loaded.state, command, work.actor, facts)
    check_supported(loaded.state)
    return Intention(session_id=session_id, event_id=work.new_event_id())


async def record_armed(
    work: Work, session_id: str, event_id: str, command: asked.RecordArmed, look: Look
) -> SessionState:
    """Record that the device took every setting and is enabled, under the id that was promised."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    conditions.check_room(facts)
    after = await append_as(work, around, session_id, loaded, session.record_armed(loaded.state, command), [event_id])
    conduct.check_going_on(after.state, facts)
    return after.state


async def start(work: Work, session_id: str, command: asked.Start, look: Look) -> SessionAnswer:
    """Start an armed session."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    after = await append(work, around, session_id, loaded, session.start(loaded.state, command, work.actor, facts))
    return describe(after.state, around.limits)


async def pause(work: Work, session_id: str, command: asked.Pause, look: Look) -> SessionAnswer:
    """Let the running train end and no other begin."""
    around = look()
    loaded = await load_opened(work, session_id)
    after = await append(work, around, session_id, loaded, session.pause(loaded.state, command, work.actor, work.now))
    return describe(after.state, around.limits)


async def resume(work: Work, session_id: str, command: asked.Resume, look: Look) -> SessionAnswer:
    """Go on after a pause."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    after = await append(work, around, session_id, loaded, session.resume(loaded.state, command, work.actor, facts))
    return describe(after.state, around.limits)


async def place_coil(work: Work, session_id: str, command: asked.PlaceCoil, look: Look) -> SessionAnswer:
    """Take the operator's word of where the coil is for the next block."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = session.place_coil(loaded.state, command, work.actor, facts)
    after = await append(work, around, session_id, loaded, events)
    return describe(after.state, around.limits)


async def stop(work: Work, session_id: str, command: asked.Stop, look: Look) -> SessionAnswer:
    """Close a session; the caller has disarmed the device."""
    around = look()
    loaded = await load_opened(work, session_id)
    after = await append(work, around, session_id, loaded, session.stop(loaded.state, command, work.actor))
    return describe(after.state, around.limits)


async def change_parameter(
    work: Work, session_id: str, command: asked.ChangeParameter, look: Look, check_supported: Supported
) -> SessionAnswer:
    """Change a parameter within the signed band."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = session.change_parameter(loaded.state, command, work.actor, facts)
    after = await append(work, around, session_id, loaded, events)
    check_supported(after.state)
    return describe(after.state, around.limits)


async def intend_stimulus(
    work: Work, session_id: str, command: asked.Stimulate, train_id: str, look: Look
) -> SessionState:
    """Authorise one stimulus of a measurement; it is delivered after the commit, from the state that this returns."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = session.stimulate(loaded.state, command, train_id, work.actor, facts)
    return (await append(work, around, session_id, loaded, events)).state


async def answer_stimulus(
    work: Work, session_id: str, train_id: str, command: asked.AnswerStimulus, look: Look
) -> SessionAnswer:
    """Record what was seen after a stimulus."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = session.answer_stimulus(loaded.state, train_id, command, work.actor, facts)
    after = await append(work, around, session_id, loaded, events)
    return describe(after.state, around.limits)


async def revoke_grant(work: Work, session_id: str, command: asked.RevokeGrant, look: Look) -> SessionAnswer:
    """End the grant of a session; the room's interlock interrupts it after the commit."""
    around = look()
    people = await projections.registrations_of(work.conn, {work.actor.person_id})
    check_act("supervise", work.actor, people.get(work.actor.person_id), local_day(work.now))
    loaded = await load_opened(work, session_id)
    after = await append(work, around, session_id, loaded, grant.revoke(loaded.state, command))
    return describe(after.state, around.limits)


async def search_location(
    work: Work, session_id: str, command: asked.SearchLocation, look: Look, belt_problem: str | None
) -> SessionAnswer:
    """Start the trains of a heart-brain search at one location."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = session.search_location(loaded.state, command, work.actor, facts, belt_problem)
    after = await append(work, around, session_id, loaded, events)
    return describe(after.state, around.limits)


async def reset_room(work: Work, command: asked.ResetRoom, look: Look) -> RoomAnswer:
    """Release a latched room."""
    around = look()
    people = await projections.registrations_of(work.conn, {work.actor.person_id})
    check_act("reset-room", work.actor, people.get(work.actor.person_id), local_day(work.now))
    loaded = await work.load(ROOM, around.room_id)
    open_session = await projections.open_session_of(work.conn, around.room_id)
    if open_session is not None and (await work.load(SESSION, open_session)).state.open_train is not None:
        raise RoomBusy("The last train's end is not recorded yet. Restore the device's link, or stop the session.")
    events = room.reset(loaded.state, around.room_id, command)
    await work.append(ROOM, around.room_id, loaded, events, room=around.room_id)
    return RoomAnswer(room_id=around.room_id, latched=False)


async def change_duty(work: Work, site: str, command: asked.StartSupervision | asked.EndSupervision) -> DutyAnswer:
    """Go on or off duty as a supervisor."""
    people = await projections.registrations_of(work.conn, {work.actor.person_id})
    check_act("supervise", work.actor, people.get(work.actor.person_id), local_day(work.now))
    loaded = await work.load(ROSTER, site)
    await work.append(ROSTER, site, loaded, roster.decide(loaded.state, command, work.actor, work.now))
    until = command.until.isoformat() if isinstance(command, asked.StartSupervision) else None
    return DutyAnswer(supervisor_id=work.actor.person_id, on_duty_until=until)
