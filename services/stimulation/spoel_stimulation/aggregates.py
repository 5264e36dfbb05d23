"""The aggregates of room, session and roster, and how events of a session are appended."""

from collections.abc import Sequence

from spoel_common.errors import NotFound
from spoel_common.events import EventData
from spoel_common.sealing import seal
from spoel_common.work import Aggregate, Loaded, Snapshots, Work
from spoel_stimulation import patient_days, projections
from spoel_stimulation.domain import blinding, room, roster
from spoel_stimulation.domain.evolve import evolve
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.roster import RosterState
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events import ROOM_EVENTS, ROSTER_EVENTS, SESSION_EVENTS
from spoel_stimulation.events.trains import TrainAuthorised
from spoel_stimulation.orders import MeasurementOrder
from spoel_stimulation.surroundings import Surroundings

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
                await patient_days.keep_stimulus(work.conn, patient_days.OWN, event)
                continue  # single stimuli do not count against the day's maximum; the trains of a search do
        await patient_days.keep(work.conn, patient_days.OWN, event, local_day(work.now))
    return after


def _veiled(event: EventData, event_id: str, patient_key: str | None) -> EventData:
    """Return an event of a blinded session with what could tell the condition sealed to the patient (ST-09).

    Of a patient who was erased, or whose key became unusable since the session was opened, it is left out, and pulses
    are counted all the same: what was delivered is recorded whatever becomes of a key (INV-1).
    """
    fields = blinding.revealing(event)
    if not fields:
        return event
    sealed = None if patient_key is None else seal(blinding.text_of(fields), patient_key, event_id, event.event_type())
    return blinding.veiled(event, sealed)


async def load_opened(work: Work, session_id: str) -> Loaded[SessionState]:
    """Return a session that was opened here.

    Raises:
        NotFound: it was not.
    """
    loaded = await work.load(SESSION, session_id)
    if loaded.state.opened is None:
        raise NotFound(f"Session {session_id} was not opened here. Open it in its room first.")
    return loaded
