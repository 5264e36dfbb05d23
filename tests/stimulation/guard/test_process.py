"""A guard, a simulated device and a room process, each a process of its own, on the real wire."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from tests.stimulation.guard.parts import (
    ASK,
    DISABLE,
    ENABLE,
    FIRE_TRAIN,
    TIMING_PAGE,
    Guard,
    RoomProcess,
    Simulator,
    frame,
    timing,
    wait_for,
)

from spoel_stimulation.guard.record import UNWRITTEN

pytestmark = [pytest.mark.invariant("INV-11"), pytest.mark.hazard("HZ-09")]


@contextmanager
def beating(room, every_s=0.25):
    """Beat beside the test, as a room's process does."""
    over = threading.Event()

    def beat():
        while not over.wait(every_s):
            room.beat()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_a_train(room, simulator, **train):
    room.armed(**train)
    room.send(FIRE_TRAIN)
    before = simulator.pulses
    wait_for(lambda: simulator.pulses > before + 2, "a train under way")


def fires_no_more(simulator):
    """Return the count of pulses, which stands still for longer than two pulses' interval."""
    count = simulator.pulses
    time.sleep(0.35)
    assert simulator.pulses == count
    return count


def test_it_knows_nothing_of_web_databases_brokers_or_event_loops():
    script = (
        "import sys, spoel_stimulation.guard.__main__\n"
        "from spoel_stimulation.guard.makers import MAKERS, guarded\n"
        "[guarded(maker) for maker in MAKERS]\n"
        "print([name for name in ('asyncio', 'fastapi', 'sqlalchemy', 'nats', 'numpy', 'pydantic', 'serialx')"
        " if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_the_first_frame_to_a_device_is_disarm_and_nothing_fires_before_a_release(guard, room, simulator):
    assert simulator.heard()[0] == DISABLE
    room.hello()
    room.send(ENABLE, FIRE_TRAIN, "0301", ASK)
    wait_for(lambda: simulator.heard()[-1] == ASK, "what may pass")
    assert not {ENABLE, FIRE_TRAIN, "0301"} & set(simulator.heard())


def test_what_the_device_says_passes_unchanged(guard, room, simulator):
    room.hello()
    room.heard()
    room.send("05", "0c00")
    answers = wait_for(lambda: [body for body in room.heard() if body.startswith("0c")], "the answer")
    said = [entry["frame"][4:-4] for entry in simulator.entries() if entry.get("dir") == "out"]
    assert answers[0] in said


@pytest.mark.invariant("INV-8")
def test_a_stop_never_lands_inside_another_frame(guard, room, simulator):
    room.armed()
    long = frame("0901010000030200c80064")
    cuts = (1, 2, 7, len(long) - 1)
    with beating(room):
        for cut in cuts:
            room.data.sendall(long[:cut])
            before = simulator.heard().count(DISABLE)
            stopping = threading.Thread(target=guard.stop)
            stopping.start()
            wait_for(lambda before=before: simulator.heard().count(DISABLE) > before, "the disarm")
            room.data.sendall(long[cut:])
            stopping.join()
    heard = simulator.heard()
    assert heard.count(long[2:-2].hex()) == len(cuts), "each got through whole, behind the stop"
    assert set(heard) <= {DISABLE, ASK, long[2:-2].hex(), *heard[: heard.index(ENABLE) + 1]}


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
def test_in_mid_train_it_disarms_confirms_and_holds(guard, room, simulator):
    in_a_train(room, simulator)
    answer = guard.stop()
    assert (answer["room_id"], answer["outcome"]) == ("room-1", "confirmed")
    assert answer["instruction"]["nl"].startswith("Gestopt")
    count = fires_no_more(simulator)
    room.send(ENABLE, FIRE_TRAIN, ASK)
    room.until_record()
    wait_for(lambda: simulator.heard()[-1] == ASK, "what may pass")
    assert simulator.heard().count(ENABLE) == 1
    assert simulator.pulses == count


@pytest.mark.invariant("INV-8")
def test_at_the_devices_own_pace_a_train_is_stopped_and_confirmed_too(start, tmp_path):
    simulator = start(Simulator(tmp_path, pace=()))
    guard = start(Guard(tmp_path, {"room-1": simulator.address})).until_open()
    room = start(RoomProcess(guard))

    def ten_hz_holds():
        room.send("0b00")
        told = wait_for(lambda: [body for body in room.heard() if body.startswith("0b")], "the answer")
        return "00640028" in told[-1]

    with beating(room):
        assert room.release() is None
        room.send(DISABLE, TIMING_PAGE, timing(10, 40))
        wait_for(ten_hz_holds, "settings that hold")
        room.send(ENABLE, FIRE_TRAIN)
        wait_for(lambda: simulator.pulses > 2, "a train under way")
        assert guard.stop()["outcome"] == "confirmed"
    assert fires_no_more(simulator) < 40


def test_a_room_process_that_is_silent_for_a_second_has_its_device_disarmed(guard, room, simulator):
    in_a_train(room, simulator, pulses=80)
    silent_since_s = time.monotonic()
    told = room.until_record()
    assert (told["reason"], told["outcome"]) == ("silence", "confirmed")
    assert time.monotonic() - silent_since_s < 8
    assert fires_no_more(simulator) < 80


def test_one_that_beats_is_left_alone(guard, room, simulator):
    room.armed(pulses=30)
    with beating(room):
        room.send(FIRE_TRAIN)
        wait_for(lambda: simulator.pulses == 30, "the whole train")
    assert guard.lines("stop")[-1]["reason"] == "port-opened"


CHILD = """
import json, sys, time
from pathlib import Path
from types import SimpleNamespace
from tests.stimulation.guard.parts import FIRE_TRAIN, RoomProcess
room = RoomProcess(SimpleNamespace(directory=Path(sys.argv[1])))
room.armed(pulses=int(sys.argv[2]))
room.send(FIRE_TRAIN)
print(json.dumps({"fired": True}), flush=True)
while True:
    room.beat()
    time.sleep(0.2)
"""


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["SIGSTOP", "SIGKILL"])
def test_a_room_process_that_is_stopped_or_killed_in_a_train_leaves_at_most_its_rest(guard, simulator, number):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(guard.directory), "60"], stdout=subprocess.PIPE, env=os.environ
    )
    try:
        assert json.loads(child.stdout.readline()) == {"fired": True}
        wait_for(lambda: simulator.pulses > 2, "a train under way")
        time.sleep(1.2)  # longer than the guard waits: it is the beats that keep the device armed
        assert simulator.pulses > 10
        child.send_signal(number)
        reason = {signal.SIGSTOP: "silence", signal.SIGKILL: "room-gone"}[number]
        told = wait_for(lambda: guard.lines("outcome")[1:], "the stop's outcome")
        assert [(line["reason"], line["outcome"]) for line in told] == [(reason, "confirmed")]
        assert fires_no_more(simulator) < 60
        child.send_signal(signal.SIGCONT)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_second_room_process_does_not_get_the_device_while_the_first_is_alive(guard, room, start, simulator):
    room.armed(pulses=30)
    with beating(room):
        room.send(FIRE_TRAIN)
        other = start(RoomProcess(guard))
        assert other.data.recv(1) == b""
        wait_for(lambda: simulator.pulses == 30, "the first one's train")


