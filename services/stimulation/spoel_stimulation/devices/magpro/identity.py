"""Who answered, and whether it may be used here. Pure."""

from spoel_stimulation.devices.adapter import DeviceIdentity, DeviceStatus, InterlockOpen, NotAllowed
from spoel_stimulation.devices.magpro.capability import NO_COIL, capability_of, coil_name, warming
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


def check_interlocks(status: DeviceStatus) -> None:
    """Refuse to enable a device whose coil is missing or too hot (HZ-19).

    Raises:
        InterlockOpen: as it says.
    """
    if status.coil_model == NO_COIL:
        raise InterlockOpen("No coil is plugged in. Plug in the coil of the plan, look at its place, then stage again.")
    cut_out_c = warming().cut_out_c
    if status.coil_temperature_c is not None and status.coil_temperature_c >= cut_out_c:
        raise InterlockOpen(
            f"The coil is at {status.coil_temperature_c:g} °C; from {cut_out_c} °C on the unit disables itself. Let it "
            "cool down, or take another coil and look at its place."
        )


def check_use(status: ShortStatus, *, speed: float, loopback: bool, clinical: bool) -> None:
    """Refuse a device that may not be used with this clock or on this site.

    Args:
        status: its answer.
        speed: of the clock.
        loopback: its address cannot lead off this machine.
        clinical: patients are treated here.

    Raises:
        NotSupported: an unknown model.
        NotAllowed: a simulator, or a speed other than 1, where patients are treated; a speed other than 1 with anything
            but a simulator on loopback.
    """
    identity = identify(status)
    capability_of(status.status.model)
    if clinical and (identity.simulated or speed != 1):
        raise NotAllowed(
            f"{identity.model} {identity.serial} at speed {speed:g}: a site that treats takes real devices, at speed 1."
        )
    if speed != 1 and not (identity.simulated and loopback):
        raise NotAllowed(
            f"{identity.model} {identity.serial} is not a simulator on loopback; a clock at speed {speed:g} is for "
            "those only."
        )
