"""The DuoMAG's bytes, what a guard reads in them, and what may be asked of it. Pure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_stimulation.devices.adapter import NotSupported, TrainSettings
from spoel_stimulation.devices.duomag.capability import assumed, capability
from spoel_stimulation.devices.duomag.codec import (
    DISARM,
    FIRE,
    Believing,
    CommandFrames,
    Delay,
    Status,
    StatusFrames,
    delay_of,
    set_intensity,
)
from spoel_stimulation.devices.duomag.guarding import DuoMagGuarded
from spoel_stimulation.devices.guarding import Reading

ONE_HZ = TrainSettings(rate_hz=1.0, stimuli=4, percent_mso=55)
SINGLE = TrainSettings(rate_hz=1.0, stimuli=1, percent_mso=55)


@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize(
    ("command", "frame"),
    [
        (set_intensity(0), "00 00"),
        (set_intensity(55), "37 37"),
        (set_intensity(100), "64 64"),
        (FIRE, "79 79"),
        (Delay(0, 0).recharge(), "80 80 a0 a0"),
        (Delay(127, 7).recharge(), "9f 9f bf bf"),
        (Delay(5, 3).recharge(), "81 81 ad ad"),
        (Delay(0, 0).ttl_out(), "c0 c0 e0 e0"),
        (Delay(127, 7).ttl_out(), "df df ff ff"),
    ],
)
def test_a_command_is_sent_twice_with_exactly_these_bytes(command, frame):
    assert command.hex(" ") == frame
    assert b"".join(CommandFrames().feed(command)) == command


@pytest.mark.parametrize("percent", [-1, 101, 121])
def test_an_intensity_that_is_none_has_no_bytes(percent):
    with pytest.raises(ValueError, match="0 to 100"):
        set_intensity(percent)


@given(st.integers(0, 127), st.integers(0, 7))
def test_a_delay_is_read_back_as_it_was_written(count, exponent):
    delay = Delay(count, exponent)
    assert delay_of(delay.recharge()[::2], Delay.recharge) == delay
    assert delay_of(delay.ttl_out()[::2], Delay.ttl_out) == delay
    assert delay_of(delay.ttl_out()[::2], Delay.recharge) is None


STATUS = Status(
    ttl_demand=True,
    turned=-3,
    percent=55,
    coil_adc=60,
    resistor_adc=61,
    discharge_adc=62,
    omitted=2,
    coil_disconnected=True,
    coil_overheat=True,
    charged=False,
    ttl_out=Delay(5, 3),
    recharge=Delay(9, 6),
    mark=(0x53, 7),
    coil_type=1,
)


@pytest.mark.requirement("ST-08")
def test_a_status_record_has_exactly_these_bytes():
    assert STATUS.encode().hex(" ") == "ff 3d 37 3c 3d 3e 02 02 32 01 05 09 1e 53 07 01"
    assert Status.decode(STATUS.encode()) == STATUS
    older = replace(STATUS, coil_type=None)
    assert Status.decode(older.encode()) == older


def test_what_is_no_record_is_not_read():
    assert Status.decode(STATUS.encode()[:12]) is None
    assert Status.decode(b"\xff\x00\x65" + bytes(13)) is None
    assert Status.decode(b"\x00" + STATUS.encode()[1:]) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_cut_without_a_crash(data):
    frames = StatusFrames()
    for frame in frames.feed(data) + frames.give_up_pending():
        Status.decode(frame)
    assert not frames.pending
    commands = CommandFrames()
    assert all(len(frame) == 2 and frame[0] == frame[1] for frame in commands.feed(data))
    commands.give_up_pending()
    assert not commands.pending


@given(st.integers(1, 9))
def test_records_come_whole_whatever_the_pieces(size):
    frames, stream = StatusFrames(), STATUS.encode() * 5
    got = [frame for at in range(0, len(stream), size) for frame in frames.feed(stream[at : at + size])]
    assert got == [STATUS.encode()] * 4


@given(st.integers(1, 15), st.integers(0, 3))
def test_a_record_that_lost_a_byte_is_never_believed(lost, at):
    records = [STATUS.encode() for _ in range(6)]
    records[at + 1] = records[at + 1][:lost] + records[at + 1][lost + 1 :]
    frames, believing = StatusFrames(), Believing()
    told = [believing.take(frame) for frame in frames.feed(b"".join(records))]
    assert {replace(status, coil_adc=0, resistor_adc=0, discharge_adc=0) for status in told if status} <= {
        replace(STATUS, coil_adc=0, resistor_adc=0, discharge_adc=0)
    }


@pytest.mark.invariant("INV-11")
def test_what_the_guard_knows_of_it():
    guarded = DuoMagGuarded()
    assert (guarded.line.baudrate, guarded.line.stop_bits, guarded.disarm) == (1_000_000, 2, (DISARM,))
    fires = [value for value in range(256) if guarded.may_fire(bytes((value, value)))]
    assert fires == list(range(1, 128))
    assert guarded.read(STATUS.encode()) == Reading(enabled=True)
    assert guarded.read(replace(STATUS, percent=0).encode()) == Reading(enabled=False)
    assert guarded.read(b"\xff") == Reading()
    assert guarded.host_frames().feed(FIRE) == [FIRE]
    assert guarded.device_frames().feed(STATUS.encode() * 2) == [STATUS.encode()]


# --- capability ---------------------------------------------------------------------------------------------------


@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"percent_mso": -1}, "percent_mso is -1"),
        ({"percent_mso": 101}, "percent_mso is 101"),
        ({"rate_hz": 1.1}, "at most one in 1 s"),
        ({"rate_hz": 10.0}, "choose another stimulator"),
        ({"stimuli": 12}, "longer than 10 s"),
        ({"pulses_per_burst": 3, "pulse_interval_s": 0.02}, "only single pulses"),
        ({"waveform": "monophasic"}, "waveform is monophasic"),
        ({"current_direction": "reverse"}, "current_direction"),
    ],
)
def test_what_it_cannot_do_is_refused(change, word):
    with pytest.raises(NotSupported, match=word):
        capability().check(ONE_HZ.model_copy(update=change))


@pytest.mark.parametrize("settings", [ONE_HZ, SINGLE, SINGLE.model_copy(update={"rate_hz": 10.0})])
def test_slow_single_pulses_are_accepted(settings):
    capability().check(settings)
    assert capability().minimum_wait_s(settings) == 1


def test_the_record_names_its_source_and_claims_nothing():
    record = capability().record
    assert (record.runs_trains, record.has_counter, record.host_enforces_wait) == (False, False, True)
    told = (record, record.disarms_on_lost_contact, record.stops_in_mid_train, assumed())
    assert all(part.source and not part.verified for part in told)
