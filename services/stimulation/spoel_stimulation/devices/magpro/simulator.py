"""A MagPro without a coil: behaves on the wire as open clients describe the device, and gives no pulse to anybody.

It is made after the descriptions of the device, not after Spoel's adapter: it takes settings only on the page where
they belong, ignores a start that it should ignore, sends frames of its own accord, leaves writes of 09 and 0B
unanswered, shares control with its front panel, and goes on with a train when its host is gone. Like the device it
does not check that a train makes sense: it may be enabled and started at any time.

Pulses follow the clock that it is given, by absolute moments: one that is processed late was not given late.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spoel_common.clock import Clock
from spoel_stimulation.devices.magpro import commands as ask
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.capability import warming
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.simulator_state import OTHER_COIL, PAGES_OF_HOST, Settings, Train
from spoel_stimulation.devices.magpro.values import SIMULATOR_SERIALS_FROM, Mode, Model, Page, Wave, serial_text
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.heat import Heat
from spoel_stimulation.devices.simulation.log import SimulatorLog, last_total

NUMBERS = 0x1000000 - SIMULATOR_SERIALS_FROM
MAX_PERCENT = 100
DIDT_AT_FULL_OUTPUT = 160
TOO_HOT_BY_C = 2
PANEL_STEP_PERCENT = 7
NS_PER_MS = 1_000_000


class MagProSimulator:
    """The device itself, without its port (see ``simulation.ports``).

    Args:
        clock: whose time the pulses follow.
        model: which MagPro.
        number: its serial number is ``SIM-<number>``.
        log_path: its record; the pulse counter goes on from the last total in it.
        faults: its switchboard.
        settings: what it remembers from before.
        settle_s: wall seconds until a write of 06, 08, 09, 0A or 0B has taken effect.

    Raises:
        ValueError: a number too large for the serial number's three bytes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        model: Model = Model.X100_OPTION,
        number: int = 1,
        log_path: Path | None = None,
        faults: Faults | None = None,
        settings: Settings | None = None,
        settle_s: float = 0.02,
    ) -> None:
        self.settings = settings or Settings()
        self.model = model
        self.enabled = False
        self.total_pulses = last_total(log_path)
        self.stimuli = 0
        self.trains = 0
        self.speak: Callable[[bytes], None] = lambda _frame: None
        self.faults = faults or Faults()
        self.faults.changed = self._fault_changed
        self._heat = Heat(warming().ambient_c, warming().celsius_per_pulse_at_full_output, warming().time_constant_s)
        self._told_temperature_c = int(warming().ambient_c)
        self._last_onset_utc_ns: int | None = None
        self._disabling = False
        self._outgoing: list[bytes] = []
        self._clock = clock
        if not 0 <= number < NUMBERS:
            raise ValueError(f"number is {number}; a simulator has one from 0 to {NUMBERS - 1}")
        self._serial = SIMULATOR_SERIALS_FROM + number
        self._log = SimulatorLog(log_path)
        self._settle_s = settle_s
        self._train: Train | None = None
        self._runner: asyncio.Task[None] | None = None
        self._settling: set[asyncio.TimerHandle] = set()
        self._handlers: dict[type, Callable[[Any], None]] = {
            ask.AskStatus: self._ask_status,
            ask.SetAmplitude: self._set_amplitude,
            ask.SetEnabled: self._set_enabled,
            ask.FirePulse: self._fire_pulse,
            ask.FireTrain: self._fire_train,
            ask.AskLongStatus: self._ask_long_status,
            ask.SetTrain: self._set_train,
            ask.SetPage: self._set_page,
            ask.SetDelaysShort: self._set_delays,
            ask.AskWave: self._ask_wave,
            ask.SetWave: self._set_wave,
            ask.AskDelays: self._ask_delays,
            ask.SetDelays: self._set_delays,
            ask.AskTiming: self._ask_timing,
            ask.SetTiming: self._set_timing,
            ask.AskCounters: self._ask_counters,
        }
        self._chance = random.Random(number)  # noqa: S311  (which pairs send one frame, which two: no secret)

    @property
    def serial(self) -> str:
        """Serial number as text."""
        return serial_text(self._serial)

    @property
    def running(self) -> bool:
        """A train is under way."""
        return self._train is not None

    def close(self) -> None:
        """Switch off."""
        for handle in self._settling:
            handle.cancel()
        if self._runner is not None:
            self._runner.cancel()
        self._train = None
        self._log.close()

    # --- what the front panel does ----------------------------------------------------------------------------------

    def panel_set_amplitude(self, percent: int) -> None:
        """Turn the amplitude wheel."""
        self._at_panel(self._set_amplitude, ask.SetAmplitude(percent))

    def panel_set_page(self, page: Page) -> None:
        """Choose another page."""
        self.settings = replace(self.settings, page=page)
        self._at_panel(self._say, self._page_state())

    def panel_set_mode(self, *, mode: Mode | None = None, wave: Wave | None = None) -> None:
        """Choose another mode or waveform; the status byte of an amplitude frame tells of it."""
        settings = self.settings
        self.settings = replace(
            settings, mode=settings.mode if mode is None else mode, wave=settings.wave if wave is None else wave
        )
        self._at_panel(self._say, self._amplitude())

    def panel_set_coil(self, coil: int) -> None:
        """Plug in a coil of another type, 0 for none."""
        self.settings = replace(self.settings, coil=coil)
        self._at_panel(self._say, self._coil_state())

    def panel_enable(self, *, enabled: bool) -> None:
        """Press the enable or the disable key."""
        self._at_panel(self._set_enabled, ask.SetEnabled(enabled))

    def panel_fire(self) -> None:
        """Press the trigger key, or the button on the coil."""
        self._at_panel(self._fire_pulse, ask.FirePulse())

    def panel_start_train(self) -> None:
        """Press start on the Timing page."""
        self._at_panel(self._fire_train, ask.FireTrain())

    def _at_panel(self, act: Callable[[Any], None], what: object) -> None:
        self._give_due()
        act(what)
        self._release()

    def _fault_changed(self, fault: Fault, present: bool) -> None:  # noqa: FBT001  (a callback of the switchboard)
        """Do what a fault does the moment it begins, or ends."""
        if fault is Fault.RESET:
            self._reset()
        elif fault is Fault.PANEL_CHANGE:
            amplitude = self.settings.amplitude_a
            step = PANEL_STEP_PERCENT if amplitude + PANEL_STEP_PERCENT <= MAX_PERCENT else -PANEL_STEP_PERCENT
            self.panel_set_amplitude(amplitude + step)
        elif fault is Fault.PANEL_FIRE:
            if not self.enabled:
                self.panel_enable(enabled=True)
            self.panel_fire()
        elif fault in {Fault.OVERHEAT, Fault.COIL_UNPLUGGED, Fault.OTHER_COIL}:
            self._at_panel(self._disable_itself if present else self._say, self._coil_state())

    def _reset(self) -> None:
        """Start anew, as after a moment without power; the counter of pulses stays."""
        self._give_due()
        self._train = None
        self.enabled = self._disabling = False
        self.settings = Settings(coil=self.settings.coil)
        self.stimuli = self.trains = 0
        self._outgoing.clear()

    def _disable_itself(self, why: say.Report) -> None:
        self.enabled = False
        self._say(why)
        self._say(self._amplitude())
        self._end_train()

    # --- what the host asks -----------------------------------------------------------------------------------------

    def framer(self) -> FrameParser:
        """Return what cuts the host's bytes into bodies."""
        return FrameParser()

    def take(self, body: bytes) -> None:
        """Take one body from the host; what is not of the protocol is ignored."""
        self._log.frame(self._clock.utc_ns(), "in", encode_frame(body).hex())
        self._give_due()
        command = ask.decode_command(body)
        handler = self._handlers.get(type(command))
        if handler is not None:
            handler(command)
        self._release()

    def _ask_status(self, _command: ask.AskStatus) -> None:
        settings = self.settings
        self._say(
            say.ShortStatus(
                self._status(),
                self._serial,
                self._temperature_c(),
                self._coil(),
                settings.amplitude_a,
                settings.amplitude_b,
            )
        )

    def _ask_long_status(self, _command: ask.AskLongStatus) -> None:
        settings = self.settings
        a, b = settings.amplitude_a, settings.amplitude_b
        self._say(
            say.LongStatus(
                self._status(),
                self._serial,
                self._temperature_c(),
                self._coil(),
                a,
                b,
                original_a=a,
                original_b=b,
                factor_a=100,
                factor_b=100,
                page=settings.page,
                running=self.running,
            )
        )

    def _set_amplitude(self, command: ask.SetAmplitude) -> None:
        if command.a <= MAX_PERCENT:
            self.settings = replace(self.settings, amplitude_a=command.a)
        if command.b is not None and command.b <= MAX_PERCENT:
            self.settings = replace(self.settings, amplitude_b=command.b)
        self._say(self._amplitude())

    def _set_enabled(self, command: ask.SetEnabled) -> None:
        armed = command.enabled and not self.enabled and self._may_be_enabled()
        if armed:
            self.enabled = True
        elif not command.enabled and Fault.DISABLE_IGNORED not in self.faults:
            self._disabling = self.running and Fault.DISABLE_AFTER_TRAIN in self.faults
            self.enabled = self.enabled and self._disabling
        self._say(self._amplitude())
        self._say(self._coil_state())
        self._say(self._amplitude())
        if not self.enabled:
            self._end_train()
        if armed:
            self.faults.armed()

    def _may_be_enabled(self) -> bool:
        return Fault.REFUSE not in self.faults and bool(self._coil()) and self._temperature_c() < warming().cut_out_c

    def _fire_pulse(self, _command: ask.FirePulse) -> None:
        now_ns = self._clock.utc_ns()
        if self.enabled and not self.running and Fault.REFUSE not in self.faults and not self._charging(now_ns):
            self._stimulate(now_ns)

    def _fire_train(self, _command: ask.FireTrain) -> None:
        timing = self.settings.timing
        if not self.enabled or self.running or self.settings.page != Page.TIMING or timing.control != 0:
            return
        if Fault.REFUSE in self.faults:
            return
        self._train = Train(self._clock.monotonic_ns(), self._clock.utc_ns(), timing)
        self._say(self._page_state())
        self._runner = asyncio.create_task(self._run(self._train), name="magpro-simulator train")

    def _set_train(self, command: ask.SetTrain) -> None:
        timing = self.settings.timing
        self._set_timing(
            ask.SetTiming(
                control=timing.control,
                rate_tenth_hz=command.rate_tenth_hz,
                pulses=command.pulses,
                trains=command.trains,
                pause_tenth_s=command.pause_tenth_s,
                warning=timing.warning,
            )
        )

    def _set_page(self, command: ask.SetPage) -> None:
        if command.page in PAGES_OF_HOST and not self.running:
            self.settings = replace(self.settings, page=command.page)
        self._say(self._page_state())

    def _ask_wave(self, _command: ask.AskWave) -> None:
        self._say(self.settings.wave_report(self.model))

    def _set_wave(self, command: ask.SetWave) -> None:
        if not self.running:
            self._settle(lambda: self.settings.with_wave(command, self.model))

    def _set_delays(self, command: ask.SetDelays | ask.SetDelaysShort) -> None:
        delays = say.Delays(command.trigger_in, command.trigger_out, command.charge_ms)
        self._settle(lambda: replace(self.settings, delays=delays))

    def _set_timing(self, command: ask.SetTiming) -> None:
        """Take a write of the Timing page, where that page is shown."""
        if not self.running and self.settings.page == Page.TIMING:
            self._settle(lambda: self.settings.with_timing(command, self.model))

    def _ask_delays(self, _command: ask.AskDelays) -> None:
        self._say(self.settings.delays)

    def _ask_timing(self, _command: ask.AskTiming) -> None:
        self._say(self.settings.timing)

    def _ask_counters(self, _command: ask.AskCounters) -> None:
        self._say(
            say.CountersReport(
                self.trains & 0xFFFF, self.total_pulses & 0xFFFFFF, self.stimuli & 0xFFFF, self.settings.page
            )
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _status(self) -> say.StatusByte:
        return say.StatusByte(self.settings.mode, self.settings.wave, self.enabled, self.model)

    def _amplitude(self) -> say.Amplitude:
        return say.Amplitude(self.settings.amplitude_a, self.settings.amplitude_b, self._status())

    def _coil(self) -> int:
        if Fault.COIL_UNPLUGGED in self.faults:
            return 0
        return OTHER_COIL if Fault.OTHER_COIL in self.faults else self.settings.coil

    def _temperature_c(self) -> int:
        if Fault.OVERHEAT in self.faults:
            return warming().cut_out_c + TOO_HOT_BY_C
        return int(self._heat.at(self._clock.monotonic_ns()))

    def _coil_state(self) -> say.CoilState:
        return say.CoilState(self._temperature_c(), self._coil(), self._status())

    def _charging(self, onset_utc_ns: int) -> bool:
        """Tell whether the delay of charging (0A) after the last stimulus is not over."""
        if self._last_onset_utc_ns is None:
            return False
        return onset_utc_ns - self._last_onset_utc_ns < self.settings.delays.charge_ms * NS_PER_MS

    def _page_state(self) -> say.PageState:
        return say.PageState(self.settings.page, self.running, self._status())

    def _say(self, report: say.Report) -> None:
        frame = encode_frame(report.encode())
        self._log.frame(self._clock.utc_ns(), "out", frame.hex())
        self._outgoing.append(frame)

    def _release(self) -> None:
        """Write down what happened, then let the host hear of it: the record is never behind the wire."""
        self._log.flush()
        outgoing, self._outgoing = self._outgoing, []
        for frame in outgoing:
            self.speak(frame)

    def _settle(self, changed: Callable[[], Settings]) -> None:
        """Let a write take effect after a while, on what the settings are then."""

        def done() -> None:
            self._settling.discard(handle)
            self.settings = changed()

        handle = asyncio.get_running_loop().call_later(self._settle_s, done)
        self._settling.add(handle)

    def _stimulate(self, onset_utc_ns: int) -> None:
        """Give one stimulus: a pulse, a burst, or the pair of Twin and Dual (which sends one frame or two)."""
        settings = self.settings
        pair = settings.mode in {Mode.TWIN, Mode.DUAL}
        pulses = settings.burst_pulses if settings.wave is Wave.BIPHASIC_BURST else 1 + pair
        self.total_pulses += pulses
        self.stimuli += 1
        self._last_onset_utc_ns = onset_utc_ns
        didt = settings.amplitude_a * DIDT_AT_FULL_OUTPUT // MAX_PERCENT
        for _ in range(self._chance.choice((1, 2)) if pair else 1):
            frame = encode_frame(say.Stimulus(didt, 0, self._status()).encode())
            self._log.frame(onset_utc_ns, "out", frame.hex())
            self._outgoing.append(frame)
        self._log.pulses(onset_utc_ns, self.total_pulses)
        self._warm_up(pulses)

    def _warm_up(self, pulses: int) -> None:
        """Take the heat of pulses, tell of each degree more, and cut out when it is too much."""
        self._heat.pulses(pulses, self.settings.amplitude_a, self._clock.monotonic_ns())
        temperature_c = self._temperature_c()
        if temperature_c >= warming().cut_out_c:
            self._disable_itself(self._coil_state())
        elif temperature_c > self._told_temperature_c:
            self._told_temperature_c = temperature_c
            self._say(self._coil_state())

    def _give_due(self) -> None:
        """Give every stimulus of the running train whose moment has come."""
        train = self._train
        if train is None:
            return
        now_ns = self._clock.monotonic_ns()
        while self._train is train and train.given < train.stimuli:
            onset_ns = train.onset_ns(train.given)
            if onset_ns > now_ns:
                return
            onset_utc_ns = onset_ns - train.start_ns + train.start_utc_ns
            train.given += 1
            if not self._charging(onset_utc_ns):
                self._stimulate(onset_utc_ns)
            if train.given % train.timing.pulses == 0:
                self.trains += 1
        self._end_train()

    def _end_train(self) -> None:
        if self._train is None:
            return
        self._train = None
        if self._disabling:
            self.enabled = self._disabling = False
            self._say(self._amplitude())
        self._say(self._page_state())

    async def _run(self, train: Train) -> None:
        while self._train is train:
            await self._clock.sleep_until(train.onset_ns(train.given))
            self._give_due()
            self._release()
