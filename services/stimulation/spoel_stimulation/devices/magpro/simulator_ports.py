"""The simulator's ways out: TCP on loopback, or a pseudo-terminal; and a process of its own around it."""

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from spoel_common.clock import Clock
from spoel_stimulation.devices.magpro.codec import FrameParser
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magpro.values import Model

LOOPBACK = "127.0.0.1"
ANSWER_DELAY_S = 0.000_5
_PIECE_TIMEOUT_S = 0.25
_REPLACE_WAIT_S = 0.2
_MAX_UNREAD_BYTES = 65_536
_READ_BYTES = 4_096
_PR_SET_PDEATHSIG = 1


class _Ear:
    """Cuts what one client sends into frames and hands them on, each after the device's delay (wall time)."""

    def __init__(self, simulator: MagProSimulator, delay_s: float) -> None:
        self._simulator = simulator
        self._delay_s = delay_s
        self._parser = FrameParser()
        self._heard_at = 0.0
        self._bodies: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._work(), name="magpro-simulator input")

    def hear(self, data: bytes) -> None:
        """Take bytes; a frame begun long ago is given up first."""
        now = time.monotonic()
        bodies = self._parser.give_up_pending() if now - self._heard_at > _PIECE_TIMEOUT_S else []
        self._heard_at = now
        for body in bodies + self._parser.feed(data):
            self._bodies.put_nowait(body)

    def close(self) -> None:
        """Forget what was not handed on."""
        self._task.cancel()

    async def _work(self) -> None:
        while True:
            body = await self._bodies.get()
            await asyncio.sleep(self._delay_s)
            self._simulator.take(body)


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

    def __init__(self, simulator: MagProSimulator, delay_s: float) -> None:
        self._simulator = simulator
        self._delay_s = delay_s
        self._holder: _TcpClient | None = None
        self._clients: set[_TcpClient] = set()
        simulator.speak = self.speak

    def plug_in(self, client: _TcpClient) -> None:
        self._clients.add(client)
        if self._holder is None:
            self._hold(client)
        else:
            asyncio.get_running_loop().call_later(_REPLACE_WAIT_S, self._hold_or_refuse, client)

    def pull_out(self, client: _TcpClient) -> None:
        if client.ear is not None:
            client.ear.close()
        client.transport = None
        self._clients.discard(client)
        if self._holder is client:
            self._holder = None

    def speak(self, frames: bytes) -> None:
        transport = self._holder.transport if self._holder is not None else None
        if transport is not None and transport.get_write_buffer_size() < _MAX_UNREAD_BYTES:
            transport.write(frames)

    def close(self) -> None:
        for client in tuple(self._clients):
            if client.transport is not None:
                client.transport.abort()

    def _hold(self, client: _TcpClient) -> None:
        self._holder = client
        client.begin(_Ear(self._simulator, self._delay_s))

    def _hold_or_refuse(self, client: _TcpClient) -> None:
        if client.transport is None:
            return
        if self._holder is None:
            self._hold(client)
        else:
            client.transport.abort()


@asynccontextmanager
async def on_tcp(
    simulator: MagProSimulator, port: int = 0, answer_delay_s: float = ANSWER_DELAY_S, host: str = LOOPBACK
) -> AsyncIterator[str]:
    """Serve a simulator on a TCP port (0: any free one) of an interface, loopback unless said; yields the address.

    The device goes on with what it does when its client leaves.
    """
    plug = _TcpPort(simulator, answer_delay_s)
    server = await asyncio.get_running_loop().create_server(lambda: _TcpClient(plug), host, port)
    try:
        yield f"socket://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        plug.close()
        await server.wait_closed()


@asynccontextmanager
async def on_pty(simulator: MagProSimulator, answer_delay_s: float = ANSWER_DELAY_S) -> AsyncIterator[str]:
    """Serve a simulator on a pseudo-terminal; yields the path for the client.

    It cannot see a client come or go, as a device on a serial line cannot; frames that nobody reads are lost.
    """
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    ear = _Ear(simulator, answer_delay_s)

    def speak(frames: bytes) -> None:
        try:
            os.write(master, frames)
        except BlockingIOError:
            return

    simulator.speak = speak
    loop = asyncio.get_running_loop()
    loop.add_reader(master, lambda: ear.hear(os.read(master, _READ_BYTES)))
    try:
        yield os.ttyname(slave)
    finally:
        loop.remove_reader(master)
        ear.close()
        os.close(master)
        os.close(slave)


async def run_simulator(
    clock: Clock,
    *,
    model: Model,
    number: int,
    log_path: Path | None,
    tcp_port: int | None,
    host: str = LOOPBACK,
    stdout_fd: int = 1,
) -> None:
    """Be a simulator until SIGTERM or SIGINT, in a process of its own.

    The first line of output is one JSON object with ``address``, ``serial`` and ``pid``. With
    ``SPOEL_DIE_WITH_PARENT=1`` in the environment the process ends when its parent does (Linux).

    Args:
        clock: whose time the pulses follow.
        model: which MagPro.
        number: its serial number is ``SIM-<number>``.
        log_path: its record, see ``SimulatorLog``.
        tcp_port: a TCP port, 0 for any free one; None for a pseudo-terminal.
        host: address at which the TCP port listens; another than loopback only in a container of its own.
        stdout_fd: where the first line goes.
    """
    if os.environ.get("SPOEL_DIE_WITH_PARENT") == "1":
        die_with_parent()
    stop = asyncio.Event()
    for number_of_signal in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number_of_signal, stop.set)
    simulator = MagProSimulator(clock, model=model, number=number, log_path=log_path)
    serving = on_pty(simulator) if tcp_port is None else on_tcp(simulator, tcp_port, host=host)
    try:
        async with serving as address:
            first_line = json.dumps({"address": address, "serial": simulator.serial, "pid": os.getpid()})
            os.write(stdout_fd, first_line.encode() + b"\n")
            await stop.wait()
    finally:
        simulator.close()


def die_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when the thread that started it ends; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
