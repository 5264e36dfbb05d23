"""Every interleaving of recorded streams leads every service to the same read models, whatever else befalls them.

``data/streams.jsonl`` has the events of intake, planning and one room node as the demo's two patients left them,
thinned (of a session's trains and stimuli the first few, versions numbered anew), and behind them what the demo does
not do: a consent withdrawn, registrations ended, a prescription withdrawn, a booking cancelled, a room's new key.
"""

import asyncio
import itertools
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spoel_audit.app
import spoel_audit.settings
import spoel_audit.tables
import spoel_intake.app
import spoel_intake.settings
import spoel_planning.app
import spoel_planning.settings
import spoel_stimulation.app
import spoel_stimulation.settings
from spoel_common.events import Envelope
from spoel_common.messaging import Inbox, Projection, list_held
from spoel_common.messaging.pull import Delivery
from spoel_common.store import AggregateRef, Database, StoreName, migrate

RECORDED = [
    Envelope.from_bytes(line)
    for line in Path(__file__).with_name("data").joinpath("streams.jsonl").read_bytes().splitlines()
]
KEPT_BY_THE_SERVICE = {"revision", "pushed"}
"""Of intake's strips: what is still to be carried out, not what the events say."""

ORDER_OF_ARRIVAL = {"sequence", "recorded_us"}
"""Of the log: it records the order in which it took events in, so that may differ."""


class Aggregate(NamedTuple):
    source: str
    ref: AggregateRef


def aggregate_of(envelope: Envelope) -> Aggregate:
    return Aggregate(envelope.source, AggregateRef(envelope.aggregatetype, envelope.subject))


class Kept(NamedTuple):
    """A service's read model of others.

    Attributes:
        tables: that are compared, without ``ignored`` columns.
        template: a database with the service's tables, empty.
    """

    projection: Projection
    tables: tuple[sa.Table, ...]
    ignored: set[str]
    template: Path

    @property
    def heard(self) -> list[Envelope]:
        """What was recorded of the services that it follows."""
        return [one for one in RECORDED if StoreName.from_source(one.source).service in self.projection.services]


def make_audit(folder: Path) -> tuple[Projection, tuple[sa.Table, ...], set[str]]:
    app = spoel_audit.app.build_app(spoel_audit.settings.AuditSettings(data_dir=folder))
    return (
        app.state.runtime.projections[0],
        (spoel_audit.tables.log_index, spoel_audit.tables.log_feed),
        ORDER_OF_ARRIVAL,
    )


def make_intake(folder: Path) -> tuple[Projection, tuple[sa.Table, ...], set[str]]:
    kek = folder / "kek"
    kek.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    kek.chmod(0o600)
    app = spoel_intake.app.create_app(spoel_intake.settings.IntakeSettings(data_dir=folder, kek_file=kek))
    projection = app.state.runtime.projections[0]
    return projection, projection.tables, KEPT_BY_THE_SERVICE


def make_planning(folder: Path) -> tuple[Projection, tuple[sa.Table, ...], set[str]]:
    app = spoel_planning.app.create_app(spoel_planning.settings.PlanningSettings(data_dir=folder))
    projection = app.state.runtime.projections[0]
    return projection, projection.tables, set()


def make_stimulation(folder: Path) -> tuple[Projection, tuple[sa.Table, ...], set[str]]:
    app = spoel_stimulation.app.build_app(spoel_stimulation.settings.StimulationSettings(data_dir=folder))
    projection = app.state.runtime.projections[0]
    return projection, projection.tables, set()


MAKERS: dict[str, Callable[[Path], Any]] = {
    "audit": make_audit,
    "intake": make_intake,
    "planning": make_planning,
    "stimulation": make_stimulation,
}


@pytest.fixture(scope="module", params=MAKERS)
def kept(request, tmp_path_factory) -> Kept:
    folder = tmp_path_factory.mktemp(request.param)
    projection, tables, ignored = MAKERS[request.param](folder)
    template = folder / "template.db"
    asyncio.run(make_template(template, f"spoel_{request.param}"))
    return Kept(replace(projection, after_commit=None), tables, ignored, template)


async def make_template(file: Path, package: str) -> None:
    database = await Database.open(f"sqlite:///{file}")
    await migrate(database, package)
    await database.close()


@pytest.fixture
def new_file(fast_folder, kept) -> Iterator[Callable[[], Path]]:
    numbers = itertools.count()
    folder = fast_folder / f"interleavings-{kept.projection.name}"
    folder.mkdir()
    yield lambda: Path(shutil.copy(kept.template, folder / f"{next(numbers)}.db"))
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
        if chance.randrange(6) == 0:
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
        async with database.read() as conn:
            return {table.name: await rows_of(conn, table, kept.ignored) for table in kept.tables}
    finally:
        await database.close()


async def rows_of(conn, table: sa.Table, ignored: set[str]) -> list[str]:
    columns = [column for column in table.c if column.name not in ignored]
    return sorted(json.dumps(tuple(row), default=str) for row in await conn.execute(sa.select(*columns)))


@pytest.mark.invariant("INV-3")
def test_every_interleaving_of_the_recorded_streams_gives_the_same_read_models(kept, new_file):
    expected = asyncio.run(build(kept, new_file(), in_order(kept.heard)))
    assert all(expected.values()), f"a table that nothing was recorded for: {expected}"

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
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
