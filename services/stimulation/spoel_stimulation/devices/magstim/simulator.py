"""A Magstim without a coil: behaves on the wire as open clients and their emulators describe it.

It is made after the descriptions of the devices, not after Spoel's adapter. One class is the device; a *part* (see
``simulator_rapid`` and ``simulator_single``) has the commands and registers of one model.

Where no public source tells, we chose what shows a mistake best: a Rapid² gives the larger of its number of pulses and
its duration times its rate; a power that still follows its set point is given as it is; a pause too short, or too much
energy in one train, ends in an error that only switching off mends; a start within 0.5 s of the last is acknowledged
and lost. The serial number is our own addition (decision 0031).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from spoel_common.clock import Clock
from spoel_stimulation.devices.magstim.capability import joules_of
from spoel_stimulation.devices.magstim.codec import (
    NOT_UNDERSTOOD,
    SIMULATOR_PAD,
    FrameCutter,
    encode_frame,
    is_whole,
)
from spoel_stimulation.devices.magstim.messages import DISARM, Instrument
from spoel_stimulation.devices.magstim.simulator_part import Handler, Part, Refuse, Silence, Unknown, number
from spoel_stimulation.devices.magstim.simulator_state import HOT_C, NS_PER_S, Coil, Shot
from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.log import SimulatorLog, last_total
from spoel_stimulation.devices.simulation.pace import Pace, pace_of

KEEP_ALIVE_S = 1.0
ARMING_NS = NS_PER_S
IDLE_NS = 60 * NS_PER_S
LOST_START_NS = NS_PER_S // 2
SETTINGS_REST_NS = NS_PER_S // 2
OVERHEATED_C = 45.0
NO_ERROR = 0
NO_OTHER_COIL = "A Magstim does not tell the type of its coil: it has no fault other-coil."
_REMEMBERED = 10_000


class MagstimSimulator:
    """The device itself, without its port (see ``simulation.ports``).

    Args:
        clock: whose time its pulses, its charge and its coil follow; remote control is kept in wall time.
        part: of its model.
        number: its serial number is ``SIM-<number>``.
        log_path: its record; the pulse count goes on from the last total in it.
        faults: its switchboard.
        pace: how long it takes over what it is told; the device's own times, shortened by the clock's speed, if left
            out.

    Attributes:
        given: the latest pulses: UTC clock time, and percent of output as really given.
        error: 0, or a code that stands until it is switched off.

    Raises:
        ValueError: a fault that this device cannot have.
    """

    speak: Callable[[bytes], None]

    def __init__(
        self,
        clock: Clock,
        part: Part,
        *,
        number: int = 1,
        log_path: Path | None = None,
        faults: Faults | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.clock = clock
        self.part = part
        self.given: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self.error = NO_ERROR
        self.speak = lambda _frame: None
        self.faults = faults or Faults()
        if Fault.OTHER_COIL in self.faults:
            raise ValueError(NO_OTHER_COIL)
        self.faults.impossible[Fault.OTHER_COIL] = NO_OTHER_COIL
        self.faults.begun = self._fault_begun
        self.pace = pace or pace_of(part.name).at(clock.speed)
        self._serial = f"SIM-{number}"
        self._log = SimulatorLog(log_path)
        self._total_pulses = last_total(log_path)
        self._control = False
        self._armed = False
        self._ready_at_ns = 0
        self._idle_since_ns = 0
        self._last_start_ns = -LOST_START_NS
        self._last_pulse_ns = -SETTINGS_REST_NS
        self._heard_s = 0.0
        self._coil = Coil()
        self._shot: Shot | None = None
        self._runner: asyncio.Task[None] | None = None
        self._disarm_after_train = False
        self._commands: dict[bytes, Handler] = {
            b"Q": self._take_control,
            b"R": self._release,
            b"F": self._temperature,
            b"E": self._enable_or_fire,
            b"@": self._power,
        } | part.attach(self)

    @property
    def serial(self) -> str:
        """Serial number as text."""
        return self._serial

    @property
    def total_pulses(self) -> int:
        """Pulses given since it was made."""
        self._advance()
        return self._total_pulses

    @property
    def armed(self) -> bool:
        """Armed, whether ready or not."""
        self._advance()
        return self._armed

    @property
    def controlled(self) -> bool:
        """Under remote control."""
        return self._control

    @property
    def shot(self) -> Shot | None:
        """What is being given, None if nothing is."""
        return self._shot

    @property
    def hot(self) -> bool:
        """The coil is too hot, as the device tells its temperature."""
        return self.celsius > HOT_C

    @property
    def celsius(self) -> float:
        """Temperature of the coil, to a tenth of a degree."""
        warm = OVERHEATED_C if Fault.OVERHEAT in self.faults else 0.0
        return max(warm, round(self._coil.celsius(self.clock.monotonic_ns()), 1))

    @property
    def coil_present(self) -> bool:
        """A coil is plugged in."""
        return Fault.COIL_UNPLUGGED not in self.faults

    def close(self) -> None:
        """Switch off."""
        if self._runner is not None:
            self._runner.cancel()
        self._shot = None
        self._log.close()

    # --- what the host asks -----------------------------------------------------------------------------------------

    def framer(self) -> FrameCutter:
        """Return what cuts the host's bytes into frames; damaged pieces are kept, since they are answered."""
        return FrameCutter(self.part.lengths(), keep_damaged=True)

    def hear(self, frame: bytes) -> None:
        """Write down one frame, or damaged piece, from the host, without what may be an unlock code."""
        self._log.frame(self.clock.utc_ns(), "in", _without_code(frame).hex())
        self._log.flush()

    def take(self, frame: bytes) -> None:
        """Obey one frame, or damaged piece, from the host, and answer."""
        self._advance()
        answer = self._answer(frame[:1], frame[1:-1]) if is_whole(frame) else NOT_UNDERSTOOD
        if answer is not None:
            self._log.frame(self.clock.utc_ns(), "out", answer.hex())
        self._log.flush()
        if answer is not None:
            self.speak(answer)

    def _answer(self, letter: bytes, data: bytes) -> bytes | None:
        if not self._control and self.part.silent(letter):
            return None
        before = self._status(letter)
        try:
            said = self._commands.get(letter, _unknown)(data)
        except Silence:
            return None
        except Unknown:
            return NOT_UNDERSTOOD
        except Refuse as refusal:
            return encode_frame(letter + refusal.how)
        self._heard_s = time.monotonic()
        if letter == b"N" or said.startswith(SIMULATOR_PAD):
            return encode_frame(letter + said)
        return encode_frame(letter + (self._status(letter) if letter in b"QR" else before) + said)

    def _status(self, letter: bytes) -> bytes:
        ready = self._armed and self._shot is None and self.clock.monotonic_ns() >= self._ready_at_ns
        status = Instrument.READY if ready else Instrument.ARMED if self._armed else Instrument.STANDBY
        status |= Instrument.COIL_PRESENT if self.coil_present else Instrument(0)
        status |= Instrument.REMOTE_CONTROL if self._control else Instrument(0)
        status |= Instrument.ERROR_PRESENT if self.error else Instrument(0)
        return bytes((status,)) + self.part.status(letter)

    def _take_control(self, data: bytes) -> bytes:
        if not self.part.takes_code(data):
            raise Silence
        self._control = True
        return b""

    def _release(self, _data: bytes) -> bytes:
        self._disarm()
        self._control = False
        return b""

    def _temperature(self, data: bytes) -> bytes:
        if data == SIMULATOR_PAD:
            return SIMULATOR_PAD + self._serial.encode("ascii") + b"\x00"
        tenths = min(999, round(self.celsius * 10))
        return b"%03d%03d" % (tenths, tenths)

    def _enable_or_fire(self, data: bytes) -> bytes:
        if data == b"A":
            self._disarm()
        elif data == b"B":
            self._arm()
        elif data == b"H":
            self._fire()
        else:
            raise Refuse(NOT_UNDERSTOOD)
        return b""

    def _power(self, data: bytes) -> bytes:
        self.settings_allowed()
        self.part.power.set(number(data, 0, self.part.highest_percent), self.clock.monotonic_ns())
        return b""

    # --- what the parts may ask -------------------------------------------------------------------------------------

    def settings_allowed(self, *, standby: bool = False) -> None:
        """Refuse where no setting may be changed.

        Raises:
            Refuse: without control, during a train and 0.5 s after it, or armed where that matters.
        """
        resting = self.clock.monotonic_ns() < self._last_pulse_ns + SETTINGS_REST_NS
        if not self._control or self._shot is not None or resting or (standby and self._armed):
            raise Refuse

    def control_needed(self) -> None:
        """Refuse without remote control.

        Raises:
            Refuse: as it says.
        """
        if not self._control:
            raise Refuse

    def break_down(self, code: int) -> None:
        """Show an error until it is switched off."""
        self.error = code
        self._shot = None
        self._stand_by()

    # --- state ------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        blocked = self.hot or self.error or not self.coil_present or Fault.REFUSE in self.faults
        if not self._control or self._armed or blocked:
            raise Refuse
        now_ns = self.clock.monotonic_ns()
        self._armed, self._idle_since_ns = True, now_ns
        self._ready_at_ns = max(self._ready_at_ns, now_ns + ARMING_NS)
        self.faults.armed()

    def _disarm(self) -> None:
        if Fault.DISABLE_IGNORED in self.faults:
            return
        if Fault.DISABLE_AFTER_TRAIN in self.faults and self._shot is not None:
            self._disarm_after_train = True
            return
        self._shot = None
        self._stand_by()

    def _stand_by(self) -> None:
        self._armed = self._disarm_after_train = False

    def _fire(self) -> None:
        now_ns = self.clock.monotonic_ns()
        if not self._control or Fault.REFUSE in self.faults:
            raise Refuse
        if self._armed and now_ns < self._last_start_ns + LOST_START_NS:
            return
        if not self._armed or self._shot is not None or now_ns < self._ready_at_ns:
            raise Refuse
        self._begin(self.part.shot(), now_ns)

    def _begin(self, shot: Shot, now_ns: int) -> None:
        if self.error:
            return
        shot.start_ns, shot.start_utc_ns = now_ns, self.clock.utc_ns()
        self._last_start_ns, self._shot = now_ns, shot
        self._advance()
        if self._shot is shot:
            self._runner = asyncio.create_task(self._run(shot), name="magstim-simulator train")

    def panel_fire(self) -> None:
        """Press the trigger at the device."""
        self._advance()
        if self._armed and self._shot is None and self.clock.monotonic_ns() >= self._ready_at_ns:
            self._begin(self.part.shot(), self.clock.monotonic_ns())
        self._log.flush()

    async def _run(self, shot: Shot) -> None:
        while self._shot is shot:
            await self.clock.sleep_until(shot.onset_ns(shot.given))
            self._advance()
            self._log.flush()

    def _advance(self) -> None:
        """Let happen what is due: control lost, pulses, disarming by itself."""
        if self._armed and time.monotonic() > self._heard_s + KEEP_ALIVE_S:
            self._control, self._shot = False, None
            self._stand_by()
        now_ns = self.clock.monotonic_ns()
        while (shot := self._shot) is not None and shot.onset_ns(shot.given) <= now_ns:
            self._pulse(shot)
        if self._armed and (self.hot or not self.coil_present):
            self._shot = None
            self._stand_by()
        if self._armed and self._shot is None and now_ns > self._idle_since_ns + IDLE_NS:
            self._stand_by()

    def _pulse(self, shot: Shot) -> None:
        onset_ns = shot.onset_ns(shot.given)
        utc_ns = onset_ns - shot.start_ns + shot.start_utc_ns
        percent = self.part.percent(shot.given, onset_ns)
        shot.given += 1
        self._total_pulses += 1
        self.given.append((utc_ns, percent))
        self._log.pulses(utc_ns, self._total_pulses)
        self._coil.warm(joules_of(percent), onset_ns)
        self._last_pulse_ns = self._idle_since_ns = onset_ns
        broken = not self.part.gave(percent, onset_ns)
        if round(self._coil.celsius(onset_ns), 1) > HOT_C or broken:
            self._shot = None
            self._stand_by()
        elif shot.given == shot.pulses:
            self._shot = None
            self._ready_at_ns = onset_ns + shot.recharge_ns
            if self._disarm_after_train:
                self._stand_by()

    def _fault_begun(self, fault: Fault) -> None:
        """Do what a fault does the moment it begins, or happens."""
        self._advance()
        if fault is Fault.RESET:
            self._control, self._shot, self.error = False, None, NO_ERROR
            self._stand_by()
            self.part.reset()
        elif fault is Fault.PANEL_CHANGE:
            self.part.panel_change()
        elif fault is Fault.PANEL_FIRE:
            self.panel_fire()
        self._log.flush()


def _without_code(frame: bytes) -> bytes:
    """Return a frame as it may be written down: an unlock code, and the checksum that follows from it, never are.

    Nor is anything damaged, but for its length: it may be what is left of a code.
    """
    if not is_whole(frame):
        return b"*" * len(frame)
    return b"Q" + b"*" * (len(frame) - 1) if frame[:1] == b"Q" and len(frame) > len(DISARM) else frame


def _unknown(_data: bytes) -> bytes:
    raise Unknown
