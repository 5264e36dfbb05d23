"""Which simulators there are, by the name under which ``spoel simulator`` starts them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from spoel_common.clock import Clock
from spoel_stimulation.devices.duomag.simulator import DuoMagSimulator
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magpro.values import Model
from spoel_stimulation.devices.magstim.codec import Version
from spoel_stimulation.devices.magstim.simulator import MagstimSimulator
from spoel_stimulation.devices.magstim.simulator_part import Part
from spoel_stimulation.devices.magstim.simulator_rapid import DEFAULT_VERSION, RapidPart
from spoel_stimulation.devices.magstim.simulator_single import SinglePart
from spoel_stimulation.devices.magstim.unlocking import given_unlock_code
from spoel_stimulation.devices.manual.simulator import TriggerBoxSimulator
from spoel_stimulation.devices.simulation.device import SimulatedDevice
from spoel_stimulation.devices.simulation.faults import Faults
from spoel_stimulation.devices.simulation.pace import Pace


@dataclass(frozen=True)
class Wanted:
    """What a simulator is to be.

    Attributes:
        clock: whose time its pulses follow.
        number: its serial number is ``SIM-<number>``.
        log_path: its record; its count of pulses goes on from the last total in it.
        faults: its switchboard.
        pace: how long it takes over what it is told; the device's own times, shortened by the clock's speed, if None.
        option: with the maker's option (MagPro).
        version: of its software (Magstim Rapid²).
        unlock_code: without which it gives no control, or ``@FILE`` with it (Magstim Rapid²).
    """

    clock: Clock
    number: int = 1
    log_path: Path | None = None
    faults: Faults = field(default_factory=Faults)
    pace: Pace | None = None
    option: bool | None = None
    version: str | None = None
    unlock_code: str | None = None


@dataclass(frozen=True)
class Simulator:
    """How one is made, and which of the last three of ``Wanted`` mean something to it."""

    make: Callable[[Wanted], SimulatedDevice]
    options: frozenset[str] = frozenset()


class _Common(TypedDict):
    number: int
    log_path: Path | None
    faults: Faults
    pace: Pace | None


def _common(wanted: Wanted) -> _Common:
    return {"number": wanted.number, "log_path": wanted.log_path, "faults": wanted.faults, "pace": wanted.pace}


def _magpro(plain: Model, with_option: Model) -> Simulator:
    def make(wanted: Wanted) -> SimulatedDevice:
        model = plain if wanted.option is False else with_option
        return MagProSimulator(wanted.clock, model=model, **_common(wanted))

    return Simulator(make, frozenset({"option"}))


def _magstim(part: Callable[[Wanted], Part], options: frozenset[str] = frozenset()) -> Simulator:
    def make(wanted: Wanted) -> SimulatedDevice:
        return MagstimSimulator(wanted.clock, part(wanted), **_common(wanted))

    return Simulator(make, options)


def _rapid(wanted: Wanted) -> Part:
    version = DEFAULT_VERSION if wanted.version is None else Version.parse(wanted.version)
    if wanted.unlock_code is not None and not version.locked:
        raise ValueError(f"Software {version} knows no unlock code; leave --unlock-code out.")
    return RapidPart(version, None if wanted.unlock_code is None else given_unlock_code(wanted.unlock_code))


def _duomag(wanted: Wanted) -> SimulatedDevice:
    return DuoMagSimulator(wanted.clock, **_common(wanted))


def _trigger_box(wanted: Wanted) -> SimulatedDevice:
    return TriggerBoxSimulator(wanted.clock, **_common(wanted))


SIMULATORS: dict[str, Simulator] = {
    "duomag": Simulator(_duomag),
    "magpro-r30": _magpro(Model.R30, Model.R30_OPTION),
    "magpro-x100": _magpro(Model.X100, Model.X100_OPTION),
    "magstim-rapid2": _magstim(_rapid, frozenset({"version", "unlock_code"})),
    "magstim-200": _magstim(lambda _wanted: SinglePart(bistim=False)),
    "magstim-bistim": _magstim(lambda _wanted: SinglePart(bistim=True)),
    "trigger-box": Simulator(_trigger_box),
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
