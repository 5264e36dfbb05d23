"""A simulator's ways out: TCP on loopback, or a pseudo-terminal; and what may go wrong on the line."""

import asyncio
import os
import time
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from spoel_stimulation.devices.guarding import Framer
from spoel_stimulation.devices.simulation.chance import chance
from spoel_stimulation.devices.simulation.device import SimulatedDevice
from spoel_stimulation.devices.simulation.faults import Fault, Faults

LOOPBACK = "127.0.0.1"
_PIECE_TIMEOUT_S = 0.25
_REPLACE_WAIT_S = 0.2
_MAX_UNREAD_BYTES = 65_536
_READ_BYTES = 4_096
_ONE_BYTE_LOST_IN = 20


class _Line:
    """The wire between host and device, with its faults; which bytes they meet is the same in every run."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._chance = chance(0)

    def to_device(self, data: bytes) -> bytes:
        """Return what the device gets of what the host sent."""
        return self._dropped(data)

    def to_host(self, frame: bytes) -> bytes:
        """Return what the host gets of a frame; possibly nothing."""
        if Fault.GO_SILENT in self._faults:
            return b""
        if Fault.CORRUPT_CHECKSUM in self._faults:
            damaged = bytearray(frame)
            damaged[self._chance.randrange(len(frame))] ^= 1 << self._chance.randrange(8)
            frame = bytes(damaged)
        return self._dropped(frame)

    def _dropped(self, data: bytes) -> bytes:
        if Fault.DROP_BYTES not in self._faults:
            return data
        return bytes(byte for byte in data if self._chance.randrange(_ONE_BYTE_LOST_IN))


class _Turns:
    """What the device has heard and has still to do, one thing after the other at its pace, whether its host stays."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._chance = chance(0)
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._work(), name="simulator input")

    def hear(self, frame: bytes) -> None:
        """Take a frame that has arrived."""
        self._device.hear(frame)
        self._frames.put_nowait(frame)

    def close(self) -> None:
        """Forget what is still to do."""
        self._task.cancel()

    async def _work(self) -> None:
        while True:
            frame = await self._frames.get()
            await asyncio.sleep(self._device.pace.answer_s(self._chance))
            self._device.take(frame)


class _Ear:
    """Cuts what one client sends into frames."""

    def __init__(self, framer: Framer, line: _Line, turns: _Turns) -> None:
        self._framer = framer
        self._line = line
        self._turns = turns
        self._heard_at = 0.0

    def hear(self, data: bytes) -> None:
        """Take bytes; a frame begun long ago is given up first."""
        now = time.monotonic()
        frames = self._framer.give_up_pending() if now - self._heard_at > _PIECE_TIMEOUT_S else []
        self._heard_at = now
        for frame in frames + self._framer.feed(self._line.to_device(data)):
            self._turns.hear(frame)


class _TcpClient(asyncio.Protocol):
    """One TCP connection; only the one that holds the port is listened and spoken to."""

    def __init__(self, port: "_TcpPort") -> None:
        self._port = port
        self.ear: _Ear | None = None
        self.transport: asyncio.Transport | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport
            self._port.plug_in(self)

    def data_received(self, data: bytes) -> None:
        if self.ear is None:
            self._early += data
        else:
            self.ear.hear(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._port.pull_out(self)

    def begin(self, ear: _Ear) -> None:
        """Get the port; what was sent while waiting for it is heard now."""
        self.ear = ear
        ear.hear(bytes(self._early))


class _TcpPort:
    """A port with room for one plug: a second client waits a moment for the first to be gone, then is refused."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._line = _Line(device.faults)
        self._turns = _Turns(device)
        self._holder: _TcpClient | None = None
        self._clients: set[_TcpClient] = set()
        device.speak = self.speak

    def plug_in(self, client: _TcpClient) -> None:
        self._clients.add(client)
        if self._holder is None:
            self._hold(client)
        else:
            asyncio.get_running_loop().call_later(_REPLACE_WAIT_S, self._hold_or_refuse, client)

    def pull_out(self, client: _TcpClient) -> None:
        client.transport = None
        self._clients.discard(client)
        if self._holder is client:
            self._holder = None

    def speak(self, frame: bytes) -> None:
        transport = self._holder.transport if self._holder is not None else None
        data = self._line.to_host(frame)
        if data and transport is not None and transport.get_write_buffer_size() < _MAX_UNREAD_BYTES:
            transport.write(data)

    def close(self) -> None:
        self._turns.close()
        for client in tuple(self._clients):
            if client.transport is not None:
                client.transport.abort()

    def _hold(self, client: _TcpClient) -> None:
        self._holder = client
        client.begin(_Ear(self._device.framer(), self._line, self._turns))

    def _hold_or_refuse(self, client: _TcpClient) -> None:
        if client.transport is None:
            return
        if self._holder is None:
            self._hold(client)
        else:
            client.transport.abort()


@asynccontextmanager
async def on_tcp(device: SimulatedDevice, port: int = 0, host: str = LOOPBACK) -> AsyncIterator[str]:
    """Serve a simulator on a TCP port (0: any free one) of an interface, loopback unless said; yields the address.

    The device goes on with what it does when its client leaves.
    """
    plug = _TcpPort(device)
    server = await asyncio.get_running_loop().create_server(lambda: _TcpClient(plug), host, port)
    try:
        yield f"socket://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        plug.close()
        await server.wait_closed()


@asynccontextmanager
async def on_pty(device: SimulatedDevice) -> AsyncIterator[str]:
    """Serve a simulator on a pseudo-terminal; yields the path for the client.

    It cannot see a client come or go, as a device on a serial line cannot; frames that nobody reads are lost.
    """
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    line = _Line(device.faults)

    def speak(frame: bytes) -> None:
        try:
            os.write(master, line.to_host(frame))
        except BlockingIOError:
            return

    device.speak = speak
    turns = _Turns(device)
    ear = _Ear(device.framer(), line, turns)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, lambda: ear.hear(os.read(master, _READ_BYTES)))
    try:
        yield os.ttyname(slave)
    finally:
        loop.remove_reader(master)
        turns.close()
        os.close(master)
        os.close(slave)
