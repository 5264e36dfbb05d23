"""Who answered, whether it may be used here, and the secret that a Rapid² of software 9 and up asks for."""

import re
from pathlib import Path

from pydantic import SecretStr

from spoel_stimulation.devices.adapter import DeviceIdentity, NotAllowed

_UNLOCK_CODE = re.compile(r"[0-9A-Fa-f]{4}-[0-9A-Fa-f]{8}-[0-9A-Fa-f]{2}")


def unlock_code(text: str) -> SecretStr:
    """Return an unlock code, hidden from every log and representation.

    Raises:
        ValueError: it has another form; the text itself is never repeated.
    """
    code = text.strip()
    if not _UNLOCK_CODE.fullmatch(code):
        raise ValueError(
            "The unlock code is no hhhh-hhhhhhhh-hh of hexadecimal digits, as Magstim gives it for a unit."
        )
    return SecretStr(code)


def read_unlock_code(path: Path) -> SecretStr:
    """Read an unlock code from a file of its own.

    Raises:
        ValueError: others may read the file, or it holds no such code.
        OSError: it cannot be read.
    """
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others: it holds a secret. Set its mode to 0600.")
    return unlock_code(path.read_text(encoding="ascii"))


def check_use(identity: DeviceIdentity, *, speed: float, loopback: bool, clinical: bool) -> None:
    """Refuse a device that may not be used with this clock or on this site (HZ-25).

    Args:
        identity: its answer.
        speed: of the clock.
        loopback: its address cannot lead off this machine.
        clinical: patients are treated here.

    Raises:
        NotAllowed: a simulator, or a speed other than 1, where patients are treated; a speed other than 1 with anything
            but a simulator on loopback.
    """
    who = f"{identity.model} {identity.serial}"
    if clinical and (identity.simulated or speed != 1):
        raise NotAllowed(f"{who} at speed {speed:g}: a site that treats takes real devices, at speed 1.")
    if speed != 1 and not (identity.simulated and loopback):
        raise NotAllowed(f"{who} is not a simulator on loopback; a clock at speed {speed:g} is for those only.")
