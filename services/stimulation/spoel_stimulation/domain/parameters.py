"""What an operator may change within the signed plan, and how far (ST-05). Pure.

Intensity is in ``trains``, with the rest of what a train is made of. Another protocol, site, side or frequency, and a
higher ceiling, are a new signed version of the plan.
"""

from spoel_stimulation import engine
from spoel_stimulation.commands import ChangeParameter
from spoel_stimulation.domain.lists import rules
from spoel_stimulation.domain.refusals import BeyondSignedBand
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import trains_in_force
from spoel_stimulation.events.words import Parameter
from spoel_stimulation.orders import Dose

SLOWEST_TRAIN_INTERVAL_S = 300.0
"""Longest pause that an operator may choose: with more, the session is stopped and booked again."""


def in_force(state: SessionState, parameter: Parameter, pattern: engine.Pattern) -> float:
    """Return a parameter's value as it is now."""
    if parameter == "trains":
        return float(trains_in_force(state, pattern))
    values: dict[Parameter, float | None] = {
        "percent_rmt": state.percent_rmt,
        "train_interval_s": state.train_interval_s,
        "coil_shift_mm": state.coil_shift_mm,
        "coil_turn_deg": state.coil_turn_deg,
    }
    value = values[parameter]
    assert value is not None  # noqa: S101 - a treatment has all of them
    return value


def check_parameter(state: SessionState, dose: Dose, pattern: engine.Pattern, command: ChangeParameter) -> None:
    """Refuse a change of anything but the intensity that goes beyond the signed plan.

    Raises:
        BeyondSignedBand: says what is allowed.
    """
    match command.parameter:
        case "train_interval_s":
            check_train_interval(dose, pattern, command.value)
        case "trains":
            _check_trains(state, pattern, round(command.value))
        case "coil_shift_mm":
            _check_within(command, 0.0, rules().placement.max_shift_mm)
        case _:
            limit_deg = rules().placement.max_turn_deg
            _check_within(command, -limit_deg, limit_deg)


def _check_trains(state: SessionState, pattern: engine.Pattern, trains: int) -> None:
    least = max(1, len(state.trains_of_block))
    if not least <= trains <= pattern.trains:
        raise BeyondSignedBand(
            f"trains {trains} is outside {least} (given so far, at least one) to {pattern.trains} (signed). Fewer "
            "trains are allowed; for more, have a new version signed."
        )


def _check_within(command: ChangeParameter, lowest: float, highest: float) -> None:
    if not lowest <= command.value <= highest:
        raise BeyondSignedBand(
            f"{command.parameter} {command.value:g} is outside {lowest:g} to {highest:g}, the limits in the room. Move "
            "the coil back, or have a new version signed."
        )


def check_train_interval(dose: Dose, pattern: engine.Pattern, interval_s: float) -> None:
    """Refuse a pause that is shorter than signed, or one between trains that have none.

    Raises:
        BeyondSignedBand: not allowed.
    """
    if dose.pattern.trains == 1 or pattern.trains != dose.pattern.trains:
        raise BeyondSignedBand("This order has no pause between trains that could be made longer. Pause the session.")
    signed = dose.pattern.train_interval_s
    if not signed <= interval_s <= SLOWEST_TRAIN_INTERVAL_S:
        raise BeyondSignedBand(
            f"train_interval_s {interval_s:g} is outside {signed:g} (signed) to {SLOWEST_TRAIN_INTERVAL_S:g}. "
            "More pause is allowed, less is not."
        )
