"""Circuits of stimulators whose pulses were published (``data/circuits.toml``)."""

from functools import cache

from pydantic import Field

from spoel_stimulation.engine.sourced import Rule, Sourced, read_data
from spoel_stimulation.engine.waveform import Circuit, Phase, Pulse, Shape, energy_lost_share, shaped


class Ringing(Sourced):
    """A capacitor that rings with the coil.

    Attributes:
        models: of stimulators that have it.
        bridge_ohm: of the diode's branch in a monophasic pulse.
        volts_at_full: on the capacitor at 100 %.
    """

    name: str
    models: tuple[str, ...]
    period_s: float = Field(gt=0)
    damping_per_s: float = Field(gt=0)
    inductance_h: float = Field(gt=0)
    bridge_ohm: float = Field(gt=0)
    volts_at_full: float = Field(gt=0)

    @property
    def circuit(self) -> Circuit:
        """Its circuit."""
        return Circuit.ringing(self.period_s, self.damping_per_s, self.inductance_h, self.bridge_ohm)

    def volts(self, percent_mso: float) -> float:
        """Return the volts at an intensity: the electric field goes with them."""
        return self.volts_at_full * percent_mso / 100

    def heat_at_full_j(self, shape: Shape) -> float:
        """Return what one pulse at 100 % turns into heat, in the whole circuit."""
        stored_j = 0.5 * float(self.circuit.capacitance_f) * self.volts_at_full**2
        return stored_j * float(energy_lost_share(shape, self.circuit))


class Switched(Sourced):
    """A stimulator that switches the coil between a voltage and a brake.

    Attributes:
        driving_ohm: resistance while the voltage is on.
        braking_ohm: resistance in which the current dies away.
        volts_at_full: on the capacitor at 100 %.
    """

    name: str
    inductance_h: float = Field(gt=0)
    driving_ohm: float = Field(gt=0)
    braking_ohm: float = Field(gt=0)
    volts_at_full: float = Field(gt=0)

    def pulse(self, width_s: float) -> Pulse:
        """Return the pulse whose first phase lasts ``width_s``."""
        return shaped([Phase(1, self.driving_ohm, width_s), Phase(0, self.braking_ohm, None)], self.inductance_h)


class Circuits(Rule):
    """The data file on circuits."""

    ringing: tuple[Ringing, ...]
    switched: tuple[Switched, ...]


@cache
def circuits() -> Circuits:
    """Return ``data/circuits.toml``.

    Raises:
        pydantic.ValidationError: the file lacks a number or has one too many.
    """
    return Circuits.model_validate(read_data("circuits.toml"))


def circuit_of(stimulator_model: str) -> Ringing | None:
    """Return the circuit of a model of stimulator, or None where none was published."""
    return next((each for each in circuits().ringing if stimulator_model in each.models), None)
