"""The room's side of its guard: beats, stops, releases, and what the guard did, to be recorded (INV-8, INV-11).

The beat comes from the loop that the room itself runs on: when that is blocked, the guard hears silence. All waits
here are wall time.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import structlog

from spoel_common.clock import NS_PER_S
from spoel_stimulation.devices.adapter import LinkLost, NotReady
from spoel_stimulation.devices.local_socket import short_path
from spoel_stimulation.events.words import StopOutcome
from spoel_stimulation.guard.stops import is_grave

BEAT_S = 0.25
UNANSWERED_BEATS = 8
"""So many without an answer, and the guard is taken for silent: counted, since a loop that stood still sent none."""

RELEASE_TIMEOUT_S = 1.0
RELEASE_STEP_S = 0.1
CONNECT_TIMEOUT_S = 2.0
PAUSE_S = 0.3
LONGEST_PAUSE_S = 5.0
_LOST = " lost "
REASONS = {
    "silence": "the room's process was silent while the device could fire",
    "room-gone": "the room's process let go of the device while it could fire",
    "enabled-again": "the device was armed at its panel after a stop",
}

_log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """A stop of the guard whose outcome is known, to be recorded once.

    Attributes:
        file_id: of the guard's file.
        number: of the line in that file.
        of: number of the stop.
        reason: as ``guard.stops.Stop`` has it.
        armed: the device was armed when it was stopped, or nobody knew that it was not.
        by: network address of whoever asked for it, ``room``, ``guard`` or ``device``.
        request: this process's own name for it; empty where somebody else asked.
        stopped_at: clock time of the stop, to the second.
    """

    file_id: str
    number: int
    of: int
    outcome: StopOutcome
    reason: str
    armed: bool
    by: str
    request: str
    stopped_at: datetime
    pulses_after: int = 0

    @classmethod
    def of_line(cls, file_id: str, line: dict[str, Any]) -> "Told":
        """Return what a line of the guard's file tells."""
        return cls(
            file_id=file_id,
            number=line["n"],
            of=line["of"],
            outcome=line["outcome"],
            reason=line["reason"],
            armed=line.get("armed", True),
            by=line["by"],
            request=line["request"],
            stopped_at=datetime.fromtimestamp(line["stopped_utc_ns"] // NS_PER_S, UTC),
            pulses_after=line.get("pulses_after", 0),
        )

    @classmethod
    def begun(cls, file_id: str, held: dict[str, Any]) -> "Told":
        """Return what the guard would tell of a stop that it said it began, had it died before the outcome."""
        return cls(
            file_id=file_id,
            number=held["held"] + 1,
            of=held["held"],
            outcome="not-confirmed",
            reason=held["reason"],
            armed=held.get("armed", True),
            by=held["by"],
            request=held["request"],
            stopped_at=datetime.fromtimestamp(held["utc_ns"] // NS_PER_S, UTC),
        )

    @property
    def grave(self) -> bool:
        """It latches the room, in which nothing goes on before it is recorded."""
        return is_grave(self.reason, armed=self.armed)

    @property
    def stop_id(self) -> str:
        """This process's id of the stop; empty where somebody else asked for it."""
        return self.request.partition(_LOST)[0]

    @property
    def lost(self) -> str | None:
        """The session whose patient lost consciousness, if that is why."""
        return self.request.partition(_LOST)[2] or None

    @property
    def detail(self) -> str:
        """What happened, for a person."""
        what = REASONS.get(self.reason, self.reason)
        return f"{what}; its guard disarmed it at {self.stopped_at:%H:%M:%S} UTC, {self.outcome}"


class Listener(Protocol):
    """What the room does when its guard has stopped the device."""

    def guard_stopped(self) -> None:
        """The guard stops the device now; takes no time and cannot fail."""

    async def guard_told(self, told: Told) -> None:
        """Record what the guard did; returns when that is durable."""

    def guard_lost(self, detail: str) -> None:
        """The guard does not answer any more."""


class GuardClient:
    """One room's connection to its guard.

    Args:
        room_id: the room.
        control: the guard's control socket.
        device: the address that the guard is to hold.
        recorded_to: returns which file of the guard is recorded, and up to which line.

    Attributes:
        up: the guard answers, and holds the device that it should.
        problem: why not, and what to do.
        stopping: stops of which the record is still to come: nothing may begin meanwhile.
    """

    def __init__(
        self, room_id: str, control: Path, device: str, recorded_to: Callable[[], Awaitable[tuple[str, int]]]
    ) -> None:
        self.up = False
        self.problem = "The room's guard has not answered yet. Look whether its process runs."
        self.stopping: set[int] = set()
        self._room_id = room_id
        self._control = control
        self._device = device
        self._recorded_to = recorded_to
        self._file_id = ""
        self._held: int | None = 0
        self._transport: asyncio.WriteTransport | None = None
        self._unanswered = 0
        self._listener: Listener | None = None
        self._to_record: asyncio.Queue[Told] = asyncio.Queue()
        self._begun: dict[int, Told] = {}
        self._to_come: set[int] = set()
        self._stops: dict[str, asyncio.Future[StopOutcome | None]] = {}
        self._releases: dict[int, asyncio.Future[str | None]] = {}

    @property
    def has_told(self) -> bool:
        """It answers, and all that it had to tell is recorded."""
        return self.up and not self._to_come and not self.stopping

    async def run(self, listener: Listener) -> None:
        """Keep the connection, beat, and have told what is to be recorded, until cancelled."""
        self._listener = listener
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._record(listener), name=f"{self._room_id} guard's file")
            tasks.create_task(self._keep_connected(listener), name=f"{self._room_id} guard")

    def ask_stop(self, stop_id: str, lost: str | None = None) -> asyncio.Future[StopOutcome | None] | None:
        """Have the guard stop the device now; None where it cannot be asked.

        A session whose patient lost consciousness stands behind the id, so that the guard's file keeps it (HZ-16).

        Returns the outcome to come: None where the guard is lost first.
        """
        if self._transport is None:
            return None
        outcome = self._stops[stop_id] = asyncio.get_running_loop().create_future()
        self._say(stop=stop_id if lost is None else f"{stop_id}{_LOST}{lost}")
        return outcome

    def give_up_stop(self, stop_id: str) -> None:
        """Wait no longer for the outcome of a stop."""
        self._stops.pop(stop_id, None)

    async def release(self) -> None:
        """Let frames that can fire pass again: a person has armed the device in a room that is not latched.

        Names the latest hold that this process knows; a newer one stands. Waits a moment where a disarm is still to be
        confirmed, as when the guard has just opened the port.

        Raises:
            NotReady: the guard does not answer, or does not release; nothing passes.
        """
        held = self._held
        give_up_at_s = time.monotonic() + RELEASE_TIMEOUT_S
        while True:
            if not self.up or self.stopping:
                raise NotReady(self.problem if not self.up else "The guard's stop is not recorded yet. Wait a moment.")
            if self._held is None:
                return
            why_not = await self._ask_release(held)
            if why_not is None:
                return
            if held != self._held or time.monotonic() > give_up_at_s:
                raise NotReady(f"The room's guard holds the device: {why_not}. Look at the device, then arm again.")
            await asyncio.sleep(RELEASE_STEP_S)

    async def _ask_release(self, held: int | None) -> str | None:
        if held is None:
            return "there is a newer hold"
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._releases[held] = answer
        self._say(release=held)
        await asyncio.wait({answer}, timeout=RELEASE_TIMEOUT_S)
        self._releases.pop(held, None)
        return answer.result() if answer.done() else f"it did not answer within {RELEASE_TIMEOUT_S:g} s"

    # --- the connection

    async def _keep_connected(self, listener: Listener) -> None:
        while True:
            was_up = False
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    file_id, number = await self._recorded_to()
                    await self._connect(file_id, number)
                await self._beat()
            except (OSError, TimeoutError, LinkLost) as error:
                was_up = self.up
                self._lose(str(error) or f"not within {CONNECT_TIMEOUT_S:g} s")
            except Exception:  # noqa: BLE001 - the journal fails in many ways, and a room needs its guard
                _log.warning("guard.not-reached", room=self._room_id, exc_info=True)
                was_up = self.up
                self._lose("the journal could not be read")
            finally:
                self._hang_up()
            if was_up:
                listener.guard_lost(self.problem)
            await asyncio.sleep(PAUSE_S)

    async def _connect(self, file_id: str, number: int) -> None:
        self._file_id = ""
        loop = asyncio.get_running_loop()
        with short_path(self._control) as name:
            transport, _ = await loop.create_unix_connection(lambda: _Lines(self._heard, self._hang_up), name)
        self._transport = transport
        self._unanswered = 0
        self._say(hello={"file": file_id, "after": number})

    async def _beat(self) -> None:
        """Beat until the guard is silent or gone.

        Raises:
            LinkLost: it is.
        """
        while self._transport is not None:
            if self._unanswered >= UNANSWERED_BEATS:
                raise LinkLost(f"it was silent for {UNANSWERED_BEATS * BEAT_S:g} s")
            self._unanswered += 1
            self._say(beat=1)
            await asyncio.sleep(BEAT_S)
        raise LinkLost("it closed the connection")

    def _lose(self, why: str) -> None:
        self.up = False
        self._held = 0
        self.problem = f"The room's guard does not answer ({why}). Look whether its process runs."
        for stop in self._stops.values():
            if not stop.done():
                stop.set_result(None)
        for release in self._releases.values():
            if not release.done():
                release.set_result("it does not answer")
        self._stops.clear()
        self._releases.clear()

    def _hang_up(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _say(self, **what: object) -> None:
        if self._transport is not None:
            self._transport.write(json.dumps(what).encode() + b"\n")

    # --- what the guard says

    def _heard(self, line: bytes) -> None:
        self._unanswered = 0
        with contextlib.suppress(ValueError, KeyError, TypeError):
            self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        if "welcome" in said:
            self._welcomed(said)
        elif "record" in said:
            if self._file_id:  # else nobody knows yet of which file it is a line: the welcome tells it again
                self._outcome_known(Told.of_line(self._file_id, said["record"]))
        elif "released" in said:
            self._released(said["released"], said["why_not"])
        elif "held" in said:
            self._held = max(self._held or 0, said["held"])
            if "reason" in said:
                self._stop_begun(Told.begun(self._file_id, said))

    def _outcome_known(self, told: Told) -> None:
        self._begun.pop(told.of, None)
        if told.grave:
            self.stopping.add(told.of)
        self._to_record.put_nowait(told)
        outcome = self._stops.pop(told.stop_id, None)
        if outcome is not None and not outcome.done():
            outcome.set_result(told.outcome)

    def _stop_begun(self, told: Told) -> None:
        self._begun[told.of] = told
        if told.grave:
            self.stopping.add(told.of)
        if self._listener is not None:
            self._listener.guard_stopped()

    def _welcomed(self, said: dict[str, Any]) -> None:
        for number in sorted(self._begun.keys() - set(said["to_come"])):  # the guard died before it was written down
            lost = self._begun.pop(number)
            self._to_record.put_nowait(lost._replace(file_id=lost.file_id or said["file"]))
        self._to_come = set(said["to_come"])
        self._file_id, self._held = said["file"], said["held"]
        if said["device"] != self._device:
            self.up = False
            self.problem = (
                f"The room's guard holds {said['device']}, and the room's device is at {self._device}. Give both the "
                "same SPOEL_ROOMS, and start them again."
            )
            _log.error("guard.holds-another-device", room=self._room_id, detail=self.problem)
            return
        self.up, self.problem = True, ""
        _log.info("guard.up", room=self._room_id)

    def _released(self, number: int, why_not: str | None) -> None:
        if why_not is None and number == self._held:
            self._held = None
        answer = self._releases.get(number)
        if answer is not None and not answer.done():
            answer.set_result(why_not)

    async def _record(self, listener: Listener) -> None:
        while True:
            told = await self._to_record.get()
            await self._have_recorded(listener, told)
            self.stopping.discard(told.of)
            self._to_come.discard(told.of)

    async def _have_recorded(self, listener: Listener, told: Told) -> None:
        """Try until it is recorded: behind a later line that is, the guard would not tell this one again.

        Meanwhile the room stays stopped. Tried less and less often, down to every ``LONGEST_PAUSE_S``.
        """
        pause_s = PAUSE_S
        while True:
            try:
                return await listener.guard_told(told)
            except Exception:  # noqa: BLE001 - whatever it is, the room stays stopped until this is recorded
                _log.exception("guard.not-recorded", room=self._room_id, number=told.number)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class _Lines(asyncio.Protocol):
    """Cuts what arrives into lines, each handed on before the loop does anything else."""

    def __init__(self, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._begun = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._heard(line)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost()
