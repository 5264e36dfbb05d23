"""The inbox: once and in order, or kept aside; nothing half. Both databases, no NATS."""

import asyncio
import itertools
import random

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text
from tests.common.shop import Shop

from spoel_common.events import Catalogue, Envelope, ForeignEvent
from spoel_common.messaging import Inbox, Projection, State, list_held
from spoel_common.messaging.aside import count_held
from spoel_common.messaging.inbox import read_checkpoints
from spoel_common.messaging.pull import Delivery
from spoel_common.store import Cursor

pytestmark = pytest.mark.invariant("INV-3")

SEEN = Table(
    "seen",
    MetaData(),
    Column("n", Integer, primary_key=True),
    Column("aggregate", String),
    Column("version", Integer),
    Column("number", Integer),
)
POISON = 13


class Seen(ForeignEvent):
    service = "intake"
    event_name = "counted"
    number: int


CATALOGUE = Catalogue([Seen])


class Reader:
    """A read model that lists what it was given, and fails on what it is told to fail on."""

    def __init__(self, database, shop: Shop, *, batches: bool = False, catalogue=CATALOGUE, delays=(0.0, 0.0)) -> None:
        self.database = database
        self.shop = shop
        self.poisonous = {POISON}
        self.calls: list[int] = []
        self._sequence = itertools.count(1)
        how = {"apply_batch": self.apply_batch} if batches else {"apply": self.apply}
        self.projection = Projection("seen", 1, ("intake",), catalogue, **how)
        self.inbox = Inbox(self.projection, database, shop.name.source, delays)

    async def apply(self, conn, envelope, decoded, raw) -> None:
        assert envelope.to_bytes() == raw
        number = envelope.data["number"]
        row = {"aggregate": envelope.subject, "version": envelope.aggregateversion, "number": number}
        await conn.execute(insert(SEEN).values(row))
        if number in self.poisonous:
            raise ArithmeticError(f"cannot take {number}")

    async def apply_batch(self, conn, events) -> None:
        self.calls.append(len(events))
        for event in events:
            await self.apply(conn, *event)

    def message(self, envelope: Envelope, raw: bytes | None = None) -> Delivery:
        sequence = next(self._sequence)
        subject = self.shop.name.subject_of(envelope)
        return Delivery(sequence, subject, raw or envelope.to_bytes(), 7, sequence * 10, "")

    def messages(self, *versions: tuple[str, int] | tuple[str, int, int]) -> list[Delivery]:
        return [self.message(self.shop.envelope(*version)) for version in versions]

    async def seen(self) -> list[tuple[str, int]]:
        async with self.database.read() as conn:
            rows = await conn.execute(select(SEEN.c.aggregate, SEEN.c.version).order_by(SEEN.c.n))
            return [(row.aggregate, row.version) for row in rows]

    async def held(self) -> list[tuple[str, int | None, str]]:
        found = await list_held(self.database, "seen", 1)
        return [(event.aggregate.id, event.version, event.state.value) for event in found]


@pytest.fixture
def new_reader(database, shop):
    async def make(**options) -> Reader:
        reader = Reader(database, shop, **options)
        async with database.write() as conn:
            await conn.run_sync(SEEN.metadata.create_all)
        await reader.inbox.open("stream-1")
        return reader

    return make


@pytest.fixture
async def reader(new_reader) -> Reader:
    return await new_reader()


async def test_events_are_applied_in_order_and_the_checkpoint_follows(reader):
    outcome = await reader.inbox.take(reader.messages(("a", 1), ("b", 1), ("a", 2)))

    assert await reader.seen() == [("a", 1), ("b", 1), ("a", 2)]
    assert [(envelope.subject, envelope.aggregateversion) for envelope in outcome.applied] == await reader.seen()
    assert outcome.checkpoint == ("stream-1", 3, Cursor(7, 30))
    assert (outcome.held, outcome.stop, outcome.counts["applied"]) == (0, None, 3)
    assert await read_checkpoints(reader.database, reader.projection) == {
        reader.shop.name.source: (outcome.checkpoint, 0)
    }


