"""A room's stops: disarm first, see whether it holds, and write it down then (INV-8).

Stopping waits for no database, no broker and no lock. While a stop is under way or not recorded yet, nothing begins.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

import structlog

from spoel_common.ids import new_id
from spoel_stimulation.events.words import StopOutcome
from spoel_stimulation.runner.background import Background
from spoel_stimulation.runner.delivery import Delivery
from spoel_stimulation.runner.guard import GuardClient, Told
from spoel_stimulation.runner.journal import Journal
from spoel_stimulation.runner.kept_stops import KeptStop, KeptStops
from spoel_stimulation.runner.link import DeviceLink

HALT_TIMEOUT_S = 5.0
QUIET_S = 0.5
GUARD_ANSWER_S = 3.0
OPEN_TRAIN_WAIT_S = 10.0
OPEN_TRAIN_STEP_S = 0.05
GUARD_BACK_S = 10.0
GUARD_BACK_STEP_S = 0.1

_log = structlog.get_logger(__name__)

Person = Callable[[], Awaitable[str]]
"""Says who stopped the room, if anybody signed in; asked only after the device was disarmed."""


class Stopped(NamedTuple):
    """What an emergency stop did.

    Attributes:
        through: who did it: the room's guard, or the room's own process where the guard does not answer or is not
            there.
    """

    outcome: StopOutcome
    through: Literal["guard", "room"]


class Stops:
    """Stops one room, and records what its guard stopped (``guard.Listener``).

    Args:
        link: to its device.
        delivery: whose device is disarmed.
        journal: where it is recorded.
        guard: the room's guard; None where it has none.
        kept: the file of stops that are not recorded yet.
        background: where it is recorded.
        wake: has the conductor look at the session.
    """

    def __init__(
        self,
        link: DeviceLink,
        delivery: Delivery,
        journal: Journal,
        guard: GuardClient | None,
        kept: KeptStops,
        background: Background,
        wake: Callable[[], None],
    ) -> None:
        self._link = link
        self._delivery = delivery
        self._journal = journal
        self._guard = guard
        self._kept = kept
        self._background = background
        self._wake = wake
        self._holds = 0
        self._pressed: dict[str, tuple[KeptStop, Person]] = {}

    @property
    def holds(self) -> int:
        """How many stops are under way, or not recorded yet: nothing may begin meanwhile."""
        return self._holds + len(self._kept) + (0 if self._guard is None else len(self._guard.stopping))

    @asynccontextmanager
    async def halted(self) -> AsyncIterator[bool]:
        """Raise the bar, disarm, and wait for the running train's record; yields whether the device is disarmed."""
        self._holds += 1
        try:
            disarmed = await self._delivery.stop()
            await self._delivery.idle(HALT_TIMEOUT_S)
            yield disarmed
        finally:
            self._release()

    async def emergency(self, person: Person, lost: str | None = None) -> Stopped:
        """Disarm first; then see whether it holds; the record follows in the background.

        The room's guard is asked first, and its word counts; the adapter disarms beside it, and without it. Meanwhile
        the stop is written to the file of stops, of which nothing here waits.

        Args:
            person: says who asked.
            lost: session whose patient lost consciousness, if that is why.
        """
        self._holds += 1
        self._delivery.bar()
        stop_id = new_id()
        asked = None if self._guard is None else self._guard.ask_stop(stop_id, lost)
        stop = KeptStop(stop_id=stop_id, stopped_at=self._journal.now, lost=lost, by_guard=asked is not None)
        self._pressed[stop_id] = stop, person
        told: asyncio.Future[Stopped] = asyncio.get_running_loop().create_future()
        self._background.start(self._emergency(told, stop_id, asked), "emergency stop")
        return await asyncio.shield(told)

    async def _emergency(
        self, told: asyncio.Future[Stopped], stop_id: str, asked: asyncio.Future[StopOutcome | None] | None
    ) -> None:
        """Stop, tell the outcome, and then record it; goes on also where nobody waits for the outcome any more."""
        stopped = Stopped("not-confirmed", "room")
        try:
            try:
                stopped = await self._stop_and_see(stop_id, asked)
            finally:
                told.set_result(stopped)
            if stopped.through == "room":  # else it is told, and recorded, by way of the guard's file
                await self._record_pressed(stop_id, stopped.outcome)
        finally:
            self._release()

    async def _stop_and_see(self, stop_id: str, asked: asyncio.Future[StopOutcome | None] | None) -> Stopped:
        """Return what the guard saw; what the adapter saw, where there is no guard or it does not say."""
        own = self._background.start(self._disarm_and_see(), "disarm")
        stop, _person = self._pressed[stop_id]
        self._keep(stop)
        if asked is not None and self._guard is not None:
            await asyncio.wait({asked}, timeout=GUARD_ANSWER_S)
            self._guard.give_up_stop(stop_id)
            outcome = asked.result() if asked.done() else None
            if outcome is not None:
                return Stopped(outcome, "guard")
        await asyncio.wait({own})
        failed = own.cancelled() or own.exception() is not None
        return Stopped("not-confirmed" if failed else own.result(), "room")

    async def _disarm_and_see(self) -> StopOutcome:
        """Confirmed: read back as disabled and no pulse for half a second of wall time."""
        if not await self._delivery.stop():
            return "not-confirmed"
        disarmed_at_s = time.monotonic()
        await asyncio.sleep(QUIET_S)
        device = self._link.device
        last_s, status = device.last_stimulus_monotonic_s, device.status
        if status is None or not self._link.up:
            return "sent"
        if status.enabled or (last_s is not None and last_s > disarmed_at_s):
            return "not-confirmed"
        return "confirmed"

    def _release(self) -> None:
        self._holds -= 1
        self._wake()

    # --- what the guard tells

    def guard_stopped(self) -> None:
        """Let no train leave, and void what is staged: the guard stops the device."""
        self._delivery.stopped_by_guard = True
        self._delivery.bar()
        self._background.start(self._delivery.device.disarm(), "stopped by its guard")

    async def guard_told(self, told: Told) -> None:
        """Record what the guard did, once, with the session as it ended."""
        if told.reason == "emergency" and told.stop_id in self._pressed:
            await self._record_pressed(told.stop_id, told.outcome, told)
        elif told.reason == "emergency":
            await self._record(self._found_of(told), told)
        elif not told.grave:
            await self._journal.persist(lambda: self._journal.guard_disarmed(told))
        else:
            await self._until_trains_are_recorded()
            kind = f"guard-{told.reason}"
            await self._journal.persist(lambda: self._journal.fault("device-fault", kind, told.detail, told))
        self._wake()

    def guard_lost(self, detail: str) -> None:
        """Nothing may go on without a guard."""
        self._delivery.bar()
        self._link.give_up(detail)

    # --- the record

    async def record_found(self) -> None:
        """Record what an earlier process was told to stop and did not live to record; one that fails stays kept."""
        for stop in self._kept.found:
            if stop.by_guard:
                await self._until_guard_has_told()
            await asyncio.wait({self._background.start(self._record(stop), "stop of before")})
            self._wake()

    def _found_of(self, told: Told) -> KeptStop:
        """Return a stop that no one of this process pressed; an earlier one may have kept who did."""
        found = self._kept.get(told.stop_id)
        if found is not None:
            return found.model_copy(update={"outcome": told.outcome})
        stop_id = told.stop_id or new_id()
        return KeptStop(stop_id=stop_id, stopped_at=told.stopped_at, lost=told.lost, outcome=told.outcome)

    async def _record_pressed(self, stop_id: str, outcome: StopOutcome, told: Told | None = None) -> None:
        """Record a stop of this process, with the name of whoever pressed it."""
        pressed = self._pressed.get(stop_id)
        if pressed is None:
            return  # recorded meanwhile, by the guard's word
        stop, person = pressed
        stop = stop.model_copy(update={"outcome": outcome, "person": await _name_of(person)})
        self._keep(stop)
        await self._record(stop, told)
        self._pressed.pop(stop_id, None)

    def _keep(self, stop: KeptStop) -> None:
        self._kept.keep(stop)
        self._background.start(self._kept.write(), "stops kept")

    async def _record(self, stop: KeptStop, told: Told | None = None) -> None:
        await self._until_trains_are_recorded()
        await self._journal.persist(lambda: self._journal.emergency(stop, told))
        self._kept.forget(stop.stop_id)
        self._background.start(self._kept.write(), "stops kept")

    async def _until_trains_are_recorded(self) -> None:
        """Wait a moment for a running train's record, and for the device to say how one ended that was left open."""
        await self._delivery.idle(HALT_TIMEOUT_S)
        give_up_at_s = time.monotonic() + OPEN_TRAIN_WAIT_S
        while time.monotonic() < give_up_at_s:
            state = await self._journal.persist(self._journal.open_session)
            if state is None or state.open_train is None:
                return
            await asyncio.sleep(OPEN_TRAIN_STEP_S)

    async def _until_guard_has_told(self) -> None:
        """Wait a moment for the guard's word of a stop, which knows more of it."""
        give_up_at_s = time.monotonic() + GUARD_BACK_S
        while time.monotonic() < give_up_at_s:
            if self._guard is None or self._guard.has_told:
                return
            await asyncio.sleep(GUARD_BACK_STEP_S)


async def _name_of(person: Person) -> str:
    """Return who pressed the emergency stop; whatever goes wrong in asking must not keep the stop from its record."""
    try:
        return await person()
    except Exception:  # noqa: BLE001 - no fault in asking keeps a stop from its record
        _log.warning("room.person-not-verified", exc_info=True)
        return "unverified"
