"""Each maker's device behind the real guard process: a stop, silence of the room's process, and what passes after."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.stimulation.guard.parts import (
    ASK,
    DISABLE,
    ENABLE,
    FIRE_PULSE,
    FIRE_TRAIN,
    TIMING_PAGE,
    Guard,
    RoomProcess,
    Simulator,
    frame,
    timing,
    wait_for,
)

from spoel_stimulation.devices.duomag.codec import FIRE as DUOMAG_FIRE
from spoel_stimulation.devices.duomag.codec import NO_DELAY, set_intensity
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.codec import Version

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.invariant("INV-11"), pytest.mark.hazard("HZ-10")]

V11 = Version(11)
SETTLES_S = 0.1


@dataclass(frozen=True)
class Maker:
    """How one maker's device is driven by hand.

    Attributes:
        device: as rooms' settings name it; ``simulator`` as the command line does.
        stage: frames, each given a moment; ``arm`` and ``fire`` likewise.
        alive: the frame that keeps remote control, and passes in any case.
        train: it gives more than one pulse by itself.
        tcp: None for a pseudo-terminal.
    """

    device: str
    simulator: str
    stage: tuple[bytes, ...]
    arm: bytes
    fire: bytes
    alive: bytes
    ready_s: float = SETTLES_S
    train: bool = False
    tcp: int | None = 0
    fires_otherwise: tuple[bytes, ...] = ()


_RAPID_TRAIN = (
    say.take_control(),
    say.set_power(30),
    say.set_duration(10, V11),
    say.set_frequency(100),
    say.set_pulses(100, V11),
    say.set_duration(100, V11),
)
_MAGPRO_TRAIN = tuple(frame(body) for body in (DISABLE, TIMING_PAGE, timing(10.0, 100)))
_SINGLE = (say.take_control(), say.set_power(30))
_MAGPRO = Maker(
    "magpro",
    "magpro-x100",
    _MAGPRO_TRAIN,
    *(frame(body) for body in (ENABLE, FIRE_TRAIN, ASK)),
    train=True,
    tcp=None,
    fires_otherwise=(frame(FIRE_PULSE), frame("03")),
)
_RAPID = Maker(
    *("magstim-rapid2", "magstim-rapid2", _RAPID_TRAIN, say.ARM, say.FIRE, say.ASK_SYSTEM_STATUS), 1.2, train=True
)
_200 = Maker("magstim-200", "magstim-200", _SINGLE, say.ARM, say.FIRE, say.take_control(), 1.2)
_BISTIM = Maker("magstim-bistim", "magstim-bistim", _SINGLE, say.ARM, say.FIRE, say.take_control(), 1.2)
_DUOMAG = Maker(
    *("duomag", "duomag", (NO_DELAY.recharge(),), set_intensity(50), DUOMAG_FIRE, NO_DELAY.ttl_out()),
    tcp=None,
    fires_otherwise=(set_intensity(1), set_intensity(100)),
)
DEVICES = [_MAGPRO, _RAPID, _200, _BISTIM, _DUOMAG]
MAKERS = [_RAPID, _DUOMAG]
"""MagPro is tested so in ``test_process``."""


def each(makers: list[Maker]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("maker", makers, ids=[maker.simulator for maker in makers])


@dataclass
class Driven:
    """A device behind its guard, and the room's process that drives it."""

    maker: Maker
    simulator: Simulator
    guard: Guard
    room: RoomProcess

    def send(self, *frames: bytes, wait_s: float = SETTLES_S) -> None:
        """Send frames, with a beat and the frame that keeps control in each wait after one."""
        for one in frames:
            self.room.data.sendall(one)
            until_s = time.monotonic() + wait_s
            while time.monotonic() < until_s:
                self.room.beat()
                time.sleep(0.05)
                self.room.data.sendall(self.maker.alive)

    def fire(self) -> None:
        """Release, stage, arm, and fire; returns when a pulse was given, or three of a train."""
        assert self.room.release() is None
        self.send(*self.maker.stage)
        self.send(self.maker.arm, wait_s=self.maker.ready_s)
        self.room.data.sendall(self.maker.fire)
        wait_for(lambda: self.simulator.pulses >= (3 if self.maker.train else 1), "pulses")

    def heard(self) -> list[str]:
        """Return the frames that the device got, as hexadecimal text."""
        return [entry["frame"] for entry in self.simulator.entries() if entry.get("dir") == "in"]


@pytest.fixture
def drive(start, tmp_path) -> Callable[[Maker], Driven]:
    def begin(maker: Maker) -> Driven:
        simulator = start(Simulator(tmp_path, name=maker.simulator, tcp=maker.tcp))
        guard = start(Guard(tmp_path, {"room-1": simulator.address}, device=maker.device)).until_open()
        return Driven(maker, simulator, guard, start(RoomProcess(guard)))

    return begin


@each(DEVICES)
def test_a_stop_is_confirmed_ends_the_train_and_nothing_that_fires_passes_after_it(drive, maker):
    driven = drive(maker)
    driven.fire()
    assert driven.guard.stop()["outcome"] == "confirmed"
    pulses, heard = driven.simulator.pulses, len(driven.heard())
    assert pulses < 100, "the rest of the train was not given"
    driven.send(maker.arm, maker.fire, *maker.fires_otherwise)
    after = driven.heard()[heard:]
    held_back = {frame.hex() for frame in (maker.arm, maker.fire, *maker.fires_otherwise)}
    assert held_back.isdisjoint(after)
    assert maker.alive[-2:].hex() in after or maker.alive.hex() in after, "what keeps control passes"
    assert (driven.simulator.pulses, driven.guard.look()["held"]) == (pulses, True)


@each(MAKERS)
def test_a_device_that_ignores_the_disarm_is_never_called_stopped(drive, maker):
    driven = drive(maker)
    driven.fire()
    driven.simulator.fault("disable-ignored")
    answer = driven.guard.stop()
    assert answer["outcome"] == "not-confirmed"
    assert "Lift the coil" in answer["instruction"]["en"]


@pytest.mark.hazard("HZ-09")
@each(MAKERS)
def test_a_room_process_that_falls_silent_has_the_device_disarmed(drive, maker):
    driven = drive(maker)
    driven.fire()
    wait_for(lambda: driven.guard.look()["last_stop"] == "confirmed" and driven.guard.look()["held"], "the stop")
    assert driven.guard.lines("stop")[-1]["reason"] == "silence"
    pulses = driven.simulator.pulses
    assert pulses < 30
    driven.send(maker.fire)
    assert driven.simulator.pulses == pulses
