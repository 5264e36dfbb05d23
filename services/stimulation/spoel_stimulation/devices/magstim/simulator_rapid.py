"""The part of a simulated Magstim that makes it a Rapid²: formats by version, registers of a train, power supply."""

from pydantic import SecretStr

from spoel_stimulation.devices.magstim.capability import RapidCapability, joules_of, rapid_capability
from spoel_stimulation.devices.magstim.codec import NUL, PAD, Generation, Lengths, Version, question_lengths
from spoel_stimulation.devices.magstim.messages import Extended, Rapid
from spoel_stimulation.devices.magstim.simulator_part import Device, Handler, Refuse, Unknown, number
from spoel_stimulation.devices.magstim.simulator_state import NS_PER_S, Load, Power, Shot

DEFAULT_VERSION = Version(11)
SINGLE_RECHARGE_NS = NS_PER_S
ENHANCED_RECHARGE_NS = 2 * NS_PER_S
TRAIN_RECHARGE_NS = NS_PER_S // 2
PAUSE_TOO_SHORT = 101
TRAIN_TOO_LONG = 102
_WITHOUT_CONTROL = b"QRF\\"
_WITH_SECOND_STATUS = b"^_BD[\\xn"
_MOST_JOULES_A_TRAIN = 63_000.0
_SLACK_J = 1.0
_HIGHEST_TENTH_HZ = 1_000
_TENTHS_UP_TO = 300
_WAIT_TENTH_S = 1
_LONGEST_DELAY_MS = {Generation.LOCKED: 2_000, Generation.LONG_DELAYS: 10_000}


