"""A simulated Magstim of any model on a port, an adapter on it, and answers that can be lost one by one."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from tests.stimulation.devices.conftest import cable_to

from spoel_common.clock import ScaledClock, SteppedClock
from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.devices.magstim import conversation, following
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.adapter import MagstimAdapter
from spoel_stimulation.devices.magstim.unlocking import unlock_code
from spoel_stimulation.devices.simulation.faults import Faults
from spoel_stimulation.devices.simulation.ports import on_pty, on_tcp
from spoel_stimulation.devices.simulators import Wanted, simulate

INVENTED_CODE = "1a2b-3c4d5e6f-70"
SPEED = 20.0
PATIENT_S = 2.0
NAMES = {"rapid2": "magstim-rapid2", "200": "magstim-200", "bistim": "magstim-bistim"}


class Room:
    """Everything of one test: clock, simulator, cable, adapter, and the simulator's own record."""

    def __init__(self, clock, simulator, log_path, adapter, cable):
        self.clock = clock
        self.simulator = simulator
        self.adapter = adapter
        self.cable = cable
        self._log_path = log_path

    def log(self):
        return [json.loads(line) for line in self._log_path.read_text().splitlines()]

    def asked(self):
        """What the device has got, without the checksums, a question a string."""
        frames = [bytes.fromhex(line["frame"]) for line in self.log() if line.get("dir") == "in"]
        return [frame[:-1].decode("latin-1") for frame in frames]

    def starts(self):
        return self.asked().count("EH")

    def pulses_logged(self):
        return max((line["pulses"] for line in self.log() if "pulses" in line), default=0)

    def lose_answer(self, lost):
        """Lose every answer of which ``lost`` says so."""
        speak = self.simulator.speak
        self.simulator.speak = lambda frame: None if lost(frame) else speak(frame)

    def expect_answers_within(self, timeout_s):
        """Have each question wait no longer from now on."""
        self.adapter._talk.link._answer_timeout_s = timeout_s

    async def arm(self, settings):
        read_back = await self.adapter.stage(settings)
        await self.adapter.arm()
        return read_back

    async def unasked(self, kind=None):
        while True:
            unasked = await asyncio.wait_for(self.adapter.unasked.get(), 10)
            if kind in {None, unasked.kind}:
                return unasked


class Unit:
    """A simulator in stepped time, without a port."""

    def __init__(self, name, **wanted):
        self.clock = SteppedClock()
        self.simulator = simulate(name, Wanted(self.clock, 7, **wanted))
        self.said = []
        self.simulator.speak = self.said.append

    def take(self, frame):
        """Have it hear and obey one whole frame, or damaged piece."""
        self.simulator.hear(frame)
        self.simulator.take(frame)

    def ask(self, frame):
        """Return the one answer without its checksum; None for silence."""
        self.said.clear()
        for whole in self.simulator.framer().feed(frame):
            self.take(whole)
        assert len(self.said) <= 1
        return (self.said[0][:-1] if len(self.said[0]) > 1 else self.said[0]) if self.said else None

    def status(self):
        """Return the instrument's status, by the question that changes nothing."""
        return say.Instrument(self.ask(say.ASK_TEMPERATURE)[1])

    async def ready(self, *frames):
        """Take control, set, arm, and wait until it is ready."""
        for frame in (say.take_control(), *frames, say.ARM):
            self.ask(frame)
        await self.clock.advance_s(1.0)
        assert self.status() & say.Instrument.READY


@pytest.fixture
def device():
    """Return what makes units, each without a port."""
    made = []

    def make(name="magstim-rapid2", **wanted):
        made.append(Unit(name, **wanted))
        return made[-1]

    yield make
    for one in made:
        one.simulator.close()


@pytest.fixture
def ten_hz():
    return TrainSettings(rate_hz=10.0, stimuli=20, percent_mso=45)


@pytest.fixture
def one_pulse():
    return TrainSettings(rate_hz=1.0, stimuli=1, percent_mso=45)


@pytest.fixture
def one_mono():
    return TrainSettings(waveform="monophasic", rate_hz=0.2, stimuli=1, percent_mso=45)


@pytest.fixture
def pair():
    return TrainSettings(
        waveform="monophasic",
        rate_hz=0.2,
        stimuli=1,
        pulses_per_burst=2,
        pulse_interval_s=0.0025,
        percent_mso=40,
        second_percent_mso=60,
    )


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(following, "BEGIN_TIMEOUT_S", 0.3)
    monkeypatch.setattr(following, "END_MARGIN_S", 0.8)
    monkeypatch.setattr(conversation, "READY_TIMEOUT_S", 0.8)
    monkeypatch.setattr(conversation, "DISARM_TIMEOUT_S", 0.8)
    monkeypatch.setattr(conversation, "DISARM_ATTEMPT_S", 0.3)


@pytest.fixture
def open_room(tmp_path):
    """Return a context manager: a room with any model, speed or port; not yet connected."""

    @asynccontextmanager
    async def opened(kind="rapid2", *, speed=SPEED, pty=False, faults=(), version=None, code=None, **options):
        clock = ScaledClock.starting_now(speed)
        log_path = tmp_path / "simulator.jsonl"
        wanted = Wanted(clock, 7, log_path, Faults(faults), version=version, unlock_code=code)
        simulator = simulate(NAMES[kind], wanted)
        options.setdefault("unlock_code", None if code is None else unlock_code(code))
        options.setdefault("kind", kind)
        options.setdefault("answer_timeout_s", PATIENT_S)
        try:
            async with on_pty(simulator) if pty else on_tcp(simulator) as address:
                if pty:
                    adapter = MagstimAdapter(address, clock, **options)
                    yield Room(clock, simulator, log_path, adapter, None)
                    await adapter.close()
                else:
                    async with cable_to(address) as cable:
                        adapter = MagstimAdapter(cable.address, clock, **options)
                        yield Room(clock, simulator, log_path, adapter, cable)
                        await adapter.close()
        finally:
            simulator.close()

    return opened


@pytest.fixture
async def room(open_room):
    """A Rapid² over TCP, connected."""
    async with open_room() as opened:
        await opened.adapter.connect()
        yield opened
