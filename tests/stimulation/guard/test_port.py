"""What goes out to a device that takes nothing for a while."""

import socket

import pytest

from spoel_stimulation.devices.guarding import Line
from spoel_stimulation.guard.loop import Loop
from spoel_stimulation.guard.port import Port

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.hazard("HZ-10")]


class Owner:
    """Whom nothing concerns here."""

    def port_opened(self):
        pass


@pytest.fixture
def ends():
    pair = socket.socketpair()
    pair[0].settimeout(0)
    yield pair
    for end in pair:
        end.close()


def fill(end):
    sent = 0
    try:
        while True:
            sent += end.send(b"." * 4_096)
    except BlockingIOError:
        return sent


def test_a_frame_of_which_nothing_is_out_yet_does_not_go_before_a_disarm(ends):
    near, far = ends
    loop, left = Loop(), []
    port = Port("socket://127.0.0.1:1", Line(9_600), loop, Owner())
    port._opened(near, "")
    waiting = fill(near)
    port.put([b"fire", b"fire again"])
    port.put_first([b"disarm"], lambda: left.append("disarm"))
    while waiting:
        waiting -= len(far.recv(min(waiting, 65_536)))
    port.tick(0.0)
    assert far.recv(100) == b"disarm"
    assert left == ["disarm"]
    port.tick(0.0)
    port.put([b"ask"])
    assert far.recv(100) == b"ask"
    loop.close()


def test_a_frame_of_which_a_part_is_out_goes_on_before_it(ends):
    near, far = ends
    loop = Loop()
    port = Port("socket://127.0.0.1:1", Line(9_600), loop, Owner())
    port._opened(near, "")
    long = b"0123456789" * 1_000_000
    port.put([long, b"fire"])
    port.put_first([b"disarm"], lambda: None)
    heard = b""
    while len(heard) < len(long) + len(b"disarm"):
        heard += far.recv(65_536)
        port.tick(0.0)
    assert heard == long + b"disarm"
    loop.close()
