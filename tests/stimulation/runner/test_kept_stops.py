"""A stop that was pressed is recorded once, whatever happens between the press and the record (INV-8, HZ-16)."""

import asyncio
import json
import os
import sqlite3
import sys
from datetime import UTC, datetime

import pytest
from tests.stimulation.story import PATTERN_10HZ, PATTERN_ITBS, treatment_order

from spoel_common.ids import new_id
from spoel_common.settings import CannotStart
from spoel_stimulation.runner.journal import Journal
from spoel_stimulation.runner.kept_stops import KeptStop, KeptStops

pytestmark = [pytest.mark.invariant("INV-8")]

STOP = "/rooms/room-1/emergency-stop"
SHORT = PATTERN_ITBS.model_copy(update={"trains": 3})


async def hanging(*_args):
    await asyncio.Event().wait()


def stop_file(clinic):
    return clinic.folder / "room-1-stops.json"


async def on_disk(clinic, **facts):
    def there():
        path = stop_file(clinic)
        kept = json.loads(path.read_text()) if path.exists() else []
        return any(all(stop[name] == value for name, value in facts.items()) for stop in kept)

    await clinic.until(there, f"{facts} in the file of stops")


async def pressed_and_gone(clinic, monkeypatch, path_of):
    """Press a stop whose record the journal does not take, and go down; return the session, and what was answered."""
    async with clinic.opened():
        session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
        monkeypatch.setattr(clinic.room.journal, "emergency", hanging)
        headers = {"Authorization": "Bearer petra"}
        answer = (await clinic.client.post(path_of(session_id), headers=headers)).json()
        await on_disk(clinic, person="petra", outcome=answer["outcome"])
        assert await clinic.events("emergency-stopped") == []
    monkeypatch.undo()
    return session_id, answer


async def test_a_stop_that_was_not_recorded_when_the_room_closed_is_recorded_once_at_the_next_start(
    closed_clinic, monkeypatch
):
    session_id, answer = await pressed_and_gone(closed_clinic, monkeypatch, lambda _session_id: STOP)
    for _ in range(2):
        async with closed_clinic.opened() as clinic:
            (stopped,) = await clinic.until_event("emergency-stopped")
            assert (stopped["session_id"], stopped["person"]) == (session_id, "petra")
            assert stopped["outcome"] == answer["outcome"] == "confirmed"
            await clinic.until(lambda: not clinic.room.holds, "the record is known to be there")
            assert (await clinic.until_state(session_id, "closed"))["reason"] == "emergency-stop"
            assert not stop_file(clinic).exists()


@pytest.mark.hazard("HZ-16")
async def test_so_is_a_loss_of_consciousness_and_the_patient_is_blocked(closed_clinic, monkeypatch):
    session_id, _ = await pressed_and_gone(
        closed_clinic, monkeypatch, lambda session_id: f"/sessions/{session_id}/loss-of-consciousness"
    )
    async with closed_clinic.opened() as clinic:
        (reported,) = await clinic.until_event("adverse-event-reported")
        assert (reported["session_id"], reported["person"]) == (session_id, "petra")
        assert (await clinic.session(session_id))["reason"] == "loss-of-consciousness"


@pytest.mark.hazard("HZ-16")
async def test_a_loss_after_the_session_blocks_the_patient_in_every_room_of_the_node_before_it_is_recorded(
    two_rooms_closed, monkeypatch
):
    closed = two_rooms_closed
    async with closed.opened() as clinic:
        session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
        await clinic.ask(session_id, "stop", reason="patient-asked")
        monkeypatch.setattr(clinic.room.journal, "emergency", hanging)
        await clinic.client.post(f"/sessions/{session_id}/loss-of-consciousness")
        await on_disk(clinic, lost=session_id)
        refused = await clinic.open(await clinic.book(room_id="room-2"), room_id="room-2")
        assert refused.json()["type"].endswith("patient-blocked")
    monkeypatch.undo()
    monkeypatch.setattr("spoel_stimulation.runner.journal.Journal.emergency", hanging)
    async with closed.opened() as clinic:
        await clinic.ready("room-2")
        refused = await clinic.open(await clinic.book(room_id="room-2"), room_id="room-2")
        assert refused.json()["type"].endswith("patient-blocked")
        await clinic.ready()
        assert not clinic.room.look().device.ready, "in its own room nothing begins before it is recorded"
    monkeypatch.undo()
    async with closed.opened() as clinic:
        await clinic.until_event("adverse-event-reported")
        await clinic.ready("room-2")
        refused = await clinic.open(await clinic.book(room_id="room-2"), room_id="room-2")
        assert refused.json()["type"].endswith("patient-blocked")


