"""Who answered, and whether it may be used here. Pure."""

from spoel_stimulation.devices.adapter import DeviceIdentity, DeviceStatus, InterlockOpen
from spoel_stimulation.devices.magpro.capability import NO_COIL, capability_of, coil_name, warming
from spoel_stimulation.devices.magpro.reports import ShortStatus
from spoel_stimulation.devices.magpro.values import MODEL_NAMES, SIMULATOR_SERIALS_FROM, serial_text
from spoel_stimulation.devices.use import check_use


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


def check_device(status: ShortStatus, *, speed: float, loopback: bool, clinical: bool) -> None:
    """Refuse a device that may not be used with this clock or on this site.

    Raises:
        NotSupported: an unknown model.
        NotAllowed: as ``check_use``.
    """
    capability_of(status.status.model)
    check_use(identify(status), speed=speed, loopback=loopback, clinical=clinical)
