"""What is missing is recorded, asked for at its owner, and filled with the original bytes (INV-3)."""

import asyncio

import pytest
from tests.common.shop import Shop
from tests.common.test_inbox import SEEN, Reader

from spoel_common.clock import SteppedClock
from spoel_common.events import Envelope, gap_detected
from spoel_common.gaps import gap_recorder
from spoel_common.messaging import Inbox, Resender, ensure_stream
from spoel_common.messaging.publish import publish_batch
from spoel_common.messaging.resend import (
    OwnerAway,
    ResendInvalid,
    ResendRefused,
    ResendRequest,
    ask_owner,
)
from spoel_common.store import START, EventStore, StoreName

pytestmark = pytest.mark.invariant("INV-3")


async def with_hole(shop: Shop, broker, missing: int) -> None:
    """Publish a store without its first events: the stream is made anew from a later sequence, as after damage."""
    await ensure_stream(broker, shop.name, 1)
    stored = await shop.store.read_after(START, 1_000)
    config = (await broker.jetstream.stream_info(shop.name.stream)).config
    await broker.jetstream.delete_stream(shop.name.stream)
    await broker.jetstream.add_stream(config.evolve(first_seq=missing + 1))
    await publish_batch(broker, shop.name, stored[missing:], 0)


def request(aggregate_id: str, first: int, last: int) -> ResendRequest:
    return ResendRequest(aggregate_type="counter", aggregate_id=aggregate_id, from_version=first, to_version=last)


@pytest.fixture
def answer(background, broker, eventually):
    """Return a function that runs a store's resender and waits until it answers."""

    async def start(shop: Shop) -> asyncio.Task:
        task = background(Resender(shop.store, broker).run())

        async def answers() -> bool:
            try:
                await ask_owner(broker, shop.name, request("nobody", 1, 1))
            except OwnerAway:
                return False
            except ResendRefused:
                return True

        await eventually(answers)
        return task

    return start


async def test_a_gap_is_filled_by_the_owner_and_the_held_events_apply(
    shop, other_database, broker, answer, new_sums, eventually
):
    await shop.count("a", 1, 2, 3)
    await shop.count("b", 10)
    await shop.count("a", 4)
    await with_hole(shop, broker, 2)
    await answer(shop)
    sums = await new_sums(other_database)

    await eventually(lambda: len(sums.committed) == 5)

    assert await sums.totals() == {("main", "a"): (10, 4), ("main", "b"): (10, 1)}
    assert sums.consumer.totals()["resent"] == 2
    assert sums.of(shop).stream_sequence == 5
    await eventually(lambda: sums.of(shop).held == 0)


async def test_while_the_owner_is_away_the_feed_goes_on_and_the_gap_is_filled_once_it_is_back(
    sqlite_shop, monkeypatch, broker, publish, answer, new_sums, eventually
):
    monkeypatch.setattr("spoel_common.messaging.resend._AWAY_S", 0.1)
    shop = sqlite_shop
    await shop.count("a", 1, 2, 3)
    await with_hole(shop, broker, 1)
    sums = await new_sums()
    await eventually(lambda: sums.consumer.totals()["gaps"] == 2)
    publish(shop)
    await shop.count("b", 7)
    await eventually(lambda: len(sums.committed) == 1)
    assert (await sums.consumer.counts())["gap"] == 2

    await answer(shop)

    await eventually(lambda: len(sums.committed) == 4)
    assert await sums.totals() == {("main", "a"): (6, 3), ("main", "b"): (7, 1)}


