"""The control channel: how a test in another process throws a simulator's faults. JSON lines over TCP on loopback.

Each line is one object: ``{"set": "overheat"}``, ``{"clear": "overheat"}`` or ``{"ask": "pulses"}``. Each answer is
one too: ``{"serial", "pulses", "faults"}`` after it was done, or ``{"error": …}`` where it was not understood.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from spoel_stimulation.devices.simulation.device import SimulatedDevice
from spoel_stimulation.devices.simulation.faults import Fault

_LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def control_of(device: SimulatedDevice, port: int = 0) -> AsyncIterator[str]:
    """Serve the control channel of a device on loopback (0: any free port); yields ``host:port``."""
    server = await asyncio.start_server(partial(_serve, device), _LOOPBACK, port)
    try:
        yield f"{_LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _serve(device: SimulatedDevice, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(json.dumps(answer(device, line)).encode() + b"\n")
            await writer.drain()
    except (OSError, ValueError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


def answer(device: SimulatedDevice, line: bytes) -> dict[str, object]:
    """Do what one line asks and return the answer."""
    try:
        ((verb, what),) = json.loads(line).items()
        _ACTS[verb](device, what)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        return {"error": f"{error!r}: say {{set: FAULT}}, {{clear: FAULT}} or {{ask: pulses}}."}
    return {"serial": device.serial, "pulses": device.total_pulses, "faults": device.faults.present}


_ACTS: dict[str, Callable[[SimulatedDevice, str], None]] = {
    "set": lambda device, what: device.faults.set(Fault(what)),
    "clear": lambda device, what: device.faults.clear(Fault(what)),
    "ask": lambda _device, _what: None,
}
