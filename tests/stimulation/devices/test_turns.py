"""The safety rule of every maker's adapter, without any device."""

import asyncio

import pytest

from spoel_stimulation.devices.adapter import DeviceError, NotReady, TrainSettings
from spoel_stimulation.devices.turns import Turns

TRAIN = TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=55)
OTHER = TRAIN.at(56)


class Device:
    """Whom a disarm reaches when it is let through."""

    def __init__(self, *, obeys=True):
        self.obeys = obeys
        self.let_through = asyncio.Event()
        self.asked = self.disarmed = 0
        self.noticed = []
        self.turns = Turns(self.disarm, self.noticed.append)

    async def disarm(self):
        self.asked += 1
        await self.let_through.wait()
        self.disarmed += 1
        return self.obeys

    def staged(self):
        with self.turns.one() as turn:
            turn.stage(TRAIN, "as staged")
        return self

    def armed(self):
        with self.staged().turns.one() as turn:
            turn.arm("as armed")
        return self


def nothing_stands(turns):
    assert (turns.expected, turns.armed) == (None, False)
    with pytest.raises(NotReady, match="Nothing is staged"):
        turns.staged()
    with pytest.raises(NotReady, match="not armed"):
        turns.armed_with(TRAIN)
    return True


def test_at_the_beginning_nothing_is_staged_or_armed():
    assert nothing_stands(Device().turns)


def test_what_is_staged_is_not_armed_and_only_that_may_be_started():
    turns = Device().staged().turns
    assert turns.staged() == (TRAIN, "as staged")
    with pytest.raises(NotReady, match="not armed"):
        turns.armed_with(TRAIN)
    with turns.one() as turn:
        turn.arm("as armed")
    assert turns.armed_with(TRAIN) == "as armed"
    with pytest.raises(NotReady, match="not the settings"):
        turns.armed_with(OTHER)


@pytest.mark.invariant("INV-9")
def test_there_is_one_turn_at_a_time_and_it_is_free_again_however_it_ended():
    turns = Device().turns
    with turns.one(), pytest.raises(NotReady, match="only disarm"), turns.one():
        pass
    with pytest.raises(ZeroDivisionError), turns.one():
        raise ZeroDivisionError
    with turns.one():
        pass


@pytest.mark.invariant("INV-8")
@pytest.mark.parametrize("act", ["stage", "expect", "arm"])
def test_a_voided_turn_does_not_stand_and_stages_and_arms_nothing(act):
    turns = Device().armed().turns
    with turns.one() as turn:
        assert turn.stands()
        turns.void()
        assert not turn.stands()
        arguments = (TRAIN, "late") if act == "stage" else ("late",)
        with pytest.raises(NotReady, match="disarmed in the meantime"):
            getattr(turn, act)(*arguments)
    assert nothing_stands(turns)


@pytest.mark.invariant("INV-2")
def test_a_turn_that_begins_anew_voids_what_was_staged_before_and_stands_itself():
    turns = Device().armed().turns
    with turns.one() as turn:
        turn.begin_anew()
        assert nothing_stands(turns)
        turn.stage(OTHER, "other", armed=True)
    assert turns.armed_with(OTHER) == "other"


async def test_a_block_that_comes_to_its_end_disarms_nothing():
    device = Device().staged()
    with device.turns.one() as turn:
        async with turn.or_disarmed():
            turn.arm("as armed")
    assert (device.asked, device.turns.armed) == (0, True)


@pytest.mark.parametrize("obeys", [True, False])
async def test_a_block_that_fails_disarms_and_only_then_says_so(obeys):
    device = Device(obeys=obeys).armed()
    device.let_through.set()
    with device.turns.one() as turn, pytest.raises(DeviceError):
        async with turn.or_disarmed():
            raise DeviceError("no answer")
    assert (device.disarmed, device.noticed) == (1, [])
    assert nothing_stands(device.turns)


async def begun(device):
    """A command that waits for ever in its turn."""

    async def command():
        with device.turns.one() as turn:
            async with turn.or_disarmed():
                await asyncio.Event().wait()

    task = asyncio.create_task(command())
    await asyncio.sleep(0)
    return task


@pytest.mark.hazard("HZ-09")
async def test_a_block_that_is_cancelled_ends_when_it_is_disarmed(until):
    device = Device().armed()
    task = await begun(device)
    task.cancel()
    await until(lambda: device.asked)
    assert nothing_stands(device.turns)
    assert not task.done()
    with pytest.raises(NotReady), device.turns.one():
        pass
    device.let_through.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (device.disarmed, device.noticed) == (1, [])


@pytest.mark.hazard("HZ-09")
@pytest.mark.parametrize("obeys", [True, False])
async def test_whoever_cancels_again_is_free_and_the_disarm_goes_on(until, obeys):
    device = Device(obeys=obeys).armed()
    task = await begun(device)
    for _ in range(2):
        task.cancel()
        await until(lambda: device.asked)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (device.disarmed, device.noticed) == (0, [])
    device.let_through.set()
    await until(lambda: device.disarmed)
    await until(lambda: obeys or device.noticed)
    assert [(strange.kind, "may be armed" in strange.detail) for strange in device.noticed] == (
        [] if obeys else [("change", True)]
    )