async def test_what_the_owner_does_not_have_is_asked_for_a_few_times_only(
    sqlite_shop, monkeypatch, broker, new_sums, eventually
):
    monkeypatch.setattr("spoel_common.messaging.resend.ASK_AGAIN_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr("spoel_common.messaging.consumer._LOOK_EVERY_S", 0.02)
    asked = []

    async def refuse(message) -> None:
        asked.append(message.data)
        await broker.client.publish(message.reply, headers={"Spoel-Problem": "the store has no such events"})

    await broker.client.subscribe(sqlite_shop.name.resend_subject, cb=refuse)
    await sqlite_shop.count("a", 1, 2)
    await with_hole(sqlite_shop, broker, 1)
    sums = await new_sums()
    await eventually(lambda: len(asked) == 3)
    await asyncio.sleep(0.3)

    assert [ResendRequest.model_validate_json(data) for data in asked] == [request("a", 1, 1)] * 3
    assert (await sums.consumer.counts())["gap"] == 1


async def test_a_long_gap_comes_in_several_answers(sqlite_shop, monkeypatch, broker, answer, new_sums, eventually):
    monkeypatch.setattr("spoel_common.messaging.consumer._LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("spoel_common.messaging.consumer._WAIT_S", 0.02)
    monkeypatch.setattr("spoel_common.messaging.resend.ANSWER_BYTES", 2_000)
    await sqlite_shop.count("a", *range(1, 21))
    await with_hole(sqlite_shop, broker, 19)
    await answer(sqlite_shop)
    first = await ask_owner(broker, sqlite_shop.name, request("a", 1, 19))
    assert 1 < len(first) < 19
    sums = await new_sums()

    await eventually(lambda: len(sums.committed) == 20, 20)

    assert await sums.totals() == {("main", "a"): (210, 20)}


async def test_an_answer_has_the_stored_bytes(shop, broker, answer):
    await shop.count("a", 1, 2, 3)
    await answer(shop)
    stored = await shop.store.read_after(START, 10)
    assert await ask_owner(broker, shop.name, request("a", 2, 9)) == [event.raw for event in stored[1:]]


async def test_an_event_as_large_as_may_be_fits_in_an_answer(sqlite_shop, broker, answer):
    large = sqlite_shop.envelope("a", 1)
    large = large.model_copy(update={"data": {"number": 1, "padding": "x" * 59_000}})
    await sqlite_shop.append("a", 0, large)
    await answer(sqlite_shop)
    assert await ask_owner(broker, sqlite_shop.name, request("a", 1, 1)) == [large.to_bytes()]


async def test_nobody_there_and_a_refusal_are_told_apart(sqlite_shop, broker, answer):
    with pytest.raises(OwnerAway, match="does not answer"):
        await ask_owner(broker, sqlite_shop.name, request("a", 1, 1))
    await answer(sqlite_shop)
    with pytest.raises(ResendRefused, match="no such events"):
        await ask_owner(broker, sqlite_shop.name, request("a", 1, 1))
    reply = await broker.client.request(sqlite_shop.name.resend_subject, b"{}", timeout=5)
    assert "not of the form" in reply.headers["Spoel-Problem"]


@pytest.mark.parametrize("changes", [{"subject": "b"}, {"aggregateversion": 3}, {"source": "/spoel/x/planning/main"}])
async def test_an_answer_with_something_else_is_not_used(sqlite_shop, broker, changes):
    async def forge(message) -> None:
        envelope = sqlite_shop.envelope("a", 1).model_copy(update=changes)
        await broker.client.publish(message.reply, envelope.to_bytes())

    await broker.client.subscribe(sqlite_shop.name.resend_subject, cb=forge)
    with pytest.raises(ResendInvalid):
        await ask_owner(broker, sqlite_shop.name, request("a", 1, 2))


async def test_an_answer_that_is_no_event_is_not_used(sqlite_shop, broker):
    async def forge(message) -> None:
        await broker.client.publish(message.reply, b"not an event")

    await broker.client.subscribe(sqlite_shop.name.resend_subject, cb=forge)
    with pytest.raises(ResendInvalid, match="no event"):
        await ask_owner(broker, sqlite_shop.name, request("a", 1, 2))


@pytest.fixture
async def recording(database, shop, site):
    """A reader whose gaps are recorded in a store of its own database, and that store."""
    reader = Reader(database, shop)
    own = EventStore(database, StoreName(site=site, service="planning"))
    reader.inbox = Inbox(
        reader.projection, database, shop.name.source, (), record_gap=gap_recorder(own, SteppedClock())
    )
    async with database.write() as conn:
        await conn.run_sync(SEEN.metadata.create_all)
    await reader.inbox.open("stream-1")
    return reader, own


async def recorded(own: EventStore) -> list[dict[str, object]]:
    stored = await own.read_after(START, 100)
    found = [Envelope.from_bytes(event.raw) for event in stored]
    assert {envelope.type for envelope in found} <= {"spoel.planning.gap-detected.v1"}
    assert all(envelope.actorid == "service:planning" for envelope in found)
    return [gap_detected("planning").model_validate(envelope.data).model_dump() for envelope in found]


async def test_a_gap_is_an_event_of_the_service_that_noticed_it_once(recording):
    reader, own = recording
    await reader.inbox.take(reader.messages(("a", 1), ("a", 4), ("b", 1)))
    await reader.inbox.take(reader.messages(("a", 5), ("a", 3)))

    assert await recorded(own) == [
        {
            "projection": "seen",
            "projection_version": 1,
            "source": reader.shop.name.source,
            "aggregate_type": "counter",
            "aggregate_id": "a",
            "last_version": 1,
            "came_version": 4,
        }
    ]


async def test_a_gap_that_was_filled_and_opens_again_is_another_one(recording):
    reader, own = recording
    await reader.inbox.take(reader.messages(("a", 2)))
    await reader.inbox.take(reader.messages(("a", 1), ("a", 4)))
    found = [(gap["last_version"], gap["came_version"]) for gap in await recorded(own)]
    assert found == [(0, 2), (2, 4)]


async def test_what_is_sent_again_is_taken_in_beside_the_stream(recording):
    reader, own = recording
    await reader.inbox.take(reader.messages(("a", 1), ("a", 4)))
    resent = [reader.message(reader.shop.envelope("a", version))._replace(sequence=0) for version in (2, 3)]

    outcome = await reader.inbox.take_resent(resent)

    assert await reader.seen() == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert (outcome.checkpoint.sequence, outcome.held, await reader.held()) == (2, 0, [])
    again = await reader.inbox.take_resent(resent)
    assert (again.counts["dropped"], len(await reader.seen()), len(await recorded(own))) == (2, 4, 1)


def test_the_event_of_a_gap_is_one_a_service():
    assert gap_detected("intake").event_type() == "spoel.intake.gap-detected.v1"
    assert gap_detected("intake") is gap_detected("intake")
