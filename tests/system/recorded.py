"""Recorded streams, and the read models that the services build from them.

``data/streams.jsonl`` has the events of intake, planning and one room node as the demo's two patients left them,
thinned (of a session's trains and stimuli the first few, versions numbered anew), and behind them what the demo does
not do: a consent withdrawn, registrations ended, a prescription withdrawn, a booking cancelled, a room's new key, a
room latched and reset, a lease given back, a consent withdrawn in a room, three files that are one person's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

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
from spoel_common.messaging import Projection
from spoel_common.store import AggregateRef, Database, StoreName

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
        package: of the service.
        tables: that are compared, without ``ignored`` columns.
    """

    package: str
    projection: Projection
    tables: tuple[sa.Table, ...]
    ignored: set[str]

    @property
    def heard(self) -> list[Envelope]:
        """What was recorded of the services that it follows."""
        return [one for one in RECORDED if StoreName.from_source(one.source).service in self.projection.services]


def make_audit(folder: Path) -> Kept:
    app = spoel_audit.app.build_app(spoel_audit.settings.AuditSettings(data_dir=folder))
    tables = (spoel_audit.tables.log_index, spoel_audit.tables.log_feed)
    return Kept("spoel_audit", app.state.runtime.projections[0], tables, ORDER_OF_ARRIVAL)


def make_intake(folder: Path) -> Kept:
    kek = folder / "kek"
    kek.write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    kek.chmod(0o600)
    app = spoel_intake.app.create_app(spoel_intake.settings.IntakeSettings(data_dir=folder, kek_file=kek))
    projection = app.state.runtime.projections[0]
    return Kept("spoel_intake", projection, projection.tables, KEPT_BY_THE_SERVICE)


def make_planning(folder: Path) -> Kept:
    app = spoel_planning.app.create_app(spoel_planning.settings.PlanningSettings(data_dir=folder))
    projection = app.state.runtime.projections[0]
    return Kept("spoel_planning", projection, projection.tables, set())


def make_stimulation(folder: Path) -> Kept:
    app = spoel_stimulation.app.build_app(spoel_stimulation.settings.StimulationSettings(data_dir=folder))
    projection = app.state.runtime.projections[0]
    return Kept("spoel_stimulation", projection, projection.tables, set())


def make_site(folder: Path) -> Kept:
    """Another node of the site, which reads what the recorded one published."""
    settings = spoel_stimulation.settings.StimulationSettings(data_dir=folder, store="node-9")
    projection = spoel_stimulation.app.build_app(settings).state.runtime.projections[1]
    return Kept("spoel_stimulation", projection, projection.tables, set())


MAKERS: dict[str, Callable[[Path], Kept]] = {
    "audit": make_audit,
    "intake": make_intake,
    "planning": make_planning,
    "stimulation": make_stimulation,
    "site": make_site,
}


async def rows_of(database: Database, kept: Kept) -> dict[str, list[str]]:
    """The rows of the tables as text, in an order of their own."""
    async with database.read() as conn:
        return {table.name: await _rows(conn, table, kept.ignored) for table in kept.tables}


async def _rows(conn, table: sa.Table, ignored: set[str]) -> list[str]:
    columns = [column for column in table.c if column.name not in ignored]
    return sorted(json.dumps(tuple(row), default=str) for row in await conn.execute(sa.select(*columns)))
