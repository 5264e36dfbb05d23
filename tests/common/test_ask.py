"""Request and reply: each request answered once by one of several, and the asker told what happened."""

import asyncio

import pytest

from spoel_common.messaging import Broker, BrokerAway, NatsSettings, NobodyAnswers, answer, ask, ask_subject


@pytest.fixture
def subject(site):
    return ask_subject(site, "intake", "open")


async def until_heard(broker, subject, eventually):
    async def heard():
        try:
            return await ask(broker, subject, b"hello", 5.0)
        except NobodyAnswers:
            return False

    await eventually(heard)


async def test_of_several_processes_one_answers_each_request_and_slow_ones_do_not_hold_up_others(
    broker, connect, subject, background, eventually
):
    seen = []
    gate = asyncio.Event()

    async def reply(request):
        seen.append(request)
        if request == b"slow":
            await gate.wait()
        return b"answer to " + request

    for name in ("intake-1", "intake-2"):
        background(answer(await connect(name), subject, reply))
    await until_heard(broker, subject, eventually)
    slow = [asyncio.create_task(ask(broker, subject, b"slow", 20.0)) for _ in range(4)]
    await eventually(lambda: seen.count(b"slow") == 4)
    numbers = [str(number).encode() for number in range(50)]
    answers = await asyncio.gather(*(ask(broker, subject, number, 10.0) for number in numbers))
    assert answers == [b"answer to " + number for number in numbers]
    gate.set()
    assert set(await asyncio.gather(*slow)) == {b"answer to slow"}
    assert sorted(request for request in seen if request in numbers) == sorted(numbers)


async def test_an_answer_that_fails_ends_in_the_askers_time_and_the_next_is_answered(
    broker, connect, subject, background, eventually
):
    async def reply(request):
        if request == b"bad":
            raise ValueError("cannot")
        return request

    background(answer(await connect("intake-1"), subject, reply))
    await until_heard(broker, subject, eventually)
    with pytest.raises(TimeoutError):
        await ask(broker, subject, b"bad", 0.3)
    assert await ask(broker, subject, b"good", 5.0) == b"good"


async def test_where_nobody_listens_or_nats_is_away_the_asker_is_told_at_once(broker, subject):
    with pytest.raises(NobodyAnswers):
        await ask(broker, subject, b"x", 5.0)
    away = Broker(NatsSettings(servers=("nats://127.0.0.1:1",)), "away")
    with pytest.raises(BrokerAway):
        await ask(away, subject, b"x", 5.0)


async def test_requests_are_answered_again_after_the_server_was_killed(
    own_nats, subject, connect, background, eventually
):
    asker, answerer = await connect("asker", own_nats.settings), await connect("answerer", own_nats.settings)

    async def reply(request):
        return request

    background(answer(answerer, subject, reply))
    await until_heard(asker, subject, eventually)
    own_nats.kill()
    await eventually(lambda: not asker.connected)
    with pytest.raises(BrokerAway):
        await ask(asker, subject, b"x", 0.3)
    own_nats.start()

    async def answered():
        try:
            return await ask(asker, subject, b"again", 0.5) == b"again"
        except (BrokerAway, TimeoutError):
            return False

    await eventually(answered, within_s=30)
