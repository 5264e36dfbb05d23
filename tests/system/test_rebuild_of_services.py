"""Each service's read model, damaged and rebuilt from recorded streams, is what it was. Both databases, real NATS."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from tests.system.recorded import MAKERS, RECORDED, Kept, aggregate_of, rows_of

from spoel_common.messaging import Keeper, Relay, ask_rebuild
from spoel_common.store import Database, EventStore, StoreName, migrate

pytestmark = pytest.mark.invariant("INV-3")


@pytest.fixture
async def streams(own_nats, connect, open_database, new_sqlite, background):
    """The recorded streams on a server of their own; returns how many events each has."""
    counts: dict[str, int] = {}
    for source in dict.fromkeys(one.source for one in RECORDED):
        store = EventStore(await open_database(new_sqlite()), StoreName.from_source(source))
        recorded = [one for one in RECORDED if one.source == source]
        async with store.database.write() as conn:
            for envelope in recorded:
                await store.append(conn, aggregate_of(envelope).ref, envelope.aggregateversion - 1, [envelope])
        counts[source] = len(recorded)
        background(Relay(store, await connect(f"{store.name.service}-main", own_nats.settings)).run())
    return counts


@pytest.fixture(params=["intake", "planning", "stimulation"])
def kept(request, tmp_path) -> Kept:
    return MAKERS[request.param](tmp_path)


@pytest.fixture
async def database(database_url, kept) -> AsyncIterator[Database]:
    database = await Database.open(database_url)
    await migrate(database, kept.package)
    yield database
    await database.close()


async def test_a_damaged_read_model_is_whole_again_after_a_rebuild(
    kept, database, streams, own_nats, connect, background, eventually
):
    broker = await connect("reader-main", own_nats.settings)
    keeper = Keeper(kept.projection, database, kept.package, broker, "local")
    background(keeper.run())
    followed = {source: n for source, n in streams.items() if source.split("/")[3] in kept.projection.services}

    def all_taken_in() -> bool:
        return {source: cursor.position for source, cursor in keeper.consumer.progress().items()} == followed

    await eventually(all_taken_in, within_s=30)
    whole = await rows_of(database, kept)
    async with database.write() as conn:
        for table in kept.tables:
            await conn.execute(sa.delete(table))
        await ask_rebuild(conn, kept.projection.name)
    keeper.wake()

    async def rebuilt() -> bool:
        return (await keeper.status()).rebuild is None

    await eventually(rebuilt, within_s=30)
    assert await rows_of(database, kept) == whole
    assert all(whole.values())
