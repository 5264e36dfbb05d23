"""Which device may be used where (HZ-25). Pure."""

from spoel_stimulation.devices.adapter import DeviceIdentity, NotAllowed


def check_use(identity: DeviceIdentity, *, speed: float, loopback: bool, clinical: bool) -> None:
    """Refuse a device that may not be used with this clock or on this site.

    Args:
        identity: who answered.
        speed: of the clock.
        loopback: its address cannot lead off this machine.
        clinical: patients are treated here.

    Raises:
        NotAllowed: a simulator, or a speed other than 1, where patients are treated; a speed other than 1 with anything
            but a simulator on loopback.
    """
    if clinical and (identity.simulated or speed != 1):
        raise NotAllowed(
            f"{identity.model} {identity.serial} at speed {speed:g}: a site that treats takes real devices, at speed 1."
        )
    if speed != 1 and not (identity.simulated and loopback):
        raise NotAllowed(
            f"{identity.model} {identity.serial} is not a simulator on loopback; a clock at speed {speed:g} is for "
            "those only."
        )
