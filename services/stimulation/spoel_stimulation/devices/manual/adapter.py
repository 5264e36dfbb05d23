"""A stimulator that is set by hand, as a ``Stimulator``: the operator says what it shows, the host sends triggers.

What words mean here, since nothing is read back by wire:

- *status* is what the operator confirmed, for as long as that word stands (``CONFIRMED_FOR_S``); then, and after every
  disarm, nothing is known, and there is none.
- *staged* is what the operator confirmed, compared with what was ordered.
- *disarmed*: no trigger leaves the host any more. The device's own keys stay as they are, so an emergency stop can only
  be called sent, never confirmed.
- the *outcome* of triggers is unknown, unless the operator reads the device's own counter before and after.
"""

import asyncio
import time

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.clock import Clock
from spoel_stimulation.devices.adapter import (
    Counters,
    CurrentDirection,
    DeviceError,
    DeviceIdentity,
    DeviceStatus,
    LinkLost,
    NotReady,
    NotSupported,
    ReadBack,
    Setting,
    SettingNotTaken,
    TrainResult,
    TrainSettings,
    Unasked,
    Waveform,
)
from spoel_stimulation.devices.link import Link
from spoel_stimulation.devices.manual.box import TRIGGER, Lines, TriggerBoxGuarded, greeted_by
from spoel_stimulation.devices.manual.capability import Capability, capability_of
from spoel_stimulation.devices.pacing import paced
from spoel_stimulation.devices.read_back import differences
from spoel_stimulation.devices.transport import is_loopback
from spoel_stimulation.devices.turns import Turns
from spoel_stimulation.devices.use import check_use

CONFIRMED_FOR_S = 300.0
READ_COUNTER_TIMEOUT_S = 60.0
GREETING_TIMEOUT_S = 2.0
NOT_TOLD = "not-told"