def test_a_guard_that_was_killed_disarms_first_when_it_is_back_and_holds(guard, room, simulator, start, tmp_path):
    in_a_train(room, simulator, pulses=300)
    heard = len(simulator.heard())
    guard.end(signal.SIGKILL)
    assert room.data.recv(65_536) is not None
    again = start(Guard(tmp_path, {"room-1": simulator.address}))
    wait_for(lambda: len(simulator.heard()) > heard, "a first frame")
    assert simulator.heard()[heard] == DISABLE
    again.until_open()
    assert fires_no_more(simulator) < 300
    back = start(RoomProcess(again))
    back.hello()
    back.send(ENABLE, ASK)
    wait_for(lambda: simulator.heard()[-1] == ASK, "what may pass")
    assert simulator.heard().count(ENABLE) == 1
    numbers = [line["n"] for line in again.lines()]
    assert len(numbers) == len(set(numbers))
    assert max(numbers) > UNWRITTEN, "it goes on far behind the first"


def test_a_stop_whose_outcome_the_guard_did_not_live_to_see_is_told_as_not_confirmed(
    guard, room, simulator, start, tmp_path
):
    in_a_train(room, simulator)
    simulator.fault("disable-ignored")
    asking = threading.Thread(target=lambda: guard.ask(b"POST /estop/room-1 HTTP/1.1\r\n\r\n"), daemon=True)
    asking.start()
    wait_for(lambda: guard.lines("stop")[1:], "the stop is on the disk")
    guard.end(signal.SIGKILL)
    again = start(Guard(tmp_path, {"room-1": simulator.address}))
    asking.join()
    told = start(RoomProcess(again, data=False)).hello_and_record()
    assert (told["reason"], told["outcome"]) == ("emergency", "not-confirmed")


