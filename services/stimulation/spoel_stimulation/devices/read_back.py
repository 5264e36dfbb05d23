"""What was written to a device, compared with what it says that it has. Pure."""

from collections.abc import Mapping

from spoel_stimulation.devices.adapter import Setting


def differences(set_point: Mapping[str, Setting], read_back: Mapping[str, Setting]) -> list[str]:
    """Return in words which settings are otherwise than they should be; one that only one side names is otherwise."""
    return [
        f"{name} reads {read_back.get(name)!r} instead of {set_point.get(name)!r}"
        for name in sorted(set_point.keys() | read_back.keys())
        if set_point.get(name) != read_back.get(name)
    ]
