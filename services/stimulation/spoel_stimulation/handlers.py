"""Units of work: load, decide, append, and keep at hand what the next decision needs, all in one transaction."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.erasure import is_erased
from spoel_common.errors import NotFound, PatientKeyUnknown
from spoel_common.events import EventData
from spoel_common.people import check_act
from spoel_common.sealing import seal
from spoel_common.work import Aggregate, Loaded, Snapshots, Work
from spoel_stimulation import commands as asked
from spoel_stimulation import patient_days, projections, site
from spoel_stimulation.domain import blinding, conditions, conduct, grant, room, roster, session
from spoel_stimulation.domain.conditions import Booking, DeviceFacts, Facts, Limits
from spoel_stimulation.domain.identity import IdentityStrip
from spoel_stimulation.domain.reach import Reach
from spoel_stimulation.domain.refusals import RoomBusy
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.roster import RosterState
from spoel_stimulation.domain.state import Phase, SessionState, evolve
from spoel_stimulation.domain.trains import device_pattern, trains_in_force
from spoel_stimulation.events import ROOM_EVENTS, ROSTER_EVENTS, SESSION_EVENTS, Known, SessionKind, TrainAuthorised
from spoel_stimulation.orders import Block, MeasurementOrder, TreatmentOrder

ROOM = Aggregate("room", RoomState, room.evolve, ROOM_EVENTS, Snapshots(RoomState, form=2))
SESSION = Aggregate(
    "session",
    SessionState,
    evolve,
    SESSION_EVENTS,
    Snapshots(SessionState, form=3, every=50),
    is_closed=lambda state: state.ended,
)
ROSTER = Aggregate("roster", RosterState, roster.evolve, ROSTER_EVENTS)


class Presence(NamedTuple):
    """When presence was last confirmed, and in which session; wall seconds."""

    session_id: str
    age_s: float


class Surroundings(NamedTuple):
    """What a decision rests on besides the journal: this room's device, how old the knowledge is, who is there."""

    site: str
    room_id: str
    device: DeviceFacts
    known: tuple[Known, ...]
    limits: Limits
    presence: Presence | None = None
    reach: Reach = Reach()


Look = Callable[[], Surroundings]
"""Returns the surroundings at this moment."""

Supported = Callable[[SessionState], None]
"""Refuses a session that the device cannot deliver as it stands, before anything is stored."""


class Progress(BaseModel):
    """How far a session is; in a measurement, planned is the most that the order allows."""

    model_config = ConfigDict(frozen=True)

    trains_done: int
    trains_planned: int
    pulses_delivered: int
    pulses_planned: int
    pulses_unknown: int


class SessionAnswer(BaseModel):
    """A session as it stands after a command.

    Attributes:
        site: of the block that is given, or waited for.
        block: its number, from 0, of ``blocks``.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    room_id: str
    case_id: str
    patient_id: str
    kind: SessionKind
    state: Phase
    reason: str | None
    possible: list[str]
    operator_id: str
    supervisor_id: str | None
    progress: Progress
    site: str
    block: int
    blocks: int
    percent_mso: int
    percent_rmt: float | None
    train_interval_s: float | None


class Intention(BaseModel):
    """A command with an effect on the device: what became of it is looked up under the id (INV-9)."""

    session_id: str
    event_id: str


class StimulusIntention(BaseModel):
    """A stimulus that was authorised and is delivered after the commit."""

    session_id: str
    train_id: str


class RoomAnswer(BaseModel):
    """A room after a command."""

    room_id: str
    latched: bool


class DutyAnswer(BaseModel):
    """A supervisor's duty after a command."""

    supervisor_id: str
    on_duty_until: str | None = Field(description="ISO 8601, clock time; null when off duty")


def _trains_of(state: SessionState, index: int, block: Block, limits: Limits) -> int:
    pattern = device_pattern(block, limits.max_autonomous_s)
    return trains_in_force(state, pattern) if index == state.block_index else pattern.trains


def describe(state: SessionState, limits: Limits) -> SessionAnswer:
    """Return a session as answers show it."""
    opened = state.session
    order = state.order
    blocks = order.blocks if isinstance(order, TreatmentOrder) else ()
    trains = (
        order.max_stimuli
        if isinstance(order, MeasurementOrder)
        else sum(_trains_of(state, index, block, limits) for index, block in enumerate(blocks))
    )
    return SessionAnswer(
        session_id=opened.session_id,
        room_id=opened.room_id,
        case_id=opened.case_id,
        patient_id=opened.patient_id,
        kind=opened.kind,
        state=state.phase,
        reason=state.reason,
        possible=state.possible,
        operator_id=opened.operator_id,
        supervisor_id=opened.supervisor_id,
        progress=Progress(
            trains_done=sum(not train.open for train in state.trains),
            trains_planned=trains,
            pulses_delivered=state.pulses_delivered,
            pulses_planned=state.pulses_planned,
            pulses_unknown=state.pulses_unknown,
        ),
        site=(state.block or order).site,
        block=state.block_index,
        blocks=max(1, len(blocks)),
        percent_mso=state.percent_mso,
        percent_rmt=state.percent_rmt,
        train_interval_s=state.train_interval_s,
    )


