"""What a stimulator can do, as far as an order has to know (INV-2)."""

from collections.abc import Iterable

from spoel_planning.commands import OrderMeasurement
from spoel_planning.domain.pattern import highest_rate_hz, is_patterned, rate_hz
from spoel_planning.domain.refusals.measuring import BeyondDevice, DeviceUnknown
from spoel_planning.domain.rules import Capability
from spoel_planning.events.orders import Pattern, ThresholdKey

_TOLERANCE = 1e-6


def check_device(key: ThresholdKey | OrderMeasurement, devices: Iterable[Capability], percent_mso: int) -> Capability:
    """Return the device's record.

    Raises:
        DeviceUnknown: none has this stimulator with this coil.
        BeyondDevice: it lacks the waveform, or the intensity.
    """
    device = next(
        (
            each
            for each in devices
            if key.stimulator_model in each.stimulator_models and key.coil_model in each.coil_models
        ),
        None,
    )
    if device is None:
        raise DeviceUnknown(
            f"There is no record of what a {key.stimulator_model} with a {key.coil_model} can do. Look the names up "
            "at GET /rooms, or have the device added to the clinic's data.",
            field="stimulator_model",
        )
    if key.waveform not in device.waveforms:
        raise BeyondDevice(f"A {key.stimulator_model} has no {key.waveform} waveform.", field="waveform")
    if percent_mso > device.max_percent_mso:
        raise BeyondDevice(
            f"{percent_mso} %MSO is more than the {device.max_percent_mso} % of a {key.stimulator_model}. Lower it.",
            field="percent_mso",
        )
    return device


def check_pattern(pattern: Pattern, device: Capability) -> None:
    """Refuse a pattern that the device cannot make.

    Raises:
        BeyondDevice: too many pulses in a burst, or intervals outside what it can do.
    """
    if pattern.pulses_per_burst > device.max_pulses_per_burst:
        raise BeyondDevice(
            f"A burst of {pattern.pulses_per_burst} pulses; the device makes {device.max_pulses_per_burst} at most.",
            field="pulses_per_burst",
        )
    if highest_rate_hz(pattern) > device.max_hz + _TOLERANCE and not is_patterned(pattern):
        raise BeyondDevice(
            f"{rate_hz(pattern):g} Hz; the device makes {device.max_hz:g} Hz at most.", field="burst_interval_s"
        )
    if pattern.pulse_interval_s is None:
        return
    if not device.min_pulse_interval_s <= pattern.pulse_interval_s <= device.max_pulse_interval_s:
        raise BeyondDevice(
            f"{pattern.pulse_interval_s:g} s inside a burst; the device makes {device.min_pulse_interval_s:g} to "
            f"{device.max_pulse_interval_s:g} s.",
            field="pulse_interval_s",
        )
    if rate_hz(pattern) > device.max_burst_hz + _TOLERANCE:
        raise BeyondDevice(
            f"{rate_hz(pattern):g} bursts a second; the device makes {device.max_burst_hz:g} at most.",
            field="burst_interval_s",
        )
