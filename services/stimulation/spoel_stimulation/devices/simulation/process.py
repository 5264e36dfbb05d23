"""A simulated device as a process of its own."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.simulation.control import control_of
from spoel_stimulation.devices.simulation.device import SimulatedDevice
from spoel_stimulation.devices.simulation.ports import LOOPBACK, on_pty, on_tcp

FASTEST = 1_000.0
"""As fast as a ``ScaledClock`` may be."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Doors:
    """Where a simulator is to be reached.

    Attributes:
        tcp_port: a TCP port, 0 for any free one; None for a pseudo-terminal.
        host: address at which the TCP port listens; another than loopback only in a container of its own.
        control_port: of the control channel, 0 for any free one; None for none.
    """

    tcp_port: int | None = None
    host: str = LOOPBACK
    control_port: int | None = None


async def run_simulator(make: Callable[[], SimulatedDevice], doors: Doors, stdout_fd: int = 1) -> None:
    """Be a simulator until SIGTERM or SIGINT.

    The first line of output is one JSON object with ``address``, ``serial``, ``pid``, and ``control`` where there is a
    control channel. With ``SPOEL_DIE_WITH_PARENT=1`` in the environment the process ends when its parent does (Linux).

    Args:
        make: makes the device.
        doors: where it is to be reached.
        stdout_fd: where the first line goes.
    """
    if os.environ.get("SPOEL_DIE_WITH_PARENT") == "1":
        die_with_parent()
    stop = asyncio.Event()
    for number_of_signal in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number_of_signal, stop.set)
    device = make()
    async with AsyncExitStack() as stack:
        stack.callback(device.close)
        port = on_pty(device) if doors.tcp_port is None else on_tcp(device, doors.tcp_port, host=doors.host)
        first = {"address": await stack.enter_async_context(port), "serial": device.serial, "pid": os.getpid()}
        if doors.control_port is not None:
            first["control"] = await stack.enter_async_context(control_of(device, doors.control_port))
        os.write(stdout_fd, json.dumps(first).encode() + b"\n")
        await stop.wait()


def clock_of(setting: str | None, speed: float | None) -> ScaledClock:
    """Return the clock of ``SPOEL_CLOCK``, or one that starts now at ``speed``.

    Raises:
        ValueError: the setting is no clock, no clock is as fast, or both are given and differ.
    """
    if speed is not None and not 0 < speed <= FASTEST:
        raise ValueError(f"--speed is {speed:g}; give a number above 0, at most {FASTEST:g}.")
    if not setting:
        return ScaledClock.starting_now(1.0 if speed is None else speed)
    clock = ScaledClock.model_validate_json(setting)
    if speed is not None and speed != clock.speed:
        raise ValueError(
            f"--speed {speed:g} differs from the speed {clock.speed:g} of SPOEL_CLOCK. Leave one of them out."
        )
    return clock


def check_bind(host: str, speed: float) -> None:
    """Refuse a fast clock where others could reach the simulator (HZ-25).

    Raises:
        ValueError: as it says.
    """
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        raise ValueError(f"--bind is {host!r}; give an IP address, such as {LOOPBACK}.") from None
    if not loopback and speed != 1:
        raise ValueError(f"--bind is {host}, and the clock's speed {speed:g}: a fast clock stays on loopback.")


def die_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when the thread that started it ends; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
