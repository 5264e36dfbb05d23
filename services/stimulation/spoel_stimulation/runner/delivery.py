"""The device side of a room: staging, arming, one train at a time, and the bar that keeps the next one back.

Whoever wants no further pulse raises the *bar* first, which takes no time, and disarms then. A bar stays until the
device is staged and armed anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import structlog

from spoel_common.clock import NS_PER_S, Clock, utc_now
from spoel_stimulation.commands import RecordTrain, RecordTrainUnknown
from spoel_stimulation.devices.adapter import (
    DeviceError,
    NotReady,
    ReadBack,
    Realised,
    Stimulator,
    TrainResult,
    TrainSettings,
)
from spoel_stimulation.domain.state import SessionState, Train
from spoel_stimulation.events.words import LatchReason
from spoel_stimulation.runner.journal import Journal

_log = structlog.get_logger(__name__)


class RoomFault(Exception):
    """Something at the device that latches the room.

    Args:
        reason: of the latch.
        kind: of the fault, for the record.
        detail: what happened, for a person.
    """

    def __init__(self, reason: LatchReason, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.reason: LatchReason = reason
        self.kind = kind
        self.detail = detail


class UnaccountedPulses(Exception):
    """The device counted pulses that no train accounts for.

    Args:
        pulses: how many.
        total_pulses: the counter; None on a device without one.
    """

    def __init__(self, pulses: int, total_pulses: int | None) -> None:
        super().__init__(f"{pulses} pulses that no train accounts for")
        self.pulses = pulses
        self.total_pulses = total_pulses


class Accounted(NamedTuple):
    """Up to where a device's pulses are accounted for; its total is None on a device without a counter."""

    serial: str
    total_pulses: int | None


