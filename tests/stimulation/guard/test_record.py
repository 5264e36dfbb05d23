"""The guard's file: numbered, flushed, read again after any end, and never waited for."""

import json

import pytest
from tests.stimulation.guard.parts import wait_for

from spoel_stimulation.guard.record import UNWRITTEN, Record

pytestmark = pytest.mark.invariant("INV-11")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "room-1.jsonl"


def lines_of(path):
    return [json.loads(text) for text in path.read_text().splitlines() if text]


def test_lines_are_numbered_from_one_and_go_on_after_a_restart_beyond_all_that_was_told_and_not_written(path):
    first = Record(path, lambda: 5)
    first.note("stop", reason="emergency")
    first.close()
    second = Record(path, lambda: 6)
    second.note("released", of=2)
    second.close()
    assert second.file_id == first.file_id
    assert [(line["n"], line["what"], line["utc_ns"]) for line in lines_of(path)] == [
        (1, "file", 5),
        (2, "stop", 5),
        (3 + UNWRITTEN, "released", 6),
    ]


def test_a_reserved_number_keeps_its_place(path):
    record = Record(path)
    number = record.reserve()
    record.note("disarm-sent")
    record.note("stop", number)
    record.close()
    assert {line["what"]: line["n"] for line in lines_of(path)} == {"file": 1, "disarm-sent": 3, "stop": 2}


def test_only_its_user_reads_it(path):
    Record(path).close()
    assert path.stat().st_mode & 0o077 == 0


def test_a_line_that_was_being_written_when_the_power_went_is_left_out_and_hides_no_other(path):
    record = Record(path)
    record.note("stop", reason="emergency", recorded=True, by="x")
    record.close()
    with path.open("a") as file:
        file.write('{"n": 3, "what": "outco')
    again = Record(path)
    assert [line["n"] for line in again.unfinished] == [2]
    again.note("link-up")
    again.close()
    third = Record(path)
    third.close()
    assert third.number == 3 + 2 * UNWRITTEN


def test_what_is_to_be_recorded_is_told_again_and_a_stop_without_an_outcome_is_known(path):
    record = Record(path)
    stopped = record.note("stop", reason="emergency")
    record.note("outcome", of=stopped["n"], outcome="confirmed")
    left = record.note("stop", reason="silence")
    record.close()
    again = Record(path)
    assert [line["of"] for line in again.told] == [stopped["n"]]
    assert [line["n"] for line in again.unfinished] == [left["n"]]
    again.close()


def test_a_file_that_was_taken_away_is_another_file(path):
    record = Record(path)
    record.close()
    path.unlink()
    other = Record(path)
    other.close()
    assert other.file_id != record.file_id


def test_a_disk_that_takes_nothing_holds_nobody_up_and_gets_everything_later(path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spoel_stimulation.guard.record.RETRY_S", 0.01)
    record = Record(path)
    monkeypatch.setattr("os.fsync", full)
    for number in range(100):
        record.note("stop", by=str(number))
    monkeypatch.undo()
    wait_for(lambda: len({line["n"] for line in lines_of(path)}) == 101, "all lines")
    record.close()
