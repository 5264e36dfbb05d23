"""A simulated MagPro on a port, an adapter on it, and a cable between them that can be cut or go deaf."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager

import pytest

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.magpro import adapter as adapter_module
from spoel_stimulation.devices.magpro import conversation
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.simulation.ports import on_pty, on_tcp

SPEED = 60.0


class Cable:
    """A TCP line to a device's port that can be cut, lose what the device says, or damage it."""

    def __init__(self, address):
        self.address = ""
        self.deaf = False
        self.noisy = False
        self.lose_frame = None
        self._parser = FrameParser()
        self._port = int(address.rpartition(":")[2])
        self._writers = []
        self._tasks = set()

    async def plug(self, reader, writer):
        device_reader, device_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, device_writer]
        for source, sink, from_device in ((reader, device_writer, False), (device_reader, writer, True)):
            task = asyncio.create_task(self._carry(source, sink, from_device))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source, sink, from_device):
        while data := await source.read(4096):
            if from_device and self.deaf:
                continue
            if from_device and self.noisy:
                data = bytes(byte ^ 0x10 if index % 5 == 3 else byte for index, byte in enumerate(data))
            sink.write(self._all_but_one(data) if from_device and self.lose_frame is not None else data)
        sink.close()

    def _all_but_one(self, data):
        """Lose the frame whose number, counted down, is zero."""
        kept = b""
        for body in self._parser.feed(data):
            if self.lose_frame != 0:
                kept += encode_frame(body)
            self.lose_frame -= 1
        return kept

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def cable_to(address):
    cable = Cable(address)
    server = await asyncio.start_server(cable.plug, "127.0.0.1", 0)
    cable.address = f"socket://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield cable
    finally:
        cable.cut()
        server.close()
        await asyncio.sleep(0)
        for task in tuple(cable._tasks):
            task.cancel()


class Room:
    """Everything of one test: clock, simulator, cable, adapter, and the simulator's own record."""

    def __init__(self, clock, simulator, log_path, cable, adapter):
        self.clock = clock
        self.simulator = simulator
        self.cable = cable
        self.adapter = adapter
        self._log_path = log_path

    def log(self):
        return [json.loads(line) for line in self._log_path.read_text().splitlines()]

    def bodies_in(self):
        """Bodies of the frames that the device has got, in hexadecimal."""
        return [line["frame"][4:-4] for line in self.log() if line.get("dir") == "in"]

    def starts(self):
        return self.bodies_in().count("04")

    def pulses_logged(self):
        return max((line["pulses"] for line in self.log() if "pulses" in line), default=0)

    async def arm(self, settings):
        read_back = await self.adapter.stage(settings)
        await self.adapter.arm()
        return read_back

    async def unasked(self):
        return await asyncio.wait_for(self.adapter.unasked.get(), 8)


@pytest.fixture
def until():
    """Return a wait for a condition, of at most ten seconds."""

    async def wait(condition):
        for _ in range(2_000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise TimeoutError("the condition did not come true")

    return wait


@pytest.fixture
def simulator_process():
    """Return a context manager: a simulator in a process of its own, and the first line that it said."""

    @asynccontextmanager
    async def started(*arguments, **environment):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "spoel_stimulation.devices", *arguments),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | environment,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(20):
                yield process, json.loads(await process.stdout.readline())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return started


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(adapter_module, "START_TIMEOUT_S", 0.2)
    monkeypatch.setattr(adapter_module, "END_MARGIN_S", 0.3)
    monkeypatch.setattr(conversation, "DISABLE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(conversation, "DISABLE_ATTEMPT_S", 0.1)


@pytest.fixture
def ten_hz():
    return TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=55)


@pytest.fixture
def itbs():
    return TrainSettings(pulses_per_burst=3, pulse_interval_s=0.02, rate_hz=5.0, stimuli=10, percent_mso=48)


@pytest.fixture
def open_room(tmp_path):
    """Return a context manager: a room with another simulator, speed or port if asked for; not yet connected."""

    @asynccontextmanager
    async def opened(*, kind=MagProSimulator, speed=SPEED, pty=False, adapter_options=None, **simulator_options):
        clock = ScaledClock.starting_now(speed)
        log_path = tmp_path / "simulator.jsonl"
        simulator = kind(clock, log_path=log_path, **simulator_options)
        try:
            if pty:
                async with on_pty(simulator) as address:
                    adapter = MagProAdapter(address, clock, **(adapter_options or {}))
                    yield Room(clock, simulator, log_path, None, adapter)
                    await adapter.close()
            else:
                async with on_tcp(simulator) as address, cable_to(address) as cable:
                    adapter = MagProAdapter(cable.address, clock, **(adapter_options or {}))
                    yield Room(clock, simulator, log_path, cable, adapter)
                    await adapter.close()
        finally:
            simulator.close()

    return opened


@pytest.fixture
async def room(open_room):
    """A room over TCP, connected."""
    async with open_room() as opened:
        await opened.adapter.connect()
        yield opened
