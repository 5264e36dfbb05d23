"""Which makers' protocols a guard knows. Each is imported where a room has one of its devices."""

from importlib import import_module

from spoel_stimulation.devices.guarding import Guarded

MAKERS: dict[str, str] = {
    "magpro": "spoel_stimulation.devices.magpro.guarding:MagProGuarded",
    "magstim-rapid2": "spoel_stimulation.devices.magstim.guarding:MagstimGuarded",
    "magstim-200": "spoel_stimulation.devices.magstim.guarding:MagstimGuarded",
    "magstim-bistim": "spoel_stimulation.devices.magstim.guarding:MagstimGuarded",
    "duomag": "spoel_stimulation.devices.duomag.guarding:DuoMagGuarded",
}
"""Device, as rooms' settings name it, and where what a guard needs of it is made."""

UNGUARDED = frozenset({"manual"})
"""Devices that a person arms and disarms at the device itself: there is no frame that could stop them."""


def guarded(device: str) -> Guarded:
    """Return what there is to know of a maker's protocol; ``device`` is a key of ``MAKERS``."""
    module, _, name = MAKERS[device].partition(":")
    made: Guarded = getattr(import_module(module), name)()
    return made
