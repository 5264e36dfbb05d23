"""The event store does what a list in memory does, whatever is done in which order. Both databases.

Hypothesis chooses the steps, the same ones at every run. A step is one write transaction, committed or rolled back;
after each everything that can be read is compared. Another way to append is one more entry of ``WAYS``.
"""

import asyncio
import itertools
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.common.shop import Shop

from spoel_common.errors import VersionConflict
from spoel_common.events import Envelope
from spoel_common.store import AggregateArchived, AggregateRef, Append, Database, EventStore, StoreName, snapshots

AGGREGATES = st.sampled_from([AggregateRef(kind, name) for kind in ("counter", "till") for name in ("a", "b", "A b.c")])
REPRODUCIBLE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    stateful_step_count=20,
    phases=(Phase.generate,),  # shrinking takes minutes; the steps that failed are short enough to read
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
runs = itertools.count()


class Batch(NamedTuple):
    """What one call appends."""

    ref: AggregateRef
    expected_version: int
    envelopes: list[Envelope]

    @property
    def rows(self) -> list[tuple[AggregateRef, str, bytes]]:
        return [(self.ref, envelope.id, envelope.to_bytes()) for envelope in self.envelopes]


class Model:
    """The store in ten lines: a list of (aggregate, id, bytes)."""

    def __init__(self) -> None:
        self.rows: list[tuple[AggregateRef, str, bytes]] = []
        self.archived: set[AggregateRef] = set()

    def of(self, ref: AggregateRef) -> list[bytes]:
        return [raw for aggregate, _, raw in self.rows if aggregate == ref]

    def takes(self, batch: Batch) -> bool:
        if set(batch.rows) <= set(self.rows):
            return True
        known = {event_id for _, event_id, _ in self.rows}
        if batch.ref in self.archived or batch.expected_version != len(self.of(batch.ref)):
            return False
        if known & {event_id for _, event_id, _ in batch.rows}:
            return False
        self.rows += batch.rows
        return True


async def in_a_transaction(store: EventStore, batch: Batch) -> None:
    async with store.database.write() as conn:
        await store.append(conn, *batch)


async def at_once(store: EventStore, batch: Batch) -> None:
    if batch.envelopes:
        await store.append_now([Append(*batch)])


WAYS = st.sampled_from([in_a_transaction, at_once])


REFUSALS = (VersionConflict, AggregateArchived)


class RolledBack(Exception):
    pass


