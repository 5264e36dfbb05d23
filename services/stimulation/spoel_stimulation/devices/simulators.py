"""Which simulators there are, by the name under which ``spoel simulator`` starts them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spoel_common.clock import Clock
from spoel_stimulation.devices.duomag.simulator import DuoMagSimulator
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magpro.values import Model
from spoel_stimulation.devices.simulation.device import SimulatedDevice
from spoel_stimulation.devices.simulation.faults import Faults


@dataclass(frozen=True)
class Wanted:
    """What a simulator is to be.

    Attributes:
        clock: whose time its pulses follow.
        number: its serial number is ``SIM-<number>``.
        log_path: its record; its count of pulses goes on from the last total in it.
        faults: its switchboard.
        option: with the maker's option (MagPro).
        version: of its software (Magstim Rapid²).
        unlock_code: without which it gives no control (Magstim Rapid²).
    """

    clock: Clock
    number: int = 1
    log_path: Path | None = None
    faults: Faults = field(default_factory=Faults)
    option: bool | None = None
    version: str | None = None
    unlock_code: str | None = None


@dataclass(frozen=True)
class Simulator:
    """How one is made, and which of the last three of ``Wanted`` mean something to it."""

    make: Callable[[Wanted], SimulatedDevice]
    options: frozenset[str] = frozenset()


def _magpro(plain: Model, with_option: Model) -> Simulator:
    def make(wanted: Wanted) -> SimulatedDevice:
        model = plain if wanted.option is False else with_option
        return MagProSimulator(
            wanted.clock, model=model, number=wanted.number, log_path=wanted.log_path, faults=wanted.faults
        )

    return Simulator(make, frozenset({"option"}))


def _duomag(wanted: Wanted) -> SimulatedDevice:
    return DuoMagSimulator(wanted.clock, number=wanted.number, log_path=wanted.log_path, faults=wanted.faults)


SIMULATORS: dict[str, Simulator] = {
    "duomag": Simulator(_duomag),
    "magpro-r30": _magpro(Model.R30, Model.R30_OPTION),
    "magpro-x100": _magpro(Model.X100, Model.X100_OPTION),
}


def simulate(name: str, wanted: Wanted) -> SimulatedDevice:
    """Make a simulator.

    Raises:
        ValueError: it has no such option, or the value is none of its own.
    """
    simulator = SIMULATORS[name]
    for option in ("option", "version", "unlock_code"):
        if getattr(wanted, option) is not None and option not in simulator.options:
            raise ValueError(f"{name} has no --{option.replace('_', '-')}.")
    return simulator.make(wanted)
