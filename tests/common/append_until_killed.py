"""A process that appends jobs of three events from 20 callers and prints each aggregate once it is durable."""

import asyncio
import sys

from tests.common.shop import Shop

from spoel_common.store import AggregateRef, Append, Database, StoreName


async def main() -> None:
    url, prefix = sys.argv[1:]
    shop = Shop(await Database.open(url), StoreName(site="kill", service="intake"))

    async def caller(number: int) -> None:
        for turn in range(100_000):
            name = f"{prefix}-{number}-{turn}"
            envelopes = [shop.envelope(name, version) for version in (1, 2, 3)]
            await shop.store.append_now([Append(AggregateRef("counter", name), 0, envelopes)])
            sys.stdout.write(f"{name}\n")
            sys.stdout.flush()

    await asyncio.gather(*(caller(number) for number in range(20)))


asyncio.run(main())
