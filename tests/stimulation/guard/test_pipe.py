"""One client at a socket of the guard: what it said before it was gone."""

import socket

import pytest

from spoel_stimulation.guard.loop import Loop, Order
from spoel_stimulation.guard.pipe import Pipe


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def connected(loop, *, hears_out):
    """Return a client, the guard's end of its connection, and what the guard has heard by now."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    heard = []
    pipe = Pipe(ours, loop, Order.CONTROL, heard.append, lambda: heard.append(b"gone"), hears_out=hears_out)
    return theirs, pipe, heard


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
def test_a_stop_that_was_asked_for_by_a_client_that_is_gone_is_heard_though_it_takes_no_answer(loop):
    client, pipe, heard = connected(loop, hears_out=True)
    client.sendall(b"stop")
    client.close()
    pipe.send(b"news of something else")
    pipe.send(b"more")
    loop.turn([])
    loop.turn([])
    assert heard == [b"stop", b"gone"]


def test_all_that_was_said_can_be_taken_at_once_before_another_client_is_let_in(loop):
    client, pipe, heard = connected(loop, hears_out=True)
    client.sendall(b"stop")
    client.close()
    pipe.hear_out()
    assert heard == [b"stop", b"gone"]


@pytest.mark.hazard("HZ-09")
def test_of_a_gone_room_process_nothing_more_reaches_the_device(loop):
    client, pipe, heard = connected(loop, hears_out=False)
    client.sendall(b"fire")
    client.close()
    pipe.send(b"answer of the device")
    loop.turn([])
    assert heard == [b"gone"]
