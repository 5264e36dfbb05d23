"""The conductor: the trains of a session, one after the other, each authorised before it leaves (INV-1).

The host times the pauses between trains, by clock time; the device times what is inside one (INV-11).
"""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.clock import Clock
from spoel_common.errors import SpoelError
from spoel_common.ids import new_id
from spoel_stimulation import commands as asked
from spoel_stimulation.devices.adapter import DeviceError
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.refusals import DeviceNotReady, StatusTooOld, TrainBeyondLimits, TransitionNotAllowed
from spoel_stimulation.domain.search import upcoming_train
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.runner.delivery import RoomFault, UnaccountedPulses
from spoel_stimulation.runner.settings import device_settings

if TYPE_CHECKING:
    from spoel_stimulation.runner.room import Room

DATABASE_PAUSE_S = 0.5

_log = structlog.get_logger(__name__)


class Conductor:
    """Conducts the session of one room.

    Args:
        room: the room.
        clock: clock time.
    """

    def __init__(self, room: "Room", clock: Clock) -> None:
        self._room = room
        self._clock = clock
        self._woken = asyncio.Event()
        self._attempted: str | None = None
        self._stimulus: str | None = None

    def wake(self) -> None:
        """Look at the session again."""
        self._woken.set()

    async def run(self) -> None:
        """Conduct, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._conduct()
            except SQLAlchemyError as error:
                _log.error("conductor.database-failed", room=self._room.room_id, reason=str(error))
                await asyncio.sleep(DATABASE_PAUSE_S)
                self.wake()

    async def _conduct(self) -> None:
        """Deliver trains while there is a running treatment whose next one is due."""
        while self._room.holds == 0 and self._room.link.up:
            state = await self._room.journal.open_session()
            if state is None or state.phase is not Phase.RUNNING or not state.conducted:
                self._room.heart.forget()
                return
            if state.open_train is not None:
                if not await self._discard_unsent(state):
                    return
                continue
            if not await self._step(state):
                return

    async def _step(self, state: SessionState) -> bool:
        """Wait for the next train's moment and deliver it; False when somebody has to wake the conductor."""
        try:
            train = upcoming_train(state, self._room.limits.max_autonomous_s)
        except TrainBeyondLimits as refusal:  # as where another unit answers, of which no stop was verified (INV-11)
            await self._room.faults.interlock(state, refusal)
            return False
        if state.run is not None and not self._room.heart.goes_on(state):
            return await self._end_run(state)
        if train is None:
            await self._finish(state)
            return False
        if not await self._until(self._not_before(state, train.due_at)):
            return True
        await self._give(state, train.percent_mso)
        return True

    async def _give(self, state: SessionState, percent_mso: int) -> None:
        """Authorise and deliver the train that is due, and deal with what is against it."""
        room = self._room
        try:
            async with room.delivery.busy:
                await self._authorise_and_deliver(state, percent_mso)
        except TransitionNotAllowed:
            return
        except UnaccountedPulses as error:
            await room.faults.unaccounted(error)
        except RoomFault as error:
            await room.faults.train_failed(error)
        except StatusTooOld as refusal:
            await room.faults.interlock(state, refusal)
        except (DeviceError, DeviceNotReady) as error:
            if not room.holds:  # else whoever stops the room records why
                await room.faults.suspect(RoomFault("device-fault", error.slug, error.detail))
        except SpoelError as refusal:
            await room.faults.interlock(state, refusal)

    def _not_before(self, state: SessionState, due_at: datetime | None) -> datetime | None:
        """Return when the next train may begin: when it is due, and not before the device can take one.

        Some devices leave it to their host to wait after a train, and are damaged where it does not. How long depends
        on the intensity of that train, which may have been changed since.
        """
        if due_at is None or not self._room.link.up:
            return due_at
        last, settings = state.trains[-1], device_settings(state, self._room.limits.max_autonomous_s)
        given = settings if last.percent_mso is None else settings.at(last.percent_mso)
        wait_s = self._room.device.capability.minimum_wait_s(given)
        return max(due_at, last.onset_at + timedelta(seconds=settings.duration_s + wait_s))

    async def _authorise_and_deliver(self, state: SessionState, percent_mso: int) -> None:
        room = self._room
        await room.freshen()
        await room.delivery.set_percent_mso(percent_mso)
        await room.delivery.count()
        self._attempted = new_id()
        command = asked.AuthoriseTrain(train_id=self._attempted, percent_mso=percent_mso)
        with room.delivery.under_way():
            after = await room.journal.authorise(state, command)
            self._attempted = None
            settings = device_settings(after, room.limits.max_autonomous_s)
            await room.delivery.deliver(after, after.trains[-1], settings.at(percent_mso))

    async def _discard_unsent(self, state: SessionState) -> bool:
        """Record an authorised train that was never sent, as after a commit that looked failed; else leave it."""
        train = state.open_train
        if train is None or train.train_id != self._attempted or not await self._room.delivery.idle(0):
            return False
        await self._room.delivery.discard(state, train)
        return True

    async def _finish(self, state: SessionState) -> None:
        """Disarm after a block's last train; the session is complete, or waits for its coil at the next site."""
        journal = self._room.journal
        disarmed = await self._room.delivery.stop()
        record = journal.complete if state.next_block is None else journal.await_coil
        await journal.persist(lambda: record(state))
        if not disarmed:
            fault = RoomFault("device-fault", "disarm-not-confirmed", "not read back as disabled after the last train")
            await self._room.faults.record(fault)

    async def _end_run(self, state: SessionState) -> bool:
        """Record what the heart did in a run whose last cycle is over, or which a lost belt has spoilt."""
        heart = self._room.heart
        if not await self._until(heart.over_at(state)):
            return True
        await heart.told(state)
        found = heart.found(state)
        await self._room.journal.persist(lambda: self._room.journal.record_coupling(state, found))
        return True

    async def _until(self, due_at: datetime | None) -> bool:
        """Wait for a moment of clock time; False if woken before."""
        while due_at is not None:
            left_ns = round(due_at.timestamp() * 1e6) * 1_000 - self._clock.utc_ns()
            if left_ns <= 0:
                break
            target_ns = self._clock.monotonic_ns() + left_ns
            if await self._woken_before(target_ns):
                return False
        return True

    async def _woken_before(self, target_ns: int) -> bool:
        sleeping = asyncio.create_task(self._clock.sleep_until(target_ns))
        waking = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()
        if self._woken.is_set():
            self._woken.clear()
            return True
        return False

    async def deliver_stimulus(self, state: SessionState) -> None:
        """Deliver the one stimulus of a measurement that is authorised and open.

        The state is that of its authorisation: whoever stopped the session since has raised a bar, and nothing is
        sent.
        """
        self._stimulus = None if state.open_train is None else state.open_train.train_id
        with self._room.delivery.under_way():
            await self._deliver_stimulus(state)

    async def discard_stimulus(self, train_id: str) -> None:
        """Record that a stimulus never left whose authorisation looked failed, where the journal has it after all."""
        journal, delivery = self._room.journal, self._room.delivery
        async with delivery.busy:
            state = await journal.persist(journal.open_session_as_written)
            train = None if state is None else state.open_train
            if state is not None and train is not None and train.train_id == train_id != self._stimulus:
                await delivery.discard(state, train)

    async def _deliver_stimulus(self, state: SessionState) -> None:
        room, train = self._room, state.open_train
        if train is None or train.percent_mso is None:
            return
        try:
            async with room.delivery.busy:
                await self._set_or_discard(state, train.percent_mso)
                await room.delivery.deliver(state, train, device_settings(state, room.limits.max_autonomous_s))
        except RoomFault as error:
            await room.faults.train_failed(error)

    async def _set_or_discard(self, state: SessionState, percent_mso: int) -> None:
        """Set the stimulus's intensity.

        Raises:
            RoomFault: the device did not take it; the stimulus is recorded as not sent.
        """
        delivery = self._room.delivery
        try:
            await delivery.set_percent_mso(percent_mso)
        except DeviceError as error:
            if delivery.barred:
                return  # stopped meanwhile: it is not sent, and recorded so
            if state.open_train is not None:
                await delivery.discard(state, state.open_train)
            raise RoomFault("device-fault", error.slug, error.detail) from error
