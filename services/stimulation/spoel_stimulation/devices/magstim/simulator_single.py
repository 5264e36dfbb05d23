"""The part of a simulated Magstim that makes it a 200² or a BiStim²: one pulse or pair a start, and a slow charge."""

from spoel_stimulation.devices.magstim.codec import Lengths, question_lengths
from spoel_stimulation.devices.magstim.messages import PairMode
from spoel_stimulation.devices.magstim.simulator_part import Device, Handler, Refuse, number
from spoel_stimulation.devices.magstim.simulator_state import NS_PER_S, Power, Shot

LONGEST_INTERVAL = 999
LOW_RESOLUTION_DEFAULT_MS = 10
HIGH_RESOLUTION_DEFAULT = 10
BISTIM_RECHARGE_NS = 4 * NS_PER_S
RECHARGES_NS = ((49, 2 * NS_PER_S), (79, 3 * NS_PER_S), (100, 4 * NS_PER_S))
_NS_PER_MS = 1_000_000
_MODES = b"01234QRST"
_SLAVES = b"QRST"


class SinglePart:
    """A 200² or BiStim².

    Args:
        bistim: it is a BiStim².
    """

    def __init__(self, *, bistim: bool) -> None:
        self.name = "magstim-bistim" if bistim else "magstim-200"
        self._bistim = bistim
        self.reset()

    def reset(self) -> None:
        """Forget all settings, as just switched on."""
        self.power = Power()
        self.second = Power(0, 0.0)
        self.mode = PairMode.SINGLE.value.encode("ascii")
        self.interval = LOW_RESOLUTION_DEFAULT_MS

    @property
    def highest_percent(self) -> int:
        """Highest power that can be set."""
        return 100

    def attach(self, device: Device) -> dict[bytes, Handler]:
        """Begin to be a part of a device; return the commands by their letters."""
        self._device = device
        commands: dict[bytes, Handler] = {b"J": self._parameters}
        if self._bistim:
            commands |= {
                b"A": self._set_second,
                b"C": self._set_interval,
                b"X": self._set_mode,
                b"Y": lambda _data: self._choose(PairMode.HIGH_RESOLUTION, HIGH_RESOLUTION_DEFAULT),
                b"Z": lambda _data: self._choose(PairMode.LOW_RESOLUTION, LOW_RESOLUTION_DEFAULT_MS),
            }
        return commands

    def lengths(self) -> Lengths:
        """Return the lengths of a host's frames."""
        return question_lengths()

    def silent(self, _letter: bytes) -> bool:
        """It answers everything, also without control."""
        return False

    def takes_code(self, _data: bytes) -> bool:
        """It asks for no code."""
        return True

    def status(self, _letter: bytes) -> bytes:
        """It has one status byte."""
        return b""

    def shot(self) -> Shot:
        """One pulse, or by mode a pair."""
        if self.mode in _SLAVES:
            raise Refuse
        pair = self.mode not in (b"0", b"3")
        fine = self.mode == PairMode.HIGH_RESOLUTION.value.encode("ascii")
        interval_ns = self.interval * (_NS_PER_MS // 10 if fine else _NS_PER_MS)
        if not pair or self.mode == PairMode.SIMULTANEOUS.value.encode("ascii"):
            interval_ns = 0
        return Shot(2 if pair else 1, interval_ns, self._recharge_ns())

    def percent(self, index: int, now_ns: int) -> float:
        """Return the output of unit A, for the second pulse of a pair that of unit B."""
        return (self.second if index else self.power).real(now_ns)

    def gave(self, _percent: float, _now_ns: int) -> bool:
        """Nothing breaks down: it does not fire before it is charged."""
        return True

    def panel_change(self) -> None:
        """Turn the power up a little, or down where it is high."""
        self.power.turn(self._device.clock.monotonic_ns())

    def _recharge_ns(self) -> int:
        if self._bistim:
            return BISTIM_RECHARGE_NS
        return next(recharge_ns for percent, recharge_ns in RECHARGES_NS if self.power.percent <= percent)

    # --- commands ---------------------------------------------------------------------------------------------------

    def _parameters(self, _data: bytes) -> bytes:
        second, interval = (self.second.percent, self.interval) if self._bistim else (0, 0)
        return b"%03d%03d%03d" % (self.power.percent, second, interval)

    def _set_second(self, data: bytes) -> bytes:
        self._device.settings_allowed()
        self.second.set(number(data, 0, 100), self._device.clock.monotonic_ns())
        return b""

    def _set_interval(self, data: bytes) -> bytes:
        interval = number(data, 0, LONGEST_INTERVAL)
        self._device.settings_allowed(standby=interval == 0)
        self.interval = interval
        return b""

    def _set_mode(self, data: bytes) -> bytes:
        self._device.settings_allowed(standby=True)
        if len(data) != 1 or data not in _MODES:
            raise Refuse(b"?")
        self.mode = data
        return data

    def _choose(self, mode: PairMode, interval: int) -> bytes:
        self._device.settings_allowed(standby=True)
        self.mode, self.interval = mode.value.encode("ascii"), interval
        return b""