class Delivery:
    """One device at the hands of one room.

    Args:
        device: the adapter.
        journal: where trains are recorded.
        clock: clock time.
        release: has the room's guard let firing frames pass; raises ``NotReady`` where it does not.

    Attributes:
        busy: held by whoever talks to the device about trains; never needed to disarm.
        accounted: up to where its pulses are accounted for.
        counted: its counter when it was last asked for a decision; None if that failed, it has none, or a train came
            since.
        armed_coil: the coil that was there when the device was armed last.
        stopped_by_guard: the room's guard has disarmed it since.
    """

    def __init__(
        self, device: Stimulator, journal: Journal, clock: Clock, release: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.device = device
        self._release = release
        self.busy = asyncio.Lock()
        self.accounted = Accounted("", 0)
        self.counted: int | None = None
        self.armed_coil: str | None = None
        self.stopped_by_guard = False
        self._journal = journal
        self._clock = clock
        self._bars = 0
        self._armed_at: int | None = None
        self._percent_mso = 0
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def barred(self) -> bool:
        """No train may leave the host until the device is armed anew."""
        return self._armed_at != self._bars

    @property
    def bars(self) -> int:
        """How often a bar was raised: to see later whether one was raised since."""
        return self._bars

    def bar(self) -> None:
        """Let no further train leave the host; takes no time and cannot fail."""
        self._bars += 1

    async def stop(self) -> bool:
        """Let no train leave and disarm; True if the device reads back as disabled."""
        self.bar()
        return await self.device.disarm()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Keep ``idle`` waiting, from a train's authorisation to the record of its end."""
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def idle(self, timeout_s: float | None = None) -> bool:
        """Wait until no train is being authorised, under way or being recorded; False if it lasts longer (wall)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stage_and_arm(self, settings: TrainSettings, bars: int) -> ReadBack:
        """Write and read back every setting, then enable the device (INV-2, HZ-07).

        Args:
            settings: of one train.
            bars: as they were when arming was asked for; whoever raised one since wants no pulse (INV-8).

        Raises:
            DeviceError: it is not armed; whoever catches it disarms.
            NotReady: a bar was raised meanwhile.
        """
        self._refuse_if_barred_since(bars)
        read_back = await self.device.stage(settings)
        self._refuse_if_barred_since(bars)
        if self._release is not None:
            await self._release()
            self._refuse_if_barred_since(bars)
        await self.device.arm()
        self._refuse_if_barred_since(bars)
        status = self.device.status
        self.armed_coil = None if status is None else status.coil_model
        self.stopped_by_guard = False
        self._percent_mso = settings.percent_mso
        self._armed_at = bars
        return read_back

    def _refuse_if_barred_since(self, bars: int) -> None:
        if bars != self._bars:
            raise NotReady("The room was stopped while the device was to be armed. Look, then arm again.")

    async def count(self) -> None:
        """Ask the device's counter, if it has one, and see that every pulse is accounted for.

        Raises:
            UnaccountedPulses: more were counted.
            RoomFault: fewer were counted: nothing that it says of pulses can be compared with before.
            DeviceError: no answer.
        """
        self.counted = None
        counters = await self.device.counters()
        if counters is None:
            return
        total = counters.pulses
        beyond = total - (self.accounted.total_pulses or 0)
        if beyond < 0:
            before, self.accounted = self.accounted, self.accounted._replace(total_pulses=total)
            raise RoomFault(
                "device-fault", "counter-restarted", f"it counts {total} pulses after {before.total_pulses}"
            )
        if beyond > 0:
            raise UnaccountedPulses(beyond, total)
        self.counted = total

    async def set_percent_mso(self, percent_mso: int) -> None:
        """Write and read back another intensity, if it is another; nothing once the room was stopped (INV-8).

        Raises:
            DeviceError: the device did not take it.
        """
        if percent_mso != self._percent_mso and not self.barred:
            await self.device.change_percent_mso(percent_mso)
            self._percent_mso = percent_mso

    async def deliver(self, state: SessionState, train: Train, settings: TrainSettings) -> None:
        """Run one authorised train and record how it ended (INV-1, INV-9).

        A train whose end cannot be asked stays open: it is closed from the counter when the link is back.

        Raises:
            RoomFault: it did not end as it should, though nobody stopped it.
        """
        with self.under_way():
            self.counted = None
            result = await self._run(train, settings)
            await self._record(state, train, result)
        if result.outcome == "unknown":
            if result.still_to_be_asked:
                raise RoomFault("link-lost", "no-answer", result.reason)
            raise RoomFault("outcome-unknown", "outcome-unknown", result.reason)
        if result.outcome != "complete" and not self.barred:
            raise RoomFault("device-fault", "train-incomplete", result.reason or f"the train ended as {result.outcome}")

    async def discard(self, state: SessionState, train: Train) -> None:
        """Record that an authorised train never left the host."""
        await self._record(state, train, Ended.not_sent(train, "it was never sent"))

    async def _run(self, train: Train, settings: TrainSettings) -> "Ended":
        """Send the one start command, unless barred."""
        if self.barred:
            return Ended.not_sent(train, "the room was stopped before the train was sent")
        try:
            return Ended.of(await self.device.run_train(settings), train)
        except DeviceError as error:  # raised before the start command only, by the adapter's contract
            _log.warning("train.not-sent", train=train.train_id, problem=error.slug)
            return Ended.not_sent(train, error.detail)

    async def _record(self, state: SessionState, train: Train, ended: "Ended") -> None:
        command = ended.command(train, utc_now(self._clock))
        if command is None:
            return
        self.accounted = self.accounted._replace(total_pulses=self._accounted_after(train, command, ended))
        await self._journal.persist(lambda: self._journal.record_train(state, command, self.accounted))

    def _accounted_after(self, train: Train, command: RecordTrain | RecordTrainUnknown, ended: "Ended") -> int | None:
        before, known = train.device_total_pulses_before, self.accounted.total_pulses
        if before is None or known is None:
            return None
        if isinstance(command, RecordTrain):
            return max(known, before + command.pulses)
        return ended.counters_after or known


class Ended(NamedTuple):
    """How a train ended, as far as the adapter can say.

    Attributes:
        pulses: of the train, at most those authorised; None where unknown.
        has_counter: the device counts its pulses.
        counters_after: the device's pulse counter afterwards; None where it was not asked or gave no answer.
    """

    outcome: str
    pulses: int | None
    has_counter: bool
    counters_after: int | None
    evidence: str | None
    reason: str
    first_onset_utc_ns: int | None = None
    ended_utc_ns: int | None = None
    realised: Realised | None = None

    @classmethod
    def not_sent(cls, train: Train, reason: str) -> "Ended":
        """Return the end of a train of which no byte left the host."""
        has_counter = train.device_total_pulses_before is not None
        return cls("none", 0, has_counter, None, "counter" if has_counter else "status", reason)

    @classmethod
    def of(cls, result: TrainResult, train: Train) -> "Ended":
        """Return what the adapter says; pulses beyond the train's are left to be found as unaccounted."""
        return cls(
            outcome=result.outcome,
            pulses=None if result.pulses is None else min(result.pulses, train.pulses),
            has_counter=result.counters_before is not None,
            counters_after=None if result.counters_after is None else result.counters_after.pulses,
            evidence=result.evidence,
            reason=result.reason or "the device gave no reason",
            first_onset_utc_ns=result.first_onset_utc_ns,
            ended_utc_ns=result.ended_utc_ns,
            realised=result.realised,
        )

    @property
    def still_to_be_asked(self) -> bool:
        """The device has a counter that can tell how the train ended, and has not told it yet."""
        return self.has_counter and self.counters_after is None

    def command(self, train: Train, now: datetime) -> RecordTrain | RecordTrainUnknown | None:
        """Return what is to be recorded; None where the counter is still to be asked."""
        if self.outcome == "unknown":
            return None if self.still_to_be_asked else RecordTrainUnknown(reason="evidence-incomplete")
        after, before = self.counters_after, train.device_total_pulses_before
        if after is None and before is not None:
            after = before + (self.pulses or 0)
        return RecordTrain.model_validate(
            {
                "outcome": self.outcome,
                "pulses": self.pulses,
                "device_total_pulses_after": after,
                "evidence": self.evidence,
                "first_onset_at": moment_of(self.first_onset_utc_ns),
                "ended_at": moment_of(self.ended_utc_ns) or now,
                "realised": None if self.realised is None else self.realised.model_dump(),
            }
        )


def moment_of(utc_ns: int | None) -> datetime | None:
    """Return nanoseconds since 1970 UTC as a moment, to the microsecond."""
    if utc_ns is None:
        return None
    seconds, rest = divmod(utc_ns, NS_PER_S)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)
