"""A DuoMAG without a coil: takes single commands, streams its status all the time, and gives no pulse to anybody.

It is made after the description of the device, not after Spoel's adapter. It shows changes at once and tells the rest
every ``STREAM_S``; a real unit's stream is many times faster, which only makes more of the same.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from spoel_common.clock import Clock
from spoel_stimulation.devices.duomag.capability import assumed
from spoel_stimulation.devices.duomag.codec import (
    FIRE,
    MAX_PERCENT,
    SIMULATOR_MARK,
    SYNC,
    CommandFrames,
    Delay,
    Status,
    delay_of,
    is_delay,
)
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.heat import Heat
from spoel_stimulation.devices.simulation.log import SimulatorLog, last_total
from spoel_stimulation.devices.simulation.pace import Pace, pace_of

STREAM_S = 0.02
SAID_ON_CHANGE = 3
NUMBERS = 255
COIL, OTHER_COIL = 1, 2
PANEL_STEP_PERCENT = 7
_HOT_ADC = 20


class DuoMagSimulator:
    """The device itself, without its port (see ``simulation.ports``).

    Args:
        clock: whose time recharging and cooling follow.
        number: it says that it is simulator ``SIM-<number>``, in two bytes that no source describes.
        log_path: its record; the count of pulses goes on from the last total in it.
        faults: its switchboard. It runs no trains, so ``disable-after-train`` changes nothing.
        pace: how long it takes over a command; the device's own times, shortened by the clock's speed, if left out.

    Raises:
        ValueError: a number too large for a byte that is not FF.
    """

    speak: Callable[[bytes], None]

    def __init__(
        self,
        clock: Clock,
        *,
        number: int = 1,
        log_path: Path | None = None,
        faults: Faults | None = None,
        pace: Pace | None = None,
    ) -> None:
        if not 0 <= number < NUMBERS:
            raise ValueError(f"number is {number}; a DuoMAG simulator has one from 0 to {NUMBERS - 1}")
        self.speak = lambda _frame: None
        self.faults = faults or Faults()
        self.faults.begun = self._fault_begun
        self.faults.ended = lambda _fault: self._say_change()
        self.pace = pace or pace_of("duomag").at(clock.speed)
        self.percent = 0
        self.total_pulses = last_total(log_path)
        self.omitted = 0
        self.recharge = self.ttl_out = Delay(0, 0)
        self._turned = 0
        self._clock = clock
        self._number = number
        self._log = SimulatorLog(log_path)
        self._heat = Heat(assumed().ambient_adc, assumed().adc_per_pulse_at_full_output, assumed().time_constant_s)
        self._charged = True
        self._first_of_delay: int | None = None
        self._charging: asyncio.Task[None] | None = None
        self._streaming: asyncio.Task[None] | None = None

    @property
    def serial(self) -> str:
        """Serial number as text."""
        return f"SIM-{self._number}"

    def framer(self) -> CommandFrames:
        """Return what cuts the host's bytes into commands; from now on the status is streamed."""
        if self._streaming is None:
            self._streaming = asyncio.create_task(self._stream(), name="duomag-simulator stream")
        return CommandFrames()

    def close(self) -> None:
        """Switch off."""
        for task in (self._charging, self._streaming):
            if task is not None:
                task.cancel()
        self._log.close()

    def hear(self, frame: bytes) -> None:
        """Write down one command."""
        self._log.frame(self._clock.utc_ns(), "in", frame.hex())
        self._log.flush()

    def take(self, frame: bytes) -> None:
        """Obey one command; what is not of the protocol is ignored."""
        if frame == FIRE:
            self._fire()
        elif is_delay(frame[0]):
            self._take_delay(frame[0])
        elif frame[0] <= MAX_PERCENT:
            self._set_intensity(frame[0])

    # --- what the front panel does ----------------------------------------------------------------------------------

    def panel_set_intensity(self, percent: int) -> None:
        """Turn the wheel."""
        self._turned = max(-16, min(15, percent - self.percent))
        self.percent = percent
        self._say_change()
        self._turned = 0

    def panel_fire(self) -> None:
        """Press the trigger."""
        self._fire()

    # --- inside -----------------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """Return what it says of itself."""
        adc, hot = self._coil_adc(), Fault.OVERHEAT in self.faults
        unplugged = Fault.COIL_UNPLUGGED in self.faults
        return Status(
            turned=self._turned,
            percent=self.percent,
            coil_adc=adc,
            resistor_adc=int(assumed().ambient_adc),
            discharge_adc=int(assumed().ambient_adc),
            omitted=self.omitted,
            coil_disconnected=unplugged,
            fan=adc > assumed().cut_out_adc // 2,
            coil_overheat=hot or adc >= assumed().cut_out_adc,
            coil_data_ok=not unplugged,
            charged=self._charged,
            ttl_out=self.ttl_out,
            recharge=self.recharge,
            mark=(SIMULATOR_MARK, self._number),
            coil_type=0 if unplugged else OTHER_COIL if Fault.OTHER_COIL in self.faults else COIL,
        )

    def _coil_adc(self) -> int:
        if Fault.OVERHEAT in self.faults:
            return assumed().cut_out_adc + _HOT_ADC
        return int(self._heat.at(self._clock.monotonic_ns()))

    def _set_intensity(self, percent: int) -> None:
        if percent == 0 and Fault.DISABLE_IGNORED in self.faults:
            return
        if percent and Fault.REFUSE in self.faults:
            return
        armed = self.percent == 0 and percent > 0
        self.percent = percent
        self._say_change()
        if armed:
            self.faults.armed()

    def _take_delay(self, command: int) -> None:
        first, self._first_of_delay = self._first_of_delay, command
        if first is None:
            return
        pair = bytes((first, command))
        recharge, ttl_out = delay_of(pair, Delay.recharge), delay_of(pair, Delay.ttl_out)
        if recharge is not None:
            self.recharge = recharge
        if ttl_out is not None:
            self.ttl_out = ttl_out
        if recharge is not None or ttl_out is not None:
            self._first_of_delay = None
            self._say_change()

    def _fire(self) -> None:
        status = self.status()
        blocked = status.coil_overheat or status.coil_disconnected or Fault.REFUSE in self.faults
        if not self._charged or blocked or self.percent == 0:
            self.omitted = (self.omitted + 1) % SYNC
            self._say_change()
            return
        self.total_pulses += 1
        self._log.pulses(self._clock.utc_ns(), self.total_pulses)
        self._heat.pulses(1, self.percent, self._clock.monotonic_ns())
        self._charged = False
        self._charging = asyncio.create_task(self._charge(), name="duomag-simulator charge")
        self._say_change()

    async def _charge(self) -> None:
        charge_s = assumed().recharge_s + self.recharge.milliseconds / 1_000
        await self._clock.sleep_until(self._clock.monotonic_ns() + round(charge_s * 1e9))
        self._charged = True
        self._say_change()

    async def _stream(self) -> None:
        while True:
            self._say(log=False)
            await asyncio.sleep(STREAM_S)

    def _say_change(self) -> None:
        for _ in range(SAID_ON_CHANGE):
            self._say(log=True)

    def _say(self, *, log: bool) -> None:
        frame = self.status().encode()
        if log:
            self._log.frame(self._clock.utc_ns(), "out", frame.hex())
            self._log.flush()
        self.speak(frame)

    def _fault_begun(self, fault: Fault) -> None:
        """Do what a fault does the moment it begins, or happens."""
        if fault is Fault.RESET:
            self.percent = self.omitted = 0
            self.recharge = self.ttl_out = Delay(0, 0)
            self._charged = True
        elif fault is Fault.PANEL_CHANGE:
            step = PANEL_STEP_PERCENT if self.percent + PANEL_STEP_PERCENT <= MAX_PERCENT else -PANEL_STEP_PERCENT
            self.panel_set_intensity(self.percent + step)
        elif fault is Fault.PANEL_FIRE:
            if self.percent == 0:
                self.panel_set_intensity(PANEL_STEP_PERCENT)
            self.panel_fire()
        self._say_change()
