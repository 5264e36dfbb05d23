"""The envelope: CloudEvents in JSON, the same bytes for ever; the models of what is in it."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spoel_common.events import (
    MAX_ENVELOPE_BYTES,
    Command,
    Envelope,
    EventData,
    EventTooLarge,
    EventType,
    ForeignEvent,
    UtcTime,
    parse_event_type,
)


class Opened(EventData):
    service = "stimulation"
    event_name = "session-opened"
    event_version = 2
    session_id: str
    at: UtcTime | None = None


class OpenedElsewhere(ForeignEvent):
    service = "stimulation"
    event_name = "session-opened"
    session_id: str


class Open(Command):
    session_id: str


ATTRIBUTES = {
    "id": "019ab7d8-0000-7000-8000-000000000001",
    "source": "/spoel/local/stimulation/node-1",
    "type": "spoel.stimulation.session-opened.v2",
    "subject": "session-1",
    "time": datetime(2026, 11, 22, 10, 0, 0, 5, tzinfo=UTC),
    "aggregatetype": "session",
    "aggregateversion": 1,
    "correlationid": "c-1",
    "actorid": "person-1",
    "site": "local",
    "data": {"session_id": "session-1"},
}


def envelope(**changes: object) -> Envelope:
    return Envelope.model_validate(ATTRIBUTES | changes)


def test_an_envelope_is_a_cloud_event_without_the_attributes_that_are_absent():
    assert json.loads(envelope().to_bytes()) == ATTRIBUTES | {
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "time": "2026-11-22T10:00:00.000005Z",
        "actorroles": "",
    }


def test_extension_names_are_those_that_cloudevents_allows():
    for name in Envelope.model_fields:
        assert name.isascii()
        assert name.isalnum()
        assert name == name.lower()


def test_bytes_are_read_back_and_written_again_the_same():
    raw = envelope(room="room-1", simulated=True, supervisorid="s", data={"text": "é \u2028", "n": 1.5}).to_bytes()
    assert Envelope.from_bytes(raw).to_bytes() == raw


@settings(max_examples=25)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_any_data_survives_the_way_through_bytes(data):
    raw = envelope(data=data).to_bytes()
    assert Envelope.from_bytes(raw).data == data
    assert Envelope.from_bytes(raw).to_bytes() == raw


@pytest.mark.parametrize(
    "changes",
    [
        {"specversion": "0.3"},
        {"source": "spoel/local/intake/main"},
        {"source": "/spoel/local/in take/main"},
        {"subject": ""},
        {"aggregateversion": 0},
        {"time": "2026-11-22T10:00:00"},
        {"data": None},
        {"data": []},
        {"datacontenttype": "text/plain"},
    ],
)
def test_an_invalid_envelope_is_refused(changes):
    with pytest.raises(ValidationError):
        envelope(**changes)


def test_an_attribute_that_a_later_release_adds_is_ignored():
    assert envelope(partitionkey="later") == envelope()


def test_the_largest_envelope_is_taken_and_one_byte_more_is_not():
    room = MAX_ENVELOPE_BYTES - len(envelope(data={"text": ""}).to_bytes())
    assert len(envelope(data={"text": "x" * room}).to_bytes()) == MAX_ENVELOPE_BYTES
    with pytest.raises(EventTooLarge, match=r"spoel\.stimulation\.session-opened\.v2 would be 60001 bytes"):
        envelope(data={"text": "x" * (room + 1)}).to_bytes()


def test_times_are_written_in_utc_with_microseconds():
    moment = datetime(2026, 11, 22, 11, 0, tzinfo=timezone(timedelta(hours=1)))
    assert json.loads(envelope(time=moment).to_bytes())["time"] == "2026-11-22T10:00:00.000000Z"
    opened = Opened(session_id="s", at=moment)
    assert opened.model_dump(mode="json")["at"] == "2026-11-22T10:00:00.000000Z"
    assert opened.at.tzinfo is UTC


def test_a_type_is_taken_apart():
    assert Opened.event_type() == "spoel.stimulation.session-opened.v2"
    assert parse_event_type("spoel.stimulation.session-opened.v12") == EventType("stimulation", "session-opened", 12)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "spoel.intake.patient-registered",
        "spoel.intake.patient-registered.v0",
        "spoel.intake.patient_registered.v1",
        "spoel.intake.-registered.v1",
        "spoel.in-take.registered.v1",
        "spoel.intake.registered.v1\n",
        "other.intake.registered.v1",
    ],
)
def test_a_type_of_another_form_is_refused(wrong):
    with pytest.raises(ValueError, match="not of the form"):
        parse_event_type(wrong)


def test_own_events_and_commands_refuse_unknown_fields_and_foreign_events_ignore_them():
    for strict in (Opened, Open):
        with pytest.raises(ValidationError, match="Extra inputs"):
            strict(session_id="s", unknown=1)
    assert OpenedElsewhere(session_id="s", unknown=1) == OpenedElsewhere(session_id="s")


def test_events_are_not_changed():
    for model in (Opened(session_id="s"), OpenedElsewhere(session_id="s"), Open(session_id="s"), envelope()):
        with pytest.raises(ValidationError, match="frozen"):
            model.session_id = "t"
