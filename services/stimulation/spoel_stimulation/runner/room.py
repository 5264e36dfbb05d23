"""One room: its device, its session, and what runs and stops them, put together."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from spoel_common.clock import Clock
from spoel_common.errors import SpoelError
from spoel_common.sealing import KeyPair
from spoel_common.work import UnitsOfWork
from spoel_stimulation.aggregates import ROOM
from spoel_stimulation.devices.adapter import DeviceError, NotSupported
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.reach import Reach
from spoel_stimulation.domain.refusals import BeyondDeviceCapability
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.base import Known
from spoel_stimulation.runner.arming import Arming
from spoel_stimulation.runner.background import Background
from spoel_stimulation.runner.conductor import Conductor
from spoel_stimulation.runner.delivery import Delivery, RoomFault, UnaccountedPulses
from spoel_stimulation.runner.device_news import DeviceNews
from spoel_stimulation.runner.faults import Faults
from spoel_stimulation.runner.guard import GuardClient
from spoel_stimulation.runner.heart import RoomHeart
from spoel_stimulation.runner.interlocks import Interlocks
from spoel_stimulation.runner.journal import Journal
from spoel_stimulation.runner.kept_stops import KeptStops
from spoel_stimulation.runner.link import DeviceLink, RoomDevice
from spoel_stimulation.runner.lookout import Lookout
from spoel_stimulation.runner.settings import device_settings
from spoel_stimulation.runner.stops import Stops
from spoel_stimulation.surroundings import Surroundings

COUNT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0

_log = structlog.get_logger(__name__)


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
        kept: the file of its stops that are not recorded yet.
        losses: returns the sessions of this node whose patient lost consciousness, which is not recorded yet.
        guard: the guard's control socket, and the device's address as it is to hold it; None where it has no guard.

    Attributes:
        link: to its device, kept.
        journal: what happens in it, written down.
        guard: the connection to its guard; None where it has none.
        delivery: one train at a time, and the bar that keeps the next one back.
        lookout: presence, and what may come to speak against going on while nothing is told.
        faults: what goes wrong, dealt with.
        stops: everything that stops it, its guard's stops included.
        arming: a person's wish to have the device armed, done.
        interlocks: what is known of others and stops its session.
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
        kept: KeptStops,
        losses: Callable[[], frozenset[str]],
        guard: tuple[Path, str] | None = None,
    ) -> None:
        self.room_id = room_id
        self.site = site
        self.key = key
        self.heart = heart
        self._limits = limits
        self._units = units
        self._knowledge = knowledge
        self._reach = reach
        self._kept = kept
        self._losses = losses
        self.background = Background(room_id)
        self.link = DeviceLink(room_id, device)
        self.journal = Journal(units, room_id, self.look)
        self.guard = None if guard is None else GuardClient(room_id, *guard, self.journal.guard_recorded_to)
        self.delivery = Delivery(device, self.journal, clock, None if self.guard is None else self.guard.release)
        self.lookout = Lookout(self.link, self.delivery, limits)
        self.faults = Faults(room_id, self.link, self.delivery, self.journal)
        self.stops = Stops(self.link, self.delivery, self.journal, self.guard, kept, self.background, self.wake)
        self.arming = Arming(room_id, units, self.delivery, self.faults, self.background, self.look)
        self.interlocks = Interlocks(room_id, self.journal, self.faults, self.stops.halted)
        self.device_news = DeviceNews(self.delivery, self.journal, self.faults, self.background, key.public_key)
        self._conductor = Conductor(self, clock)

    async def run(self) -> None:
        """Keep the link, conduct sessions and watch the interlocks, until cancelled."""
        parts = {
            "link": self.link.run(self.device_news),
            "conductor": self._conductor.run(),
            "interlocks": self.interlocks.run(),
            "lookout": self.lookout.run(self.interlocks.look_again),
        }
        if self.guard is not None:
            parts["guard"] = self.guard.run(self.stops)
        if self.heart.recorder is not None:
            parts["belt"] = self.heart.recorder.run()
        self.background.start(self.stops.record_found(), "stops of before")
        async with asyncio.TaskGroup() as tasks:
            for name, part in parts.items():
                tasks.create_task(part, name=f"{self.room_id} {name}")

    async def close(self) -> None:
        """Disarm and let go of the device; what is open or not recorded yet is so at the next start."""
        self.delivery.bar()
        await self.device.close()
        await self.background.end(CLOSE_TIMEOUT_S)
        self._kept.close()

    # --- how it stands

    @property
    def device(self) -> RoomDevice:
        """The adapter of the room's device."""
        return self.link.device

    @property
    def holds(self) -> int:
        """How many stops are under way, or not recorded yet: nothing may begin meanwhile."""
        return self.stops.holds

    @property
    def limits(self) -> Limits:
        """The limits that hold: those of the node, and of a unit whose stop was verified longer trains (INV-11)."""
        longest_s = max(self._limits.max_autonomous_s, self.link.longest_alone_s or 0.0)
        return self._limits.model_copy(update={"max_autonomous_s": longest_s})

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
        known, limits, losses = self._knowledge(), self.limits, self._losses()
        return Surroundings(self.site, self.room_id, device, known, limits, presence, reach, losses)

    def check_supported(self, state: SessionState) -> None:
        """Refuse a session that the device cannot deliver as it stands; nothing is sent (INV-2).

        Raises:
            BeyondDeviceCapability: says what is beyond.
        """
        try:
            self.device.capability.check(device_settings(state, self.limits.max_autonomous_s))
        except NotSupported as error:
            raise BeyondDeviceCapability(error.detail) from error

    # --- asked before a decision, and after it

    async def freshen(self) -> None:
        """Ask the device's status where what is known of it is getting old; a failure shows in the decision."""
        if not self.link.up or self.look().device.status_age_s < self.limits.max_status_age_s / 2:
            return
        try:
            await self.device.refresh_status()
        except DeviceError as error:
            _log.warning("room.status-not-refreshed", room=self.room_id, problem=error.slug)

    async def count(self) -> None:
        """Ask the device's pulse counter for the decision to come; a failure shows in the decision."""
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S), self.delivery.busy:
                await self.delivery.count()
        except UnaccountedPulses as error:
            await self.faults.unaccounted(error)
        except RoomFault as error:
            await self.faults.record(error)
        except (DeviceError, TimeoutError) as error:
            problem = error.slug if isinstance(error, DeviceError) else "device-busy"
            _log.warning("room.not-counted", room=self.room_id, problem=problem)

    @contextmanager
    def authorising(self, train_id: str) -> Iterator[None]:
        """Keep what waits for trains waiting while a stimulus is authorised.

        Where the commit looked failed and nobody knows, nothing is sent, and the journal says so as soon as it can.
        """
        with self.delivery.under_way():
            try:
                yield
            except SpoelError:
                raise  # refused: nothing is stored
            except BaseException:
                self.background.start(self._conductor.discard_stimulus(train_id), f"stimulus {train_id}")
                raise

    def fire(self, state: SessionState) -> asyncio.Task[None]:
        """Deliver the stimulus that was just authorised, in the background."""
        return self.background.start(self._conductor.deliver_stimulus(state), f"stimulus of {state.session.session_id}")

    def wake(self) -> None:
        """Have the conductor look at the session: something about it has changed."""
        self._conductor.wake()
