"""The fault that every event store on PostgreSQL has had: a reader that follows live skips events.

Sixteen writers whose transactions overlap, of many sizes, some on aggregates that they share; readers follow meanwhile
with ``read_after``. Another reader follows in the way that is wrong, by position alone: what it misses shows that the
run would have found the fault.
"""

import asyncio
import random
import sys
from collections import defaultdict

import pytest
from sqlalchemy import text
from tests.common.shop import Shop

from spoel_common.errors import VersionConflict
from spoel_common.store import START, AggregateRef

EVENTS = 100_000
WRITERS = 16
SIZES = (1, 3, 40, 150, 400)
SHARED = [AggregateRef("counter", f"shared-{number}") for number in range(8)]

_BY_POSITION = text("SELECT position, id FROM events WHERE position > :last ORDER BY position LIMIT 5000")


class Writers:
    """Sixteen writers that share out the work; ``stored`` counts what is committed."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.left = EVENTS
        self.stored = 0
        self.conflicts = 0
        self._versions: dict[AggregateRef, int] = defaultdict(int)

    async def run(self) -> None:
        await asyncio.gather(*(self._write(number) for number in range(WRITERS)))

    @property
    def done(self) -> bool:
        return self.stored == EVENTS

    async def _write(self, number: int) -> None:
        chance, own = random.Random(number), AggregateRef("counter", f"own-{number}")
        while self.left:
            size = min(self.left, chance.choice(SIZES))
            self.left -= size
            parts = {own: size} if size == 1 or chance.random() < 0.7 else {own: size - 1, chance.choice(SHARED): 1}
            while not await self._append(parts, chance.random() * 0.01):
                self.conflicts += 1
            self.stored += size

    async def _append(self, parts: dict[AggregateRef, int], pause_s: float) -> bool:
        """Append to each aggregate in one transaction; tell whether nobody else was faster at one of them."""
        before = {ref: self._versions[ref] for ref in parts}
        try:
            async with self.shop.database.write() as conn:
                for ref, count in parts.items():
                    versions = range(before[ref] + 1, before[ref] + count + 1)
                    envelopes = [self.shop.envelope(ref.id, version) for version in versions]
                    await self.shop.store.append(conn, ref, before[ref], envelopes)
                    await asyncio.sleep(pause_s)  # positions are drawn long before the commit
        except VersionConflict:
            return False
        self._versions.update({ref: before[ref] + count for ref, count in parts.items()})
        return True


async def follow(shop: Shop, writers: Writers, limit: int, from_stored: int = 0) -> list:
    """Follow the store from its start, once ``from_stored`` events are there, until all of it is read."""
    while writers.stored < from_stored:
        await asyncio.sleep(0.01)
    seen, cursor = [], START
    while True:
        ended = writers.done
        page = await shop.store.read_after(cursor, limit)
        seen += [(event.id, event.aggregate, event.version) for event in page]
        if page:
            cursor = page[-1].cursor
        elif ended and cursor == await shop.store.head():
            return seen
        else:
            await asyncio.sleep(0.002)


async def follow_by_position(shop: Shop, writers: Writers) -> list[str]:
    """Follow in the way that is wrong."""
    seen, last = [], 0
    while True:
        ended = writers.done
        async with shop.database.read() as conn:
            page = (await conn.execute(_BY_POSITION, {"last": last})).all()
        seen += [row.id for row in page]
        if page:
            last = page[-1].position
        elif ended:
            return seen
        else:
            await asyncio.sleep(0.002)


@pytest.mark.timeout(600)
@pytest.mark.invariant("INV-3")
async def test_with_sixteen_writers_no_reader_misses_an_event_or_sees_one_twice(
    new_shop, open_database, new_postgres, record_property
):
    url = new_postgres()
    shop, reading = [new_shop(await open_database(url), store="main") for _ in range(2)]
    writers = Writers(shop)

    async with asyncio.TaskGroup() as group:
        group.create_task(writers.run())
        readers = {
            "small pages": group.create_task(follow(reading, writers, limit=50)),
            "large pages": group.create_task(follow(reading, writers, limit=5_000)),
            "starting late": group.create_task(follow(reading, writers, limit=700, from_stored=EVENTS // 2)),
        }
        wrong = group.create_task(follow_by_position(reading, writers))

    async with reading.database.read() as conn:
        stored = set((await conn.execute(text("SELECT id FROM events"))).scalars())
    assert len(stored) == EVENTS
    for name, reader in readers.items():
        seen = reader.result()
        assert {event_id for event_id, _, _ in seen} == stored, name
        assert len(seen) == EVENTS, name
        versions = defaultdict(list)
        for _, aggregate, version in seen:
            versions[aggregate].append(version)
        assert all(found == list(range(1, len(found) + 1)) for found in versions.values()), name
    missed = len(stored - set(wrong.result()))
    sys.stdout.write(f"by position alone {missed} of {EVENTS} missed; {writers.conflicts} conflicts\n")
    assert missed > 0, "a run in which the wrong way misses nothing shows nothing"
