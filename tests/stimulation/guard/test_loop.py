"""The guard's loop: who wants to stop comes first, and an error in one thing ends nothing else."""

import socket
import time

import pytest

from spoel_stimulation.guard.loop import Loop, Order

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.invariant("INV-11")]


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def pairs():
    made = [socket.socketpair() for _ in Order]
    yield made
    for pair in made:
        for one in pair:
            one.close()


def test_what_is_ready_at_one_time_is_dealt_with_in_the_order_of_its_weight(loop, pairs):
    dealt_with = []
    for order, (near, far) in zip(reversed(Order), pairs, strict=True):
        loop.watch(near, order, lambda order=order, **_: dealt_with.append(order))
        far.send(b"x")
    loop.turn([])
    assert dealt_with == sorted(Order)


def test_an_error_in_one_thing_ends_nothing_else_and_is_shown(loop, pairs, capsys):
    dealt_with = []

    def fail(*_, **__):
        raise ValueError("a frame that nobody thought of")

    (first, first_far), (second, second_far) = pairs[:2]
    loop.watch(first, Order.DEVICE, fail)
    loop.watch(second, Order.HOST, lambda **_: dealt_with.append("second"))
    first_far.send(b"x")
    second_far.send(b"x")
    loop.call(fail)
    loop.turn([fail, lambda _now_s: dealt_with.append("tick") or 0.0])
    assert dealt_with == ["tick", "second"]
    assert "nobody thought of" in capsys.readouterr().err


def test_what_was_let_go_in_a_turn_is_not_dealt_with_any_more_in_that_turn(loop, pairs):
    (first, first_far), (second, second_far) = pairs[:2]
    dealt_with = []
    loop.watch(first, Order.ESTOP, lambda **_: loop.forget(second))
    loop.watch(second, Order.HOST, lambda **_: dealt_with.append("second"))
    first_far.send(b"x")
    second_far.send(b"x")
    loop.turn([])
    assert dealt_with == []


def test_another_thread_s_work_wakes_it(loop):
    done = []
    loop.call(lambda: done.append(True))
    began_s = time.monotonic()
    loop.turn([lambda _now_s: 60.0])
    assert done == [True]
    assert time.monotonic() - began_s < 10
