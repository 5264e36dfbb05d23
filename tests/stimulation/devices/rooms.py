"""One stimulator of any maker for a test: its simulator on a port, a cable that can be cut or go deaf, its adapter."""

import asyncio
import json
from contextlib import asynccontextmanager

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.duomag.adapter import DuoMagAdapter
from spoel_stimulation.devices.duomag.simulator import DuoMagSimulator
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.magstim.adapter import MagstimAdapter
from spoel_stimulation.devices.magstim.unlocking import unlock_code
from spoel_stimulation.devices.simulation.faults import Faults
from spoel_stimulation.devices.simulation.ports import on_pty, on_tcp
from spoel_stimulation.devices.simulators import Wanted, simulate

INVENTED_CODE = "1a2b-3c4d5e6f-70"
MAGSTIMS = {"rapid2": "magstim-rapid2", "200": "magstim-200", "bistim": "magstim-bistim"}
PATIENT_S = 2.0


class Cable:
    """A TCP line to a device's port that can be cut, lose what the device says, or damage it.

    Attributes:
        deaf: what the device says is lost; ``deaf_from`` a frame of the host from which on it is.
        noisy: what the device says is damaged.
        lose_frame: number, counted down, of the one MagPro frame that is lost.
    """

    def __init__(self, address):
        self.address = ""
        self.deaf = False
        self.deaf_from = None
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
            if not from_device and self.deaf_from is not None and self.deaf_from in data:
                self.deaf = True
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
    """Everything of one test: clock, simulator, cable (None on a pseudo-terminal), adapter, the simulator's record."""

    start = ""

    def __init__(self, clock, simulator, cable, adapter, log_path):
        self.clock = clock
        self.simulator = simulator
        self.cable = cable
        self.adapter = adapter
        self._log_path = log_path

    def log(self):
        return [json.loads(line) for line in self._log_path.read_text().splitlines()]

    def frames_in(self):
        """What the device has got, in hexadecimal."""
        return [line["frame"] for line in self.log() if line.get("dir") == "in"]

    def starts(self):
        return self.frames_in().count(self.start)

    def pulses_logged(self):
        return max((line["pulses"] for line in self.log() if "pulses" in line), default=0)

    async def arm(self, settings):
        read_back = await self.adapter.stage(settings)
        await self.adapter.arm()
        return read_back

    async def unasked(self, kind=None):
        """The next thing that the device did unasked, of this kind if one is named."""
        while True:
            unasked = await asyncio.wait_for(self.adapter.unasked.get(), 10)
            if kind in {None, unasked.kind}:
                return unasked

    def expect_answers_within(self, timeout_s):
        """Have each question wait no longer from now on."""
        self.adapter._talk.link._answer_timeout_s = timeout_s


class MagProRoom(Room):
    start = encode_frame(b"\x04").hex()

    def bodies_in(self):
        return [frame[4:-4] for frame in self.frames_in()]

    @property
    def disarmed(self):
        return not self.simulator.enabled


class MagstimRoom(Room):
    start = b"EH\x72".hex()

    def asked(self):
        """What the device has got, without the checksums, a question a string."""
        return [bytes.fromhex(frame)[:-1].decode("latin-1") for frame in self.frames_in()]

    def lose_answer(self, lost):
        """Lose every answer of which ``lost`` says so."""
        speak = self.simulator.speak
        self.simulator.speak = lambda frame: None if lost(frame) else speak(frame)

    @property
    def disarmed(self):
        return not self.simulator.armed


class DuoMagRoom(Room):
    start = "7979"

    @property
    def disarmed(self):
        return self.simulator.percent == 0


@asynccontextmanager
async def _opened(kind, simulator, clock, log_path, pty, adapter_on):
    """A room on a pseudo-terminal, or on TCP with its cable; not yet connected."""
    try:
        if pty:
            async with on_pty(simulator) as address:
                adapter = adapter_on(address)
                yield kind(clock, simulator, None, adapter, log_path)
                await adapter.close()
        else:
            async with on_tcp(simulator) as address, cable_to(address) as cable:
                adapter = adapter_on(cable.address)
                yield kind(clock, simulator, cable, adapter, log_path)
                await adapter.close()
    finally:
        simulator.close()


def magpro(tmp_path, *, kind=MagProSimulator, speed=60.0, pty=False, adapter_options=None, **simulator_options):
    """A room with a MagPro."""
    clock, log_path = ScaledClock.starting_now(speed), tmp_path / "simulator.jsonl"
    simulator = kind(clock, log_path=log_path, **simulator_options)
    options = adapter_options or {}
    return _opened(MagProRoom, simulator, clock, log_path, pty, lambda at: MagProAdapter(at, clock, **options))


def magstim(tmp_path, kind="rapid2", *, speed=20.0, pty=False, faults=(), version=None, code=None, **options):
    """A room with a Magstim of any model."""
    clock, log_path = ScaledClock.starting_now(speed), tmp_path / "simulator.jsonl"
    wanted = Wanted(clock, 7, log_path, Faults(faults), version=version, unlock_code=code)
    simulator = simulate(MAGSTIMS[kind], wanted)
    options.setdefault("unlock_code", None if code is None else unlock_code(code))
    options.setdefault("kind", kind)
    options.setdefault("answer_timeout_s", PATIENT_S)
    return _opened(MagstimRoom, simulator, clock, log_path, pty, lambda at: MagstimAdapter(at, clock, **options))


def duomag(tmp_path, *, kind=DuoMagSimulator, speed=20.0, pty=False, clinical=False, **simulator_options):
    """A room with a DuoMAG."""
    clock, log_path = ScaledClock.starting_now(speed), tmp_path / "simulator.jsonl"
    simulator = kind(clock, log_path=log_path, **simulator_options)
    return _opened(DuoMagRoom, simulator, clock, log_path, pty, lambda at: DuoMagAdapter(at, clock, clinical=clinical))
