"""The log in a real database: one gap-free sequence, each event once, the bytes as they came."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from spoel_audit.entry import entry_bytes
from spoel_audit.merkle import CompactRange, leaf_hash
from spoel_audit.queries import read_log_by_source
from spoel_audit.verify import check_event, recompute_root
from spoel_common.clock import utc_now
from spoel_common.ids import new_id


@pytest.mark.requirement("AU-01")
@pytest.mark.invariant("INV-3")
async def test_several_feeds_and_processes_at_once_get_one_gap_free_sequence(log, new_log, new_feed):
    feeds = [new_feed("intake"), new_feed("planning"), new_feed("stimulation"), new_feed("stimulation", "node-2")]
    processes = [log, new_log(log.database)]

    async def run(process, feed, batches):
        for count in batches:
            await process.append(feed.events(count))

    await asyncio.gather(
        *(run(processes[number % 2], feed, [1, 7, 2, 1, 5, 1, 3]) for number, feed in enumerate(feeds))
    )
    page = await log.page()
    assert [row.sequence for row in page] == list(range(80))
    for feed in feeds:
        assert [row.version for row in page if row.source == feed.source] == list(range(1, 21))
    async with log.database.read() as conn:
        _, by_source = await read_log_by_source(conn)
        assert by_source == {feed.source: 20 for feed in feeds}
    assert (await log.head()).root() == recompute_root(await log.entries())


@pytest.mark.requirement("AU-04")
@pytest.mark.invariant("INV-10")
async def test_the_root_is_what_separate_code_finds_in_the_raw_entries(log, new_feed):
    feed = new_feed("intake")
    assert (await log.head()).root() == recompute_root([])
    for count in (1, 2, 4, 30, 1, 250):
        await log.append(feed.events(count))
        entries, head = await log.entries(), await log.head()
        assert len(entries) == head.size
        assert recompute_root(entries) == head.root()


@pytest.mark.invariant("INV-10")
async def test_a_restarted_process_continues_the_tree(log, new_log, new_feed):
    await log.append(new_feed("intake").events(5))
    await new_log(log.database).append(new_feed("planning").events(6))
    entries = await log.entries()
    assert await log.head() == CompactRange().extend(leaf_hash(entry) for entry in entries)
    assert len(entries) == 11


async def test_what_a_failed_transaction_took_is_given_again(log, new_feed):
    feed = new_feed("intake")
    await log.append([*feed.events(2), feed.event(id=(once := new_id()))])
    with pytest.raises(IntegrityError):
        await log.append([*feed.events(4), feed.event(id=once)])
    await log.append(new_feed("planning").events(1))
    page = await log.page()
    assert [(row.sequence, row.service) for row in page] == [
        (0, "intake"),
        (1, "intake"),
        (2, "intake"),
        (3, "planning"),
    ]
    assert (await log.head()).root() == recompute_root(await log.entries())


async def test_several_batches_in_one_transaction_follow_each_other(log, new_feed):
    feed = new_feed("intake")
    async with log.database.write() as conn:
        for count in (1, 3, 0, 2):
            await log.sequencer.append(conn, feed.events(count))
    assert [row.sequence for row in await log.page()] == list(range(6))


@pytest.mark.requirement("AU-07")
@pytest.mark.invariant("INV-3")
async def test_an_event_is_in_the_log_once(log, new_feed):
    arrivals = new_feed("intake").events(2)
    await log.append(arrivals)
    with pytest.raises(IntegrityError):
        await log.append(arrivals[1:])
    assert (await log.head()).size == len(await log.entries()) == 2


@pytest.mark.requirement("AU-04")
async def test_the_log_keeps_the_bytes_it_was_given(log, new_feed):
    (arrival,) = new_feed("intake").events(1)
    await log.append([arrival])
    found = await log.event(arrival.envelope.id)
    assert found.event_bytes == arrival.event_bytes
    assert found.leaf_hash == leaf_hash(found.entry)
    assert found.entry == entry_bytes(arrival.envelope, arrival.event_bytes, found.salt, utc_now(log.clock))
    assert check_event(found.entry, found.salt, found.event_bytes)


async def test_every_salt_is_fresh(log, new_feed):
    arrivals = new_feed("intake").events(20)
    await log.append(arrivals)
    salts = {(await log.event(arrival.envelope.id)).salt for arrival in arrivals}
    assert len(salts) == 20


@pytest.mark.requirement("AU-01")
async def test_any_valid_envelope_is_taken_in(log, new_feed):
    feed = new_feed("stimulation")
    odd = [
        feed.event(type="something-else", data={"case_id": 7, "patient_id": None, "session_id": ["x"]}),
        feed.event(subject="s" * 5_000, actorid="nul\x00é", data={"room_id": "x" * 300}),
        feed.event(type="spoel.stimulation.never-heard-of.v99", time="1969-12-31T23:59:59.999999Z"),
    ]
    await log.append(odd)
    page = await log.page()
    assert [row.name for row in page] == ["something-else", "train-delivered", "never-heard-of"]
    assert [row.event_bytes for row in page] == [arrival.event_bytes for arrival in odd]
    assert page[2].occurred_us == -1
