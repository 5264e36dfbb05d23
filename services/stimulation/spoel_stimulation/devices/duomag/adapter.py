"""The DuoMAG as a ``Stimulator``: single pulses, each sent by the host at its time, at most one a second.

What words mean here, since the line has little to say:

- *armed* is an intensity above 0, *disarmed* intensity 0, sent until the records say so. The unit's own wheel and
  buttons stay as they are: a disarmed unit can be turned up again, which is noticed and answered like any change.
- a *pulse* is seen when the unit says that it is not charged any more though nobody changed the intensity. It has no
  counter. A pulse that was sent and not seen is *unknown*; one that the unit counts as omitted was not given.
- the records do not tell temperatures in degrees, model or serial number.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spoel_common.clock import Clock
from spoel_stimulation.devices.adapter import (
    Counters,
    DeviceError,
    DeviceIdentity,
    DeviceStatus,
    LinkLost,
    NotReady,
    ReadBack,
    RefusedByDevice,
    SettingNotTaken,
    TrainResult,
    TrainSettings,
    Unasked,
)
from spoel_stimulation.devices.duomag.capability import Capability, capability
from spoel_stimulation.devices.duomag.codec import (
    DISARM,
    FIRE,
    NO_DELAY,
    SIMULATOR_MARK,
    Believing,
    Status,
    StatusFrames,
    set_intensity,
)
from spoel_stimulation.devices.duomag.guarding import DuoMagGuarded
from spoel_stimulation.devices.duomag.reading import (
    NOT_TOLD,
    check_interlocks,
    coil_name,
    interlocks,
    point_of,
    settings_of,
)
from spoel_stimulation.devices.link import Link
from spoel_stimulation.devices.pacing import paced
from spoel_stimulation.devices.transport import is_loopback
from spoel_stimulation.devices.use import check_use

ANSWER_TIMEOUT_S = 1.0
CHARGE_TIMEOUT_S = 3.0
DISARM_TIMEOUT_S = 2.0
DISARM_AGAIN_S = 0.2
TAKES_S = 0.05
SILENT_S = 1.0


class DuoMagAdapter:
    """One DuoMAG behind one address. Waits are in wall time; intervals between pulses in clock time.

    Args:
        address: a serial port, a pseudo-terminal, or ``socket://host:port``.
        clock: clock time.
        clinical: a site where patients are treated: refuses simulators, and any speed but 1.
    """

    def __init__(self, address: str, clock: Clock, *, clinical: bool = False) -> None:
        self.address = address
        self.unasked: asyncio.Queue[Unasked] = asyncio.Queue()
        self._clock = clock
        self._clinical = clinical
        self._link: Link | None = None
        self._identity: DeviceIdentity | None = None
        self._believing = Believing()
        self._told: Status | None = None
        self._told_at_s = 0.0
        self._news = asyncio.Event()
        self._stimulus_s: float | None = None
        self._staged: TrainSettings | None = None
        self._armed = False
        self._voided = 0
        self._busy = False
        self._expected: int | None = None
        self._coil: int | None = None
        self._awaiting_pulse = False
        self._pulses_seen = 0
        self._noticed: list[Unasked] = []
        self._answering: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def identity(self) -> DeviceIdentity | None:
        """Who answered at the last ``connect``."""
        return self._identity

    @property
    def status(self) -> DeviceStatus | None:
        """The last status believed."""
        told = self._told
        if told is None:
            return None
        return DeviceStatus(
            enabled=told.percent > 0,
            percent_mso=told.percent,
            coil_temperature_c=None,
            coil_model=coil_name(told),
            page="",
            received_monotonic_s=self._told_at_s,
        )

    @property
    def last_stimulus_monotonic_s(self) -> float | None:
        """Wall ``time.monotonic()`` of the last pulse seen, ours or not."""
        return self._stimulus_s

    @property
    def capability(self) -> Capability:
        """What it may be asked for."""
        return capability()

    # --- connection -------------------------------------------------------------------------------------------------

    async def connect(self) -> DeviceIdentity:
        """Open the link, set intensity 0 and read it back, and begin to follow the status.

        Raises:
            LinkLost: nothing is said, or intensity 0 does not read back.
            NotAllowed: a device that may not be used with this clock or on this site.
        """
        await self._drop()
        self._told, self._believing = None, Believing()
        self._link = Link(self.address, DuoMagGuarded.line, StatusFrames(), self)
        await self._link.open()
        try:
            if not await self.disarm():
                raise LinkLost(f"The device at {self.address} says nothing, or does not go to 0 %. Check it.")
            self._identity = self._identify(self._believed())
            check_use(
                self._identity, speed=self._clock.speed, loopback=is_loopback(self.address), clinical=self._clinical
            )
        except DeviceError:
            await self._drop()
            raise
        self._watching = asyncio.create_task(self._watch(), name=f"duomag watch {self.address}")
        return self._identity

    async def close(self) -> None:
        """Disarm if the link is alive, and close it. Never raises."""
        await self.disarm()
        await self._drop()

    async def _drop(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if self._answering is not None:
            await asyncio.gather(self._answering, return_exceptions=True)
        link, self._link = self._link, None
        self._unstage()
        if link is not None:
            await link.close()

    def _identify(self, told: Status) -> DeviceIdentity:
        mark, number = told.mark
        simulated = mark == SIMULATOR_MARK and is_loopback(self.address)
        return DeviceIdentity(
            model=self.capability.record.name,
            serial=f"SIM-{number}" if simulated else NOT_TOLD,
            coil_model=coil_name(told),
            simulated=simulated,
        )

    async def _watch(self) -> None:
        """Notice once when nothing believable is said any more."""
        seen_s = self._told_at_s
        while await self._until(lambda _told: True, SILENT_S, after_s=seen_s):
            seen_s = self._told_at_s + SILENT_S / 4
        self._notice(Unasked(kind="link-lost", detail=f"nothing that could be believed was said for {SILENT_S} s"))

    # --- what the link tells ----------------------------------------------------------------------------------------

    def heard(self, frame: bytes) -> None:
        """Take a record: keep it if it is believed, see pulses, and notice what nobody asked for."""
        told = self._believing.take(frame)
        if told is None:
            return
        before, self._told, self._told_at_s = self._told, told, time.monotonic()
        if before is not None and before.charged and not told.charged and before.percent == told.percent:
            self._see_pulse()
        if self._expected is not None:
            for difference in self._differences(told):
                self._notice(Unasked(kind="change", detail=difference))
        self._news.set()

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        self._news.set()
        self._notice(Unasked(kind="link-lost", detail=error.detail))

    def _see_pulse(self) -> None:
        self._stimulus_s = time.monotonic()
        self._pulses_seen += 1
        if self._awaiting_pulse:
            self._awaiting_pulse = False
        else:
            self._notice(Unasked(kind="pulse", detail="a pulse that the host did not send", pulses=1))

    def _differences(self, told: Status) -> list[str]:
        found = []
        if told.percent != self._expected:
            found.append(f"intensity {told.percent} % instead of {self._expected} %")
        if told.coil_type != self._coil:
            found.append(f"coil type {told.coil_type} instead of {self._coil}")
        return found + interlocks(told)

    def _notice(self, strange: Unasked) -> None:
        """Void what was staged at once; then disarm and tell the room."""
        if self._watching is None:
            return
        self._unstage()
        self._noticed.append(strange)
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer(), name="duomag unasked")

    async def _answer(self) -> None:
        disarmed = await self.disarm()
        noticed, self._noticed = self._noticed, []
        for kind in dict.fromkeys(item.kind for item in noticed):
            of_kind = [item for item in noticed if item.kind == kind]
            detail = "; ".join(dict.fromkeys(item.detail for item in of_kind))
            pulses = sum(item.pulses for item in of_kind)
            self.unasked.put_nowait(Unasked(kind=kind, detail=detail, pulses=pulses, disarmed=disarmed))

    # --- the life of a train ----------------------------------------------------------------------------------------

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Write delays and intensity, read them back, and go back to intensity 0, which is disarmed (INV-2)."""
        link = self._connected()
        self.capability.check(settings)
        with self._alone():
            voided = self._unstage()
            if not await self._to_zero():
                raise RefusedByDevice("The device does not go to intensity 0. Look at it.")
            await link.send(NO_DELAY.recharge() + NO_DELAY.ttl_out())
            await link.send(set_intensity(settings.percent_mso), lambda: self._voided == voided)
            point = point_of(settings.percent_mso)
            taken = await self._until(lambda told: settings_of(told) == point, ANSWER_TIMEOUT_S)
            read_back = settings_of(self._believed())
            if not await self._to_zero():
                raise RefusedByDevice("The device does not go to intensity 0. Look at it.")
            if not taken:
                raise SettingNotTaken(f"reads back {read_back} instead of {point}. Look at the device.")
            self._refuse_if_voided_since(voided)
            self._staged, self._expected, self._coil = settings, 0, self._believed().coil_type
        return ReadBack(set_point=point, read_back=read_back)

    async def arm(self) -> None:
        """Set the staged intensity; returns when it reads back and the unit is charged."""
        link, staged = self._connected(), self._staged
        if staged is None:
            raise NotReady("Nothing is staged, or it was voided by a disarm or a change at the device. Stage first.")
        check_interlocks(self._believed())
        with self._alone():
            self._expected = None
            await link.send(set_intensity(staged.percent_mso), lambda: self._staged is staged)
            ready = await self._until(lambda told: told.percent == staged.percent_mso and told.charged)
            if not ready or self._staged is not staged:
                await self.disarm()
                check_interlocks(self._believed())
                raise RefusedByDevice("The device does not take the intensity, or was changed meanwhile. Look at it.")
            self._expected, self._armed = staged.percent_mso, True

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Set another intensity: at once where armed, else with the next arming."""
        link, staged, armed = self._connected(), self._staged, self._armed
        self.capability.check_percent_mso(percent_mso)
        if staged is None:
            raise NotReady("Nothing is staged; the intensity is part of what is staged.")
        changed = staged.model_copy(update={"percent_mso": percent_mso})
        if not armed:
            return await self.stage(changed)
        with self._alone():
            voided = self._unstage()
            await link.send(set_intensity(percent_mso), lambda: self._voided == voided)
            if not await self._until(lambda told: told.percent == percent_mso and told.charged):
                await self.disarm()
                raise SettingNotTaken(f"the intensity does not read back as {percent_mso} %; disarmed.")
            self._refuse_if_voided_since(voided)
            self._staged, self._expected, self._armed = changed, percent_mso, True
        return ReadBack(set_point=point_of(percent_mso), read_back=settings_of(self._believed()))

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Send each pulse when it is due, and see each given before the next. Never sends one again."""
        link = self._connected()
        if not self._armed or self._staged != settings:
            raise NotReady("Not armed with these settings, or disarmed since. Stage and arm.")
        told = self._believed()
        if time.monotonic() - self._told_at_s > SILENT_S:
            raise NotReady("The device's status is too old.")
        voided, seen_before, omitted_before = self._voided, self._pulses_seen, told.omitted
        first_ns: int | None = None
        problem, unseen = "", True
        with self._alone():
            try:
                async for _ in paced(self._clock, settings):
                    problem = await self._fire(link, lambda: self._voided == voided)
                    if problem:
                        break
                    first_ns = first_ns or self._clock.utc_ns()
            finally:
                unseen, self._awaiting_pulse = self._awaiting_pulse, False
        pulses = self._pulses_seen - seen_before
        known = not unseen or self._believed().omitted != omitted_before
        if not known:
            await self.disarm()
        outcome = "complete" if pulses >= settings.pulses else "partial" if pulses else "none"
        return TrainResult.model_validate(
            {
                "outcome": outcome if known else "unknown",
                "pulses": pulses if known else None,
                "counters_before": None,
                "counters_after": None,
                "evidence": "status" if known else None,
                "reason": problem,
                "first_onset_utc_ns": first_ns,
                "ended_utc_ns": self._clock.utc_ns(),
            }
        )

    async def _fire(self, link: Link, allowed: Callable[[], bool]) -> str:
        """Send one pulse and wait until it was seen and the unit is charged again; return what went wrong."""
        omitted, seen = self._believed().omitted, self._pulses_seen
        if not await self._until(lambda told: told.charged, CHARGE_TIMEOUT_S):
            return "the device was not charged in time"
        try:
            await link.send(FIRE, lambda: allowed() and self._await_pulse())
        except (NotReady, LinkLost) as error:
            return error.detail
        await self._until(lambda told: self._pulses_seen > seen or told.omitted != omitted, ANSWER_TIMEOUT_S)
        if self._pulses_seen > seen:
            return ""
        if self._believed().omitted != omitted:
            return "the device omitted the pulse"
        return f"no pulse was seen within {ANSWER_TIMEOUT_S} s after it was sent"

    def _await_pulse(self) -> bool:
        self._awaiting_pulse = True
        return True

    async def disarm(self) -> bool:
        """Set intensity 0, again and again until it reads back or 2 s have passed. Never raises.

        What was staged is void from the call on, so that nothing under way can arm or fire any more.
        """
        self._unstage()
        return await self._to_zero()

    async def _to_zero(self) -> bool:
        """Set intensity 0 and read it back in what was said a while after it was sent."""
        give_up_at = time.monotonic() + DISARM_TIMEOUT_S
        while self._link is not None and time.monotonic() < give_up_at:
            try:
                await self._link.send(DISARM)
            except DeviceError:
                return False
            if await self._until(lambda told: told.percent == 0, DISARM_AGAIN_S, after_s=time.monotonic() + TAKES_S):
                return True
        return False

    # --- questions --------------------------------------------------------------------------------------------------

    async def counters(self) -> Counters | None:
        """Return None: it has no counter."""
        self._connected()
        return None

    async def refresh_status(self) -> DeviceStatus:
        """Wait for a status younger than this call."""
        self._connected()
        if not await self._until(lambda _told: True, ANSWER_TIMEOUT_S, after_s=time.monotonic()):
            raise LinkLost("The device says nothing that can be believed. Check cable and power.")
        status = self.status
        if status is None:
            raise LinkLost("The device has not told its status.")
        return status

    # --- inside -----------------------------------------------------------------------------------------------------

    def _unstage(self) -> int:
        self._staged, self._expected, self._armed = None, None, False
        self._voided += 1
        return self._voided

    def _refuse_if_voided_since(self, voided: int) -> None:
        if self._voided != voided:
            raise NotReady("The device was disarmed in the meantime. Stage again.")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one command of a train's life run at a time; only disarm and questions go beside it."""
        if self._busy:
            raise NotReady("Another command is under way, or a train is running; only disarm is possible.")
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _connected(self) -> Link:
        if self._link is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._link

    def _believed(self) -> Status:
        if self._told is None:
            raise NotReady("The device has not told its status.")
        return self._told

    async def _until(
        self, condition: Callable[[Status], bool], timeout_s: float = ANSWER_TIMEOUT_S, *, after_s: float = 0.0
    ) -> bool:
        """Return whether a status heard after wall ``after_s`` fulfils a condition within wall ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (self._told is not None and self._told_at_s > after_s and condition(self._told)):
                    if self._link is None or self._link.broken is not None:
                        return False
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True
