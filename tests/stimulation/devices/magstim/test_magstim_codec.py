"""Frames and messages of the Magstim: exchanges byte by byte, lengths by version, and parsers under damage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.codec import (
    FrameCutter,
    Version,
    answer_lengths,
    checksum,
    encode_frame,
    is_whole,
    question_lengths,
)

V = {major: Version(major) for major in (5, 6, 7, 8, 9, 10, 11)}


@pytest.mark.parametrize(
    ("content", "check"),
    [(b"J\t030030010", 0xF5), (b"X\t4", ord("j")), (b"@050", ord("*")), (b"Q@", ord("n")), (b"EA", ord("y"))],
)
def test_checksums_of_real_captures(content, check):
    assert checksum(content) == check
    assert is_whole(encode_frame(content))


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (say.take_control(), b"Q@n"),
        (say.RELEASE, b"R@m"),
        (say.ASK_PARAMETERS, b"J@u"),
        (say.ASK_TEMPERATURE, b"F@y"),
        (say.DISARM, b"EAy"),
        (say.ARM, b"EBx"),
        (say.FIRE, b"EHr"),
        (say.ASK_RAPID_PARAMETERS, b"\\@c"),
        (say.ASK_VERSION, b"NDm"),
        (say.ASK_ERROR, b"I@v"),
        (say.ASK_SYSTEM_STATUS, b"x@G"),
        (say.ASK_CHARGE_DELAY, b"o@P"),
        (say.ENHANCED_POWER_OFF, b"_@`"),
        (say.set_power(50), b"@050*"),
        (say.set_second_power(7), encode_frame(b"A007")),
        (say.set_interval(25), encode_frame(b"C025")),
        (say.set_pair_mode(say.PairMode.HIGH_RESOLUTION), encode_frame(b"X4")),
        (say.set_frequency(100), encode_frame(b"B0100")),
        (say.set_pulses(40, V[8]), encode_frame(b"D0040")),
        (say.set_pulses(40, V[9]), encode_frame(b"D00040")),
        (say.set_duration(10, V[8]), encode_frame(b"[010")),
        (say.set_duration(10, V[9]), encode_frame(b"[0010")),
        (say.set_charge_delay(5, V[9]), encode_frame(b"n0005")),
        (say.set_charge_delay(5, V[10]), encode_frame(b"n00005")),
    ],
)
def test_what_the_host_says_is_byte_exact(frame, expected):
    assert frame == expected


def test_control_is_asked_for_with_the_unlock_code_before_the_checksum():
    frame = say.take_control("1a2b-3c4d5e6f-70")
    assert frame[:-1] == b"Q1a2b-3c4d5e6f-70"
    assert is_whole(frame)
    assert len(frame) == 18


@pytest.mark.parametrize(
    ("status", "word"),
    [(0x89, say.Instrument.STANDBY), (0x8A, say.Instrument.ARMED), (0x8C, say.Instrument.READY)],
)
def test_the_status_byte(status, word):
    answer = say.decode_answer(encode_frame(bytes((ord("E"), status))))
    expected = word | say.Instrument.COIL_PRESENT | say.Instrument.REMOTE_CONTROL
    assert answer == say.Answer("E", expected)
    assert answer.instrument.enabled is (word is not say.Instrument.STANDBY)


def test_the_second_status_byte_of_a_fresh_unit():
    answer = say.decode_answer(encode_frame(b"\\\x09\x38" + b"030000000000000000001"))
    assert answer.rapid == say.Rapid.SINGLE_PULSE | say.Rapid.HV_SUPPLY | say.Rapid.COIL_READY


@pytest.mark.parametrize(
    ("major", "digits", "size"),
    [
        (5, "05501000040040001", 21),
        (6, "05501000040040001", 21),
        (7, "055010000400400001", 22),
        (8, "055010000400400001", 22),
        (9, "05501000004000400001", 24),
        (11, "05501000004000400001", 24),
    ],
)
def test_the_registers_of_a_train_by_version(major, digits, size):
    frame = encode_frame(b"\\\x89\x30" + digits.encode())
    assert len(frame) == size
    assert FrameCutter(answer_lengths(V[major])).feed(frame) == [frame]
    answer = say.decode_answer(frame)
    assert say.RapidParameters.read(answer.data, V[major]) == say.RapidParameters(55, 100, 40, 40, 1)
    other = V[9] if major < 9 else V[8]
    assert say.RapidParameters.read(answer.data, other) is None


def test_powers_and_interval_of_a_bistim():
    answer = say.decode_answer(b"J\t030030010\xf5")
    assert say.PairParameters.read(answer.data) == say.PairParameters(30, 30, 10)
    assert answer.instrument == say.Instrument.STANDBY | say.Instrument.COIL_PRESENT


def test_temperatures_are_tenths_of_a_degree():
    answer = say.decode_answer(encode_frame(b"F\x89231305"))
    assert say.Temperatures.read(answer.data).warmest_c == 30.5


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (encode_frame(b"NV11.0.0\x00"), say.VersionAnswer(Version(11))),
        (encode_frame(b"N\x897.2.1\x00"), say.VersionAnswer(Version(7, 2, 1))),
        (encode_frame(b"ES"), say.Refused("E", conflict=True)),
        (encode_frame(b"@?"), say.Refused("@", conflict=False)),
        (b"?", say.NotUnderstood()),
        (encode_frame(b"F~SIM-7\x00"), say.SerialAnswer("SIM-7")),
        (encode_frame(b"x\x89\x30\x00\x04"), say.Answer("x", say.Instrument(0x89), say.Rapid(0x30), say.Extended(4))),
        (encode_frame(b"n\x89\x30"), say.Answer("n", say.Instrument(0x89), say.Rapid(0x30))),
        (encode_frame(b"b\x89"), say.Answer("b", say.Instrument(0x89))),
        (encode_frame(b"B\x89"), None),
        (b"E\x89\x00", None),
    ],
)
def test_other_answers(frame, message):
    assert say.decode_answer(frame) == message


@pytest.mark.parametrize("text", ["", "x", "?"])
def test_a_version_without_numbers_is_none(text):
    with pytest.raises(ValueError, match="version"):
        Version.parse(text)


# --- cutting --------------------------------------------------------------------------------------------------------

STATUSES = st.sampled_from([0x09, 0x89, 0x8A, 0x8C, 0xA9, 0x81])


def of_digits(letter, count, rapid):
    digits = st.text("0123456789", min_size=count, max_size=count).map(str.encode)
    head = st.tuples(STATUSES, st.sampled_from([0x30, 0x38, 0x32])).map(lambda s: bytes(s if rapid else s[:1]))
    return st.tuples(head, digits).map(lambda parts: encode_frame(letter + parts[0] + parts[1]))


def answers(major):
    version = V[major]
    plain = st.tuples(st.sampled_from(b"QRE@ACYZb"), STATUSES).map(bytes).map(encode_frame)
    choices = [
        plain,
        of_digits(b"\\", sum(version.parameter_digits), rapid=True),
        of_digits(b"F", 6, rapid=False),
        of_digits(b"J", 9, rapid=False),
        st.just(encode_frame(b"NV%d.0.0\x00" % major)),
        st.sampled_from(b"QE@D[B").map(lambda letter: encode_frame(bytes((letter,)) + b"S")),
    ]
    if version.locked:
        choices.append(STATUSES.map(lambda status: encode_frame(bytes((ord("x"), status, 0x30, 0, 0)))))
        choices.append(of_digits(b"o", version.delay_digits, rapid=False))
    return st.one_of(choices)


MAJORS = st.sampled_from(sorted(V))
STREAMS = MAJORS.flatmap(lambda major: st.tuples(st.just(major), st.lists(answers(major), max_size=3)))


def fed(cutter, data, size):
    return [frame for at in range(0, len(data), size) for frame in cutter.feed(data[at : at + size])]


@settings(max_examples=40)
@given(STREAMS, st.integers(1, 9))
def test_with_the_version_known_frames_come_whole_whatever_the_pieces(stream, size):
    major, frames = stream
    cutter = FrameCutter(answer_lengths(V[major]))
    assert fed(cutter, b"".join(frames), size) == frames
    assert not cutter.pending


@pytest.mark.invariant("INV-11")
@settings(max_examples=40)
@given(STREAMS, st.integers(1, 9))
def test_without_the_version_each_answer_comes_whole_at_the_latest_after_a_pause(stream, size):
    _, frames = stream
    cutter = FrameCutter(answer_lengths())
    for frame in frames:
        assert fed(cutter, frame, size) + cutter.give_up_pending() == [frame]
    assert (cutter.pending, cutter.bad_frames) == (False, 0)


@settings(max_examples=40)
@given(STREAMS, st.data())
def test_a_damaged_bit_never_makes_a_frame_of_the_same_letter(stream, data):
    major, frames = stream
    if not frames:
        return
    at = data.draw(st.integers(0, len(frames) - 1))
    frame = bytearray(frames[at])
    place = data.draw(st.integers(1, len(frame) - 1))
    frame[place] ^= 1 << data.draw(st.integers(0, 7))
    cutter = FrameCutter(answer_lengths(V[major]))
    whole = cutter.feed(bytes(frame)) + cutter.give_up_pending()
    assert frames[at] not in whole
    assert [w for w in whole if w[0] == frame[0] and len(w) == len(frame)] == []
    assert not cutter.pending


@settings(max_examples=40)
@given(st.binary(max_size=60), STREAMS)
def test_garbage_hangs_nothing_and_what_comes_after_a_pause_is_understood(garbage, stream):
    major, frames = stream
    for version in (None, V[major]):
        cutter = FrameCutter(answer_lengths(version))
        for whole in cutter.feed(garbage) + cutter.give_up_pending():
            assert whole == b"?" or is_whole(whole)
            say.decode_answer(whole)
        assert not cutter.pending
        for frame in frames:
            assert cutter.feed(frame) + cutter.give_up_pending() == [frame]


@settings(max_examples=40)
@given(STREAMS, st.data())
def test_a_frame_cut_short_is_given_up_at_the_pause_and_hides_nothing(stream, data):
    major, frames = stream
    if not frames:
        return
    cutter = FrameCutter(answer_lengths(V[major]))
    cut = frames[0][: data.draw(st.integers(1, len(frames[0]) - 1))]
    assert frames[0] not in cutter.feed(cut) + cutter.give_up_pending()
    assert fed(cutter, b"".join(frames), 5) == frames


@settings(max_examples=40)
@given(st.binary(max_size=40))
def test_any_bytes_can_be_read_as_an_answer_or_are_none(data):
    message = say.decode_answer(data)
    assert message is None or data == b"?" or is_whole(data)


def test_a_lone_question_mark_is_believed_after_a_pause_only():
    cutter = FrameCutter(answer_lengths())
    assert cutter.feed(b"?") == []
    assert cutter.give_up_pending() == [b"?"]
    assert cutter.feed(b"?" + say.DISARM) == [say.DISARM]
    assert cutter.bad_frames == 1


HOST = [
    say.take_control(),
    say.take_control("1a2b-3c4d5e6f-70"),
    say.DISARM,
    say.ARM,
    say.FIRE,
    say.set_power(99),
    say.set_frequency(100),
    say.ASK_VERSION,
]


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(HOST), max_size=6), MAJORS, st.integers(0, 99_99), st.integers(0, 999), st.integers(1, 9)
)
def test_what_the_host_says_is_cut_with_and_without_the_version(frames, major, pulses, tenth_s, size):
    version = V[major]
    frames = [*frames, say.set_pulses(pulses, version), say.set_duration(tenth_s, version), say.DISARM]
    for known in (None, version):
        assert fed(FrameCutter(question_lengths(known)), b"".join(frames), size) == frames


def test_a_device_keeps_damaged_pieces_to_answer_them():
    cutter = FrameCutter(question_lengths(V[9]), keep_damaged=True)
    assert cutter.feed(b"EAz" + say.ARM) == [b"EAz", say.ARM]
    assert cutter.feed(b"!!!") == [b"!!!"]
