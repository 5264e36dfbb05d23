"""The log entry: its bytes are final."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from spoel_audit.entry import MAX_ENTRY_BYTES, EntryTooLarge, commitment, entry_bytes
from spoel_audit.verify import check_event
from spoel_common.events import MAX_ENVELOPE_BYTES, Envelope

SALT = bytes(range(32))
RECORDED = datetime(2026, 11, 22, 10, 0, 0, 250_000, tzinfo=UTC)

EVENT_BYTES = (
    b'{"specversion":"1.0","id":"019aa9c4-0000-7000-8000-000000000001",'
    b'"source":"/spoel/local/stimulation/node-1","type":"spoel.stimulation.train-delivered.v1",'
    b'"subject":"019aa9c4-0000-7000-8000-0000000000aa","time":"2026-11-22T10:00:00.000000Z",'
    b'"datacontenttype":"application/json","aggregatetype":"session","aggregateversion":7,'
    b'"correlationid":"019aa9c4-0000-7000-8000-0000000000bb","actorid":"tech-1","actorroles":"tms-technician",'
    b'"supervisorid":"sup-1","site":"local","room":"room-1","data":{'
    b'"session_id":"019aa9c4-0000-7000-8000-0000000000aa","case_id":"019aa9c4-0000-7000-8000-0000000000cc",'
    b'"patient_id":"019aa9c4-0000-7000-8000-0000000000dd","room_id":"room-1","train_id":"t","pulses":40}}'
)

GOLDEN_ENTRY = (
    b'{"actor":"tech-1","case":"019aa9c4-0000-7000-8000-0000000000cc",'
    b'"commitment":"e79cb6dfe112246d6ac57b121e217e24d1c5b379b91fa3ce68316aed0ae6f27c",'
    b'"format":"spoel-entry/1","id":"019aa9c4-0000-7000-8000-000000000001",'
    b'"patient":"019aa9c4-0000-7000-8000-0000000000dd","recorded":"2026-11-22T10:00:00.250000Z","room":"room-1",'
    b'"session":"019aa9c4-0000-7000-8000-0000000000aa","source":"/spoel/local/stimulation/node-1",'
    b'"subject":"019aa9c4-0000-7000-8000-0000000000aa","time":"2026-11-22T10:00:00.000000Z",'
    b'"type":"spoel.stimulation.train-delivered.v1","version":7}'
)

GOLDEN_LEAF_HASH = "e670a1da1afd5b6407e0e3b3c7d3ff0d901ecf1d3fa9c5e497465f456bc12be5"


def envelope(**changes: object) -> Envelope:
    return Envelope.model_validate({**json.loads(EVENT_BYTES), **changes})


def made(event: Envelope) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(entry_bytes(event, event.to_bytes(), SALT, RECORDED))
    return parsed


@pytest.mark.requirement("AU-04")
def test_the_bytes_of_an_entry_are_these():
    entry = entry_bytes(Envelope.from_bytes(EVENT_BYTES), EVENT_BYTES, SALT, RECORDED)
    assert entry == GOLDEN_ENTRY
    assert hashlib.sha256(b"\x00" + entry).hexdigest() == GOLDEN_LEAF_HASH


def test_what_an_event_does_not_have_is_left_out():
    parsed = made(envelope(data={}, room=None))
    assert set(parsed) == set(json.loads(GOLDEN_ENTRY)) - {"case", "patient", "room", "session"}


def test_the_room_is_the_datas_or_else_the_envelopes():
    assert made(envelope(room="room-2"))["room"] == "room-1"
    assert made(envelope(data={}, room="room-2"))["room"] == "room-2"


@pytest.mark.parametrize("value", [7, None, "", ["x"], {"a": 1}, "x" * 201, "Jan de Vries", "a\x00b", "é", True])
def test_what_cannot_be_a_pseudonym_is_left_out(value):
    parsed = made(envelope(data={"patient_id": value, "session_id": "s"}))
    assert "patient" not in parsed
    assert parsed["session"] == "s"


def test_an_entry_holds_nothing_of_what_the_event_says():
    event = envelope(data={"sealed_reason": "c2VhbGVk", "answers": {"epilepsy": True}, "case_id": "c"})
    entry = entry_bytes(event, event.to_bytes(), SALT, RECORDED)
    assert b"sealed" not in entry
    assert b"epilepsy" not in entry


def test_escapes_are_those_of_the_canonical_form():
    subject = 'a"\\\b\t\n\f\r\x01\x7f\u20ac/'
    entry = entry_bytes(envelope(subject=subject), b"", SALT, RECORDED)
    assert '"subject":"a\\"\\\\\\b\\t\\n\\f\\r\\u0001\x7f\u20ac/"'.encode() in entry


def test_times_are_in_utc_with_microseconds():
    parsed = made(envelope(time="2026-11-22T11:00:00+01:00"))
    assert parsed["time"] == "2026-11-22T10:00:00.000000Z"


def test_the_same_event_with_another_salt_has_another_commitment():
    assert commitment(SALT, EVENT_BYTES) != commitment(bytes(32), EVENT_BYTES)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="32 bytes"):
        commitment(bytes(length), EVENT_BYTES)


def test_the_largest_envelope_has_an_entry_that_fits():
    room_for_subject = MAX_ENVELOPE_BYTES - len(envelope(subject="x").to_bytes())
    event = envelope(subject="x" * (room_for_subject + 1))
    assert len(event.to_bytes()) == MAX_ENVELOPE_BYTES
    assert len(entry_bytes(event, event.to_bytes(), SALT, RECORDED)) <= MAX_ENTRY_BYTES


def test_an_entry_that_would_not_fit_is_refused():
    with pytest.raises(EntryTooLarge):
        entry_bytes(envelope(subject="x" * MAX_ENTRY_BYTES), b"", SALT, RECORDED)


@pytest.mark.requirement("AU-04")
def test_separate_code_accepts_an_entry_with_its_event():
    entry = entry_bytes(Envelope.from_bytes(EVENT_BYTES), EVENT_BYTES, SALT, RECORDED)
    assert check_event(entry, SALT, EVENT_BYTES)


@pytest.mark.requirement("AU-04")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("case", "other"),
        ("patient", "other"),
        ("room", "room-2"),
        ("session", "other"),
        ("time", "2026-11-22T09:00:00.000000Z"),
        ("type", "spoel.stimulation.train-authorised.v1"),
        ("version", 8),
        ("actor", "somebody"),
        ("source", "/spoel/local/stimulation/node-2"),
        ("subject", "other"),
        ("id", "other"),
        ("format", "spoel-entry/2"),
        ("commitment", "00" * 32),
        ("extra", "x"),
    ],
)
def test_separate_code_refuses_an_entry_that_says_something_else_of_its_event(field, value):
    entry = json.loads(entry_bytes(Envelope.from_bytes(EVENT_BYTES), EVENT_BYTES, SALT, RECORDED))
    changed = json.dumps({**entry, field: value}, separators=(",", ":"), sort_keys=True).encode()
    assert not check_event(changed, SALT, EVENT_BYTES)


def test_separate_code_refuses_other_bytes_other_salt_and_other_writing():
    entry = entry_bytes(Envelope.from_bytes(EVENT_BYTES), EVENT_BYTES, SALT, RECORDED)
    assert not check_event(entry, SALT, EVENT_BYTES.replace(b'"pulses":40', b'"pulses":41'))
    assert not check_event(entry, SALT[:31], EVENT_BYTES)
    assert not check_event(entry, bytes(32), EVENT_BYTES)
    assert not check_event(entry.replace(b'{"actor"', b'{ "actor"'), SALT, EVENT_BYTES)