async def test_the_same_messages_again_change_nothing(reader):
    messages = reader.messages(("a", 1), ("a", 2))
    await reader.inbox.take(messages)
    again = await reader.inbox.take([*messages, *reader.messages(("a", 3))])

    assert await reader.seen() == [("a", 1), ("a", 2), ("a", 3)]
    assert again.counts["redelivered"] == 2


async def test_an_event_that_was_published_a_second_time_is_dropped(reader):
    envelope = reader.shop.envelope("a", 1)
    await reader.inbox.take([reader.message(envelope)])
    outcome = await reader.inbox.take([reader.message(envelope)])

    assert await reader.seen() == [("a", 1)]
    assert (outcome.counts["dropped"], outcome.counts["alarms"], outcome.checkpoint.sequence) == (1, 0, 2)


async def test_other_bytes_for_a_version_that_was_applied_raise_an_alarm(reader):
    await reader.inbox.take(reader.messages(("a", 1, 5), ("a", 2, 5)))
    outcome = await reader.inbox.take(reader.messages(("a", 1, 6)))

    assert await reader.seen() == [("a", 1), ("a", 2)]
    assert (outcome.counts["dropped"], outcome.counts["alarms"]) == (1, 1)


async def test_bytes_are_compared_with_the_latest_versions_only(reader):
    await reader.inbox.take(reader.messages(*(("a", version) for version in range(1, 18))))
    outcome = await reader.inbox.take(reader.messages(("a", 1), ("a", 2)))
    assert (outcome.counts["dropped"], outcome.counts["alarms"]) == (2, 1)


async def test_events_behind_a_gap_are_held_until_it_fills(reader):
    outcome = await reader.inbox.take(reader.messages(("a", 1), ("a", 4), ("a", 3), ("b", 1)))
    assert await reader.seen() == [("a", 1), ("b", 1)]
    assert await reader.held() == [("a", 3, "gap"), ("a", 4, "gap")]
    assert (outcome.counts["gaps"], outcome.held) == (2, 2)

    outcome = await reader.inbox.take(reader.messages(("a", 2)))
    assert await reader.seen() == [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert [envelope.aggregateversion for envelope in outcome.applied] == [2, 3, 4]
    assert (await reader.held(), outcome.held) == ([], 0)


async def test_a_gap_that_fills_in_part_holds_the_rest(reader):
    await reader.inbox.take(reader.messages(("a", 2), ("a", 4), ("a", 5)))
    await reader.inbox.take(reader.messages(("a", 1)))
    assert await reader.seen() == [("a", 1), ("a", 2)]
    assert await reader.held() == [("a", 4, "gap"), ("a", 5, "gap")]


async def test_a_held_event_that_comes_twice_is_held_once(reader):
    envelope = reader.shop.envelope("a", 2)
    await reader.inbox.take([reader.message(envelope), reader.message(envelope)])
    assert await reader.held() == [("a", 2, "gap")]


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_and_any_repetition_gives_the_same_result(reader, seed):
    chance = random.Random(seed)
    envelopes = [reader.shop.envelope(name, version) for name in "abc" for version in range(1, 9)]
    sent = envelopes + chance.choices(envelopes, k=10)
    chance.shuffle(sent)
    while sent:
        size = chance.randint(1, 7)
        outcome = await reader.inbox.take([reader.message(envelope) for envelope in sent[:size]])
        sent = sent[size:]

    seen = await reader.seen()
    assert len(seen) == 24
    for name in "abc":
        assert [version for aggregate, version in seen if aggregate == name] == list(range(1, 9))
    assert (outcome.held, await reader.held()) == (0, [])


@pytest.mark.parametrize("batches", [False, True])
async def test_a_poison_event_is_parked_with_the_later_ones_of_its_aggregate_only(new_reader, batches):
    reader = await new_reader(batches=batches)
    first = await reader.inbox.take(reader.messages(("a", 1), ("a", 2, POISON), ("b", 1), ("a", 3), ("b", 2)))
    assert await reader.seen() == [("a", 1), ("b", 1), ("b", 2)]
    assert await reader.held() == [("a", 2, "retry"), ("a", 3, "behind")]
    assert (first.checkpoint.sequence, first.held, first.counts["failed"]) == (5, 2, 1)

    second = await reader.inbox.retry_due()
    assert (second.counts["failed"], second.counts["parked"]) == (1, 0)
    third = await reader.inbox.retry_due()
    assert (third.counts["failed"], third.counts["parked"]) == (1, 1)
    assert (await reader.inbox.retry_due()).counts["failed"] == 0

    await reader.inbox.take(reader.messages(("a", 4), ("b", 3)))
    assert await reader.seen() == [("a", 1), ("b", 1), ("b", 2), ("b", 3)]
    assert await reader.held() == [("a", 2, "parked"), ("a", 3, "parked"), ("a", 4, "parked")]
    assert await count_held(reader.database, "seen", 1) == {"gap": 0, "retry": 0, "behind": 0, "parked": 3}
    poison = (await list_held(reader.database, "seen", 1))[0]
    assert (poison.tries, poison.error) == (3, "ArithmeticError: cannot take 13")


async def test_an_event_that_succeeds_at_a_later_try_releases_those_behind_it(reader):
    await reader.inbox.take(reader.messages(("a", 1, POISON), ("a", 2), ("a", 4)))
    assert await reader.held() == [("a", 1, "retry"), ("a", 2, "behind"), ("a", 4, "behind")]
    reader.poisonous.clear()

    outcome = await reader.inbox.retry_due()

    assert await reader.seen() == [("a", 1), ("a", 2)]
    assert [envelope.aggregateversion for envelope in outcome.applied] == [1, 2]
    assert await reader.held() == [("a", 4, "gap")]
    await reader.inbox.take(reader.messages(("a", 3)))
    assert await reader.seen() == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]


