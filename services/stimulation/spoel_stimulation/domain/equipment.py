"""Whether the room's device and coil may be used now, and are the order's (HZ-04, HZ-19, INV-4). Pure."""

from spoel_stimulation.domain.facts import DeviceFacts, Facts
from spoel_stimulation.domain.lists import rules
from spoel_stimulation.domain.refusals import (
    CoilTooHot,
    DeviceNotAccepted,
    DeviceNotReady,
    StatusTooOld,
    ThresholdKeyMismatch,
)
from spoel_stimulation.orders import MeasurementOrder, ThresholdKey, TreatmentOrder


def check_device(facts: Facts, key: ThresholdKey, *, enabled: bool = False) -> None:
    """Refuse a device that is away, silent, not armed where that is needed, or not the order's (INV-4, HZ-04).

    Raises:
        DeviceNotAccepted, DeviceNotReady, StatusTooOld, ThresholdKeyMismatch, CoilTooHot: as they say.
    """
    device = facts.device
    if not device.accepted:
        raise DeviceNotAccepted(device.problem)
    if not device.ready:
        raise DeviceNotReady(device.problem)
    if device.status_age_s > facts.limits.max_status_age_s:
        raise StatusTooOld(
            f"The device's last status is {device.status_age_s:.1f} s old; {facts.limits.max_status_age_s:g} s is the "
            "limit. Look at the device and its cable."
        )
    _check_key({"stimulator_model": device.model, "coil_model": device.coil_model}, key, "In this room the device has")
    _check_temperature(device)
    if enabled and not device.enabled:
        raise DeviceNotReady("The device is not armed. Arm the session first.")


def max_coil_temperature_c(device: DeviceFacts) -> float:
    """Return the highest temperature of a coil: the room's limit, or the device's own where that is lower."""
    return min(rules().coil.max_temperature_c, device.max_coil_temperature_c or float("inf"))


def is_too_hot(device: DeviceFacts) -> bool:
    """Tell whether the coil is too hot; one that tells no temperature is not."""
    return device.coil_temperature_c is not None and device.coil_temperature_c >= max_coil_temperature_c(device)


def _check_temperature(device: DeviceFacts) -> None:
    if is_too_hot(device):
        raise CoilTooHot(
            f"The coil is at {device.coil_temperature_c:g} °C; {max_coil_temperature_c(device):g} °C is the limit. "
            "Take it from the head and let it cool.",
            coil_temperature_c=device.coil_temperature_c,
        )


def check_threshold_key(facts: Facts, order: TreatmentOrder | MeasurementOrder) -> None:
    """Refuse an order whose threshold was measured with anything else than the order names (HZ-04).

    Raises:
        ThresholdKeyMismatch: names the field.
    """
    for block in order.blocks if isinstance(order, TreatmentOrder) else ():
        measured = facts.order.threshold_keys.get(block.threshold_id)
        if measured is not None:
            wanted = ThresholdKey.model_validate({**_key_fields(order), "muscle": block.muscle})
            _check_key(_key_fields(measured), wanted, f"The threshold for {block.site} was measured with")


def _key_fields(key: ThresholdKey) -> dict[str, str]:
    return key.model_dump(include=set(ThresholdKey.model_fields))


def _check_key(found: dict[str, str], key: ThresholdKey, where: str) -> None:
    wanted = _key_fields(key)
    differing = [field for field in found if found[field] != wanted[field]]
    if differing:
        said = ", ".join(f"{field} {found[field]!r} (order: {wanted[field]!r})" for field in differing)
        raise ThresholdKeyMismatch(
            f"{where} {said}. Use the equipment of the order, or have the threshold measured again.", fields=differing
        )
