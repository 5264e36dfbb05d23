"""What a DuoMAG's status means to the rest of Spoel. Pure."""

from dataclasses import dataclass

from spoel_stimulation.devices.adapter import InterlockOpen, Setting
from spoel_stimulation.devices.duomag.codec import Status

NO_COIL = "none"
NOT_TOLD = "not-told"


@dataclass(frozen=True)
class Expected:
    """How the unit must stand while staged or armed; anything else was done by somebody at the device.

    Attributes:
        percent_mso: None while it is being armed.
        coil_type: as the unit tells it.
    """

    percent_mso: int | None
    coil_type: int | None

    def differences(self, told: Status) -> list[str]:
        """Return in words what a status says otherwise."""
        found = []
        if self.percent_mso is not None and told.percent != self.percent_mso:
            found.append(f"intensity {told.percent} % instead of {self.percent_mso} %")
        if told.coil_type != self.coil_type:
            found.append(f"coil type {told.coil_type} instead of {self.coil_type}")
        return found + interlocks(told)


def point_of(percent_mso: int) -> dict[str, Setting]:
    """Return the settings that are written, by name."""
    return {"percent_mso": percent_mso, "recharge_delay_ms": 0.0, "trigger_out_delay_ms": 0.0}


def settings_of(told: Status) -> dict[str, Setting]:
    """Return the settings that a status tells, under the same names."""
    return {
        "percent_mso": told.percent,
        "recharge_delay_ms": told.recharge.milliseconds,
        "trigger_out_delay_ms": told.ttl_out.milliseconds,
    }


def without_intensity(settings: dict[str, Setting]) -> dict[str, Setting]:
    """Return the settings that are written while the unit stays disarmed."""
    return {name: value for name, value in settings.items() if name != "percent_mso"}


def coil_name(told: Status) -> str:
    """Return the coil's type; ``none`` where none is plugged in, ``not-told`` on units that do not tell."""
    if told.coil_disconnected:
        return NO_COIL
    return NOT_TOLD if told.coil_type is None else f"coil-{told.coil_type}"


def interlocks(told: Status) -> list[str]:
    """Return in words what of coil and unit is not in order."""
    problems = {
        "no coil is plugged in": told.coil_disconnected,
        "the coil is too hot": told.coil_overheat,
        "the unit is too hot": told.power_overheat or told.resistor_overheat or told.discharge_overheat,
        "the unit reports an error of charging": told.hold_error or told.recharge_error,
    }
    return [problem for problem, there in problems.items() if there]


def check_interlocks(told: Status) -> None:
    """Refuse to arm a unit that is not in order (HZ-19).

    Raises:
        InterlockOpen: says what is not.
    """
    problems = interlocks(told)
    if problems:
        raise InterlockOpen(f"{'; '.join(problems)}. Look at coil and unit.".capitalize())
