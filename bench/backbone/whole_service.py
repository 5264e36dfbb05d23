"""A service that appends, relays and consumes, in a process of its own; tells its size at every tenth of the way.

``python whole_service.py NATS_URL DATABASE_URL FIRST LAST`` writes ``<events> <PSS in bytes>`` from FIRST to LAST.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import stage
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Catalogue, ForeignEvent
from spoel_common.messaging import Broker, Consumer, NatsSettings, Projection, Received, Relay, WatermarkPublisher
from spoel_common.store import AggregateRef, Append, EventStore

AT_ONCE = 500
VERSIONS = 10
AHEAD = 10_000
"""How many events may be appended that the read model does not have yet."""


class ReferralReceived(ForeignEvent):
    """What this service reads of its own events."""

    service = "intake"
    event_name = "referral-received"
    patient_id: str


async def _apply(conn: AsyncConnection, events: Sequence[Received]) -> None:
    statement = text("UPDATE seen SET events = events + :events")
    await conn.execute(statement, {"events": len(events)})


async def _main(url: str, database_url: str, first: str, last: str) -> None:
    database = await stage.with_tables(database_url)
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE seen (events INTEGER NOT NULL)"))
        await conn.execute(text("INSERT INTO seen VALUES (0)"))
    store = EventStore(database, stage.NAME)
    broker = await Broker.connect(NatsSettings(servers=(url,)), "intake-main")
    projection = Projection("seen", 1, ("intake",), Catalogue([ReferralReceived]), apply_batch=_apply)
    consumer = Consumer(projection, database, broker, stage.NAME.site)
    running = (Relay(store, broker).run(), WatermarkPublisher(store, broker).run(), consumer.run())
    tasks = [asyncio.create_task(each) for each in running]
    appended = 0
    for goal in range(int(first), int(last) + 1, int(first)):
        while consumer.totals()["applied"] < goal:
            if appended < min(goal, consumer.totals()["applied"] + AHEAD):
                await _append(store)
                appended += AT_ONCE
            else:
                await asyncio.sleep(0.01)
        sys.stdout.write(f"{goal} {_pss_bytes()}\n")
        sys.stdout.flush()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await broker.close()
    await database.close()


async def _append(store: EventStore) -> None:
    envelopes = stage.envelopes(AT_ONCE, versions=VERSIONS)
    groups = [envelopes[start : start + VERSIONS] for start in range(0, AT_ONCE, VERSIONS)]
    await store.append_now([Append(AggregateRef("case", group[0].subject), 0, group) for group in groups])


def _pss_bytes() -> int:
    """Return the proportional set size of this process, as the kernel counts it."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(_main(*sys.argv[1:]))