class StoreMachine(RuleBasedStateMachine):
    """Steps on the store of ``shop``; each run has aggregates of its own, behind the events of the runs before."""

    runner: asyncio.Runner
    shop: Shop
    appended = Bundle("appended")

    def __init__(self) -> None:
        super().__init__()
        self.number = next(runs)
        self.store = self.shop.store
        self.model = Model()
        self.begin, self.before = self.do(self.store.head()), self.do(self.store.count())

    def do(self, work):
        return self.runner.run(work)

    def batch(self, kind: AggregateRef, count: int, off: int = 0) -> Batch:
        ref = AggregateRef(kind.type, f"{kind.id} {self.number}")
        expected = max(0, len(self.model.of(ref)) + off)
        versions = range(expected + 1, expected + count + 1)
        return Batch(ref, expected, [self.shop.envelope(ref.id, v, aggregatetype=ref.type) for v in versions])

    def is_taken(self, work) -> bool:
        try:
            self.do(work)
        except REFUSALS:
            return False
        return True

    @rule(target=appended, kind=AGGREGATES, count=st.integers(0, 4), off=st.sampled_from([0, 0, 0, -1, 1]), way=WAYS)
    def append(self, kind, count, off, way):
        batch = self.batch(kind, count, off)
        taken = self.is_taken(way(self.store, batch))
        assert taken == self.model.takes(batch)
        return batch if taken else self.batch(kind, 0)

    @rule(batch=appended, way=WAYS)
    def append_the_same_again(self, batch, way):
        assert self.is_taken(way(self.store, batch))

    @rule(batch=appended, way=WAYS)
    def append_other_bytes_under_a_known_id(self, batch, way):
        for envelope in batch.envelopes[:1]:
            other = envelope.model_copy(update={"correlationid": "another"})
            assert not self.is_taken(way(self.store, batch._replace(envelopes=[other, *batch.envelopes[1:]])))

    @rule(batch=appended, way=WAYS)
    def append_more_than_the_same_again(self, batch, way):
        more = self.shop.envelope(
            batch.ref.id, batch.expected_version + len(batch.envelopes) + 1, aggregatetype=batch.ref.type
        )
        longer = batch._replace(envelopes=[*batch.envelopes, more])
        assert self.is_taken(way(self.store, longer)) == self.model.takes(longer)

    @rule(
        kinds=st.lists(AGGREGATES, min_size=2, max_size=4, unique=True),
        off=st.sampled_from([0, 0, 1]),
        fails=st.booleans(),
    )
    def append_to_several_together(self, kinds, off, fails):
        batches = [self.batch(kind, 2) for kind in kinds[:-1]] + [self.batch(kinds[-1], 2, off)]

        async def together() -> None:
            async with self.shop.database.write() as conn:
                for batch in batches:
                    await self.store.append(conn, *batch)
                if fails:
                    raise RolledBack

        refused = off or self.model.archived & {batch.ref for batch in batches}
        if refused or fails:
            with pytest.raises(REFUSALS if refused else RolledBack):
                self.do(together())
        else:
            self.do(together())
            assert all(self.model.takes(batch) for batch in batches)

    @precondition(lambda self: len(self.model.rows) > 3)
    @rule(kind=AGGREGATES)
    def archive(self, kind):
        ref = self.batch(kind, 0).ref
        version = len(self.model.of(ref))
        if not version or ref in self.model.archived:
            return

        async def close() -> None:
            async with self.shop.database.write() as conn:
                await snapshots.archive(conn, ref, version, datetime.now(UTC))

        self.do(close())
        self.model.archived.add(ref)

    @rule(batch=appended)
    def find_each(self, batch):
        for row in batch.rows:
            found = self.do(self.store.find(row[1]))
            assert (found.aggregate, found.id, found.raw) == row
        assert self.do(self.store.find("unknown")) is None

    @rule(kind=AGGREGATES, after=st.integers(0, 8))
    def load_behind_a_version(self, kind, after):
        ref = self.batch(kind, 0).ref

        async def load() -> list[Envelope]:
            async with self.shop.database.read() as conn:
                return await self.store.load(conn, ref, after)

        assert [envelope.to_bytes() for envelope in self.do(load())] == self.model.of(ref)[after:]

    @rule(skipped=st.integers(0, 60), limit=st.integers(1, 60))
    def read_behind_any_cursor(self, skipped, limit):
        everything = self.do(self.read_all())
        cursors = [self.begin, *(event.cursor for event in everything)]
        found = self.do(self.store.read_after(cursors[min(skipped, len(everything))], limit))
        assert found == everything[skipped : skipped + limit]

    @invariant()
    def everything_is_read_once_and_in_order(self):
        found = self.do(self.read_all())
        assert [(event.aggregate, event.id, event.raw) for event in found] == self.model.rows
        assert all(first.cursor < second.cursor for first, second in itertools.pairwise(found))
        assert self.do(self.store.count()) == self.before + len(found)
        for ref in {event.aggregate for event in found}:
            versions = [event.version for event in found if event.aggregate == ref]
            assert versions == list(range(1, len(versions) + 1))

    async def read_all(self):
        """Read up to the head; on PostgreSQL the server's own work may hold the horizon for a moment."""
        async with asyncio.timeout(10):
            while True:
                found = await self.store.read_after(self.begin, 10_000)
                if await self.store.head() == (found[-1].cursor if found else self.begin):
                    return found
                await asyncio.sleep(0.005)


@pytest.fixture
async def url_with_tables(new_database, open_database) -> str:
    url = new_database()
    await open_database(url)
    return url


@pytest.mark.invariant("INV-3")
def test_a_store_does_what_a_list_in_memory_does(url_with_tables):
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(url_with_tables))
        shop = Shop(database, StoreName(site="local", service="intake"))
        machine = type("OnThisDatabase", (StoreMachine,), {"runner": runner, "shop": shop})
        try:
            run_state_machine_as_test(machine, settings=REPRODUCIBLE)
        finally:
            runner.run(database.close())