async def gather(
    work: Work, around: Surroundings, session_id: str, state: SessionState, supervisor_id: str | None = None
) -> Facts:
    """Return everything that a decision about a session rests on, as of this transaction."""
    booking = await projections.booking_of(work.conn, session_id)
    people = {work.actor.person_id, supervisor_id or ""}
    if state.opened is not None:
        people |= {state.opened.operator_id, state.opened.supervisor_id or ""}
    facts = Facts(
        now=work.now,
        room_id=around.room_id,
        room=(await work.load(ROOM, around.room_id)).state,
        busy_with=await projections.open_session_of(work.conn, around.room_id),
        booking=booking,
        registrations=await projections.registrations_of(work.conn, people),
        roster=(await work.load(ROSTER, around.site)).state,
        known=around.known,
        device=around.device,
        limits=around.limits,
        reach=around.reach,
        presence_age_s=_presence_age_s(around, session_id),
    )
    if booking is None:
        return facts
    consent, indication = await projections.case_of(work.conn, booking.case_id)
    withdrawn = await site.withdrawn_in_a_room(work.conn, booking.case_id, booking.patient_id)
    if withdrawn or await is_erased(work.conn, booking.patient_id):
        consent = "withdrawn"  # consent ends with an erasure
    return Facts.model_validate(
        {
            **{name: getattr(facts, name) for name in Facts.model_fields},
            "consent": consent,
            "indication": indication,
            "order": await projections.order_of(work.conn, booking),
            **(await _for_a_start(work, around, booking) if not state.trains else {}),
            "adverse_event_ids": await patient_days.blocking(work.conn, booking.patient_id),
            "no_session_today": await patient_days.refused_on(work.conn, booking.patient_id, facts.today),
            "given": await patient_days.given_to(work.conn, booking.patient_id, session_id, facts.today),
        }
    )


async def _for_a_start(work: Work, around: Surroundings, booking: Booking) -> dict[str, object]:
    """Return what only the beginning of a session asks for: where else the patient is, or may be."""
    conn, patient_id = work.conn, booking.patient_id
    busy_in = await projections.room_of_patient(conn, patient_id, booking.session_id)
    return {
        "patient_busy_in": busy_in or await site.room_of_patient_elsewhere(conn, patient_id, work.now),
        "released": await site.is_released(conn, booking.session_id),
        "elsewhere": await site.bookings_elsewhere(conn, booking, work.now, around.reach),
        "other_treatments_that_day": await site.other_treatments_that_day(conn, booking),
    }


def _presence_age_s(around: Surroundings, session_id: str) -> float:
    presence = around.presence
    return float("inf") if presence is None or presence.session_id != session_id else presence.age_s


async def append(
    work: Work, around: Surroundings, session_id: str, loaded: Loaded[SessionState], events: Sequence[EventData]
) -> Loaded[SessionState]:
    """Append a session's events and keep at hand what later decisions need of them."""
    return await append_as(work, around, session_id, loaded, events, None)


async def append_as(
    work: Work,
    around: Surroundings,
    session_id: str,
    loaded: Loaded[SessionState],
    events: Sequence[EventData],
    event_ids: Sequence[str] | None,
) -> Loaded[SessionState]:
    """Append a session's events under ids that were promised before."""
    simulated = around.device.simulated or None
    room_id = around.room_id
    opened = loaded.state.opened
    if opened is not None and loaded.state.blinded:
        event_ids = event_ids or [work.new_event_id() for _ in events]
        key = await projections.key_of(work.conn, opened.patient_id)
        events = [_veiled(event, event_id, key) for event, event_id in zip(events, event_ids, strict=True)]
    after = await work.append(
        SESSION, session_id, loaded, events, event_ids=event_ids, room=room_id, simulated=simulated
    )
    for event in events:
        await projections.keep(work.conn, event)
        order = after.state.order
        if isinstance(event, TrainAuthorised) and isinstance(order, MeasurementOrder):
            await projections.keep_stimulus(work.conn, event.train_id, order.order_id)
            if order.search is None:
                continue  # single stimuli do not count against the day's maximum; the trains of a search do
        await patient_days.keep(work.conn, patient_days.OWN, event, conditions.local_day(work.now))
    return after


def _veiled(event: EventData, event_id: str, patient_key: str | None) -> EventData:
    """Return an event of a blinded session with what could tell the condition sealed to the patient (ST-09).

    Of a patient who was erased there is no key any more: then it is left out, and pulses are counted all the same.
    """
    fields = blinding.revealing(event)
    if not fields:
        return event
    sealed = None if patient_key is None else seal(blinding.text_of(fields), patient_key, event_id, event.event_type())
    return blinding.veiled(event, sealed)


# --- people's commands


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
            "What is delivered in a blinded session is sealed to the patient, and no key of this patient is known "
            "here. It may still arrive."
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
    check_act("supervise", work.actor, people.get(work.actor.person_id), conditions.local_day(work.now))
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
    check_act("reset-room", work.actor, people.get(work.actor.person_id), conditions.local_day(work.now))
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
    check_act("supervise", work.actor, people.get(work.actor.person_id), conditions.local_day(work.now))
    loaded = await work.load(ROSTER, site)
    await work.append(ROSTER, site, loaded, roster.decide(loaded.state, command, work.actor, work.now))
    until = command.until.isoformat() if isinstance(command, asked.StartSupervision) else None
    return DutyAnswer(supervisor_id=work.actor.person_id, on_duty_until=until)


async def load_opened(work: Work, session_id: str) -> Loaded[SessionState]:
    """Return a session that was opened here.

    Raises:
        NotFound: it was not.
    """
    loaded = await work.load(SESSION, session_id)
    if loaded.state.opened is None:
        raise NotFound(f"Session {session_id} was not opened here. Open it in its room first.")
    return loaded
