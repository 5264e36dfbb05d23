"""A MagPro without a coil: behaves on the wire as open clients describe the device, and gives no pulse to anybody.

It is made after the descriptions of the device, not after Spoel's adapter: it takes settings only on the page where
they belong, ignores a start that it should ignore, sends frames of its own accord, leaves writes of 09 and 0B
unanswered, shares control with its front panel, and goes on with a train when its host is gone. Like the device it
does not check that a train makes sense: it may be enabled and started at any time.

Pulses follow the clock that it is given, by absolute moments: one that is processed late was not given late.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spoel_common.clock import Clock
from spoel_stimulation.devices.magpro import commands as ask
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.simulator_coil import SimulatedCoil
from spoel_stimulation.devices.magpro.simulator_reports import Reports
from spoel_stimulation.devices.magpro.simulator_state import MAX_PERCENT, PAGES_OF_HOST, Counts, Settings, Train
from spoel_stimulation.devices.magpro.values import SIMULATOR_SERIALS_FROM, Mode, Model, Page, Wave, serial_text
from spoel_stimulation.devices.simulation.chance import chance
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.log import SimulatorLog, last_total
from spoel_stimulation.devices.simulation.pace import Pace, pace_of

NUMBERS = 0x1000000 - SIMULATOR_SERIALS_FROM
DIDT_AT_FULL_OUTPUT = 160
PANEL_STEP_PERCENT = 7
NS_PER_MS = 1_000_000
FAULTS_OF_COIL = frozenset({Fault.OVERHEAT, Fault.COIL_UNPLUGGED, Fault.OTHER_COIL})


class MagProSimulator:
    """The device itself, without its port (see ``simulation.ports``).

    Args:
        clock: whose time the pulses follow.
        model: which MagPro.
        number: its serial number is ``SIM-<number>``.
        log_path: its record; the pulse counter goes on from the last total in it.
        faults: its switchboard.
        settings: what it remembers from before.
        pace: how long it takes over what it is told, and over a write of 06, 08, 09, 0A or 0B; the device's own times,
            shortened by the clock's speed, if left out.

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
        pace: Pace | None = None,
    ) -> None:
        if not 0 <= number < NUMBERS:
            raise ValueError(f"number is {number}; a simulator has one from 0 to {NUMBERS - 1}")
        self.settings = settings or Settings()
        self.model = model
        self.enabled = False
        self.counts = Counts(pulses=last_total(log_path))
        self.speak: Callable[[bytes], None] = lambda _frame: None
        self.pace = pace or pace_of("magpro").at(clock.speed)
        self.faults = faults or Faults()
        self.faults.begun, self.faults.ended = self._fault_begun, self._fault_ended
        self.coil = SimulatedCoil(clock, self.faults)
        self._clock = clock
        self.serial_number = SIMULATOR_SERIALS_FROM + number
        self._tell = Reports(self)
        self._log = SimulatorLog(log_path)
        self._outgoing: list[bytes] = []
        self._last_onset_utc_ns: int | None = None
        self._disabling = False
        self._train: Train | None = None
        self._runner: asyncio.Task[None] | None = None
        self._settling: set[asyncio.TimerHandle] = set()
        self._chance = chance(number)
        tell = self._tell
        self._handlers: dict[type, Callable[[Any], None]] = {
            ask.AskStatus: lambda _command: self._say(tell.short_status()),
            ask.AskLongStatus: lambda _command: self._say(tell.long_status()),
            ask.AskWave: lambda _command: self._say(tell.wave()),
            ask.AskDelays: lambda _command: self._say(tell.delays()),
            ask.AskTiming: lambda _command: self._say(tell.timing()),
            ask.AskCounters: lambda _command: self._say(tell.counters()),
            ask.SetAmplitude: self._set_amplitude,
            ask.SetEnabled: self._set_enabled,
            ask.SetPage: self._set_page,
            ask.SetTrain: self._set_train,
            ask.SetTiming: self._set_timing,
            ask.SetWave: self._set_wave,
            ask.SetDelays: self._set_delays,
            ask.SetDelaysShort: self._set_delays,
            ask.FirePulse: self._fire_pulse,
            ask.FireTrain: self._fire_train,
        }

    @property
    def serial(self) -> str:
        """Serial number as text."""
        return serial_text(self.serial_number)

    @property
    def total_pulses(self) -> int:
        """Pulses given since it was made."""
        return self.counts.pulses

    @property
    def trains(self) -> int:
        """Trains given since it was switched on."""
        return self.counts.trains

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
        self._at_panel(self._say, self._tell.page())

    def panel_set_mode(self, *, mode: Mode | None = None, wave: Wave | None = None) -> None:
        """Choose another mode or waveform; the status byte of an amplitude frame tells of it."""
        settings = self.settings
        self.settings = replace(
            settings, mode=settings.mode if mode is None else mode, wave=settings.wave if wave is None else wave
        )
        self._at_panel(self._say, self._tell.amplitude())

    def panel_set_coil(self, coil: int) -> None:
        """Plug in a coil of another type, 0 for none."""
        self.settings = replace(self.settings, coil=coil)
        self._at_panel(self._say, self._tell.coil())

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

    def _fault_begun(self, fault: Fault) -> None:
        """Do what a fault does the moment it begins, or happens."""
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
        elif fault in FAULTS_OF_COIL:
            self._at_panel(self._disable_itself, self._tell.coil())

    def _fault_ended(self, fault: Fault) -> None:
        """Tell of the coil that is well again."""
        if fault in FAULTS_OF_COIL:
            self._at_panel(self._say, self._tell.coil())

    def _reset(self) -> None:
        """Start anew, as after a moment without power; the counter of pulses stays."""
        self._give_due()
        self._train = None
        self.enabled = self._disabling = False
        self.settings = Settings(coil=self.settings.coil)
        self.counts = Counts(pulses=self.counts.pulses)
        self._outgoing.clear()

    def _disable_itself(self, why: say.Report) -> None:
        self.enabled = False
        self._say(why)
        self._say(self._tell.amplitude())
        self._end_train()

    # --- what the host asks -----------------------------------------------------------------------------------------

    def framer(self) -> FrameParser:
        """Return what cuts the host's bytes into bodies."""
        return FrameParser()

    def hear(self, body: bytes) -> None:
        """Write down one body from the host."""
        self._log.frame(self._clock.utc_ns(), "in", encode_frame(body).hex())
        self._log.flush()

    def take(self, body: bytes) -> None:
        """Obey one body from the host; what is not of the protocol is ignored."""
        self._give_due()
        command = ask.decode_command(body)
        handler = self._handlers.get(type(command))
        if handler is not None:
            handler(command)
        self._release()

    def _set_amplitude(self, command: ask.SetAmplitude) -> None:
        if command.a <= MAX_PERCENT:
            self.settings = replace(self.settings, amplitude_a=command.a)
        if command.b is not None and command.b <= MAX_PERCENT:
            self.settings = replace(self.settings, amplitude_b=command.b)
        self._say(self._tell.amplitude())

    def _set_enabled(self, command: ask.SetEnabled) -> None:
        armed = command.enabled and not self.enabled and self._may_be_enabled()
        if armed:
            self.enabled = True
        elif not command.enabled and Fault.DISABLE_IGNORED not in self.faults:
            self._disabling = self.running and Fault.DISABLE_AFTER_TRAIN in self.faults
            self.enabled = self.enabled and self._disabling
        self._say(self._tell.amplitude())
        self._say(self._tell.coil())
        self._say(self._tell.amplitude())
        if not self.enabled:
            self._end_train()
        if armed:
            self.faults.armed()

    def _may_be_enabled(self) -> bool:
        fit = self.coil.kind(self.settings.coil) != 0 and not self.coil.too_hot
        return fit and Fault.REFUSE not in self.faults

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
        self._say(self._tell.page())
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
        self._say(self._tell.page())

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

    # --- inside -----------------------------------------------------------------------------------------------------

    def _charging(self, onset_utc_ns: int) -> bool:
        """Tell whether the delay of charging (0A) after the last stimulus is not over."""
        if self._last_onset_utc_ns is None:
            return False
        return onset_utc_ns - self._last_onset_utc_ns < self.settings.delays.charge_ms * NS_PER_MS

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
        if not self.pace.settle_s:
            self.settings = changed()
            return

        def done() -> None:
            self._settling.discard(handle)
            self.settings = changed()

        handle = asyncio.get_running_loop().call_later(self.pace.settle_s, done)
        self._settling.add(handle)

    def _stimulate(self, onset_utc_ns: int) -> None:
        """Give one stimulus: a pulse, a burst, or the pair of Twin and Dual (which sends one frame or two)."""
        settings = self.settings
        pair = settings.mode in {Mode.TWIN, Mode.DUAL}
        pulses = settings.burst_pulses if settings.wave is Wave.BIPHASIC_BURST else 1 + pair
        self.counts.pulses += pulses
        self.counts.stimuli += 1
        self._last_onset_utc_ns = onset_utc_ns
        didt = settings.amplitude_a * DIDT_AT_FULL_OUTPUT // MAX_PERCENT
        for _ in range(self._chance.choice((1, 2)) if pair else 1):
            frame = encode_frame(self._tell.stimulus(didt).encode())
            self._log.frame(onset_utc_ns, "out", frame.hex())
            self._outgoing.append(frame)
        self._log.pulses(onset_utc_ns, self.total_pulses)
        self._warm_up(pulses)

    def _warm_up(self, pulses: int) -> None:
        """Take the heat of pulses, tell of each degree more, and cut out when it is too much."""
        warmer = self.coil.warm_up(pulses, self.settings.amplitude_a)
        if self.coil.too_hot:
            self._disable_itself(self._tell.coil())
        elif warmer:
            self._say(self._tell.coil())

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
                self.counts.trains += 1
        self._end_train()

    def _end_train(self) -> None:
        if self._train is None:
            return
        self._train = None
        if self._disabling:
            self.enabled = self._disabling = False
            self._say(self._tell.amplitude())
        self._say(self._tell.page())

    async def _run(self, train: Train) -> None:
        while self._train is train:
            await self._clock.sleep_until(train.onset_ns(train.given))
            self._give_due()
            self._release()