def test_an_old_release_does_not_lift_a_newer_stop(guard, room, simulator):
    first = room.hello()["held"]
    guard.stop()
    assert "newer" in room.release(first)
    room.send(ENABLE, ASK)
    wait_for(lambda: simulator.heard()[-1] == ASK, "what may pass")
    assert ENABLE not in simulator.heard()
    assert room.release() is None


@pytest.mark.hazard("HZ-10")
@pytest.mark.invariant("INV-8")
@pytest.mark.parametrize("fault", ["disable-after-train", "disable-ignored", "go-silent"])
def test_a_device_that_does_not_stop_is_not_confirmed_and_disarm_goes_on(guard, room, simulator, fault):
    in_a_train(room, simulator, pulses=40)
    simulator.fault(fault)
    answer = guard.stop()
    assert answer["outcome"] == "not-confirmed"
    assert "Til de spoel op" in answer["instruction"]["nl"]
    assert "Lift the coil" in answer["instruction"]["en"]
    count = simulator.heard().count(DISABLE)
    wait_for(lambda: simulator.heard().count(DISABLE) > count + 1, "more disarms")
    assert "read back" in room.release()
    simulator.fault(fault, "clear")
    wait_for(lambda: guard.look()["enabled"] is False, "the device is disabled at last")
    told = wait_for(lambda: guard.lines("outcome")[1:], "the line on the disk")
    assert [line["outcome"] for line in told] == ["not-confirmed"]


@pytest.mark.hazard("HZ-10")
def test_with_an_unplugged_device_it_is_not_confirmed_and_disarms_when_it_is_plugged_in(
    guard, room, simulator, start, tmp_path
):
    room.hello()
    port, log = simulator.tcp, len(simulator.heard())
    simulator.end(signal.SIGKILL)
    wait_for(lambda: room.data.recv(65_536) == b"", "the room's process sees that the device is gone")
    assert guard.stop()["outcome"] == "not-confirmed"
    back = start(Simulator(tmp_path, tcp=port))
    wait_for(lambda: len(back.heard()) > log, "a first frame")
    assert back.heard()[log] == DISABLE
    wait_for(lambda: guard.look()["device_open"], "open again")


def test_told_to_end_it_disarms_first(guard, room, simulator):
    in_a_train(room, simulator)
    assert guard.end(signal.SIGTERM) == 0
    assert fires_no_more(simulator) < 40
    assert [line["what"] for line in guard.lines()][-1] in {"ended", "room-disconnected"}
    assert [line["reason"] for line in guard.lines("outcome")][-1] == "ending"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SPOEL_ROOMS", "no", "JSON"),
        ("SPOEL_ROOMS", "[]", "no room"),
        ("SPOEL_ROOMS", '[{"room_id": "Room 1", "address": "/dev/ttyS0"}]', "Room 1"),
        ("SPOEL_ROOMS", '[{"room_id": "room-1", "address": "elsewhere"}]', "elsewhere"),
        ("SPOEL_ROOMS", '[{"room_id": "room-1", "address": "/dev/ttyS0", "device": "toaster"}]', "toaster"),
        ("SPOEL_ROOMS", '[{"room_id":"a","address":"/dev/x"},{"room_id":"b","address":"/dev/x"}]', "same address"),
        ("SPOEL_ROOMS", '[{"room_id": "room-1", "address": "/dev/ttyS0", "device": "manual"}]', "manual"),
        ("SPOEL_GUARD_PORT", "http", "http"),
        ("SPOEL_GUARD_DIR", "", "SPOEL_GUARD_DIR"),
        ("SPOEL_CLOCK", "{}", "SPOEL_CLOCK"),
        ("SPOEL_GUARD_BIND", "192.0.2.1", "assign"),
    ],
)
def test_a_setting_with_which_it_cannot_run_is_named(tmp_path, name, value, says):
    good = {
        "SPOEL_ROOMS": '[{"room_id": "room-1", "address": "socket://127.0.0.1:9"}]',
        "SPOEL_GUARD_DIR": str(tmp_path / "guard"),
        "SPOEL_GUARD_PORT": "0",
    }
    command = [sys.executable, "-m", "spoel_stimulation.guard"]
    ended = subprocess.run(
        command, env=os.environ | good | {name: value}, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
