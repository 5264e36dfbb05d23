"""What a guard did and could not write down before it died is recorded once all the same."""

import asyncio
import json

import pytest

from spoel_stimulation.devices.local_socket import listen
from spoel_stimulation.devices.magpro.guarding import MagProGuarded
from spoel_stimulation.guard.loop import Loop
from spoel_stimulation.guard.room import GuardedRoom
from spoel_stimulation.runner.guard import GuardClient

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.invariant("INV-11"), pytest.mark.hazard("HZ-10")]

BEGUN = {"held": 7, "reason": "emergency", "armed": True, "request": "", "by": "10.0.0.9", "utc_ns": 5}
OUTCOME = {"n": 8, "of": 7, "outcome": "confirmed", "reason": "emergency", "by": "10.0.0.9", "request": ""}
OUTCOME |= {"stopped_utc_ns": 5}


class Room:
    """Records what it is told, each line at the second attempt only where it is ``forgetful``."""

    def __init__(self, *, forgetful=False):
        self.told = []
        self._to_forget = {8, 10} if forgetful else set()

    def guard_stopped(self):
        pass

    def guard_lost(self, detail):
        pass

    async def guard_told(self, told):
        if told.number in self._to_forget:
            self._to_forget.remove(told.number)
            raise RuntimeError("of a kind that nobody thought of")
        self.told.append(told)


class DyingGuards:
    """Guards that say these lines after each hello, one guard after the other; each but the last dies then."""

    def __init__(self, path, *lives):
        self._listener, self._lives = listen(path), list(lives)

    async def live(self):
        loop = asyncio.get_running_loop()
        with self._listener:
            while self._lives:
                connection, _ = await loop.sock_accept(self._listener)
                with connection:
                    await loop.sock_recv(connection, 4_096)
                    lines = self._lives.pop(0)
                    await loop.sock_sendall(connection, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
                    if not self._lives:
                        await asyncio.Event().wait()


def welcome(*to_come, file="f"):
    return {"welcome": "room-1", "file": file, "device": "d", "held": 1_000_009, "to_come": to_come}


async def told_by(tmp_path, eventually, *lives, room=None):
    """Return what a room was told by guards with these lives, once it may go on."""
    path = tmp_path / "room-1.control"
    guards = DyingGuards(path, *lives)

    async def nothing_recorded():
        return "f", 0

    room, client = room or Room(), GuardClient("room-1", path, "d", nothing_recorded)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(client.run(room)), tasks.create_task(guards.live())]
        await eventually(lambda: client.up and client._held == 1_000_009 and not guards._lives)
        await eventually(lambda: not client.stopping)
        for task in running:
            task.cancel()
    return room.told


async def test_a_stop_that_no_guard_knows_any_more_is_recorded_as_not_confirmed_and_the_room_goes_on(
    tmp_path, eventually
):
    (told,) = await told_by(tmp_path, eventually, [welcome(), BEGUN], [welcome()])
    assert (told.file_id, told.number, told.of, told.outcome) == ("f", 8, 7, "not-confirmed")
    assert (told.reason, told.by) == ("emergency", "10.0.0.9")


async def test_it_is_also_where_the_guards_file_is_gone_too(tmp_path, eventually):
    (told,) = await told_by(tmp_path, eventually, [welcome(), BEGUN], [welcome(file="other")])
    assert (told.file_id, told.of) == ("f", 7)


async def test_a_stop_whose_outcome_the_new_guard_has_is_recorded_as_that_says_and_once(tmp_path, eventually):
    lives = [welcome(), BEGUN], [welcome(7), {"record": OUTCOME}]
    (told,) = await told_by(tmp_path, eventually, *lives)
    assert (told.number, told.outcome) == (8, "confirmed")


async def test_a_line_that_cannot_be_recorded_is_tried_again_before_any_later_one(tmp_path, eventually):
    later = OUTCOME | {"n": 10, "of": 9}
    lives = [welcome(7, 9), {"record": OUTCOME}, {"record": later}]
    told = await told_by(tmp_path, eventually, lives, room=Room(forgetful=True))
    assert [line.number for line in told] == [8, 10]


async def test_a_stop_of_a_guard_that_does_not_say_whether_the_device_was_armed_counts_as_one_that_was(
    tmp_path, eventually
):
    silent = {name: value for name, value in BEGUN.items() if name != "armed"}
    (told,) = await told_by(tmp_path, eventually, [welcome(), silent], [welcome()])
    assert (told.armed, told.outcome) == (True, "not-confirmed")


async def test_an_outcome_that_comes_before_the_guards_welcome_is_recorded_once_as_a_line_of_its_file(
    tmp_path, eventually
):
    (told,) = await told_by(tmp_path, eventually, [{"record": OUTCOME}, welcome(7), {"record": OUTCOME}])
    assert (told.file_id, told.number, told.outcome) == ("f", 8, "confirmed")


def test_an_outcome_that_may_have_been_told_before_has_the_number_under_which_it_was_told(tmp_path):
    stop = {"n": 7, "utc_ns": 5, "what": "stop", "reason": "emergency", "by": "10.0.0.9", "armed": True}
    lines = [{"n": 1, "utc_ns": 1, "what": "file", "file": "f"}, stop | {"request": ""}]
    path = tmp_path / "room-1.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    loop = Loop()
    room = GuardedRoom("room-1", "socket://127.0.0.1:1", MagProGuarded(), tmp_path, loop, lambda: 6)
    room.close()
    loop.close()
    written = [json.loads(text) for text in path.read_text().splitlines() if text]
    (outcome,) = [line for line in written if line["what"] == "outcome"]
    assert (outcome["n"], outcome["of"], outcome["outcome"]) == (8, 7, "not-confirmed")
