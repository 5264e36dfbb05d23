"""What the simulated Magstims say, byte by byte, and to whom: formats, refusals, silence; without Spoel's adapter."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stimulation.devices.magstim.unit import INVENTED_CODE as CODE
from tests.stimulation.devices.magstim.unit import Unit

from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.codec import Version, encode_frame

OTHER_CODE = "1a2b-3c4d5e6f-71"
CONTROL = say.take_control()


async def test_a_fresh_unit(device):
    unit = device(version="7.0.0")
    assert unit.ask(say.ASK_RAPID_PARAMETERS) == b"\\\x09\x38" + b"030" + b"0000" + b"0000" + b"000" + b"0001"
    assert unit.ask(CONTROL) == b"Q\x89"
    assert unit.ask(say.ASK_VERSION) == b"NV7.0.0\x00"
    assert unit.ask(say.RELEASE) == b"R\x09"


async def test_answers_tell_the_state_before_but_those_to_q_and_r(device):
    unit = device()
    assert unit.ask(CONTROL) == b"Q\x89"
    assert unit.ask(say.ARM) == b"E\x89"
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1] == 0x8A
    await unit.clock.advance_s(1.0)
    assert unit.ask(say.DISARM) == b"E\x8c"
    assert unit.ask(say.ASK_SYSTEM_STATUS)[1] == 0x89


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b"E@", b"E?"),
        (b"@101", b"@?"),
        (b"@0x1", b"@?"),
        (b"B0000", b"B?"),
        (b"B0305", b"B?"),
        (b"D06001", b"D?"),
        (b"[6001", b"[?"),
        (b"[0305", b"[?"),
        (b"n10001", b"n?"),
        (b"EH", b"ES"),
        (b"I@", b"I\x89000"),
        (b"b@", b"b\x89"),
        (b"o@", b"o\x8900000"),
        (b"J@", b"?"),
    ],
)
async def test_wrong_data_wrong_state_and_unknown_commands(device, frame, answer):
    unit = device()
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(frame)) == answer


async def test_a_damaged_frame_is_answered_with_a_question_mark(device):
    unit = device()
    assert unit.ask(b"EAz") == b"?"
    assert unit.ask(b"!") == b"?"


@pytest.mark.parametrize(
    ("version", "pulses", "duration", "delay"),
    [
        ("8.0.0", b"D0040", b"[040", None),
        ("9.0.0", b"D00040", b"[0040", b"n0100"),
        ("10.0.0", b"D00040", b"[0040", b"n00100"),
    ],
)
async def test_formats_of_settings_by_version(device, version, pulses, duration, delay):
    unit = device(version=version)
    unit.ask(CONTROL)
    assert unit.ask(encode_frame(duration)) == b"[\x89\x38"
    assert unit.ask(encode_frame(pulses)) == b"D\x89\x30"
    if delay is not None:
        before = b"n\x89\x30" + (b"\x00\x00" if version.startswith("10") else b"")
        assert unit.ask(encode_frame(delay)) == before
        assert unit.ask(say.ASK_SYSTEM_STATUS) == b"x\x89\x30\x00\x04"
        assert unit.ask(say.ASK_CHARGE_DELAY).endswith(b"0100")
    digits = unit.ask(say.ASK_RAPID_PARAMETERS)[3:].decode()
    assert say.RapidParameters.read(digits, Version.parse(version)) == say.RapidParameters(30, 0, 40, 40, 1)


async def test_from_software_9_up_it_is_silent_without_control_but_for_four_questions(device):
    unit = device(unlock_code=CODE)
    silent = [say.DISARM, say.ARM, say.ASK_VERSION, say.ASK_SYSTEM_STATUS, say.set_power(40), say.ASK_ERROR, CONTROL]
    assert [unit.ask(frame) for frame in silent] == [None] * len(silent)
    assert unit.ask(say.take_control(OTHER_CODE)) is None
    assert unit.ask(say.ASK_TEMPERATURE)[:2] == b"F\x09"
    assert unit.ask(say.ASK_RAPID_PARAMETERS)[:2] == b"\\\x09"
    assert unit.ask(say.RELEASE) == b"R\x09"
    assert unit.ask(say.take_control(CODE)) == b"Q\x89"
    assert unit.ask(say.ASK_VERSION) == b"NV11.0.0\x00"


async def test_an_unlock_code_is_not_written_down(device, tmp_path):
    log = tmp_path / "sim.jsonl"
    unit = device(unlock_code=CODE, log_path=log)
    unit.ask(say.take_control(OTHER_CODE))
    unit.ask(say.take_control(CODE))
    assert unit.simulator.controlled
    text = log.read_text()
    assert text.count('"in"') == 2
    assert CODE.encode().hex() not in text
    assert OTHER_CODE.encode().hex() not in text


async def test_what_damage_leaves_of_an_unlock_code_is_not_written_down(device, tmp_path):
    log = tmp_path / "sim.jsonl"
    unit = device(unlock_code=CODE, log_path=log)
    frame, framer = say.take_control(CODE), unit.simulator.framer()
    for damaged in (frame[1:], b"\x80" + frame, b"U" + frame[1:], b"Q-" + frame[2:]):
        for piece in framer.feed(damaged) + framer.give_up_pending():
            unit.take(piece)
    written = [bytes.fromhex(json.loads(line)["frame"]) for line in log.read_text().splitlines()]
    assert written.count(b"?") >= 4, "each was answered"
    assert all(piece.strip(b"*") in {b"", b"?"} for piece in written)


async def test_an_unlock_code_is_taken_from_a_file_that_nobody_else_may_read(device, tmp_path):
    file = tmp_path / "code"
    file.write_text(CODE + "\n")
    file.chmod(0o644)
    with pytest.raises(ValueError, match="0600"):
        device(unlock_code=f"@{file}")
    file.chmod(0o600)
    unit = device(unlock_code=f"@{file}")
    assert unit.ask(say.take_control(OTHER_CODE)) is None
    assert unit.ask(say.take_control(CODE)) == b"Q\x89"
    with pytest.raises(FileNotFoundError):
        device(unlock_code=f"@{tmp_path}/nowhere")


async def test_before_software_9_commands_without_control_conflict(device):
    unit = device(version="8.0.0")
    assert unit.ask(say.ARM) == b"ES"
    assert unit.ask(say.set_power(40)) == b"@S"
    assert unit.ask(say.DISARM) == b"E\x09"
    assert unit.ask(say.take_control(CODE)) == b"?"
    assert unit.ask(say.ASK_SYSTEM_STATUS) == b"?"


@pytest.mark.hazard("HZ-25")
@pytest.mark.parametrize("name", ["magstim-rapid2", "magstim-200", "magstim-bistim"])
async def test_a_simulator_tells_its_serial_number_to_who_asks_for_it_alone(device, name):
    unit = device(name)
    assert unit.ask(say.ASK_SERIAL) == b"F~SIM-7\x00"
    assert len(unit.ask(say.ASK_TEMPERATURE)) == 8


FRAMES = st.one_of(
    st.binary(max_size=12),
    st.builds(
        lambda letter, data: encode_frame(letter + data),
        st.sampled_from([bytes((byte,)) for byte in b"QRFE@ACXYZJ\\NI^_bB[Dxno"]),
        st.one_of(st.sampled_from([b"@", b"A", b"B", b"H", b"D"]), st.binary(max_size=6)),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["magstim-rapid2", "magstim-200", "magstim-bistim"]), st.lists(FRAMES, max_size=12))
async def test_whatever_is_said_to_it_it_answers_each_frame_at_most_once(name, frames):
    unit = Unit(name)
    try:
        framer = unit.simulator.framer()
        for frame in frames:
            for whole in framer.feed(frame) + framer.give_up_pending():
                unit.said.clear()
                unit.take(whole)
                assert len(unit.said) <= 1
        assert not framer.pending
    finally:
        unit.simulator.close()
