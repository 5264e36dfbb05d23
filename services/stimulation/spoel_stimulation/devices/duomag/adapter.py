"""The DuoMAG as a ``Stimulator``: single pulses, each sent by the host at its time, at most one a second.

What words mean here, since the line has little to say:

- *armed* is the staged intensity, *disarmed* intensity 0, sent until the records say so. The unit's own wheel and
  buttons stay as they are: a disarmed unit can be turned up again, which is noticed and answered like any change.
- a *pulse* is seen when the unit says that it is not charged any more though nobody changed the intensity. It has no
  counter. A pulse that was sent and not seen is *unknown*; one that the unit counts as omitted was not given.
- the records do not tell temperatures in degrees, model or serial number.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

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
    FIRE,
    NO_DELAY,
    SIMULATOR_MARK,
    Status,
    set_intensity,
)
from spoel_stimulation.devices.duomag.reading import (
    NOT_TOLD,
    Expected,
    check_interlocks,
    coil_name,
    point_of,
    settings_of,
    without_intensity,
)
from spoel_stimulation.devices.duomag.talk import Talk
from spoel_stimulation.devices.pacing import paced
from spoel_stimulation.devices.transport import is_loopback
from spoel_stimulation.devices.turns import Turns
from spoel_stimulation.devices.use import check_use
from spoel_stimulation.devices.watch import NoCounter, Watch

ANSWER_TIMEOUT_S = 1.0
CHARGE_TIMEOUT_S = 3.0
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
        self._talk: Talk | None = None
        self._identity: DeviceIdentity | None = None
        self._stimulus_s: float | None = None
        self._turns: Turns[Expected] = Turns(self.disarm, self._notice)
        self._awaiting_pulse = False
        self._own_pulses = 0
        self._watch = Watch(self.disarm, NoCounter(sum), self.unasked)
        self._listening: asyncio.Task[None] | None = None

    @property
    def identity(self) -> DeviceIdentity | None:
        """Who answered at the last ``connect``."""
        return self._identity

    @property
    def status(self) -> DeviceStatus | None:
        """The last status believed."""
        talk = self._talk
        if talk is None or talk.status is None:
            return None
        told = talk.status
        return DeviceStatus(
            enabled=self._turns.armed or told.percent > 0,
            percent_mso=told.percent,
            coil_temperature_c=None,
            coil_model=coil_name(told),
            page="",
            received_monotonic_s=talk.told_at_s,
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
        talk = self._talk = Talk(self.address, self)
        try:
            await talk.link.open()
            if not await self.disarm():
                raise LinkLost(f"The device at {self.address} says nothing, or does not go to 0 %. Check it.")
            self._identity = self._identify(talk.believed)
            check_use(
                self._identity, speed=self._clock.speed, loopback=is_loopback(self.address), clinical=self._clinical
            )
        except DeviceError:
            await self._drop()
            raise
        self._watch.active = True
        self._listening = asyncio.create_task(self._listen(talk), name=f"duomag listen {self.address}")
        return self._identity

    async def close(self) -> None:
        """Disarm if the link is alive, and close it. Never raises."""
        await self.disarm()
        await self._drop()

    async def _drop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        await self._watch.stop()
        talk, self._talk = self._talk, None
        self._turns.void()
        if talk is not None:
            await talk.close()

    def _identify(self, told: Status) -> DeviceIdentity:
        mark, number = told.mark
        simulated = mark == SIMULATOR_MARK and is_loopback(self.address)
        return DeviceIdentity(
            model=self.capability.record.name,
            serial=f"SIM-{number}" if simulated else NOT_TOLD,
            coil_model=coil_name(told),
            simulated=simulated,
        )

    async def _listen(self, talk: Talk) -> None:
        """Notice when nothing believable is said any more; a host that was busy itself listens once more first."""

        async def told_again() -> bool:
            return await talk.until(lambda _told: True, SILENT_S, after_s=talk.told_at_s + SILENT_S / 4)

        while await told_again() or await told_again():
            pass
        self._notice(Unasked(kind="link-lost", detail=f"nothing that could be believed was said for {SILENT_S} s"))

    # --- what the link tells ----------------------------------------------------------------------------------------

    def told(self, before: Status | None, now: Status) -> None:
        """Take a status: see pulses, and notice what nobody asked for."""
        if before is not None and before.charged and not now.charged and before.percent == now.percent:
            self._see_pulse()
        expected = self._turns.expected
        for difference in () if expected is None else expected.differences(now):
            self._notice(Unasked(kind="change", detail=difference))

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        self._notice(Unasked(kind="link-lost", detail=error.detail))

    def _see_pulse(self) -> None:
        self._stimulus_s = time.monotonic()
        if self._awaiting_pulse:
            self._awaiting_pulse = False
            self._own_pulses += 1
        else:
            self._notice(Unasked(kind="pulse", detail="a pulse that the host did not send", pulses=1))

    def _notice(self, strange: Unasked) -> None:
        """Void what was staged at once; the watch has the device disarmed and the room told."""
        self._turns.void()
        self._watch.notice(strange)

    # --- the life of a train ----------------------------------------------------------------------------------------

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Set intensity 0, which is disarmed, write the delays, and read all back (INV-2).

        The intensity itself is what arms: it is written, and read back, by ``arm``. So it is not told here.
        """
        talk = self._connected()
        self.capability.check(settings)
        with self._turns.one() as turn:
            turn.begin_anew()
            if not await talk.to_zero():
                raise RefusedByDevice("The device does not go to intensity 0. Look at it.")
            await talk.link.send(NO_DELAY.recharge() + NO_DELAY.ttl_out())
            point = point_of(0)
            taken = await talk.until(lambda told: settings_of(told) == point, ANSWER_TIMEOUT_S)
            read_back = settings_of(talk.believed)
            if not taken:
                raise SettingNotTaken(f"reads back {read_back} instead of {point}. Look at the device.")
            turn.stage(settings, Expected(0, talk.believed.coil_type))
        return ReadBack(set_point=without_intensity(point), read_back=without_intensity(read_back))

    async def arm(self) -> None:
        """Set the staged intensity; returns when it reads back, with the delays, and the unit is charged."""
        talk, (staged, expected) = self._connected(), self._turns.staged()
        check_interlocks(talk.believed)
        point = point_of(staged.percent_mso)
        with self._turns.one() as turn:
            turn.expect(replace(expected, percent_mso=None))
            async with turn.or_disarmed():
                await talk.link.send(set_intensity(staged.percent_mso), turn.stands)
                ready = await talk.until(lambda told: settings_of(told) == point and told.charged, ANSWER_TIMEOUT_S)
                if not ready or not turn.stands():
                    check_interlocks(talk.believed)
                    raise RefusedByDevice("It does not take the intensity, or was changed meanwhile. Look at it.")
                turn.arm(replace(expected, percent_mso=staged.percent_mso))

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Set another intensity: at once where armed, else with the next arming."""
        talk = self._connected()
        self.capability.check_percent_mso(percent_mso)
        staged, expected = self._turns.staged()
        if not self._turns.armed:
            return await self.stage(staged.at(percent_mso))
        with self._turns.one() as turn:
            turn.begin_anew()
            async with turn.or_disarmed():
                await talk.link.send(set_intensity(percent_mso), turn.stands)
                if not await talk.until(lambda told: told.percent == percent_mso and told.charged, ANSWER_TIMEOUT_S):
                    raise SettingNotTaken(f"the intensity does not read back as {percent_mso} %; disarmed.")
                turn.stage(staged.at(percent_mso), replace(expected, percent_mso=percent_mso), armed=True)
        return ReadBack(set_point=point_of(percent_mso), read_back=settings_of(talk.believed))

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Send each pulse when it is due, and see each given before the next. Never sends one again."""
        talk = self._connected()
        self._turns.armed_with(settings)
        seen_before, omitted_before = self._own_pulses, talk.believed.omitted
        if time.monotonic() - talk.told_at_s > SILENT_S:
            raise NotReady("The device's status is too old.")
        first_ns: int | None = None
        problem, unseen = "", True
        with self._turns.one() as turn:
            if not await talk.until(lambda told: told.charged, CHARGE_TIMEOUT_S):
                raise NotReady("The device is not charged.")
            try:
                async for _ in paced(self._clock, settings):
                    problem = await self._fire(talk, turn.stands)
                    if problem:
                        break
                    first_ns = first_ns or self._clock.utc_ns()
            finally:
                unseen, self._awaiting_pulse = self._awaiting_pulse, False
        pulses = self._own_pulses - seen_before
        known = not unseen or _omitted_since(talk, omitted_before)
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

    async def _fire(self, talk: Talk, allowed: Callable[[], bool]) -> str:
        """Send one pulse, see it given, and wait until the unit is charged again; return what went wrong."""
        omitted, seen = talk.believed.omitted, self._own_pulses
        try:
            await talk.link.send(FIRE, lambda: allowed() and self._await_pulse())
        except (NotReady, LinkLost) as error:
            return error.detail
        await talk.until(lambda _told: self._own_pulses > seen or _omitted_since(talk, omitted), ANSWER_TIMEOUT_S)
        if self._own_pulses == seen:
            omission = "the device omitted the pulse"
            unseen = f"no pulse was seen within {ANSWER_TIMEOUT_S} s after it was sent"
            return omission if _omitted_since(talk, omitted) else unseen
        charged = await talk.until(lambda told: told.charged, CHARGE_TIMEOUT_S)
        return "" if charged else "the device was not charged again in time"

    def _await_pulse(self) -> bool:
        self._awaiting_pulse = True
        return True

    async def disarm(self) -> bool:
        """Set intensity 0, again and again until it reads back or 2 s have passed. Never raises.

        What was staged is void from the call on, so that nothing under way can arm or fire any more.
        """
        self._turns.void()
        return self._talk is not None and await self._talk.to_zero()

    # --- questions --------------------------------------------------------------------------------------------------

    async def counters(self) -> Counters | None:
        """Return None: it has no counter."""
        self._connected()
        return None

    async def refresh_status(self) -> DeviceStatus:
        """Wait for a status younger than this call."""
        talk = self._connected()
        if not await talk.until(lambda _told: True, ANSWER_TIMEOUT_S, after_s=time.monotonic()):
            raise LinkLost("The device says nothing that can be believed. Check cable and power.")
        status = self.status
        if status is None:
            raise LinkLost("The device has not told its status.")
        return status

    # --- inside -----------------------------------------------------------------------------------------------------

    def _connected(self) -> Talk:
        if self._talk is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._talk


def _omitted_since(talk: Talk, before: int) -> bool:
    """Tell whether the device counts exactly one more omitted pulse; one that was reset counts anew."""
    return talk.believed.omitted == before + 1
