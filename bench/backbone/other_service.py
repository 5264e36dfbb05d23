"""Another service, in a process of its own: writes the moment (monotonic, ns) at which it has seen something.

``python other_service.py NATS_URL DATABASE_URL BARE_STREAM``
"""

import asyncio
import logging
import sys
import time

import nats
import nats.errors
import stage
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Catalogue, Envelope, ForeignEvent
from spoel_common.messaging import Broker, Consumer, NatsSettings, Projection


class Received(ForeignEvent):
    """What this service reads of a referral."""

    service = "intake"
    event_name = "referral-received"
    case_id: str


async def _apply(conn: AsyncConnection, envelope: Envelope, decoded: Received, _raw: bytes) -> None:
    statement = text("INSERT INTO seen (id, case_id) VALUES (:id, :case_id)")
    await conn.execute(statement, {"id": envelope.id, "case_id": decoded.case_id})


async def _after_commit(_envelopes: list[Envelope]) -> None:
    _tell()


def _tell() -> None:
    sys.stdout.write(f"{time.monotonic_ns()}\n")
    sys.stdout.flush()


async def _bare(url: str, stream: str) -> None:
    client = await nats.connect(url)
    subscription = await client.jetstream().pull_subscribe(stream, "bare")
    while True:
        try:
            for message in await subscription.fetch(1, timeout=5):
                _tell()
                await message.ack()
        except nats.errors.TimeoutError:
            continue


async def _main(url: str, database_url: str, bare_stream: str) -> None:
    database = await stage.with_tables(database_url)
    async with database.write() as conn:
        await conn.execute(text("CREATE TABLE seen (id TEXT PRIMARY KEY, case_id TEXT NOT NULL)"))
    broker = await Broker.connect(NatsSettings(servers=(url,)), "planning-main")
    projection = Projection("seen", 1, ("intake",), Catalogue([Received]), _apply, _after_commit)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with asyncio.TaskGroup() as group:
        group.create_task(_bare(url, bare_stream))
        group.create_task(Consumer(projection, database, broker, "bench").run())


if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(_main(*sys.argv[1:]))
