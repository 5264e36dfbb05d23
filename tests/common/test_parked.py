"""What people decide about events that are kept aside. Both databases, no NATS."""

import asyncio
import itertools

import pytest
from sqlalchemy import text

from spoel_common.errors import NotFound
from spoel_common.events import Catalogue, ForeignEvent
from spoel_common.messaging import Inbox, Projection, list_held, parked
from spoel_common.messaging.pull import Delivery

pytestmark = pytest.mark.invariant("INV-3")

POISON = 13


class Seen(ForeignEvent):
    service = "intake"
    event_name = "counted"
    number: int


class Reader:
    """A read model that lists what it was given, and does not take the number 13 while it is poisonous."""

    def __init__(self, database, shop) -> None:
        self.database = database
        self.shop = shop
        self.poisonous = True
        self._sequence = itertools.count(1)
        self._projection = Projection("seen", 1, ("intake",), Catalogue([Seen]), self.apply)
        self.tries_again_after()

    def tries_again_after(self, *delays_s: float) -> None:
        self.inbox = Inbox(self._projection, self.database, self.shop.name.source, delays_s)

    async def apply(self, conn, envelope, decoded, _raw) -> None:
        if self.poisonous and decoded.number == POISON:
            raise ArithmeticError("cannot take this")
        values = {"aggregate": envelope.subject, "version": envelope.aggregateversion}
        await conn.execute(text("INSERT INTO seen (aggregate, version) VALUES (:aggregate, :version)"), values)

    async def take(self, *events, raw: bytes | None = None):
        """Take in events given as (aggregate, version, number); an envelope is taken as it is."""
        envelopes = [self.shop.envelope(*event) if isinstance(event, tuple) else event for event in events]
        deliveries = [
            Delivery(sequence, self.shop.name.subject_of(envelope), raw or envelope.to_bytes(), 7, sequence, "")
            for envelope, sequence in zip(envelopes, self._sequence, strict=False)
        ]
        return await self.inbox.take(deliveries)

    async def give_up(self, held_id: int) -> int:
        async with self.database.write() as conn:
            return await parked.discard(conn, await parked.locked(conn, held_id))

    async def replay(self, held_id: int) -> int:
        async with self.database.write() as conn:
            return await parked.replay(conn, await parked.locked(conn, held_id))

    async def seen(self) -> list[tuple[str, int]]:
        async with self.database.read() as conn:
            rows = await conn.execute(text("SELECT aggregate, version FROM seen ORDER BY aggregate, version"))
            return [tuple(row) for row in rows]

    async def aside(self) -> dict[int, tuple[str, int | None, str]]:
        found = await list_held(self.database, "seen", 1)
        return {event.held_id: (event.aggregate.id, event.version, event.state.value) for event in found}

    async def number_of(self, aggregate: str, version: int | None) -> int:
        return next(number for number, event in (await self.aside()).items() if event[:2] == (aggregate, version))


@pytest.fixture
async def reader(database, shop) -> Reader:
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE seen (aggregate TEXT, version INTEGER)"))
    reader = Reader(database, shop)
    await reader.inbox.open("stream-1")
    return reader


@pytest.fixture
async def stuck(reader) -> Reader:
    """Version 2 of ``a`` is parked for good, 3 and 4 are parked behind it."""
    await reader.take(("a", 1), ("a", 2, POISON), ("a", 3), ("b", 1), ("a", 4))
    assert list((await reader.aside()).values()) == [("a", 2, "parked"), ("a", 3, "parked"), ("a", 4, "parked")]
    return reader


async def test_what_was_parked_is_tried_again_from_the_first_whichever_is_named(stuck):
    stuck.poisonous = False
    assert await stuck.replay(await stuck.number_of("a", 4)) == 3
    assert list((await stuck.aside()).values()) == [("a", 2, "retry"), ("a", 3, "behind"), ("a", 4, "behind")]

    outcome = await stuck.inbox.retry_due()

    assert await stuck.seen() == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1)]
    assert ([event.aggregateversion for event in outcome.applied], outcome.held) == ([2, 3, 4], 0)


async def test_what_fails_again_is_parked_again_with_those_behind_it(stuck):
    before = await stuck.aside()
    await stuck.replay(await stuck.number_of("a", 2))
    await stuck.inbox.retry_due()
    assert await stuck.aside() == before


async def test_behind_a_discarded_event_the_later_ones_apply_in_order(stuck):
    assert await stuck.give_up(await stuck.number_of("a", 2)) == 2
    await stuck.take(("a", 5), ("b", 2))
    outcome = await stuck.inbox.retry_due()

    assert await stuck.seen() == [("a", 1), ("a", 3), ("a", 4), ("a", 5), ("b", 1), ("b", 2)]
    assert (outcome.held, await stuck.aside()) == (0, {})


async def test_a_discarded_event_that_stood_alone_leaves_nothing_to_wait_for(reader):
    await reader.take(("a", 1), reader.shop.envelope("a", 2, data={}))
    assert await reader.give_up(await reader.number_of("a", 2)) == 0
    outcome = await reader.take(("a", 3))
    assert (await reader.seen(), outcome.held) == ([("a", 1), ("a", 3)], 0)


