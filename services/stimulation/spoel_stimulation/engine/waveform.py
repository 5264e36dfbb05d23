"""The shape of one pulse: current through the coil, its slope, and the electric field that goes with the slope.

Every circuit here is linear, so a pulse is a row of *segments* in each of which the current is the real part of a sum
of exponentials, for one volt on the capacitor: current, slope and integral of the square are closed forms, and all of
them go with the voltage (the integral with its square).

* *biphasic*: capacitor, coil and resistance in series ring for one whole period; what is left flows back.
* *halfsine*: the same, cut off after half a period.
* *monophasic*: until the capacitor is empty the same; then it is bridged by a diode with a resistance, and the current
  dies away.
* *shaped*: the coil is switched from one voltage to another, as controllable stimulators (cTMS) do.

Units: volt, ampere, second, ohm, henry, farad. Parameters of a circuit are floats, or arrays of shape ``(pulses,)``
for a circuit a pulse.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = float | NDArray[np.float64]
Complex = complex | NDArray[np.inexact[Any]]
Shape = Literal["biphasic", "halfsine", "monophasic"]

DEFAULT_RATE_HZ = 2_000_000.0
TAIL = 1e-3
"""A monophasic pulse ends when its current has fallen to this share of what it was when the diode took over."""

_ROWS_AT_ONCE = 64
_STRIDE = 32


class Circuit(NamedTuple):
    """Capacitor, coil and resistance in series.

    Attributes:
        inductance_h: of the coil.
        capacitance_f: of the capacitor.
        resistance_ohm: of everything the current flows through.
        bridge_ohm: of the diode's branch that bridges the capacitor; only a monophasic pulse needs it.
    """

    inductance_h: Values
    capacitance_f: Values
    resistance_ohm: Values
    bridge_ohm: Values = float("nan")

    @classmethod
    def ringing(
        cls, period_s: Values, damping_per_s: Values, inductance_h: Values, bridge_ohm: Values = float("nan")
    ) -> "Circuit":
        """Return the circuit that rings with a period ``T`` and dies away as ``exp(-damping * t)``."""
        square = (2 * np.pi / period_s) ** 2 + damping_per_s**2
        return cls(inductance_h, 1 / (inductance_h * square), 2 * damping_per_s * inductance_h, bridge_ohm)

    @property
    def damping_per_s(self) -> Values:
        """``R / 2L``."""
        return self.resistance_ohm / (2 * self.inductance_h)

    @property
    def angular_per_s(self) -> Values:
        """``sqrt(1/LC - (R/2L)^2)``, in radians a second.

        Raises:
            ValueError: it does not ring: too much resistance.
        """
        square = 1 / (self.inductance_h * self.capacitance_f) - self.damping_per_s**2
        if np.any(np.asarray(square) <= 0):
            raise ValueError("the circuit does not ring: its resistance is too high, or a parameter is not positive")
        return square**0.5

    @property
    def period_s(self) -> Values:
        """Of the ringing."""
        return 2 * np.pi / self.angular_per_s


class Term(NamedTuple):
    """``coefficient * exp(rate * t)``: ampere a volt, and 1/s; ``t`` since the segment's beginning."""

    coefficient: Complex
    rate: Complex


class Segment(NamedTuple):
    """A time in which nothing is switched.

    Attributes:
        duration_s: how long.
        terms: the current is the real part of their sum.
    """

    duration_s: Values
    terms: tuple[Term, ...]


Pulse = tuple[Segment, ...]
"""One pulse for one volt, or one a row for one volt each."""


class Phase(NamedTuple):
    """One position of the switches of a controllable stimulator.

    Attributes:
        volts: put on the coil, as a multiple of the first phase's.
        resistance_ohm: of everything the current flows through meanwhile.
        duration_s: how long; None in the last phase: until the current is zero, or as good as zero.
    """

    volts: float
    resistance_ohm: float
    duration_s: float | None


def pulse(shape: Shape, circuit: Circuit) -> Pulse:
    """Return the pulse of a circuit.

    Raises:
        ValueError: the circuit does not ring, or a monophasic pulse has no ``bridge_ohm``, or one that is too high.
    """
    if shape == "biphasic":
        return (Segment(circuit.period_s, (_ringing(circuit),)),)
    if shape == "halfsine":
        return (Segment(circuit.period_s / 2, (_ringing(circuit),)),)
    return _monophasic(circuit)


