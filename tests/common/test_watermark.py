"""Watermarks as they are published: what they say is true of the stream when they say it (INV-4)."""

import asyncio
from datetime import UTC, datetime

import pytest
from tests.common.relaying import push_all

from spoel_common.clock import SteppedClock, utc_now
from spoel_common.messaging import Relay, Watermark, WatermarkPublisher
from spoel_common.messaging.watermark import Hearing
from spoel_common.store import StoreName, watermark_wildcard

pytestmark = pytest.mark.invariant("INV-4")


@pytest.fixture
async def heard(broker, site) -> list[Watermark]:
    marks: list[Watermark] = []
    hearing = await Hearing.start(broker, [watermark_wildcard(site, "intake")], marks.append)
    await broker.client.flush()
    yield marks
    await hearing.stop()


async def test_a_watermark_says_how_far_the_store_and_its_stream_are(shop, broker, heard, eventually):
    clock = SteppedClock()
    relay, publisher = Relay(shop.store, broker), WatermarkPublisher(shop.store, broker, clock)
    await relay.resume()
    empty = await publisher.publish()
    assert (empty.position, empty.xid, empty.stream_sequence) == (0, 0, 0)

    await shop.count("a", 1, 2, 3)
    await push_all(relay)
    mark = await publisher.publish()

    assert mark.cursor == await shop.store.head()
    assert (mark.source, mark.stream_sequence, mark.time) == (shop.name.source, 3, utc_now(clock))
    await eventually(lambda: heard == [empty, mark])


async def test_a_watermark_is_not_published_before_the_stream_has_what_it_speaks_of(
    shop, broker, heard, background, eventually
):
    relay, publisher = Relay(shop.store, broker), WatermarkPublisher(shop.store, broker)
    await relay.resume()
    await shop.count("a", 1)
    taken = datetime.now(UTC)
    publishing = background(publisher.publish())
    await asyncio.sleep(0.3)
    assert not publishing.done()

    await push_all(relay)
    mark = await asyncio.wait_for(publishing, 5)

    assert mark.stream_sequence == 1
    assert (mark.time - taken).total_seconds() < 0.3  # as of when it was taken, not of when the stream was there
    await eventually(lambda: heard == [mark])


async def test_watermarks_keep_coming_while_nothing_happens(sqlite_shop, broker, heard, background, eventually):
    relay = Relay(sqlite_shop.store, broker)
    await relay.resume()
    background(WatermarkPublisher(sqlite_shop.store, broker, every_s=0.02).run())
    await eventually(lambda: len(heard) >= 3)
    assert len({mark.stream_sequence for mark in heard}) == 1
    assert [mark.time for mark in heard] == sorted(mark.time for mark in heard)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"source": "x"}'])
async def test_what_is_no_watermark_or_of_another_store_is_not_heard(broker, site, heard, eventually, data):
    mine = StoreName(site=site, service="intake", store="main")
    forged = Watermark(
        source=f"/spoel/{site}/intake/other", position=9, xid=0, stream_sequence=9, time=datetime.now(UTC)
    )
    genuine = forged.model_copy(update={"source": mine.source})
    await broker.client.publish(mine.watermark_subject, data)
    await broker.client.publish(mine.watermark_subject, forged.model_dump_json().encode())
    await broker.client.publish(mine.watermark_subject, genuine.model_dump_json().encode())
    await eventually(lambda: heard)
    assert heard == [genuine]