class RapidPart:
    """A Rapid².

    Args:
        version: of its software.
        unlock_code: the only one that it gives control to; None: it asks for none. Software before 9 knows none.
        unit: ``rapid``, ``super`` or ``super-plus``, at 240 V.
    """

    def __init__(
        self, version: Version = DEFAULT_VERSION, unlock_code: SecretStr | None = None, unit: str = "super-plus"
    ) -> None:
        self.name = "magstim-rapid2"
        self.version = version
        self._unlock_code = unlock_code
        self._limits: RapidCapability = rapid_capability(unit, 240, version)
        self.reset()

    def reset(self) -> None:
        """Forget all settings: a fresh unit has 30 % and nothing set."""
        self.power = Power()
        self.tenth_hz = 0
        self.pulses = 0
        self.tenth_s = 0
        self.enhanced = False
        self.delay_ms = 0
        self._load = Load(self._limits.record.mean_power_w or 0.0)
        self._train_joules = 0.0
        self._train_ended_ns = -NS_PER_S

    @property
    def highest_percent(self) -> int:
        """100, with enhanced power 110."""
        return 110 if self.enhanced else 100

    def attach(self, device: Device) -> dict[bytes, Handler]:
        """Begin to be a part of a device; return the commands by their letters."""
        self._device = device
        commands: dict[bytes, Handler] = {
            b"\\": self._parameters,
            b"N": self._tell_version,
            b"I": lambda _data: b"%03d" % device.error,
            b"^": lambda _data: self._set_enhanced(enhanced=True),
            b"_": lambda _data: self._set_enhanced(enhanced=False),
            b"b": self._ignore_coil_switch,
            b"B": self._set_frequency,
            b"D": self._set_pulses,
            b"[": self._set_duration,
        }
        if self.version.locked:
            commands |= {b"x": self._system_status, b"n": self._set_delay, b"o": self._tell_delay}
        return commands

    def lengths(self) -> Lengths:
        """Return the lengths of a host's frames."""
        return question_lengths(self.version)

    def silent(self, letter: bytes) -> bool:
        """From software 9 up everything but four questions is left unanswered without control."""
        return self.version.locked and letter not in _WITHOUT_CONTROL

    def takes_code(self, data: bytes) -> bool:
        """Compare the unlock code; before software 9 there is none."""
        if not self.version.locked:
            if len(data) > len(PAD):
                raise Unknown
            return True
        return self._unlock_code is None or data == self._unlock_code.get_secret_value().encode("ascii")

    def status(self, letter: bytes) -> bytes:
        """Return the second status byte, and the extended status where an answer has it."""
        if letter not in _WITH_SECOND_STATUS:
            return b""
        device = self._device
        rapid = Rapid.HV_SUPPLY
        rapid |= Rapid.COIL_READY if device.coil_present and not device.hot else Rapid(0)
        rapid |= Rapid.SINGLE_PULSE if self.tenth_s == 0 else Rapid(0)
        rapid |= Rapid.ENHANCED_POWER if self.enhanced else Rapid(0)
        rapid |= Rapid.TRAIN_RUNNING if device.shot is not None and device.shot.train else Rapid(0)
        if letter == b"x" or (letter == b"n" and self.version.tells_status_after_delay):
            extended = Extended.CHARGE_DELAY_SET if self.delay_ms else Extended(0)
            return bytes((rapid,)) + extended.to_bytes(2, "big")
        return bytes((rapid,))

    def shot(self) -> Shot:
        """One pulse, or a train; too soon after the last one it breaks down, since only the host keeps the pause."""
        now_ns = self._device.clock.monotonic_ns()
        if self._load.joules(now_ns) > _SLACK_J or now_ns < self._train_ended_ns + TRAIN_RECHARGE_NS:
            self._device.break_down(PAUSE_TOO_SHORT)
        self._train_joules = 0.0
        recharge_ns = ENHANCED_RECHARGE_NS if self.enhanced else SINGLE_RECHARGE_NS
        if self.tenth_s == 0:
            return Shot(1, 0, recharge_ns + self.delay_ms * NS_PER_S // 1_000)
        pulses = max(self.pulses, self.tenth_s * self.tenth_hz // 100)
        rate_ok = 0 < self.tenth_hz / 10 <= self._limits.record.max_rate_hz(self.power.percent)
        if not rate_ok or pulses == 0 or self.enhanced:
            raise Refuse
        return Shot(pulses, 10 * NS_PER_S // self.tenth_hz, TRAIN_RECHARGE_NS, train=True)

    def percent(self, _index: int, now_ns: int) -> float:
        """Return the output as it follows the power."""
        return self.power.real(now_ns)

    def gave(self, percent: float, now_ns: int) -> bool:
        """Take the energy of a pulse from the power supply."""
        self._load.take(joules_of(percent), now_ns)
        self._train_joules += joules_of(percent)
        self._train_ended_ns = now_ns
        if self._train_joules > _MOST_JOULES_A_TRAIN + _SLACK_J:
            self._device.break_down(TRAIN_TOO_LONG)
            return False
        return True

    def panel_change(self) -> None:
        """Turn the power up a little, or down where it is high."""
        self.power.turn(self._device.clock.monotonic_ns())

    # --- commands ---------------------------------------------------------------------------------------------------

    def _parameters(self, _data: bytes) -> bytes:
        values = (self.power.percent, self.tenth_hz, self.pulses, self.tenth_s, _WAIT_TENTH_S)
        digits = zip(self.version.parameter_digits, values, strict=True)
        return b"".join(b"%0*d" % (width, value) for width, value in digits)

    def _tell_version(self, data: bytes) -> bytes:
        if data != b"D":
            raise Unknown
        self._device.control_needed()
        return b"V" + str(self.version).encode("ascii") + bytes((NUL,))

    def _set_enhanced(self, *, enhanced: bool) -> bytes:
        self._device.settings_allowed(standby=True)
        if enhanced and self.tenth_s:
            raise Refuse
        self.enhanced = enhanced
        if not enhanced and self.power.percent > self.highest_percent:
            self.power.set(self.highest_percent, self._device.clock.monotonic_ns())
        return b""

    def _ignore_coil_switch(self, _data: bytes) -> bytes:
        self._device.control_needed()
        return b""

    def _set_frequency(self, data: bytes) -> bytes:
        self._device.settings_allowed()
        tenth_hz = number(data, 1, _HIGHEST_TENTH_HZ)
        if tenth_hz > _TENTHS_UP_TO and tenth_hz % 10:
            raise Refuse(b"?")
        self.tenth_hz = tenth_hz
        return b""

    def _set_pulses(self, data: bytes) -> bytes:
        self._device.settings_allowed()
        self.pulses = number(data, 1, self._limits.most_pulses)
        return b""

    def _set_duration(self, data: bytes) -> bytes:
        self._device.settings_allowed()
        tenth_s = number(data, 0, round(self._limits.longest_s * 10))
        if tenth_s > _TENTHS_UP_TO and tenth_s % 10:
            raise Refuse(b"?")
        if tenth_s and self.enhanced:
            raise Refuse
        self.tenth_s = tenth_s
        return b""

    def _system_status(self, _data: bytes) -> bytes:
        return b""

    def _set_delay(self, data: bytes) -> bytes:
        self._device.settings_allowed()
        self.delay_ms = number(data, 0, _LONGEST_DELAY_MS[self.version.generation])
        return b""

    def _tell_delay(self, _data: bytes) -> bytes:
        return b"%0*d" % (self.version.delay_digits, self.delay_ms)