class Shown(BaseModel):
    """What a person reads from the device.

    Attributes:
        second_percent_mso: of the second pulse of a pair, where it has an intensity of its own.
        stimuli_per_trigger: pulses, or bursts, that one trigger starts: 1, or it may not be used.
        coil_model: of the coil that is plugged in.
        pulse_counter: by the device's own counter of pulses; None where it has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    percent_mso: int = Field(ge=0, le=100)
    second_percent_mso: int | None = Field(default=None, ge=0, le=100)
    waveform: Waveform
    current_direction: CurrentDirection = "normal"
    pulses_per_burst: int = Field(default=1, ge=1)
    pulse_interval_s: float | None = Field(default=None, gt=0)
    stimuli_per_trigger: int = Field(default=1, ge=1)
    coil_model: str = Field(min_length=1, max_length=40)
    pulse_counter: int | None = Field(default=None, ge=0)

    def settings(self) -> dict[str, Setting]:
        """Return what a train depends on, by name."""
        values = self.model_dump(exclude={"coil_model", "pulse_counter"}, exclude_none=True)
        return values | {"read_by": "operator"}


def ordered(settings: TrainSettings) -> dict[str, Setting]:
    """Return what the device must show for a train, under the names of ``Shown.settings``."""
    values = settings.model_dump(exclude={"rate_hz", "stimuli"}, exclude_none=True)
    return values | {"stimuli_per_trigger": 1, "read_by": "operator"}


class ManualAdapter:
    """One stimulator that is set by hand, behind one trigger box.

    Args:
        address: of the box: a serial port, a pseudo-terminal, or ``socket://host:port``.
        clock: clock time, in which triggers are timed.
        clinical: a site where patients are treated: refuses simulators, and any speed but 1.
        model: of the stimulator, as the site names it; ``serial`` likewise.
        trigger: the byte that the box takes.
    """

    def __init__(
        self,
        address: str,
        clock: Clock,
        *,
        clinical: bool = False,
        model: str = "set by hand",
        serial: str = NOT_TOLD,
        trigger: bytes = TRIGGER,
    ) -> None:
        self.address = address
        self.unasked: asyncio.Queue[Unasked] = asyncio.Queue()
        self.capability: Capability = capability_of(model)
        self._clock = clock
        self._clinical = clinical
        self._serial = serial
        self._trigger = trigger
        self._link: Link | None = None
        self._identity: DeviceIdentity | None = None
        self._greeting: asyncio.Future[str] | None = None
        self._shown: Shown | None = None
        self._shown_at_s = 0.0
        self._news = asyncio.Event()
        self._turns: Turns[dict[str, Setting]] = Turns(self.disarm, self._notice)
        self._stimulus_s: float | None = None

    @property
    def identity(self) -> DeviceIdentity | None:
        """What the site says that it is; whether the box is a simulated one is the box's word."""
        return self._identity

    @property
    def status(self) -> DeviceStatus | None:
        """What the operator confirmed, while that word stands; told as of now, for it is not a message that ages."""
        shown = self._standing()
        if shown is None:
            return None
        return DeviceStatus(
            enabled=self._turns.armed,
            percent_mso=shown.percent_mso,
            coil_temperature_c=None,
            coil_model=shown.coil_model,
            page="",
            received_monotonic_s=time.monotonic(),
        )

    @property
    def last_stimulus_monotonic_s(self) -> float | None:
        """Wall ``time.monotonic()`` of the last trigger that was sent."""
        return self._stimulus_s

    # --- connection -------------------------------------------------------------------------------------------------

    async def connect(self) -> DeviceIdentity:
        """Open the line to the box, and hear for a moment whether it says that it is a simulated one.

        Raises:
            LinkLost: no box is there.
            NotAllowed: a device that may not be used with this clock or on this site.
        """
        await self._drop()
        self._greeting = asyncio.get_running_loop().create_future()
        self._link = Link(self.address, TriggerBoxGuarded.line, Lines(), self)
        await self._link.open()
        simulated = is_loopback(self.address) and await self._greeted()
        self._identity = DeviceIdentity(
            model=self.capability.record.name,
            serial=self._greeting.result() if simulated else self._serial,
            coil_model=NOT_TOLD,
            simulated=simulated,
        )
        try:
            check_use(
                self._identity, speed=self._clock.speed, loopback=is_loopback(self.address), clinical=self._clinical
            )
        except DeviceError:
            await self._drop()
            raise
        return self._identity

    async def close(self) -> None:
        """Send no more triggers, and close the line. Never raises."""
        await self._drop()

    async def _greeted(self) -> bool:
        if self._greeting is not None:
            await asyncio.wait({self._greeting}, timeout=GREETING_TIMEOUT_S)
        return self._greeting is not None and self._greeting.done()

    async def _drop(self) -> None:
        link, self._link = self._link, None
        self._void()
        if link is not None:
            await link.close()

    def heard(self, frame: bytes) -> None:
        """Take what the box says: only a simulated one says who it is."""
        serial = greeted_by(frame)
        if serial is not None and self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(serial)

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        self._notice(Unasked(kind="link-lost", detail=error.detail))

    def _notice(self, strange: Unasked) -> None:
        self._void()
        self.unasked.put_nowait(strange)

    # --- what the operator says -------------------------------------------------------------------------------------

    def confirm(self, shown: Shown) -> None:
        """Take what a person reads from the device; while staged it must still be what was staged.

        Raises:
            NotReady: not connected.
            NotSupported: the device is set to run a train on each trigger.
        """
        self._connected()
        if shown.stimuli_per_trigger != 1:
            raise NotSupported(
                f"The device would give {shown.stimuli_per_trigger} pulses or bursts on each trigger. Set it to one."
            )
        before, self._shown, self._shown_at_s = self._shown, shown, time.monotonic()
        self._news.set()
        if self._turns.expected is None:
            return
        wrong = differences(self._turns.expected, shown.settings())
        if before is not None and shown.coil_model != before.coil_model:
            wrong.append(f"coil {shown.coil_model} instead of {before.coil_model}")
        if wrong:
            self._notice(Unasked(kind="change", detail="; ".join(wrong), disarmed=True))

    # --- the life of a train ----------------------------------------------------------------------------------------

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Compare what the operator confirmed with what is ordered (INV-2); nothing can be written.

        Raises:
            NotSupported: beyond what one trigger a second can do.
            NotReady: the operator has confirmed nothing, or too long ago.
            SettingNotTaken: the device shows something else.
        """
        self._connected()
        self.capability.check(settings)
        with self._turns.one() as turn:
            turn.begin_anew()
            read_back = self._compare(settings)
            turn.stage(settings, read_back.set_point)
        return read_back

    async def arm(self) -> None:
        """Let triggers leave the host; the device itself is armed by hand."""
        self._connected()
        _, expected = self._turns.staged()
        if self._standing() is None:
            raise NotReady("The operator's word does not stand any more. Confirm, then stage.")
        with self._turns.one() as turn:
            turn.arm(expected)

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Take another intensity, which the operator has set and confirmed before."""
        self._connected()
        self.capability.check_percent_mso(percent_mso)
        (staged, _), armed = self._turns.staged(), self._turns.armed
        changed = staged.at(percent_mso)
        with self._turns.one() as turn:
            read_back = self._compare(changed)
            turn.stage(changed, read_back.set_point, armed=armed)
        return read_back

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Send each trigger when it is due, then wait for the operator's reading of the device's counter.

        Never sends a trigger again. The outcome is unknown unless the counter was read before, after whatever was sent
        earlier, and is read after.
        """
        link, shown = self._connected(), self._standing()
        self._turns.armed_with(settings)
        if shown is None:
            raise NotReady("The operator's word does not stand any more. Confirm, then stage.")
        if self._stimulus_s is not None and self._shown_at_s <= self._stimulus_s:
            shown = shown.model_copy(update={"pulse_counter": None})  # read before triggers that it does not count
        sent, problem = 0, ""
        first_ns: int | None = None
        with self._turns.one() as turn:
            try:
                async for _ in paced(self._clock, settings):
                    await link.send(self._trigger, turn.stands)
                    sent += 1
                    self._stimulus_s = time.monotonic()
                    first_ns = first_ns or self._clock.utc_ns()
            except DeviceError as error:
                problem = error.detail
            ended_ns = self._clock.utc_ns()
            lost = link.broken is not None
            after = await self._counter_after(shown) if sent or lost else shown.pulse_counter
        if not sent and not lost:
            return _result("none", 0, problem, None, ended_ns)
        if shown.pulse_counter is None or after is None or after < shown.pulse_counter:
            told = f"{sent} triggers were sent; the device's counter was not read before and after"
            return _result("unknown", None, "; ".join(filter(None, (problem, told))), first_ns, ended_ns)
        pulses = after - shown.pulse_counter
        if pulses > settings.pulses:
            detail = "the device's counter, as read by the operator, moved on by more than the train"
            self._notice(Unasked(kind="pulse", detail=detail, pulses=pulses - settings.pulses, disarmed=True))
        outcome = "complete" if pulses >= settings.pulses else "partial" if pulses else "none"
        return _result(outcome, pulses, problem, first_ns, ended_ns)

    async def _counter_after(self, before: Shown) -> int | None:
        """Wait for a reading of the counter later than the last trigger; None where it does not come in time."""
        if before.pulse_counter is None:
            return None
        last_s = self._stimulus_s or 0.0
        try:
            async with asyncio.timeout(READ_COUNTER_TIMEOUT_S):
                while self._shown is None or self._shown_at_s <= last_s or self._shown.pulse_counter is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return None
        return self._shown.pulse_counter

    async def disarm(self) -> bool:
        """Let no trigger leave the host any more; True while a line stands that triggers could leave by.

        Nothing is read back: what the operator had confirmed is void, and there is no status until the next word.
        """
        self._void()
        return self._link is not None and self._link.broken is None

    # --- questions --------------------------------------------------------------------------------------------------

    async def counters(self) -> Counters | None:
        """Return None: the host can ask no counter."""
        self._connected()
        return None

    async def refresh_status(self) -> DeviceStatus:
        """Return what the operator confirmed.

        Raises:
            NotReady: that word does not stand any more.
        """
        self._connected()
        status = self.status
        if status is None:
            raise NotReady("What the device shows was not confirmed, or too long ago. Read it, and confirm.")
        return status

    # --- inside -----------------------------------------------------------------------------------------------------

    def _standing(self) -> Shown | None:
        linked = self._link is not None and self._link.broken is None
        return self._shown if linked and time.monotonic() - self._shown_at_s < CONFIRMED_FOR_S else None

    def _compare(self, settings: TrainSettings) -> ReadBack:
        shown = self._standing()
        if shown is None:
            raise NotReady("Set the device by hand, then confirm what it shows: nothing stands from before.")
        point, read_back = ordered(settings), shown.settings()
        wrong = differences(point, read_back)
        if wrong:
            raise SettingNotTaken(f"{'; '.join(wrong)}. Set the device by hand, then confirm again.", wrong=wrong)
        return ReadBack(set_point=point, read_back=read_back)

    def _void(self) -> None:
        self._shown = None
        self._turns.void()

    def _connected(self) -> Link:
        if self._link is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._link


def _result(outcome: str, pulses: int | None, reason: str, first_ns: int | None, ended_ns: int) -> TrainResult:
    """Return an outcome that rests on the operator's word, or on no trigger having been sent."""
    return TrainResult.model_validate(
        {
            "outcome": outcome,
            "pulses": pulses,
            "counters_before": None,
            "counters_after": None,
            "evidence": None if pulses is None else "operator" if first_ns is not None else "status",
            "reason": reason,
            "first_onset_utc_ns": first_ns,
            "ended_utc_ns": ended_ns,
        }
    )
