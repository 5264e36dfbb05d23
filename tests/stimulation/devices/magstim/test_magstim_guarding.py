"""What the guard knows of the Magstim's frames."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoel_common.clock import SteppedClock
from spoel_stimulation.devices.guarding import Guarded, Reading
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.codec import Version, encode_frame
from spoel_stimulation.devices.magstim.guarding import MagstimGuarded
from spoel_stimulation.devices.simulators import Wanted, simulate

GUARDED: Guarded = MagstimGuarded()
V5, V11 = Version(5), Version(11)
FIRING = [say.ARM, say.FIRE, encode_frame(b"b@"), encode_frame(b"^@"), encode_frame(b"EC"), b"EAz"]
HARMLESS = [
    say.DISARM,
    say.RELEASE,
    say.take_control(),
    say.take_control("1a2b-3c4d5e6f-70"),
    say.ASK_TEMPERATURE,
    say.ASK_SERIAL,
    say.ASK_PARAMETERS,
    say.ASK_RAPID_PARAMETERS,
    say.ASK_SYSTEM_STATUS,
    say.ASK_VERSION,
    say.set_power(50),
    say.set_second_power(50),
    say.set_interval(10),
    say.set_frequency(100),
    say.set_pulses(40, V5),
    say.set_pulses(40, V11),
    say.set_duration(40, V5),
    say.set_duration(40, V11),
    say.set_charge_delay(0, V11),
    say.ENHANCED_POWER_OFF,
]


def test_it_disarms_and_asks_what_every_model_answers_also_without_control():
    assert (GUARDED.disarm, GUARDED.ask) == ((b"EAy",), (b"F@y",))
    assert (GUARDED.line.baudrate, GUARDED.line.stop_bits) == (9_600, 1)


@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize(("frame", "fires"), [(f, True) for f in FIRING] + [(f, False) for f in HARMLESS])
def test_it_tells_what_may_fire(frame, fires):
    assert GUARDED.may_fire(frame) is fires


@pytest.mark.invariant("INV-11")
@given(st.binary(min_size=1, max_size=20).filter(lambda data: chr(data[0]) not in "QRJF@ACYZX\\NIB_D[xno"))
def test_what_is_not_of_the_protocol_may_fire(data):
    assert GUARDED.may_fire(encode_frame(data)) is (encode_frame(data) != say.DISARM)


@pytest.mark.parametrize(
    ("frame", "reading"),
    [
        (encode_frame(b"F\x89220220"), Reading(enabled=False)),
        (encode_frame(b"F\x8a220220"), Reading(enabled=True)),
        (encode_frame(b"x\x8c\x32\x00\x00"), Reading(enabled=True)),
        (encode_frame(b"x\x89\x32\x00\x00"), Reading(enabled=True)),
        (encode_frame(b"x\x89\x30\x00\x00"), Reading(enabled=False)),
        (encode_frame(b"F\xa8220220"), Reading()),
        (encode_frame(b"R\x09"), Reading(enabled=False)),
        (encode_frame(b"E\x8c"), Reading()),
        (encode_frame(b"ES"), Reading()),
        (encode_frame(b"NV9.0.0\x00"), Reading()),
        (b"?", Reading()),
        (b"F\x89220220\x00", Reading()),
    ],
)
def test_it_reads_whether_the_device_is_armed(frame, reading):
    assert GUARDED.read(frame) == reading


@settings(max_examples=50)
@given(st.lists(st.sampled_from(HARMLESS + FIRING[:-1]), max_size=8), st.integers(1, 7))
def test_host_frames_come_whole_whatever_the_pieces(frames, size):
    framer, stream = GUARDED.host_frames(), b"".join(frames)
    got = [whole for at in range(0, len(stream), size) for whole in framer.feed(stream[at : at + size])]
    assert got == frames
    assert not framer.pending


@pytest.mark.hazard("HZ-10")
@pytest.mark.parametrize(
    ("name", "version"),
    [("magstim-rapid2", v) for v in ("5.0.0", "8.0.0", "9.0.0", "11.0.0")] + [("magstim-200", None)],
)
async def test_its_disarm_stops_a_device_and_its_question_shows_it(name, version):
    clock = SteppedClock()
    device = simulate(name, Wanted(clock, version=version))
    said, device_frames = [], GUARDED.device_frames()
    device.speak = said.append

    def tell(frames):
        said.clear()
        for frame in frames:
            for whole in device.framer().feed(frame):
                device.take(whole)
        got = [whole for data in said for whole in device_frames.feed(data) + device_frames.give_up_pending()]
        assert got == said
        return [GUARDED.read(whole).enabled for whole in got]

    tell([say.take_control(), say.ARM])
    await clock.advance_s(1.0)
    tell([say.FIRE])
    assert tell(GUARDED.ask) == [True]
    assert tell(GUARDED.disarm + GUARDED.ask) == [None, False]
    assert not device.armed
    device.close()
