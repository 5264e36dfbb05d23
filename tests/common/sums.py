"""A read model that adds up, and the consumer that builds it."""

import asyncio

from sqlalchemy import text
from tests.common.shop import Shop

from spoel_common.events import Catalogue, ForeignEvent
from spoel_common.messaging import Consumer, Projection

OFTEN_S = 0.05


class Seen(ForeignEvent):
    service = "intake"
    event_name = "counted"
    number: int


class Sums:
    """A consumer whose read model adds up the numbers of every aggregate."""

    def __init__(
        self, database, broker, site: str, *, services=("intake",), name: str = "sums", left_out=None, **options
    ) -> None:
        self.database = database
        self.committed: list[str] = []
        self.fails_on: int | None = None
        self.dies_after_commit = False
        catalogue = Catalogue([Seen])
        self.projection = Projection(name, 1, services, catalogue, self.apply, self.after_commit, left_out=left_out)
        options = {"retry_delays_s": (0.05,), "discover_every_s": OFTEN_S} | options
        self.consumer = Consumer(self.projection, database, broker, site, **options)

    async def apply(self, conn, envelope, decoded, _raw) -> None:
        statement = """
            INSERT INTO sums (source, aggregate, total, events) VALUES (:source, :aggregate, :number, 1)
            ON CONFLICT (source, aggregate) DO UPDATE SET total = sums.total + :number, events = sums.events + 1"""
        values = {"source": envelope.source, "aggregate": envelope.subject, "number": decoded.number}
        await conn.execute(text(statement), values)
        if decoded.number == self.fails_on:
            raise ArithmeticError("cannot add this")

    async def after_commit(self, envelopes) -> None:
        self.committed += [envelope.id for envelope in envelopes]
        if self.dies_after_commit:
            self.running.cancel()
            await asyncio.sleep(10)

    async def totals(self) -> dict[tuple[str, str], tuple[int, int]]:
        async with self.database.read() as conn:
            rows = await conn.execute(text("SELECT source, aggregate, total, events FROM sums"))
            return {(row.source.rpartition("/")[2], row.aggregate): (row.total, row.events) for row in rows}

    def of(self, shop: Shop):
        found = [feed for feed in self.consumer.knowledge() if feed.source == shop.name.source]
        return found[0] if found else None
