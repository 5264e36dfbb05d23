"""What a simulated 200² or BiStim² gives, and when it is charged again; spoken to byte by byte."""

import pytest

from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.codec import encode_frame

CONTROL = say.take_control()


@pytest.mark.parametrize(("percent", "wait_s"), [(49, 2), (79, 3), (80, 4)])
async def test_a_200_is_ready_again_when_it_is_charged(device, percent, wait_s):
    unit = device("magstim-200")
    await unit.ready(say.set_power(percent))
    assert unit.ask(say.ASK_PARAMETERS)[2:] == b"%03d000000" % percent
    unit.ask(say.FIRE)
    await unit.clock.advance_s(wait_s - 0.01)
    assert unit.ask(say.FIRE) == b"ES"
    await unit.clock.advance_s(0.01)
    unit.ask(say.FIRE)
    assert unit.simulator.total_pulses == 2
    for frame in (b"A050", b"C010", b"X2", b"Y@", b"\\@", b"B0100"):
        assert unit.ask(encode_frame(frame)) == b"?"


@pytest.mark.parametrize(
    ("mode", "interval", "pulses", "apart_ns"),
    [
        ("0", 25, 1, None),
        ("1", 0, 2, 0),
        ("2", 25, 2, 25_000_000),
        ("3", 25, 1, None),
        ("4", 25, 2, 2_500_000),
    ],
)
async def test_what_a_bistim_gives_in_each_mode(device, mode, interval, pulses, apart_ns):
    unit = device("magstim-bistim")
    await unit.ready(say.set_second_power(70), say.set_pair_mode(say.PairMode(mode)), say.set_interval(interval))
    unit.ask(say.FIRE)
    await unit.clock.advance_s(3.9)
    assert not unit.status() & say.Instrument.READY
    await unit.clock.advance_s(0.2)
    assert unit.status() & say.Instrument.READY
    moments = [utc_ns for utc_ns, _ in unit.simulator.given]
    assert (len(moments), moments[1] - moments[0] if pulses == 2 else None) == (pulses, apart_ns)


async def test_resolution_and_mode_of_a_bistim_are_chosen_in_standby_only(device):
    unit = device("magstim-bistim")
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(b"Y@")) == b"Y\x89"
    assert unit.ask(encode_frame(b"X4")) == b"X\x894"
    assert unit.ask(say.ASK_PARAMETERS)[2:] == b"030000010"
    assert unit.ask(encode_frame(b"X9")) == b"X?"
    unit.ask(say.ARM)
    for frame in (b"Y@", b"Z@", b"X2", b"C000"):
        assert unit.ask(encode_frame(frame)) == frame[:1] + b"S"
    assert unit.ask(encode_frame(b"C005")) == b"C\x8a"


async def test_as_a_slave_it_does_not_start(device):
    unit = device("magstim-bistim")
    await unit.ready(encode_frame(b"XQ"))
    assert unit.ask(say.FIRE) == b"ES"