async def test_one_that_waits_behind_another_gets_all_its_own_tries(reader):
    await reader.inbox.take(reader.messages(("a", 1, POISON), ("a", 2, POISON + 1)))
    reader.poisonous = {POISON + 1}
    await reader.inbox.retry_due()
    assert await reader.held() == [("a", 2, "retry")]
    reader.poisonous.clear()
    await reader.inbox.retry_due()
    assert await reader.seen() == [("a", 1), ("a", 2)]


async def test_an_event_is_not_tried_again_before_its_time(new_reader):
    reader = await new_reader(delays=(60.0,))
    await reader.inbox.take(reader.messages(("a", 1, POISON)))
    reader.poisonous.clear()
    assert (await reader.inbox.retry_due()).counts["applied"] == 0
    assert await reader.held() == [("a", 1, "retry")]


async def test_data_that_does_not_fit_the_model_is_parked_at_once_and_its_values_are_not_repeated(reader):
    wrong = reader.shop.envelope("a", 1, data={"number": "a secret"})
    outcome = await reader.inbox.take([reader.message(wrong), *reader.messages(("a", 2), ("b", 1))])

    assert await reader.seen() == [("b", 1)]
    assert await reader.held() == [("a", 1, "parked"), ("a", 2, "parked")]
    assert outcome.counts["parked"] == 1
    assert (await list_held(reader.database, "seen", 1))[0].error == "Seen does not fit: number: int_parsing"


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\x00", b"[]", b'{"specversion":"1.0"}'], ids=["empty", "binary", "no-object", "no-envelope"]
)
async def test_bytes_that_are_no_envelope_are_parked_and_the_rest_goes_on(reader, raw):
    invalid = reader.message(reader.shop.envelope("a.b", 2))._replace(raw=raw)
    outcome = await reader.inbox.take([*reader.messages(("a.b", 1)), invalid, *reader.messages(("a.b", 3), ("b", 1))])

    assert await reader.seen() == [("a.b", 1), ("b", 1)]
    assert await reader.held() == [("a.b", 3, "gap"), ("a.b", None, "parked")]
    assert (outcome.checkpoint.sequence, outcome.held) == (4, 2)

    await reader.inbox.take(reader.messages(("a.b", 2)))
    assert await reader.seen() == [("a.b", 1), ("b", 1), ("a.b", 2), ("a.b", 3)]


