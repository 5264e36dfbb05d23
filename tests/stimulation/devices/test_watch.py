"""What nobody asked for: disarmed first, then told, once a kind; and who waits on a line for which answer."""

import asyncio

import pytest

from spoel_stimulation.devices.adapter import BadChecksum, Counters, LinkLost, Unasked
from spoel_stimulation.devices.link import Questions
from spoel_stimulation.devices.magpro.account import Account
from spoel_stimulation.devices.watch import NoCounter, Watch

PATIENT_S = 10.0


def counted(pulses):
    return Counters(trains=0, pulses=pulses, stimuli=pulses)


class Told:
    """A watch, what it did and told, in order."""

    def __init__(self, evidence, *, obeys=True):
        self.obeys = obeys
        self.disarms = 0
        self.told = asyncio.Queue()
        self.watch = Watch(self.disarm, evidence, self.told)
        self.watch.active = True

    async def disarm(self):
        self.disarms += 1
        await asyncio.sleep(0)
        return self.obeys

    def notice(self, kind, detail="x", pulses=0):
        self.watch.notice(Unasked(kind=kind, detail=detail, pulses=pulses))

    async def all_told(self):
        await self.watch.stop()
        return [self.told.get_nowait() for _ in range(self.told.qsize())]


@pytest.mark.hazard("HZ-08")
@pytest.mark.parametrize("obeys", [True, False])
async def test_an_outburst_is_answered_with_one_disarm_and_told_once_a_kind(obeys):
    watched = Told(NoCounter(sum), obeys=obeys)
    for kind, detail in (("link-lost", "c"), ("change", "a"), ("pulse", "p"), ("change", "b"), ("change", "a")):
        watched.notice(kind, detail)
    told = await watched.all_told()
    assert [(one.kind, one.detail, one.disarmed) for one in told] == [
        ("pulse", "p", obeys),
        ("change", "a; b", obeys),
        ("link-lost", "c", obeys),
    ]
    assert watched.disarms == 1


async def test_what_is_noticed_before_it_is_active_or_after_it_was_stopped_is_not_told():
    watched = Told(NoCounter(sum))
    watched.watch.active = False
    watched.notice("change")
    assert (await watched.all_told(), watched.disarms) == ([], 0)


@pytest.mark.hazard("HZ-08")
@pytest.mark.parametrize(("of_noticed", "pulses"), [(sum, 3), (max, 2)])
async def test_without_a_counter_pulses_are_those_noticed(of_noticed, pulses):
    watched = Told(NoCounter(of_noticed))
    watched.notice("pulse", pulses=1)
    watched.notice("pulse", pulses=2)
    (told,) = await watched.all_told()
    assert (told.pulses, told.device_total_pulses) == (pulses, None)


@pytest.mark.hazard("HZ-08")
@pytest.mark.parametrize(("before", "after", "pulses"), [(100, 105, 5), (100, 101, 2), (None, 105, 2), (100, None, 2)])
async def test_a_counter_finds_the_pulses_that_were_not_heard(before, after, pulses):
    async def ask():
        return None if after is None else counted(after)

    account = Account(ask, lambda: None)
    account.counters = known = None if before is None else counted(before)
    watched = Told(account)
    watched.notice("pulse", pulses=2)
    (told,) = await watched.all_told()
    assert (told.pulses, told.device_total_pulses) == (pulses, after)
    assert account.counters == (known if after is None else counted(after)), "accounted for from now on"


class Line:
    """A line that takes everything."""

    def __init__(self):
        self.bad_frames = 0
        self.questions = Questions("the device", lambda: self.bad_frames)

    def ask(self, name, *answers, timeout_s=PATIENT_S):
        async def send():
            """Nothing gets lost."""

        return asyncio.create_task(self.questions.ask(name, send, lambda message: message in answers, timeout_s))


async def test_an_answer_goes_to_the_first_who_waits_for_it():
    line = Line()
    first, second, other = line.ask("1", "a"), line.ask("2", "a"), line.ask("3", "b")
    await asyncio.sleep(0)
    assert line.questions.waits_for("b")
    assert not line.questions.waits_for("c")
    for message in ("a", "c", "b"):
        line.questions.answer(message)
    assert (await first, await other) == ("a", "b")
    assert not second.done()
    line.questions.answer("a")
    assert await second == "a"


async def test_who_is_told_that_nothing_comes_waits_no_longer():
    line = Line()
    start, question = line.ask("EH", "E"), line.ask("F@", "F")
    await asyncio.sleep(0)
    line.questions.end("E")
    with pytest.raises(LinkLost, match="EH was not answered"):
        await start
    assert not question.done()
    line.questions.end()
    with pytest.raises(LinkLost):
        await question


@pytest.mark.parametrize(("damaged", "error"), [(False, LinkLost), (True, BadChecksum)])
async def test_damage_is_told_from_silence(damaged, error):
    line = Line()
    asking = line.ask("F@", "F", timeout_s=0.01)
    await asyncio.sleep(0)
    line.bad_frames += damaged
    with pytest.raises(error, match="F@ to the device was not answered"):
        await asking
    assert not line.questions.waits_for("F")
