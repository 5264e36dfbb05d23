"""What a room writes down by itself: units of work that no person asked for over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.clock import utc_now
from spoel_common.errors import SpoelError, VersionConflict
from spoel_common.events import EventData
from spoel_common.people import Actor, Role
from spoel_common.sealing import seal
from spoel_common.work import Loaded, UnitsOfWork, Work
from spoel_stimulation import commands as asked
from spoel_stimulation import patient_days, projections
from spoel_stimulation.adverse import record_loss
from spoel_stimulation.aggregates import ROOM, SESSION, append, load_opened
from spoel_stimulation.devices.adapter import DeviceIdentity
from spoel_stimulation.domain import conduct, room
from spoel_stimulation.domain.blinding import NOT_SHOWN
from spoel_stimulation.domain.refusals import RoomRefusal
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.rooms import (
    DeviceFault,
    EmergencyStopped,
    GuardDisarmed,
    RoomOpened,
    UnauthorisedPulseObserved,
)
from spoel_stimulation.events.words import InterlockReason, LatchReason
from spoel_stimulation.gathering import gather
from spoel_stimulation.runner.guard import Told
from spoel_stimulation.runner.kept_stops import KeptStop
from spoel_stimulation.runner.recovery import Closed, close_gap
from spoel_stimulation.surroundings import Look

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 5.0
ENDS_A_SESSION: frozenset[InterlockReason] = frozenset(
    {
        "consent-withdrawn",
        "indication-ended",
        "order-superseded",
        "order-withdrawn",
        "order-expired",
        "emergency-stop",
        "no-session-today",
        "loss-of-consciousness",
        "patient-blocked",
        "daily-maximum",
    }
)
"""Interlocks after which a session is closed: nothing that a person does in the room brings the condition back."""

TELLS_SETTINGS: frozenset[LatchReason] = frozenset({"device-fault", "unasked-change", "link-lost"})
"""Faults whose detail may say what a device is set to."""

R = TypeVar("R")

_log = structlog.get_logger(__name__)


class Journal:
    """Writes down what happens in one room.

    Args:
        units: units of work on the node's journal.
        room_id: the room.
        look: the room's surroundings at this moment.
    """

    def __init__(self, units: UnitsOfWork, room_id: str, look: Look) -> None:
        self._units = units
        self._room_id = room_id
        self._look = look
        self.actor = Actor(person_id=f"room:{room_id}", roles=frozenset({Role.ROOM}))

    @property
    def now(self) -> datetime:
        """Clock time, as events have it."""
        return utc_now(self._units.clock)

    async def persist(self, write: Callable[[], Awaitable[R]]) -> R:
        """Do ``write``, again and again while the database fails: what happened is not to be lost.

        Back-off up to ``LONGEST_RETRY_S`` seconds of wall time; ends with the task.
        """
        pause_s = FIRST_RETRY_S
        while True:
            try:
                return await write()
            except (SQLAlchemyError, OSError, VersionConflict) as error:
                _log.error("journal.not-written", room=self._room_id, reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    # --- reading

    async def open_session(self) -> SessionState | None:
        """Return the session that is open in this room."""
        async with self._units.database.read() as conn:
            session_id = await projections.open_session_of(conn, self._room_id)
        return None if session_id is None else (await self._units.load(SESSION, session_id)).state

    async def open_session_as_written(self) -> SessionState | None:
        """Return the open session behind every commit that is under way, also one whose outcome nobody was told."""
        async with self._as(self.actor, None) as work:
            session_id = await projections.open_session_of(work.conn, self._room_id)
            return None if session_id is None else (await work.load(SESSION, session_id)).state

    # --- a session

    async def authorise(self, state: SessionState, command: asked.AuthoriseTrain) -> SessionState:
        """Make the authorisation of the next train durable (INV-1), and return the session with it.

        Raises:
            RoomRefusal: a condition does not hold.
        """
        async with self._as(state.operator, state) as work:
            look = self._look()
            loaded = await load_opened(work, state.session.session_id)
            facts = await gather(work, look, state.session.session_id, loaded.state)
            events = conduct.authorise_train(loaded.state, command, facts)
            after = await append(work, look, state.session.session_id, loaded, events)
        return after.state

    async def check_going_on(self, state: SessionState) -> None:
        """Look whether anything is known that stops the session at once (INV-4).

        Raises:
            RoomRefusal: with its ``interlock``.
        """
        async with self._as(state.operator, state) as work:
            loaded = await load_opened(work, state.session.session_id)
            facts = await gather(work, self._look(), state.session.session_id, loaded.state)
            conduct.check_going_on(loaded.state, facts)

    async def record_train(
        self,
        state: SessionState,
        command: asked.RecordTrain | asked.RecordTrainUnknown,
        accounted: tuple[str, int | None],
    ) -> None:
        """Record how the open train ended, and up to where the device's pulses are accounted for."""
        async with self._as(state.operator, state) as work:
            loaded = await load_opened(work, state.session.session_id)
            events = (
                conduct.record_train(loaded.state, command)
                if isinstance(command, asked.RecordTrain)
                else conduct.record_train_unknown(loaded.state, command)
            )
            await append(work, self._look(), state.session.session_id, loaded, events)
            await projections.keep_counter(work.conn, self._room_id, *accounted)

    async def interlock(self, state: SessionState, reason: InterlockReason) -> None:
        """Interrupt the session, or close it where nothing in the room can bring the condition back."""
        async with self._as(self.actor, state) as work:
            await self._interlock(work, state.session.session_id, reason)

    async def complete(self, state: SessionState) -> None:
        """Close a treatment after its last train."""
        async with self._as(state.operator, state) as work:
            loaded = await load_opened(work, state.session.session_id)
            events = conduct.close(loaded.state, asked.Close(reason="last-train-ended"))
            await append(work, self._look(), state.session.session_id, loaded, events)

    async def record_coupling(self, state: SessionState, command: asked.RecordCoupling) -> None:
        """Record how the run of a heart-brain search that was under way in ``state`` ended."""
        if state.run is None:
            return
        async with self._as(self.actor, state) as work:
            loaded = await load_opened(work, state.session.session_id)
            events = conduct.record_coupling(loaded.state, command, state.run.run)
            await append(work, self._look(), state.session.session_id, loaded, events)

    async def await_coil(self, state: SessionState) -> None:
        """Wait for the coil to be placed at the next block's site."""
        async with self._as(self.actor, state) as work:
            loaded = await load_opened(work, state.session.session_id)
            await append(work, self._look(), state.session.session_id, loaded, conduct.await_coil(loaded.state))

    # --- the room

    async def fault(self, reason: LatchReason, kind: str, detail: str, told: Told | None = None) -> None:
        """Record a fault, latch the room, and interrupt its session; what the guard told once only."""
        async with self._as(self.actor, None) as work:
            if told is not None and not await self._is_new(work, told):
                return
            session_id = await projections.open_session_of(work.conn, self._room_id)
            loaded = await work.load(ROOM, self._room_id)
            fault = DeviceFault(room_id=self._room_id, session_id=session_id, kind=kind, detail=detail)
            event_id = work.new_event_id()
            if session_id is not None and reason in TELLS_SETTINGS:
                fault = await self._veiled(work, fault, event_id, session_id)
            latched = room.latch(loaded.state, self._room_id, reason, fault.detail, session_id)
            ids = [event_id, *(work.new_event_id() for _ in latched)]
            await self._append_room(work, loaded, [fault, *latched], ids)
            if session_id is not None:
                await self._interlock(work, session_id, reason)

    async def _veiled(self, work: Work, fault: DeviceFault, event_id: str, session_id: str) -> DeviceFault:
        """Return a fault of a blinded session with what the device said sealed: it may tell the condition (ST-09)."""
        state = (await load_opened(work, session_id)).state
        if not state.blinded:
            return fault
        key = await projections.key_of(work.conn, state.session.patient_id)
        sealed = None if key is None else seal(fault.detail, key, event_id, fault.event_type())
        return fault.model_copy(update={"detail": NOT_SHOWN, "sealed_detail": sealed})

    async def unauthorised_pulses(self, pulses: int, accounted: tuple[str, int | None]) -> None:
        """Record pulses that no train accounts for, latch the room, and interrupt its session (HZ-08)."""
        async with self._as(self.actor, None) as work:
            session_id = await projections.open_session_of(work.conn, self._room_id)
            await self._unauthorised(work, session_id, pulses, accounted)
            if session_id is not None:
                await self._interlock(work, session_id, "unauthorised-pulse")

    async def emergency(self, stop: KeptStop, told: Told | None = None) -> None:
        """Record an emergency stop that was done, latch the room, and close its session (INV-8).

        It is recorded once, under its own id, whoever tells of it and however often: this process, the file of an
        earlier one, the room's guard. The patient who lost consciousness is blocked (HZ-16); a session that was never
        opened here blocks nobody, and the stop is recorded all the same.

        Args:
            stop: as it was pressed, and what became of it.
            told: what the room's guard told of it.
        """
        async with self._as(Actor(person_id=stop.person, roles=frozenset()), None) as work:
            if told is not None and not await self._is_new(work, told):
                return
            if await self._units.store.find(stop.stop_id) is not None:
                return
            session_id = await projections.open_session_of(work.conn, self._room_id)
            await self._append_stop(work, stop, session_id, None if told is None else told.by)
            if session_id is not None:
                reason: InterlockReason = "loss-of-consciousness" if session_id == stop.lost else "emergency-stop"
                await self._interlock(work, session_id, reason)
            if stop.lost is not None and await self._was_opened_here(work, stop.lost):
                await record_loss(work, stop.lost, stop.person, stop.outcome)

    async def _append_stop(self, work: Work, stop: KeptStop, session_id: str | None, source: str | None) -> None:
        loaded = await work.load(ROOM, self._room_id)
        stopped = EmergencyStopped(
            room_id=self._room_id,
            session_id=session_id,
            outcome=stop.outcome,
            person=stop.person,
            stopped_at=stop.stopped_at,
            source=source,
        )
        detail = f"{'emergency stop' if stop.lost is None else 'loss of consciousness'}, {stop.outcome}"
        latched = room.latch(loaded.state, self._room_id, "emergency-stop", detail, session_id)
        ids = [stop.stop_id, *(work.new_event_id() for _ in latched)]
        await self._append_room(work, loaded, [stopped, *latched], ids)

    async def _was_opened_here(self, work: Work, session_id: str) -> bool:
        """Tell whether a session belongs to this room; a name that nobody knows keeps no stop from its record."""
        opened = (await work.load(SESSION, session_id)).state.opened
        return opened is not None and opened.room_id == self._room_id

    async def guard_recorded_to(self) -> tuple[str, int]:
        """Return which file of the room's guard is recorded, and up to which line."""
        async with self._units.database.read() as conn:
            return await projections.guard_lines_of(conn, self._room_id)

    async def guard_disarmed(self, told: Told) -> None:
        """Record that the room's guard disarmed the device by itself, which latches nothing (INV-11)."""
        async with self._as(self.actor, None) as work:
            if not await self._is_new(work, told):
                return
            disarmed = GuardDisarmed(
                room_id=self._room_id,
                session_id=await projections.open_session_of(work.conn, self._room_id),
                reason=told.reason,
                outcome=told.outcome,
                stopped_at=told.stopped_at,
                pulses_after=told.pulses_after,
            )
            await self._append_room(work, await work.load(ROOM, self._room_id), [disarmed])

    async def _is_new(self, work: Work, told: Told) -> bool:
        return await projections.keep_guard_line(work.conn, self._room_id, told.file_id, told.number)

    async def connected(
        self, identity: DeviceIdentity, strip_public_key: str, total_pulses: int | None, *, first: bool
    ) -> None:
        """Record what a device that answered says: who it is, how an open train ended, what else it counted.

        Args:
            identity: of the device, which is disarmed.
            strip_public_key: the room's key for identity strips.
            total_pulses: its counter; None where it has none.
            first: the first connection of this process; an open session is then one that a restart interrupted.
        """
        async with self._as(self.actor, None) as work:
            loaded = await work.load(ROOM, self._room_id)
            before = loaded.state.device
            seen = RoomOpened(
                room_id=self._room_id,
                stimulator_model=identity.model,
                stimulator_serial=identity.serial,
                coil_model=identity.coil_model,
                simulated=identity.simulated,
                strip_public_key=strip_public_key,
            )
            await self._append_room(work, loaded, room.open_room(loaded.state, seen))
            same = before is not None and before.stimulator_serial == identity.serial
            session_id = await projections.open_session_of(work.conn, self._room_id)
            beyond = await self._close_gap(work, session_id, total_pulses, same_device=same)
            accounted = (identity.serial, total_pulses)
            if beyond is None and total_pulses is not None:
                expected = await projections.counter_of(work.conn, self._room_id, identity.serial)
                beyond = 0 if expected is None else total_pulses - expected
            if beyond is not None and beyond > 0:
                await self._unauthorised(work, session_id, beyond, accounted)
            await projections.keep_counter(work.conn, self._room_id, *accounted)
            if session_id is not None:
                await self._after_interruption(work, session_id, "service-restart" if first else "link-lost")

    async def _after_interruption(self, work: Work, session_id: str, reason: LatchReason) -> None:
        loaded = await work.load(ROOM, self._room_id)
        detail = {"service-restart": "the room's process started with a session open"}.get(reason, "the link came back")
        await self._append_room(work, loaded, room.latch(loaded.state, self._room_id, reason, detail, session_id))
        await self._interlock(work, session_id, reason)

    async def _close_gap(
        self, work: Work, session_id: str | None, total_pulses: int | None, *, same_device: bool
    ) -> int | None:
        """Close an open train from the counter; return pulses beyond it, None if there was no open train."""
        if session_id is None:
            return None
        loaded = await load_opened(work, session_id)
        train = loaded.state.open_train
        if train is None:
            return None
        closed = close_gap(train, total_pulses, same_device=same_device)
        if not isinstance(closed, Closed):
            events = conduct.record_train_unknown(loaded.state, closed)
            await append(work, self._look(), session_id, loaded, events)
            return 0
        command = asked.RecordTrain(
            outcome=closed.outcome,
            pulses=closed.pulses,
            device_total_pulses_after=total_pulses,
            evidence="counter",
            ended_at=work.now,
        )
        await append(work, self._look(), session_id, loaded, conduct.record_train(loaded.state, command))
        return closed.beyond

    async def _unauthorised(
        self, work: Work, session_id: str | None, pulses: int, accounted: tuple[str, int | None]
    ) -> None:
        loaded = await work.load(ROOM, self._room_id)
        patient_id = None if session_id is None else (await load_opened(work, session_id)).state.session.patient_id
        observed = UnauthorisedPulseObserved(
            room_id=self._room_id,
            session_id=session_id,
            patient_id=patient_id,
            pulses=pulses,
            device_total_pulses=accounted[1],
        )
        detail = f"{pulses} pulses that no train accounts for"
        latched = room.latch(loaded.state, self._room_id, "unauthorised-pulse", detail, session_id)
        event_id = work.new_event_id()
        await self._append_room(work, loaded, [observed, *latched], [event_id, *(work.new_event_id() for _ in latched)])
        await patient_days.keep_unauthorised(work.conn, patient_days.OWN, event_id, observed, work.now)
        await projections.keep_counter(work.conn, self._room_id, *accounted)

    async def _interlock(self, work: Work, session_id: str, reason: InterlockReason) -> None:
        loaded = await load_opened(work, session_id)
        events = (
            conduct.close(loaded.state, asked.Close(reason=reason))
            if reason in ENDS_A_SESSION
            else conduct.interrupt(loaded.state, asked.Interrupt(reason=reason), work.now)
        )
        await append(work, self._look(), session_id, loaded, events)

    async def _append_room(
        self,
        work: Work,
        loaded: Loaded[room.RoomState],
        events: Sequence[EventData],
        event_ids: Sequence[str] | None = None,
    ) -> None:
        simulated = self._look().device.simulated or None
        await work.append(
            ROOM, self._room_id, loaded, events, event_ids=event_ids, room=self._room_id, simulated=simulated
        )

    def _as(self, actor: Actor, state: SessionState | None) -> AbstractAsyncContextManager[Work]:
        return self._units.begin(actor, self._room_id if state is None else state.session.session_id)


def interlock_of(refusal: SpoelError) -> InterlockReason:
    """Return under which reason a refusal stops a running session."""
    named = refusal.interlock if isinstance(refusal, RoomRefusal) else None
    return named or "device-fault"