@pytest.mark.parametrize(
    "changes",
    [{"source": "/spoel/local/planning/main"}, {"type": "com.example.other"}, {"type": "spoel.intake.counted"}],
)
async def test_an_envelope_of_another_store_or_of_a_strange_type_is_parked(reader, changes):
    message = reader.message(reader.shop.envelope("a", 1))
    await reader.inbox.take([message._replace(raw=reader.shop.envelope("a", 1, **changes).to_bytes())])
    assert await reader.seen() == []
    assert await reader.held() == [("a", None, "parked")]


async def test_an_unknown_name_is_skipped_and_counts_as_taken_in(reader):
    unknown = reader.shop.envelope("a", 1, type="spoel.intake.unheard-of.v3")
    outcome = await reader.inbox.take([reader.message(unknown), *reader.messages(("a", 2))])
    assert await reader.seen() == [("a", 2)]
    assert (outcome.counts["skipped"], outcome.counts["applied"], outcome.held) == (1, 1, 0)


async def test_without_a_catalogue_every_valid_envelope_is_handed_on(new_reader):
    reader = await new_reader(catalogue=None)
    await reader.inbox.take([reader.message(reader.shop.envelope("a", 1, type="spoel.intake.unheard-of.v3"))])
    assert await reader.seen() == [("a", 1)]


async def test_a_newer_version_of_an_event_stops_the_feed_before_it(reader):
    first = reader.message(reader.shop.envelope("a", 1))
    newer = reader.message(reader.shop.envelope("a", 2, type="spoel.intake.counted.v2"))
    later = reader.message(reader.shop.envelope("b", 1))

    outcome = await reader.inbox.take([first, newer, later])

    assert "counted.v2 is newer" in str(outcome.stop)
    assert (outcome.checkpoint.sequence, outcome.held) == (1, 0)
    assert await reader.seen() == [("a", 1)]
    updated = Inbox(Projection("seen", 1, ("intake",), None, reader.apply), reader.database, reader.inbox.key[2])
    assert (await updated.take([newer, later])).stop is None
    assert await reader.seen() == [("a", 1), ("a", 2), ("b", 1)]


async def test_a_newer_version_behind_a_gap_stops_the_feed_once_it_is_its_turn(reader):
    newer = reader.message(reader.shop.envelope("a", 2, type="spoel.intake.counted.v2"))
    assert (await reader.inbox.take([newer])).stop is None

    outcome = await reader.inbox.take(reader.messages(("a", 1), ("b", 1)))

    assert "counted.v2 is newer" in str(outcome.stop)
    assert outcome.checkpoint.sequence == 2
    assert await reader.seen() == [("a", 1)]
    assert await reader.held() == [("a", 2, "gap")]


async def test_what_a_failing_apply_wrote_is_not_kept(reader):
    """The read model writes first and fails then: the row must not stay, with or without others in the batch."""
    await reader.inbox.take(reader.messages(("a", 1, POISON)))
    await reader.inbox.take(reader.messages(("b", 1), ("c", 1, POISON), ("d", 1)))
    assert await reader.seen() == [("b", 1), ("d", 1)]


async def test_a_batch_is_handed_on_at_once_and_one_by_one_where_it_fails(new_reader):
    reader = await new_reader(batches=True)
    await reader.inbox.take(reader.messages(("a", 1), ("a", 2), ("b", 1)))
    assert reader.calls == [3]
    await reader.inbox.take(reader.messages(("a", 3), ("b", 2, POISON), ("a", 4)))
    assert reader.calls == [3, 3, 1, 1, 1]
    assert await reader.seen() == [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("a", 4)]