async def test_a_stop_whose_record_was_committed_and_not_known_to_be_is_not_recorded_again(closed_clinic, monkeypatch):
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        monkeypatch.setattr(clinic.room.stops._kept, "forget", lambda _stop_id: None)
        await clinic.client.post(STOP)
        await clinic.until_event("emergency-stopped")
    monkeypatch.undo()
    async with closed_clinic.opened() as clinic:
        await clinic.ready()
        await clinic.until(lambda: not clinic.room.holds, "it is seen that it is recorded")
        assert len(await clinic.events("emergency-stopped")) == 1


async def test_one_that_cannot_be_recorded_keeps_no_other_from_its_record_and_stays_in_the_file(
    closed_clinic, monkeypatch
):
    first, second = kept(), kept(person="petra")
    stop_file(closed_clinic).write_text(f"[{first.model_dump_json()}, {second.model_dump_json()}]")
    emergency = Journal.emergency

    async def failing(journal, stop, told=None):
        if stop == first:
            raise RuntimeError("a fault of the journal's code")
        await emergency(journal, stop, told)

    monkeypatch.setattr(Journal, "emergency", failing)
    async with closed_clinic.opened() as clinic:
        (stopped,) = await clinic.until_event("emergency-stopped")
        assert stopped["person"] == "petra"
        await clinic.until(lambda: KeptStops(stop_file(clinic)).found == [first], "only the other is kept")
        assert clinic.room.holds, "nothing begins before it is recorded"


async def test_a_disk_that_does_not_answer_holds_up_neither_stop_nor_record(clinic, monkeypatch):
    monkeypatch.setattr(clinic.room.stops._kept, "write", hanging)
    assert (await clinic.client.post(STOP)).json()["outcome"] == "confirmed"
    await clinic.until_event("emergency-stopped")
    await clinic.until_latched("emergency-stop")
    await clinic.until(lambda: not clinic.room.holds, "the room may go on")


@pytest.mark.hazard("HZ-16")
async def test_a_process_that_is_killed_with_its_journal_locked_has_kept_the_loss(closed_clinic, tmp_path):
    address = closed_clinic.settings.rooms[0].address
    command = (sys.executable, "-m", "tests.stimulation.runner.losing_process")
    told = (str(tmp_path), closed_clinic.clock.to_setting(), address)
    child = await asyncio.create_subprocess_exec(*command, *told, stdout=asyncio.subprocess.PIPE, env=os.environ)
    locker = None
    try:
        async with asyncio.timeout(60):
            while not (line := (await child.stdout.readline()).decode()).startswith("pressed "):
                assert line, "it ended"
                if line.startswith("running"):
                    locker = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
                    locker.execute("BEGIN EXCLUSIVE")
                    child.send_signal(10)
        await on_disk(closed_clinic, lost=line.split()[1])
    finally:
        child.kill()
        await child.wait()
        if locker is not None:
            locker.close()
    async with closed_clinic.opened() as clinic:
        (reported,) = await clinic.until_event("adverse-event-reported")
        assert reported["session_id"] == line.split()[1]


# --- the file


def kept(**facts):
    return KeptStop(stop_id=new_id(), stopped_at=datetime(2026, 1, 1, tzinfo=UTC), **facts)


async def test_the_file_is_for_its_owner_alone_and_gone_when_all_is_recorded(tmp_path):
    path = tmp_path / "room-1-stops.json"
    stops = KeptStops(path)
    first, second = kept(lost="session-1"), kept(person="petra")
    stops.keep(first)
    stops.keep(second)
    await stops.write()
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeptStops(path).found == [first, second]
    assert stops.lost == {"session-1"}
    stops.forget(first.stop_id)
    await stops.write()
    assert KeptStops(path).found == [second]
    stops.forget(second.stop_id)
    stops.forget(second.stop_id)
    await stops.write()
    assert not path.exists()
    assert len(stops) == 0
    stops.close()


async def test_a_disk_that_fails_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("spoel_stimulation.runner.kept_stops.RETRY_S", 0.01)
    folder = tmp_path / "later"
    stops = KeptStops(folder / "room-1-stops.json")
    stops.keep(kept())
    keeping = asyncio.create_task(stops.write())
    await asyncio.sleep(0.05)
    assert not keeping.done()
    folder.mkdir()
    await keeping
    assert len(KeptStops(folder / "room-1-stops.json").found) == 1
    stops.close()


def test_a_file_that_cannot_be_read_keeps_the_node_from_starting(tmp_path):
    path = tmp_path / "room-1-stops.json"
    path.write_text('[{"stop_id": "half')
    with pytest.raises(CannotStart, match="room-1-stops"):
        KeptStops(path)
