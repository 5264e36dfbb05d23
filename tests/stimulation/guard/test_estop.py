"""The emergency stop over HTTP: nothing is needed for it, and nobody can hold up another's."""

import json
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from tests.stimulation.guard.parts import DISABLE, Guard, Simulator, read_all, wait_for

from spoel_stimulation.guard.estop import MAX_CLIENTS, MAX_LINE_BYTES

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.hazard("HZ-10"), pytest.mark.requirement("ST-04")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One simulator and one guard for all tests here: a stop leaves nothing behind that another would notice."""
    folder = tmp_path_factory.mktemp("estop")
    with ExitStack() as stack:
        simulator = Simulator(folder)
        stack.callback(simulator.end)
        guard = Guard(folder, {"room-1": simulator.address})
        stack.callback(guard.end)
        yield guard.until_open(), simulator


@pytest.fixture
def guard(place):
    return place[0]


@pytest.fixture
def simulator(place):
    return place[1]


def connect(guard):
    connection = socket.create_connection(("127.0.0.1", guard.port), 5)
    connection.settimeout(15)
    return connection


def answer_of(data):
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /estop/room-1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /estop/room-1 HTTP/1.0\r\n\r\n",
        b"POST /estop/room-1?from=tablet HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST http://guard:8113/estop/room-1/ HTTP/1.1\r\nAuthorization: Bearer forged\r\n\r\n",
        b"\r\nPOST /estop/room%2D1 HTTP/1.1\nHost: x\n\n",
        b"post /estop/room-1 HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"x" * 500_000,
        b"POST /estop/room-1 HTTP/1.1\r\nX-Long: " + b"y" * 200_000,
        b"POST /estop/room-1\n",
    ],
    ids=["plain", "old", "body", "absolute", "escaped", "too-long-a-body", "endless-header", "hardly-http"],
)
def test_whatever_else_is_in_the_request_it_stops_and_answers(guard, simulator, request_):
    before = simulator.heard().count(DISABLE)
    status, body = answer_of(guard.ask(request_))
    assert (status, body["room_id"], body["outcome"]) == (200, "room-1", "confirmed")
    assert set(body["instruction"]) == {"nl", "en"}
    assert simulator.heard().count(DISABLE) > before


def test_the_disarm_leaves_before_the_rest_of_the_request_is_there(guard, simulator):
    before = simulator.heard().count(DISABLE)
    with connect(guard) as slow:
        slow.sendall(b"POST /estop/room-1 HTTP/1.1\r\nHos")
        wait_for(lambda: simulator.heard().count(DISABLE) > before, "the disarm")
        assert answer_of(read_all(slow))[0] == 200


def test_whoever_closes_its_side_after_asking_is_answered(guard):
    with connect(guard) as client:
        client.sendall(b"POST /estop/room-1 HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert answer_of(read_all(client))[1]["outcome"] == "confirmed"


def test_whoever_leaves_without_waiting_has_stopped_it_all_the_same(guard, simulator):
    before = simulator.heard().count(DISABLE)
    with connect(guard) as client:
        client.sendall(b"POST /estop/room-1 HTTP/1.1\r\n\r\n")
    wait_for(lambda: simulator.heard().count(DISABLE) > before, "the disarm")


def test_clients_that_say_nothing_or_little_hold_nobody_up(guard):
    with ExitStack() as stack:
        for number in range(MAX_CLIENTS + 50):
            idle = stack.enter_context(connect(guard))
            if number % 2:
                idle.sendall(b"POST /esto")
        began_s = time.monotonic()
        assert guard.stop()["outcome"] == "confirmed"
        assert time.monotonic() - began_s < 5, "it waited for the others' time-outs"


def test_a_first_line_without_an_end_is_refused(guard):
    status, body = answer_of(guard.ask(b"P" * (MAX_LINE_BYTES + 1)))
    assert status == 400
    assert str(MAX_LINE_BYTES) in body["detail"]


def test_many_at_once_are_all_answered(guard):
    answers = []

    def press():
        answers.append(guard.stop()["outcome"])

    pressing = [threading.Thread(target=press) for _ in range(40)]
    for one in pressing:
        one.start()
    for one in pressing:
        one.join()
    assert answers == ["confirmed"] * 40


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (b"POST /estop/room-9 HTTP/1.1\r\n\r\n", 404, "It has: room-1"),
        (b"POST /estop HTTP/1.1\r\n\r\n", 404, "POST /estop/{room}"),
        (b"GET / HTTP/1.1\r\n\r\n", 404, "POST /estop/{room}"),
        (b"DELETE /estop/room-1 HTTP/1.1\r\n\r\n", 405, "POST"),
        (b"\xff\xfe\x00\n", 404, "POST"),
    ],
)
def test_what_it_does_not_know_is_answered_and_stops_nothing(guard, simulator, request_, status, says):
    before = simulator.heard().count(DISABLE)
    found, body = answer_of(guard.ask(request_))
    assert found == status
    assert says in body["detail"]
    assert simulator.heard().count(DISABLE) == before


def test_looking_stops_nothing_and_shows_the_rooms(guard, simulator):
    before = simulator.heard().count(DISABLE)
    for path in (b"/estop", b"/health"):
        status, body = answer_of(guard.ask(b"GET " + path + b" HTTP/1.1\r\n\r\n"))
        assert (status, body["ready"]) == (200, True)
        assert [room["room_id"] for room in body["rooms"]] == ["room-1"]
    assert guard.look()["device"] == simulator.address
    assert simulator.heard().count(DISABLE) == before


def test_a_browser_page_of_another_address_may_stop_and_read_the_answer(guard):
    preflight = guard.ask(b"OPTIONS /estop/room-1 HTTP/1.1\r\nOrigin: http://tablet\r\n\r\n")
    assert b"Access-Control-Allow-Origin: *" in preflight
    assert preflight.startswith(b"HTTP/1.1 200")
    assert b"Access-Control-Allow-Origin: *" in guard.ask(b"POST /estop/room-1 HTTP/1.1\r\n\r\n")


def test_who_pressed_is_in_the_file_and_it_is_on_the_disk(guard):
    guard.stop()
    wait_for(lambda: guard.lines("stop")[-1]["by"] == "127.0.0.1", "the line on the disk")
    assert guard.lines("stop")[-1]["reason"] == "emergency"
