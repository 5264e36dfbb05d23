"""Filling of a store, and comparison of its stream with it."""

import asyncio

from tests.common.shop import Shop
from tests.common.stream_reading import last_sequence, read_stream

from spoel_common.messaging import Relay
from spoel_common.store import START


async def append_many(shop: Shop, count: int, start: int = 0) -> None:
    name = f"a{start}"
    await shop.append(
        name, 0, *(shop.envelope(name, version, number=start + version) for version in range(1, count + 1))
    )


async def append_slowly(shop: Shop, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await append_many(shop, 1, start=number)
        await asyncio.sleep(0.01)


async def stored(shop: Shop) -> list[tuple[str, bytes]]:
    return [(event.id, event.raw) for event in await shop.store.read_after(START, 10_000)]


async def check_complete(shop: Shop, broker) -> None:
    """The stream has what the store has: the same bytes in the same order, each once."""
    assert [(message.event_id, message.raw) for message in await read_stream(broker, shop.name)] == await stored(shop)


async def push_all(relay: Relay) -> None:
    while await relay.push():
        pass


async def reached(broker, shop: Shop, sequence: int) -> bool:
    return await last_sequence(broker, shop.name) >= sequence
