"""The adapter of each room's device, by what the room's settings say of it."""

from functools import partial
from typing import Protocol

from spoel_common.clock import Clock
from spoel_common.settings import CannotStart
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.magstim.adapter import Kind, MagstimAdapter
from spoel_stimulation.devices.magstim.unlocking import read_unlock_code
from spoel_stimulation.devices.manual.adapter import ManualAdapter
from spoel_stimulation.runner.link import RoomDevice
from spoel_stimulation.settings import Device, RoomSetting


class Make(Protocol):
    """Makes the adapter of one maker's devices; takes what ``adapter_of`` takes."""

    def __call__(self, setting: RoomSetting, address: str, clock: Clock, /, *, clinical: bool) -> RoomDevice:
        """Return the adapter.

        Raises:
            CannotStart: as ``adapter_of``.
        """


def adapter_of(setting: RoomSetting, address: str, clock: Clock, *, clinical: bool) -> RoomDevice:
    """Return the adapter of a room's device.

    Args:
        setting: of the room.
        address: of the device, or of its guard on the way to it.
        clock: clock time.
        clinical: a site where patients are treated.

    Raises:
        CannotStart: the file with an unlock code is missing, may be read by others, or holds none.
    """
    return _MAKE[setting.device](setting, address, clock, clinical=clinical)


def _magpro(setting: RoomSetting, address: str, clock: Clock, *, clinical: bool) -> RoomDevice:
    return MagProAdapter(address, clock, clinical=clinical, stop_verified=setting.stop_verified)


def _magstim(kind: Kind, setting: RoomSetting, address: str, clock: Clock, *, clinical: bool) -> RoomDevice:
    try:
        code = None if setting.unlock_code_file is None else read_unlock_code(setting.unlock_code_file)
    except (OSError, ValueError) as error:
        raise CannotStart(f"The unlock code of {setting.room_id} cannot be used: {error}") from error
    return MagstimAdapter(
        address,
        clock,
        kind=kind,
        unlock_code=code,
        unit=setting.unit,
        mains_v=setting.mains_v,
        serial=setting.serial,
        coil_model=setting.coil_model,
        clinical=clinical,
    )


def _duomag(_setting: RoomSetting, address: str, clock: Clock, *, clinical: bool) -> RoomDevice:
    return DuoMagAdapter(address, clock, clinical=clinical)


def _manual(setting: RoomSetting, address: str, clock: Clock, *, clinical: bool) -> RoomDevice:
    return ManualAdapter(address, clock, clinical=clinical, model=setting.model, serial=setting.serial)


_MAKE: dict[Device, Make] = {
    "magpro": _magpro,
    "magstim-rapid2": partial(_magstim, "rapid2"),
    "magstim-200": partial(_magstim, "200"),
    "magstim-bistim": partial(_magstim, "bistim"),
    "duomag": _duomag,
    "manual": _manual,
}