def shaped(phases: Sequence[Phase], inductance_h: float) -> Pulse:
    """Return the pulse of switches between voltages: in each phase the current goes towards ``volts / resistance``.

    Args:
        phases: at least one; only the last has no duration.
        inductance_h: of the coil.

    Raises:
        ValueError: a duration is missing before the last phase, or the last does not bring the current to zero.
    """
    segments, current = [], 0.0
    for index, (volts, resistance_ohm, duration_s) in enumerate(phases):
        rate, end = -resistance_ohm / inductance_h, volts / resistance_ohm
        if duration_s is None and index < len(phases) - 1:
            raise ValueError(f"phase {index} has no duration_s; only the last may go on until the current is zero")
        lasts = _time_to_zero(current, end, rate) if duration_s is None else duration_s
        segments.append(Segment(lasts, (Term(complex(end), 0j), Term(complex(current - end), complex(rate)))))
        current = end + (current - end) * float(np.exp(rate * lasts))
    return tuple(segments)


def current_a(one: Pulse, volts: Values, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the current at the times ``t_s`` since the pulse's beginning; 0 after its end.

    Args:
        one: a pulse with scalar parameters.
        volts: on the capacitor; a number, or shape ``(pulses,)``.
        t_s: shape ``(samples,)``.

    Returns:
        Shape ``(samples,)``, or ``(pulses, samples)``.
    """
    return np.multiply.outer(volts, _at(one, t_s, slope=False))


def slope_a_per_s(one: Pulse, volts: Values, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``dI/dt``; arguments and shape as of ``current_a``. It is highest at the beginning: ``volts / L``."""
    return np.multiply.outer(volts, _at(one, t_s, slope=True))


def e_field(one: Pulse, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the electric field in shares of its first value, shape ``(samples,)``: it goes with ``dI/dt``."""
    field = _at(one, t_s, slope=True)
    return field / float(_at(one, np.zeros(1), slope=True)[0])


def duration_s(one: Pulse) -> Values:
    """Return the time from the pulse's beginning to its end."""
    total: Values = 0.0
    for segment in one:
        total = total + segment.duration_s
    return total


def square_integral(one: Pulse) -> Values:
    """Return the integral of the squared current over the pulse for one volt: ampere squared second a volt squared."""
    total: Values = 0.0
    for duration, terms in one:
        for first in terms:
            for second in terms:
                product = first.coefficient * second.coefficient
                mixed = first.coefficient * np.conj(second.coefficient)
                whole = product * _grown(first.rate + second.rate, duration)
                whole = whole + mixed * _grown(first.rate + np.conj(second.rate), duration)
                total = total + 0.5 * np.real(whole)
    return total


def energy_lost_share(shape: Shape, circuit: Circuit) -> Values:
    """Return the share of the capacitor's energy that one pulse turns into heat: ``1 - exp(-2 * damping * T)``."""
    if shape == "monophasic":
        return 1.0
    share: Values = -np.expm1(-2 * circuit.damping_per_s * duration_s(pulse(shape, circuit)))
    return share


def synthesise(
    one: Pulse, volts: NDArray[np.float64], rate_hz: float = DEFAULT_RATE_HZ, *, slope: bool = True
) -> NDArray[np.float64]:
    """Return many pulses on one grid of samples.

    Args:
        one: the pulse; with parameters of shape ``(pulses,)`` each row has a circuit of its own.
        volts: on the capacitor, shape ``(pulses,)``.
        rate_hz: samples a second.
        slope: ``dI/dt`` in A/s; otherwise the current in A.

    Returns:
        Shape ``(pulses, samples)``; a row is 0 from its pulse's end on.
    """
    samples = int(np.ceil(np.max(np.asarray(duration_s(one))) * rate_hz)) + 1
    if all(np.ndim(value) == 0 for segment in one for value in (segment.duration_s, *segment.terms[0])):
        return np.multiply.outer(volts, _at(one, np.arange(samples) / rate_hz, slope=slope))
    made = np.zeros((len(volts), samples))
    own = [
        (_one_a_row(duration, volts), [(_one_a_row(scale, volts), _one_a_row(rate, volts)) for scale, rate in terms])
        for duration, terms in one
    ]
    for first in range(0, len(volts), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        start = np.zeros(len(volts[rows]))
        for duration, terms in own:
            end = start + duration[rows].real
            values = np.zeros((len(start), -(-samples // _STRIDE), _STRIDE))
            for coefficient, rate in terms:
                scale = volts[rows] * coefficient[rows] * (rate[rows] if slope else 1)
                _add_exponential(values, scale, rate[rows], start, rate_hz)
            _write_between(values.reshape(len(start), -1)[:, :samples], start, end, rate_hz, made[rows])
            start = end
    return made


def _one_a_row(value: Values | Complex, volts: NDArray[np.float64]) -> NDArray[np.complex128]:
    return np.broadcast_to(np.asarray(value, dtype=np.complex128), volts.shape)


def _add_exponential(
    values: NDArray[np.float64],
    scale: NDArray[np.complex128],
    rate: NDArray[np.complex128],
    start_s: NDArray[np.float64],
    rate_hz: float,
) -> None:
    """Add the real part of ``scale * exp(rate * (t - start))`` to every row.

    ``exp`` of a sum is a product: with ``t`` split into a coarse and a fine part only a few values are computed
    by ``exp``, and every sample is one complex product of two of them.

    Args:
        values: shape ``(rows, coarse, fine)``.
        scale: shape ``(rows,)``, as ``rate`` and ``start_s``.
        rate: of the exponential, 1/s.
        start_s: when its time begins.
        rate_hz: samples a second.
    """
    coarse_s = np.arange(values.shape[1]) * (values.shape[2] / rate_hz)
    fine_s = np.arange(values.shape[2]) / rate_hz
    left = scale[:, None] * np.exp(rate[:, None] * (coarse_s - start_s[:, None]))
    right = np.exp(np.multiply.outer(rate, fine_s))
    values += left.real[:, :, None] * right.real[:, None, :]
    values -= left.imag[:, :, None] * right.imag[:, None, :]


def _write_between(
    values: NDArray[np.float64],
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
    rate_hz: float,
    out: NDArray[np.float64],
) -> None:
    t_s = np.arange(out.shape[1]) / rate_hz
    np.copyto(out, values, where=(t_s >= start_s[:, None]) & (t_s < end_s[:, None]))


def _ringing(circuit: Circuit) -> Term:
    rate = -circuit.damping_per_s + 1j * circuit.angular_per_s
    return Term(-1j / (circuit.angular_per_s * circuit.inductance_h), rate)


def _monophasic(circuit: Circuit) -> Pulse:
    """Ring until the capacitor is empty; from then on its voltage, bridged, and the current fall together."""
    inductance, capacitance, resistance, bridge = circuit
    if not np.all(np.asarray(bridge) > 0):
        raise ValueError("a monophasic pulse needs bridge_ohm, the resistance that bridges the empty capacitor")
    ringing = _ringing(circuit)
    switched_s = (np.pi - np.arctan(circuit.angular_per_s / circuit.damping_per_s)) / circuit.angular_per_s
    current = np.real(ringing.coefficient * np.exp(ringing.rate * switched_s))
    half_trace = -0.5 * (resistance / inductance + 1 / (bridge * capacitance))
    determinant = (resistance / bridge + 1) / (inductance * capacitance)
    if np.any(np.asarray(half_trace**2 <= determinant)):
        raise ValueError("bridge_ohm is too high: the current would swing back, which the diode does not let it")
    root = np.sqrt(half_trace**2 - determinant)
    slow, fast = half_trace + root, half_trace - root
    share = (-resistance / inductance - fast) / (slow - fast)
    tail_s = np.log(TAIL) / slow
    after = Segment(tail_s, (Term(current * share, slow), Term(current * (1 - share), fast)))
    return (Segment(switched_s, (ringing,)), after)


def _time_to_zero(current: float, end: float, rate: float) -> float:
    if end == 0:
        return float(np.log(TAIL) / rate)
    if current * end >= 0:
        raise ValueError("the last phase drives the current away from zero; give it the opposite voltage, or none")
    return float(np.log(end / (end - current)) / rate)


def _grown(rate: Complex, duration: Values) -> Complex:
    """Return the integral of ``exp(rate * t)`` over the duration."""
    return np.where(rate == 0, duration, np.expm1(rate * duration) / np.where(rate == 0, 1, rate))


def _at(one: Pulse, t_s: NDArray[np.float64], *, slope: bool) -> NDArray[np.float64]:
    values = np.zeros(len(t_s))
    start = 0.0
    for duration, terms in one:
        within = (t_s >= start) & (t_s < start + duration)
        since = t_s[within] - start
        values[within] = sum(
            np.real(coefficient * (rate if slope else 1) * np.exp(rate * since)) for coefficient, rate in terms
        )
        start = start + float(np.asarray(duration))
    return values
