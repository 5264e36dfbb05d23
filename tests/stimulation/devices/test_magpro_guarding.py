"""What the guard knows of the MagPro's frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_stimulation.devices.guarding import Guarded, Reading
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.codec import encode_frame
from spoel_stimulation.devices.magpro.guarding import MagProGuarded
from spoel_stimulation.devices.magpro.values import Mode, Model, Wave

GUARDED: Guarded = MagProGuarded()
FIRING = ["02 01", "03", "03 01", "04"]
HARMLESS = ["00", "01 32", "02 00", "05", "06 0064 0032 0014 0050", "07 02 00", "09 00", "0a 00", "0b 00", "0c 00"]
STATUS = say.StatusByte(Mode.STANDARD, Wave.BIPHASIC, enabled=True, model=Model.X100_OPTION)


def frame(body):
    return encode_frame(bytes.fromhex(body))


def test_it_disarms_with_a_disable_and_asks_for_the_short_status():
    assert (GUARDED.disarm, GUARDED.ask) == ((bytes.fromhex("fe02020091ff"),), (bytes.fromhex("fe010000ff"),))
    assert (GUARDED.line.baudrate, GUARDED.line.stop_bits) == (38_400, 1)


@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize(("body", "fires"), [(b, True) for b in FIRING] + [(b, False) for b in HARMLESS])
def test_it_tells_what_may_fire(body, fires):
    assert GUARDED.may_fire(frame(body)) is fires


@pytest.mark.invariant("INV-11")
@given(st.binary(min_size=1, max_size=64))
def test_a_body_that_is_not_of_the_protocol_may_fire(body):
    known = {0, 1, 5, 6, 7, 8, 9, 10, 11, 12}
    if body[0] not in known and body != b"\x02\x00":
        assert GUARDED.may_fire(encode_frame(body))


@pytest.mark.parametrize(
    ("report", "reading"),
    [
        (say.ShortStatus(STATUS, 1, 22, 60, 50, 0), Reading(enabled=True)),
        (say.Stimulus(80, 0, STATUS), Reading(enabled=True, pulses=1)),
        (say.CountersReport(1, 2, 3, 2), Reading()),
    ],
)
def test_it_reads_what_a_frame_says_of_being_armed_and_of_pulses(report, reading):
    assert GUARDED.read(encode_frame(report.encode())) == reading


def test_what_the_device_says_beyond_the_protocol_says_nothing():
    assert GUARDED.read(frame("f0 01 02")) == Reading()


@given(st.lists(st.sampled_from(FIRING + HARMLESS), max_size=8), st.integers(1, 7))
def test_frames_come_whole_whatever_the_pieces(bodies, size):
    framer, sent = GUARDED.host_frames(), [frame(body) for body in bodies]
    stream = b"".join(sent)
    got = [whole for at in range(0, len(stream), size) for whole in framer.feed(stream[at : at + size])]
    assert got == sent
    assert not framer.pending


def test_a_frame_torn_off_is_given_up():
    framer = GUARDED.device_frames()
    assert framer.feed(bytes.fromhex("fe09")) == []
    assert framer.pending
    assert framer.give_up_pending() == []
    assert framer.feed(frame("00")) == [frame("00")]
