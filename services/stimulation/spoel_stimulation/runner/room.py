"""One room: its device, its session, and everything that may stop either.

Stopping never waits for the database, the broker or a lock: the bar is raised, the device is disarmed, and only then
is anything written down (INV-8).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.clock import Clock
from spoel_common.errors import SpoelError
from spoel_common.people import Actor
from spoel_common.sealing import KeyPair
from spoel_common.work import UnitsOfWork
from spoel_stimulation import commands as asked
from spoel_stimulation.aggregates import ROOM, SESSION
from spoel_stimulation.devices.adapter import Counters, DeviceError, DeviceIdentity, NotSupported, Unasked
from spoel_stimulation.domain.blinding import NOT_SHOWN
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.phases import Act, Phase
from spoel_stimulation.domain.reach import Reach
from spoel_stimulation.domain.refusals import BeyondDeviceCapability, RoomRefusal, StatusTooOld
from spoel_stimulation.domain.room import RoomState, check_not_latched
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.base import Known
from spoel_stimulation.events.sessions import DeviceSettings
from spoel_stimulation.events.words import InterlockReason, StopOutcome
from spoel_stimulation.handlers import record_armed
from spoel_stimulation.runner.conductor import Conductor
from spoel_stimulation.runner.delivery import Accounted, Delivery, RoomFault, UnaccountedPulses
from spoel_stimulation.runner.guard import GuardClient, Told
from spoel_stimulation.runner.heart import RoomHeart
from spoel_stimulation.runner.journal import Journal, interlock_of
from spoel_stimulation.runner.link import DeviceLink, RoomDevice
from spoel_stimulation.runner.lookout import Lookout
from spoel_stimulation.runner.settings import device_settings
from spoel_stimulation.surroundings import Surroundings

HALT_TIMEOUT_S = 5.0
ARM_WAIT_S = 15.0
COUNT_TIMEOUT_S = 5.0
QUIET_S = 0.5
RECHECK_PAUSE_S = 0.5
GUARD_ANSWER_S = 3.0
OPEN_TRAIN_WAIT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
EXPLANATION_S = 1.5
EXPLANATION_STEP_S = 0.05
FAILURES_KEPT = 100
ARMED_PHASES = (Phase.ARMED, Phase.RUNNING, Phase.PAUSED)
"""Phases of a session in which the device may be enabled."""

_log = structlog.get_logger(__name__)


class Failure(NamedTuple):
    """Why a command with an effect on the device had none."""

    slug: str
    detail: str


class Stopped(NamedTuple):
    """What an emergency stop did.

    Attributes:
        through: who did it: the room's guard, or the room's own process where the guard does not answer or is not
            there.
    """

    outcome: StopOutcome
    through: Literal["guard", "room"]


AskedStop = tuple[str, asyncio.Future[StopOutcome | None]]


class Room:
    """One treatment room of this node.

    Args:
        room_id: its name.
        site: the site's name.
        device: the adapter of its device.
        units: units of work on the node's journal.
        clock: clock time.
        knowledge: returns how old the knowledge of each feed is.
        reach: returns what the node has of the world outside.
        limits: limits of this node.
        key: the room's key for identity strips.
        heart: its belt, and how the heart is looked at.
        guard: the guard's control socket, and the device's address as it is to hold it; None where it has no guard.
    """

    def __init__(  # noqa: PLR0913 - the parts of a room, the rest by name
        self,
        room_id: str,
        site: str,
        device: RoomDevice,
        units: UnitsOfWork,
        clock: Clock,
        *,
        knowledge: Callable[[], tuple[Known, ...]],
        reach: Callable[[], Reach] = Reach,
        limits: Limits,
        key: KeyPair,
        heart: RoomHeart,
        guard: tuple[Path, str] | None = None,
    ) -> None:
        self.room_id = room_id
        self.site = site
        self.key = key
        self.heart = heart
        self._limits = limits
        self.link = DeviceLink(room_id, device)
        self.journal = Journal(units, room_id, self.look)
        self.guard = None if guard is None else GuardClient(room_id, *guard, self.journal.guard_recorded_to)
        release = None if self.guard is None else self.guard.release
        self.delivery = Delivery(device, self.journal, clock, release)
        self.lookout = Lookout(self.link, self.delivery, limits)
        self._units = units
        self._knowledge = knowledge
        self._reach = reach
        self._conductor = Conductor(self, clock)
        self._first_answer = True
        self._recheck = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()
        self.arming: set[str] = set()
        self.failures: OrderedDict[str, Failure] = OrderedDict()
        self._holds = 0
        self._persons: dict[str, tuple[Callable[[], Awaitable[str]] | None, str | None]] = {}
        self._recorded_stops: set[str] = set()
        self._stopped_by_guard = False

    @property
    def holds(self) -> int:
        """How many stops are under way, or not recorded yet: nothing may begin meanwhile."""
        return self._holds + (0 if self.guard is None else len(self.guard.stopping))

    @property
    def device(self) -> RoomDevice:
        """The adapter of the room's device."""
        return self.link.device

    @property
    def limits(self) -> Limits:
        """The limits that hold: those of the node, and of a unit whose stop was verified longer trains (INV-11)."""
        longest_s = max(self._limits.max_autonomous_s, self.link.longest_alone_s or 0.0)
        return self._limits.model_copy(update={"max_autonomous_s": longest_s})

    async def run(self) -> None:
        """Keep the link, conduct sessions and watch the interlocks, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.guard is not None:
                tasks.create_task(self.guard.run(self), name=f"{self.room_id} guard")
            tasks.create_task(self.link.run(self), name=f"{self.room_id} link")
            tasks.create_task(self._conductor.run(), name=f"{self.room_id} conductor")
            tasks.create_task(self._watch_interlocks(), name=f"{self.room_id} interlocks")
            tasks.create_task(self.lookout.run(self.look_again), name=f"{self.room_id} lookout")
            if self.heart.recorder is not None:
                tasks.create_task(self.heart.recorder.run(), name=f"{self.room_id} belt")

    async def close(self) -> None:
        """Disarm and let go of the device; what is open is closed at the next start."""
        self.delivery.bar()
        await self.device.close()
        if self._background:
            await asyncio.wait(self._background, timeout=CLOSE_TIMEOUT_S)
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def state(self) -> RoomState:
        """Return what is recorded of the room."""
        return (await self._units.load(ROOM, self.room_id)).state

    def look(self) -> Surroundings:
        """Return the surroundings of a decision at this moment.

        A device that is barred counts as not enabled, whatever it says, and one that is being stopped as not ready: so
        nothing begins between a stop and its record (INV-8).
        """
        device = self.link.facts(self.delivery.counted)
        if self.guard is not None and not self.guard.up:
            device = device.model_copy(update={"ready": False, "problem": self.guard.problem})
        if self.delivery.barred:
            device = device.model_copy(update={"enabled": False})
        if self.holds and device.ready:
            problem = "The room is being stopped. Wait until that is recorded, and look at the room."
            device = device.model_copy(update={"ready": False, "problem": problem})
        presence, reach = self.lookout.presence, self._reach()
        return Surroundings(self.site, self.room_id, device, self._knowledge(), self.limits, presence, reach)

    # --- asked by people, after the conditions were checked in a unit of work

    def check_supported(self, state: SessionState) -> None:
        """Refuse a session that the device cannot deliver as it stands; nothing is sent (INV-2).

        Raises:
            BeyondDeviceCapability: says what is beyond.
        """
        try:
            self.device.capability.check(device_settings(state, self.limits.max_autonomous_s))
        except NotSupported as error:
            raise BeyondDeviceCapability(error.detail) from error

    async def arm(self, state: SessionState, event_id: str, by: Actor, bars: int, *, asked_again: bool = False) -> None:
        """Stage and arm the device, then record it under the id that was promised; failures are remembered.

        Returns after ``ARM_WAIT_S`` also where it is still under way.

        Args:
            state: of the session.
            event_id: of the event to come.
            by: who asks.
            bars: those of ``delivery`` when it was asked for; after another one the device is not enabled (INV-8).
            asked_again: the patient was asked for consent again, for the record.
        """
        self.arming.add(event_id)
        arming = self._arm(state, event_id, by, bars, asked_again=asked_again)
        await asyncio.wait({self._spawn(arming, "arming")}, timeout=ARM_WAIT_S)

    async def _arm(
        self,
        state: SessionState,
        event_id: str,
        by: Actor,
        bars: int,
        *,
        asked_again: bool,
    ) -> None:
        try:
            async with self.delivery.busy:
                await self._stage_and_record(state, event_id, by, bars, asked_again=asked_again)
        except DeviceError as error:
            self._failed(event_id, error.slug, NOT_SHOWN if state.blinded else error.detail)
            if bars == self.delivery.bars:
                await self.fault(RoomFault("device-fault", error.slug, error.detail))
            else:  # stopped meanwhile: no fault of the device, and whoever stopped it records why
                await self.stop_device()
        except Exception as error:
            slug, detail = "unavailable", f"The journal did not take it ({type(error).__name__}). Arm again."
            if isinstance(error, SpoelError):
                slug, detail = error.slug, error.detail
            self._failed(event_id, slug, detail)
            await self.stop_device()
            if not isinstance(error, SpoelError | SQLAlchemyError):
                raise
        finally:
            self.arming.discard(event_id)

    async def _stage_and_record(
        self,
        state: SessionState,
        event_id: str,
        by: Actor,
        bars: int,
        *,
        asked_again: bool,
    ) -> None:
        session_id = state.session.session_id
        check_not_latched((await self._units.load(ROOM, self.room_id)).state, self.room_id)
        state = (await self._units.load(SESSION, session_id)).state  # as it is now: the coil may have been placed since
        if not state.may(Act.ARM):
            self._failed(event_id, "transition-not-allowed", "The session was armed or closed by another request.")
            return
        settings = device_settings(state, self.limits.max_autonomous_s)
        found = await self.delivery.stage_and_arm(settings, bars)
        self._stopped_by_guard = False
        self.lookout.armed_coil = self.link.facts(None).coil_model
        command = asked.RecordArmed(
            settings=DeviceSettings.model_validate({"set": found.set_point, "read_back": found.read_back}),
            coil_model=self.look().device.coil_model,
            percent_mso=settings.percent_mso,
            consent_asked_again=asked_again,
        )
        async with self._units.begin(by, session_id) as work:
            await record_armed(work, session_id, event_id, command, self.look)

    def _failed(self, event_id: str, slug: str, detail: str) -> None:
        self.failures[event_id] = Failure(slug, detail)
        while len(self.failures) > FAILURES_KEPT:
            self.failures.popitem(last=False)
        _log.warning("room.not-armed", room=self.room_id, problem=slug, detail=detail)

    def wake(self) -> None:
        """Have the conductor look at the session: something about it has changed."""
        self._conductor.wake()

    def look_again(self) -> None:
        """Have the interlocks looked at: something that is known of others has changed (INV-4)."""
        self._recheck.set()

    async def freshen(self) -> None:
        """Ask the device's status where what is known of it is getting old; a failure shows in the decision."""
        if not self.link.up or self.look().device.status_age_s < self.limits.max_status_age_s / 2:
            return
        try:
            await self.device.refresh_status()
        except DeviceError as error:
            _log.warning("room.status-not-refreshed", room=self.room_id, detail=error.detail)

    async def count(self) -> None:
        """Ask the device's pulse counter for the decision to come; a failure shows in the decision."""
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S), self.delivery.busy:
                await self.delivery.count()
        except UnaccountedPulses as error:
            await self.unaccounted(error)
        except RoomFault as error:
            await self.fault(error)
        except (DeviceError, TimeoutError) as error:
            _log.warning("room.not-counted", room=self.room_id, detail=str(error))

    def fire(self, state: SessionState) -> asyncio.Task[None]:
        """Deliver the stimulus that was just authorised, in the background."""
        return self._spawn(self._conductor.deliver_stimulus(state), f"stimulus of {state.session.session_id}")

    @asynccontextmanager
    async def halted(self) -> AsyncIterator[bool]:
        """Raise the bar, disarm, and wait for the running train's record; yields whether the device is disarmed."""
        self._holds += 1
        try:
            disarmed = await self.stop_device()
            await self.delivery.idle(HALT_TIMEOUT_S)
            yield disarmed
        finally:
            self._holds -= 1
            self.wake()

    async def stop_device(self) -> bool:
        """Let no train leave and disarm; True if the device reads back as disabled."""
        self.delivery.bar()
        return await self.device.disarm()

    # --- the emergency stop

    async def emergency_stop(self, person: Callable[[], Awaitable[str]], lost: str | None = None) -> Stopped:
        """Disarm first; then see whether it holds; the record follows in the background (INV-8).

        The room's guard is asked first, and its word counts; the adapter disarms beside it, and without it.

        Args:
            person: says who asked, if anybody signed in; awaited only after the device was disarmed.
            lost: session whose patient lost consciousness, if that is why.
        """
        self._holds += 1
        self.delivery.bar()
        asked = None if self.guard is None else self.guard.ask_stop(lost)
        if asked is not None:
            self._persons[asked[0]] = (person, lost)
        told: asyncio.Future[Stopped] = asyncio.get_running_loop().create_future()
        self._spawn(self._emergency(told, person, lost, asked), "emergency stop")
        return await asyncio.shield(told)

    async def _emergency(
        self,
        told: asyncio.Future[Stopped],
        person: Callable[[], Awaitable[str]],
        lost: str | None,
        asked: AskedStop | None,
    ) -> None:
        """Stop, tell the outcome, and then record it; goes on also where nobody waits for the outcome any more."""
        stopped = Stopped("not-confirmed", "room")
        try:
            try:
                stopped = await self._stop_and_see(asked)
            finally:
                told.set_result(stopped)
            if stopped.through == "guard":
                return  # it is told, and recorded with the person's name, by way of the guard's file
            name = await _name_of(person)
            await self.delivery.idle(HALT_TIMEOUT_S)
            await self._until_open_train_is_asked_for()
            await self.journal.persist(lambda: self.journal.emergency(stopped.outcome, name, lost=lost))
        finally:
            self._holds -= 1
            self.wake()

    async def _stop_and_see(self, asked: AskedStop | None) -> Stopped:
        """Return what the guard saw; what the adapter saw, where there is no guard or it does not say."""
        own = asyncio.create_task(self._disarm_and_see(), name=f"{self.room_id} disarm")
        self._background.add(own)
        own.add_done_callback(self._forget)
        if asked is not None and self.guard is not None:
            request, to_come = asked
            await asyncio.wait({to_come}, timeout=GUARD_ANSWER_S)
            self.guard.give_up_stop(request)
            outcome = to_come.result() if to_come.done() else None
            if outcome is not None:
                return Stopped(outcome, "guard")
            self._persons.pop(request, None)
            self._recorded_stops.add(request)  # before the adapter's word: the guard may tell of it meanwhile
        return Stopped(await own, "room")

    async def _disarm_and_see(self) -> StopOutcome:
        """Confirmed: read back as disabled and no pulse for half a second of wall time."""
        if not await self.stop_device():
            return "not-confirmed"
        disarmed_at_s = time.monotonic()
        await asyncio.sleep(QUIET_S)
        last_s, status = self.device.last_stimulus_monotonic_s, self.device.status
        if status is None or not self.link.up:
            return "sent"
        if status.enabled or (last_s is not None and last_s > disarmed_at_s):
            return "not-confirmed"
        return "confirmed"

    # --- what the guard tells

    def guard_stopped(self) -> None:
        """Let no train leave, and void what is staged: the guard stops the device."""
        self._stopped_by_guard = True
        self.delivery.bar()
        self._spawn(self._void(), "stopped by its guard")

    async def guard_told(self, told: Told) -> None:
        """Record a stop that the guard did, once, with the session as it ended."""
        if told.request in self._recorded_stops:
            self._recorded_stops.discard(told.request)
            await self.journal.persist(lambda: self.journal.pass_over(told))
            return
        person, lost = self._persons.pop(told.request, (None, told.lost))
        name = "unverified" if person is None else await _name_of(person)
        await self.delivery.idle(HALT_TIMEOUT_S)
        await self._until_open_train_is_asked_for()
        if told.reason == "emergency":
            await self.journal.persist(lambda: self.journal.emergency(told.outcome, name, told, lost))
        else:
            kind = f"guard-{told.reason}"
            await self.journal.persist(lambda: self.journal.fault("device-fault", kind, told.detail, told))
        self.wake()

    def guard_lost(self, detail: str) -> None:
        """Nothing may go on without a guard."""
        self.delivery.bar()
        self.link.give_up(detail)

    async def _void(self) -> None:
        await self.device.disarm()

    async def _until_open_train_is_asked_for(self) -> None:
        """Wait a moment for the device to say how a train ended that a killed process left open."""
        give_up_at_s = time.monotonic() + OPEN_TRAIN_WAIT_S
        while time.monotonic() < give_up_at_s:
            state = await self.journal.persist(self.journal.open_session)
            if state is None or state.open_train is None:
                return
            await asyncio.sleep(EXPLANATION_STEP_S)

    # --- what goes wrong

    async def train_failed(self, fault: RoomFault) -> None:
        """Deal with a train that did not end as it should; one whose end cannot be asked waits for a new link."""
        if fault.reason != "link-lost":
            await self.fault(fault)
            return
        self.link.give_up(fault.detail)
        await self.suspect(fault)

    async def fault(self, fault: RoomFault) -> None:
        """Disarm, then record a fault, latch the room and interrupt its session."""
        await self.stop_device()
        await self.journal.persist(lambda: self.journal.fault(fault.reason, fault.kind, fault.detail))

    async def suspect(self, fault: RoomFault) -> None:
        """Disarm, and record a fault unless the link tells within a moment what it comes from."""
        await self.stop_device()
        if not await self._explained():
            await self.fault(fault)

    async def _explained(self) -> bool:
        """Wait a moment for somebody else to record why the room was stopped; False if nobody did."""
        give_up_at_s = time.monotonic() + EXPLANATION_S
        while time.monotonic() < give_up_at_s:
            state = await self.journal.persist(self.journal.open_session)
            if state is None or state.phase not in ARMED_PHASES:
                return True
            await asyncio.sleep(EXPLANATION_STEP_S)
        return False

    async def unaccounted(self, found: UnaccountedPulses) -> None:
        """Disarm, then record pulses that no train accounts for, latch the room and interrupt its session.

        From the call on they are accounted for: whoever else finds them meanwhile does not record them again.
        """
        self.delivery.accounted = self.delivery.accounted._replace(total_pulses=found.total_pulses)
        accounted = self.delivery.accounted
        await self.stop_device()
        await self.journal.persist(lambda: self.journal.unauthorised_pulses(found.pulses, accounted))

    async def interlock(self, state: SessionState, refusal: SpoelError) -> None:
        """Disarm, then interrupt or close the session."""
        reason: InterlockReason = interlock_of(refusal) if isinstance(refusal, RoomRefusal) else "device-fault"
        _log.warning("room.interlock", room=self.room_id, reason=reason, detail=refusal.detail)
        disarmed = await self.stop_device()
        await self.journal.persist(lambda: self.journal.interlock(state, reason))
        if not disarmed:
            await self.fault(RoomFault("device-fault", "disarm-not-confirmed", "not read back as disabled at a stop"))

    # --- what the link tells

    async def device_answered(self, identity: DeviceIdentity, counters: Counters | None) -> None:
        """Record what a device that is connected and disarmed says, before it may be used (INV-1, INV-7)."""
        self.delivery.bar()
        await self.delivery.idle(HALT_TIMEOUT_S)
        first, key = self._first_answer, self.key.public_key
        total = None if counters is None else counters.pulses
        await self.journal.persist(lambda: self.journal.connected(identity, key, total, first=first))
        self._first_answer = False
        self.delivery.accounted = Accounted(identity.serial, total)

    async def device_did(self, unasked: Unasked) -> None:
        """Bar and disarm at once; record when the running train, if there is one, is recorded (HZ-08)."""
        if unasked.kind == "change" and self._stopped_by_guard:
            return  # nobody has armed it since: this is the guard's own disarm, which it tells of
        self.delivery.bar()
        self._spawn(self._deal_with(unasked), f"unasked {unasked.kind}")

    async def link_lost(self, detail: str) -> None:
        """Bar at once, and record the loss if a session is open; without one, only the room's state shows it."""
        self.delivery.bar()
        self._spawn(self._record_loss(detail), "link lost")

    async def _record_loss(self, detail: str) -> None:
        if await self.journal.persist(self.journal.open_session) is not None:
            await self.journal.persist(lambda: self.journal.fault("link-lost", "link-lost", detail))

    async def _deal_with(self, unasked: Unasked) -> None:
        if not unasked.disarmed:
            await self.stop_device()
        await self.delivery.idle()  # a train's own pulses are accounted for before what is left over is looked at
        if unasked.kind == "change":
            await self.fault(RoomFault("unasked-change", "unasked-change", unasked.detail))
            return
        known = self.delivery.accounted.total_pulses
        if known is None:
            await self.unaccounted(UnaccountedPulses(max(1, unasked.pulses), None))
            return
        total = unasked.device_total_pulses
        if total is None:
            total = known + unasked.pulses
        if total > known:
            await self.unaccounted(UnaccountedPulses(total - known, total))
        else:
            await self.suspect(RoomFault("device-fault", "pulse-not-counted", unasked.detail))

    # --- interlocks

    async def _watch_interlocks(self) -> None:
        while True:
            await self._recheck.wait()
            self._recheck.clear()
            try:
                await self._check_interlocks()
            except SQLAlchemyError as error:
                _log.error("room.interlocks-not-checked", room=self.room_id, reason=str(error))
                await asyncio.sleep(RECHECK_PAUSE_S)
                self._recheck.set()

    async def _check_interlocks(self) -> None:
        state = await self.journal.open_session()
        if state is None or state.phase not in ARMED_PHASES:
            return
        try:
            await self.journal.check_going_on(state)
        except SpoelError as refusal:
            async with self.halted():
                if not isinstance(refusal, StatusTooOld) or not await self._explained():
                    await self.interlock(state, refusal)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{self.room_id} {name}")
        self._background.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("room.task-failed", room=self.room_id, task=task.get_name(), exc_info=task.exception())


async def _name_of(person: Callable[[], Awaitable[str]]) -> str:
    """Return who pressed the emergency stop; whatever goes wrong in asking must not keep the stop from its record."""
    try:
        return await person()
    except Exception:  # noqa: BLE001 - as the docstring says
        _log.warning("room.person-not-verified", exc_info=True)
        return "unverified"
