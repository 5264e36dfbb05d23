"""Every interleaving of recorded streams leads every service to the same read models, whatever else befalls them."""

import asyncio
import itertools
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.system.recorded import MAKERS, RECORDED, Aggregate, Kept, aggregate_of, rows_of

from spoel_common.events import Envelope
from spoel_common.messaging import Inbox, list_held
from spoel_common.messaging.pull import Delivery
from spoel_common.store import Database, StoreName, migrate

EXAMPLES = 10


@pytest.fixture(scope="module", params=MAKERS)
def kept(request, tmp_path_factory) -> Kept:
    kept = MAKERS[request.param](tmp_path_factory.mktemp(request.param))
    return kept._replace(projection=replace(kept.projection, after_commit=None))


@pytest.fixture(scope="module")
def template(kept, tmp_path_factory) -> Path:
    """An empty database with the service's tables."""
    file = tmp_path_factory.mktemp("template") / "template.db"
    asyncio.run(make_template(file, kept.package))
    return file


async def make_template(file: Path, package: str) -> None:
    database = await Database.open(f"sqlite:///{file}")
    await migrate(database, package)
    await database.close()


@pytest.fixture
def new_file(fast_folder, kept, template) -> Iterator[Callable[[], Path]]:
    numbers = itertools.count()
    folder = fast_folder / f"interleavings-{kept.projection.name}"
    folder.mkdir()
    yield lambda: Path(shutil.copy(template, folder / f"{next(numbers)}.db"))
    shutil.rmtree(folder)


class Arrival(NamedTuple):
    """Events of one store that are taken in together, as they came: numbered in their stream."""

    source: str
    deliveries: list[Delivery]


def in_order(envelopes: list[Envelope]) -> list[Arrival]:
    """Store by store, in the recorded order, in as few transactions as there are stores."""
    by_source: dict[str, list[Envelope]] = defaultdict(list)
    for envelope in envelopes:
        by_source[envelope.source].append(envelope)
    return [
        Arrival(source, [delivery(number, one) for number, one in enumerate(of_source, start=1)])
        for source, of_source in by_source.items()
    ]


def delivery(sequence: int, envelope: Envelope) -> Delivery:
    subject = StoreName.from_source(envelope.source).subject_of(envelope)
    return Delivery(sequence, subject, envelope.to_bytes(), 0, sequence, "")


def interleaved(envelopes: list[Envelope], chance: random.Random) -> list[Arrival]:
    """Another order between aggregates and stores, in pieces of any size, with repeats of three kinds.

    A repeat is published a second time, delivered a second time, or overtakes an earlier event of its aggregate.
    """
    waiting: dict[Aggregate, list[Envelope]] = defaultdict(list)
    for envelope in envelopes:
        waiting[aggregate_of(envelope)].append(envelope)
    turns = [aggregate_of(envelope) for envelope in envelopes]
    chance.shuffle(turns)
    arriving = [waiting[aggregate].pop(0) for aggregate in turns]
    for place in chance.sample(range(len(arriving)), 8):
        arriving.insert(place + chance.randrange(len(arriving) - place), arriving[place])
    for place in chance.sample(range(len(arriving)), 8):
        arriving.insert(max(0, place - chance.randrange(20)), arriving[place])
    return in_pieces(arriving, chance)


def in_pieces(arriving: list[Envelope], chance: random.Random) -> list[Arrival]:
    """Cut streams into transactions; now and then the last one is delivered again before the next."""
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
    open_pieces: dict[str, list[Delivery]] = defaultdict(list)
    arrivals: list[Arrival] = []
    for envelope in arriving:
        piece = open_pieces[envelope.source]
        piece.append(delivery(next(numbers[envelope.source]), envelope))
        if chance.randrange(10) == 0:
            arrivals.append(Arrival(envelope.source, open_pieces.pop(envelope.source)))
            arrivals += arrivals[-1:] * chance.randrange(2)
    return arrivals + [Arrival(source, piece) for source, piece in open_pieces.items()]


async def build(kept: Kept, file: Path, arrivals: list[Arrival]) -> dict[str, list[str]]:
    """Take everything in; return the tables' rows as text, in an order of their own."""
    database = await Database.open(f"sqlite:///{file}")
    try:
        inboxes = {source: Inbox(kept.projection, database, source) for source in {one.source for one in arrivals}}
        for inbox in inboxes.values():
            await inbox.open("a stream")
        for arrival in arrivals:
            outcome = await inboxes[arrival.source].take(arrival.deliveries)
            assert outcome.stop is None
        assert await list_held(database, kept.projection.name, kept.projection.version) == []
        return await rows_of(database, kept)
    finally:
        await database.close()


@pytest.mark.invariant("INV-3")
def test_every_interleaving_of_the_recorded_streams_gives_the_same_read_models(kept, new_file):
    expected = asyncio.run(build(kept, new_file(), in_order(kept.heard)))
    assert all(expected.values()), f"a table that nothing was recorded for: {expected}"

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.randoms(use_true_random=False))
    def check(chance: random.Random) -> None:
        file = new_file()
        assert asyncio.run(build(kept, file, interleaved(kept.heard, chance))) == expected
        file.unlink()

    check()


def test_everything_that_a_service_reads_of_others_was_recorded(kept):
    if kept.projection.catalogue is None:
        assert {StoreName.from_source(one.source).service for one in RECORDED} <= set(kept.projection.services)
        return
    recorded = {tuple(one.type.split(".")[1:3]) for one in RECORDED}
    assert {(model.service, model.event_name) for model in kept.projection.catalogue.models} <= recorded


def test_the_recording_is_whole():
    last: dict[Aggregate, int] = defaultdict(int)
    for envelope in RECORDED:
        last[aggregate_of(envelope)] += 1
        assert envelope.aggregateversion == last[aggregate_of(envelope)]
    assert len({envelope.id for envelope in RECORDED}) == len(RECORDED) > 90
