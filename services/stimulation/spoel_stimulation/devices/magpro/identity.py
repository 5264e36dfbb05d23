"""Who answered, and whether it may be used here. Pure."""

from spoel_stimulation.devices.adapter import DeviceIdentity, NotSupported
from spoel_stimulation.devices.magpro.capability import capability_of, coil_name
from spoel_stimulation.devices.magpro.reports import ShortStatus
from spoel_stimulation.devices.magpro.values import MODEL_NAMES, SIMULATOR_SERIALS_FROM, serial_text


def identify(status: ShortStatus) -> DeviceIdentity:
    """Return who answered, from the short status (the model byte of 09 is wrong on an R30)."""
    return DeviceIdentity(
        model=MODEL_NAMES[status.status.model],
        serial=serial_text(status.serial),
        coil_model=coil_name(status.coil),
        simulated=status.serial >= SIMULATOR_SERIALS_FROM,
    )


def check_use(status: ShortStatus, *, speed: float, loopback: bool, clinical: bool) -> None:
    """Refuse a device that may not be used with this clock or on this site.

    Args:
        status: its answer.
        speed: of the clock.
        loopback: its address cannot lead off this machine.
        clinical: patients are treated here.

    Raises:
        NotSupported: an unknown model; a simulator, or a speed other than 1, where patients are treated; a speed
            other than 1 with anything but a simulator on loopback.
    """
    identity = identify(status)
    capability_of(status.status.model)
    if clinical and (identity.simulated or speed != 1):
        raise NotSupported(
            f"{identity.model} {identity.serial} at speed {speed:g}: a site that treats takes real devices, at speed 1."
        )
    if speed != 1 and not (identity.simulated and loopback):
        raise NotSupported(
            f"{identity.model} {identity.serial} is not a simulator on loopback; a clock at speed {speed:g} is for "
            "those only."
        )
