"""What trains ask of a stimulator's power supply: energy, pauses, rates.

A pulse takes ``J(p) = J(100) * (p / 100)^2`` joules. A supply that gives a mean power ``P`` can keep up with ``P / J``
pulses a second; a train that is faster than that has to be followed by a pause in which the supply makes good what it
gave too much. The formulas and the figures of the Rapid2 (252 J, 1050 W, 0.5 s) are those of public clients of the
device (MagPy, ``rapid_system_info.yaml``); they were not tried on hardware.
"""

from typing import NamedTuple

import numpy as np

from spoel_stimulation.engine.session import Session

_MINUTE_S = 60.0


class PowerSupply(NamedTuple):
    """What a model's power supply gives.

    Attributes:
        joules_at_full_output: energy of one pulse at 100 %.
        mean_power_w: highest mean power.
        shortest_wait_s: after any train, however light.
    """

    joules_at_full_output: float
    mean_power_w: float
    shortest_wait_s: float = 0.5

    def pulse_energy_j(self, percent_mso: float) -> float:
        """Return the energy of one pulse."""
        return pulse_energy_j(percent_mso, self.joules_at_full_output)

    def train_energy_j(self, pulses: int, percent_mso: float) -> float:
        """Return the energy of a train: so many times that of a pulse."""
        return pulses * self.pulse_energy_j(percent_mso)

    def highest_continuous_rate_hz(self, percent_mso: float) -> float:
        """Return the rate that the supply can keep up for ever; infinite at 0 %."""
        energy_j = self.pulse_energy_j(percent_mso)
        return float("inf") if energy_j == 0 else self.mean_power_w / energy_j

    def longest_on_time_s(self, rate_hz: float, percent_mso: float) -> float:
        """Return for how many seconds of each minute the supply can give this rate; more than 60 is all the time."""
        power_w = rate_hz * self.pulse_energy_j(percent_mso)
        return float("inf") if power_w == 0 else _MINUTE_S * self.mean_power_w / power_w

    def minimum_wait_s(self, pulses: int, rate_hz: float, percent_mso: float) -> float:
        """Return the pause that a train has to be followed by, from its last slot to the next train.

        Args:
            pulses: of the train.
            rate_hz: pulses a second within it.
            percent_mso: percent of maximum stimulator output.
        """
        power_w = rate_hz * self.pulse_energy_j(percent_mso)
        owed_s = pulses * (power_w - self.mean_power_w) / (self.mean_power_w * rate_hz)
        return max(self.shortest_wait_s, owed_s)


class Amount(NamedTuple):
    """What a session amounts to.

    Attributes:
        pulses: of all trains.
        energy_j: that the pulses take, where it is known what one takes.
    """

    pulses: int
    energy_j: float | None


def pulse_energy_j(percent_mso: float, joules_at_full_output: float) -> float:
    """Return the energy of one pulse: it goes with the square of the intensity."""
    return joules_at_full_output * (percent_mso / 100) ** 2


def amount_of(session: Session, joules_at_full_output: float | None) -> Amount:
    """Return pulses and energy of a session, ramps and pairs as they are set."""
    if joules_at_full_output is None:
        return Amount(session.pulses, None)
    squares = 0.0
    for part in session.parts:
        ramped = 0 if part.ramp is None else part.ramp.trains
        bursts = part.pattern.bursts_per_train
        for train, trains in [*((index, 1) for index in range(ramped)), (ramped, part.pattern.trains - ramped)]:
            percents = np.array(part.set_percents_mso(train))
            squares += trains * bursts * part.pattern.pulses_per_burst * float(np.mean(percents**2))
    return Amount(session.pulses, squares / 100**2 * joules_at_full_output)