async def test_where_the_database_fails_nothing_is_taken_in_and_nothing_is_blamed(reader):
    """A lost connection, a full disk, a deadlock are no fault of the event: the whole batch comes again."""
    statements = {
        "sqlite": ("PRAGMA max_page_count = 1", "INSERT INTO seen (aggregate) VALUES (hex(zeroblob(100000)))"),
        "postgresql": ("SELECT pg_terminate_backend(pg_backend_pid())",),
    }[reader.database.dialect]
    apply = reader.apply

    async def fail(conn, *event) -> None:
        if event[0].subject == "b":
            for statement in statements:
                await conn.execute(text(statement))
        await apply(conn, *event)

    failing = Projection("seen", 1, ("intake",), CATALOGUE, fail)
    messages = reader.messages(("a", 1), ("b", 1))
    with pytest.raises(Exception, match=r"full|terminating|closed"):
        await Inbox(failing, reader.database, reader.inbox.key[2]).take(messages)
    if reader.database.dialect == "sqlite":
        async with reader.database.write() as conn:
            await conn.execute(text("PRAGMA max_page_count = 100000"))

    assert (await reader.seen(), await reader.held()) == ([], [])
    outcome = await reader.inbox.take(messages)
    assert (await reader.seen(), outcome.checkpoint.sequence) == ([("a", 1), ("b", 1)], 2)


@pytest.mark.parametrize("statement", ["INSERT INTO nowhere VALUES (1)", "INSERT INTO seen (n) VALUES (1), (1)"])
async def test_a_statement_that_the_database_refuses_is_a_fault_of_the_event(reader, statement):
    async def fail(conn, envelope, *_event) -> None:
        if envelope.subject == "b":
            await conn.execute(text(statement))

    failing = Projection("seen", 1, ("intake",), CATALOGUE, fail)
    outcome = await Inbox(failing, reader.database, reader.inbox.key[2], ()).take(
        reader.messages(("a", 1), ("b", 1), ("c", 1))
    )
    assert await reader.held() == [("b", 1, "parked")]
    assert outcome.checkpoint.sequence == 3


async def test_two_consumers_of_a_feed_take_every_message_in_once(reader, new_reader):
    """Leadership may be held by two for a moment; the row lock on the checkpoint decides."""
    twin = await new_reader()
    messages = reader.messages(*(("a", version) for version in range(1, 21)))
    chunks = [messages[start : start + 5] for start in range(0, 20, 5)]

    async def take_all(inbox: Inbox) -> None:
        for chunk in chunks:
            await inbox.take(chunk)

    await asyncio.gather(take_all(reader.inbox), take_all(twin.inbox))

    assert await reader.seen() == [("a", version) for version in range(1, 21)]


async def test_a_stream_of_the_same_name_that_is_another_is_read_from_its_start(reader):
    envelopes = [reader.shop.envelope("a", version) for version in (1, 2)]
    await reader.inbox.take([reader.message(envelope) for envelope in envelopes])
    assert (await reader.inbox.open("stream-1")).checkpoint.sequence == 2

    outcome = await reader.inbox.open("stream-2")
    assert outcome.checkpoint == ("stream-2", 0, Cursor(0, 0))
    again = [reader.message(envelope)._replace(sequence=number) for number, envelope in enumerate(envelopes, 1)]
    outcome = await reader.inbox.take(again)

    assert await reader.seen() == [("a", 1), ("a", 2)]
    assert (outcome.counts["dropped"], outcome.counts["alarms"], outcome.checkpoint.sequence) == (2, 0, 2)


async def test_another_version_of_a_projection_has_an_inbox_of_its_own(reader):
    await reader.inbox.take(reader.messages(("a", 1)))
    newer = Inbox(Projection("seen", 2, ("intake",), CATALOGUE, reader.apply), reader.database, reader.inbox.key[2])
    assert (await newer.open("stream-1")).checkpoint.sequence == 0
    await newer.take([reader.message(reader.shop.envelope("a", 1))._replace(sequence=1)])
    assert await reader.seen() == [("a", 1), ("a", 1)]


async def test_a_feed_that_was_not_opened_is_a_fault_of_the_caller(reader):
    other = Inbox(reader.projection, reader.database, "/spoel/local/intake/other")
    with pytest.raises(LookupError, match="not opened"):
        await other.take([])


def test_a_projection_is_named_and_has_one_way_to_apply(reader):
    for wrong in (
        {"name": "Seen", "apply": reader.apply},
        {"name": "seen"},
        {"name": "seen", "apply": reader.apply, "apply_batch": reader.apply_batch},
    ):
        with pytest.raises(ValueError, match=r"kebab-case|either apply or apply_batch"):
            Projection(version=1, services=("intake",), catalogue=None, **wrong)
    assert State("gap") is State.GAP