async def test_a_discarded_event_that_comes_again_is_dropped_and_other_bytes_raise_the_alarm(reader):
    wrong = reader.shop.envelope("a", 1, data={})
    await reader.take(wrong)
    await reader.give_up(await reader.number_of("a", 1))

    again, other = await reader.take(wrong), await reader.take(("a", 1))

    assert (again.counts["dropped"], again.counts["alarms"]) == (1, 0)
    assert (other.counts["dropped"], other.counts["alarms"]) == (1, 1)
    assert await reader.seen() == []


async def test_what_is_missing_behind_a_discarded_event_is_still_waited_for(reader):
    await reader.take(reader.shop.envelope("a", 1, data={}), ("a", 3))
    await reader.give_up(await reader.number_of("a", 1))
    await reader.inbox.retry_due()
    assert list((await reader.aside()).values()) == [("a", 3, "gap")]
    await reader.take(("a", 2))
    assert (await reader.seen(), await reader.aside()) == ([("a", 2), ("a", 3)], {})


async def test_two_poisonous_events_are_decided_one_after_the_other(reader):
    wrong = [reader.shop.envelope("a", version, data={}) for version in (1, 2)]
    await reader.take(*wrong, ("a", 3))
    await reader.give_up(await reader.number_of("a", 1))
    await reader.inbox.retry_due()
    assert list((await reader.aside()).values()) == [("a", 2, "parked"), ("a", 3, "parked")]
    await reader.give_up(await reader.number_of("a", 2))
    await reader.inbox.retry_due()
    assert (await reader.seen(), await reader.aside()) == ([("a", 3)], {})


async def test_an_event_behind_a_parked_one_is_not_discarded_before_it(stuck):
    before, first = await stuck.aside(), await stuck.number_of("a", 2)
    with pytest.raises(parked.NotNextInLine, match=f"waits behind {first}, version 2") as refused:
        await stuck.give_up(await stuck.number_of("a", 3))
    assert (refused.value.facts, await stuck.aside()) == ({"first": first}, before)


async def test_only_what_is_parked_can_be_discarded(reader):
    reader.tries_again_after(60.0)
    await reader.take(("a", 1, POISON), ("b", 2))
    before = await reader.aside()
    with pytest.raises(parked.NotNextInLine, match="still being tried"):
        await reader.give_up(await reader.number_of("a", 1))
    with pytest.raises(parked.NotNextInLine, match="has not come"):
        await reader.give_up(await reader.number_of("b", 2))
    with pytest.raises(parked.NotNextInLine, match="has not come"):
        await reader.replay(await reader.number_of("b", 2))
    assert await reader.aside() == before


async def test_an_event_whose_next_try_is_far_away_is_tried_at_once_when_a_person_wants_it(reader):
    reader.tries_again_after(60.0)
    await reader.take(("a", 1, POISON), ("a", 2))
    assert (await reader.inbox.retry_due()).counts == {}
    reader.poisonous = False
    await reader.replay(await reader.number_of("a", 1))
    await reader.inbox.retry_due()
    assert await reader.seen() == [("a", 1), ("a", 2)]


async def test_bytes_that_are_no_event_are_only_removed(stuck):
    await stuck.take(stuck.shop.envelope("a", 5), raw=b"not an event")
    before, invalid = await stuck.aside(), await stuck.number_of("a", None)
    with pytest.raises(parked.NotNextInLine, match="no event that could be applied"):
        await stuck.replay(invalid)
    assert await stuck.give_up(invalid) == 0
    assert await stuck.aside() == {number: event for number, event in before.items() if number != invalid}


async def test_a_number_that_is_not_there_is_refused(reader):
    with pytest.raises(NotFound, match="No event 7"):
        await reader.replay(7)


async def test_a_discard_that_is_rolled_back_changes_nothing(stuck):
    before = await stuck.aside()

    async def discard_and_fail() -> None:
        async with stuck.database.write() as conn:
            await parked.discard(conn, await parked.locked(conn, await stuck.number_of("a", 2)))
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await discard_and_fail()
    assert (await stuck.aside(), (await stuck.inbox.retry_due()).counts) == (before, {})


async def test_the_consumer_waits_while_a_person_decides_and_two_people_decide_once(stuck):
    number = await stuck.number_of("a", 2)
    async with stuck.database.write() as conn:
        event = await parked.locked(conn, number)
        consuming = asyncio.create_task(stuck.take(("a", 5)))
        other = asyncio.create_task(stuck.give_up(number))
        done, _ = await asyncio.wait([consuming, other], timeout=0.3)
        assert not done
        await parked.discard(conn, event)

    results = await asyncio.gather(consuming, other, return_exceptions=True)
    await stuck.inbox.retry_due()

    assert isinstance(results[1], NotFound)
    assert await stuck.seen() == [("a", 1), ("a", 3), ("a", 4), ("a", 5), ("b", 1)]


async def test_lists_are_cut_into_pages_and_narrowed(stuck):
    await stuck.take(("c", 2))
    async with stuck.database.read() as conn:
        first = await parked.read_held(conn, limit=3)
        rest = await parked.read_held(conn, after_id=first[-1].held_id, limit=3)
        gaps = await parked.read_held(conn, limit=3, state=parked.State.GAP)
        others = await parked.read_held(conn, limit=3, projection="other")
        behind = [await parked.count_behind(conn, event) for event in first]
        firsts = [await parked.is_first(conn, event) for event in first]
    assert [event.version for event in first] == [2, 3, 4]
    assert [event.aggregate.id for event in rest] == ["c"]
    assert (gaps, others) == (rest, [])
    assert (behind, firsts) == ([2, 1, 0], [True, False, False])
