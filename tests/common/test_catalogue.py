"""The catalogue: the newest model of every event, older ones brought up, newer ones refused."""

import pytest
from pydantic import ValidationError
from tests.common.test_envelope import envelope

from spoel_common.events import Catalogue, ForeignEvent, NewerVersion, UpcasterMissing


class Opened(ForeignEvent):
    service = "stimulation"
    event_name = "session-opened"
    event_version = 3
    session_id: str
    room_id: str


UPCASTERS = {
    ("stimulation", "session-opened", 1): lambda data: {"session_id": data.pop("id")},
    ("stimulation", "session-opened", 2): lambda data: data | {"room_id": "room-1"},
}
CATALOGUE = Catalogue([Opened], UPCASTERS)


def opened(version: int, **data: object):
    return envelope(type=f"spoel.stimulation.session-opened.v{version}", data=data)


def test_the_newest_version_is_read_as_it_is():
    assert CATALOGUE.decode(opened(3, session_id="s", room_id="r", later=1)) == Opened(session_id="s", room_id="r")


def test_an_older_version_is_brought_up_step_by_step_and_the_envelope_stays_as_it_was():
    old = opened(1, id="s")
    assert CATALOGUE.decode(old) == Opened(session_id="s", room_id="room-1")
    assert old.data == {"id": "s"}


def test_an_unknown_name_is_none_and_a_newer_version_is_refused():
    assert CATALOGUE.decode(envelope(type="spoel.stimulation.room-opened.v9")) is None
    assert CATALOGUE.decode(envelope(type="spoel.intake.session-opened.v1")) is None
    with pytest.raises(NewerVersion, match="newer than v3"):
        CATALOGUE.decode(opened(4, session_id="s", room_id="r"))


def test_a_missing_upcaster_and_data_that_does_not_fit_are_errors():
    with pytest.raises(UpcasterMissing, match="from v1 to v2"):
        Catalogue([Opened]).decode(opened(1, id="s"))
    with pytest.raises(ValidationError):
        CATALOGUE.decode(opened(3, session_id="s"))


def test_what_is_known_is_told_by_service_and_name():
    assert CATALOGUE.models == [Opened]
    assert CATALOGUE.knows("spoel.stimulation.session-opened.v9")
    assert not CATALOGUE.knows("spoel.intake.session-opened.v1")
