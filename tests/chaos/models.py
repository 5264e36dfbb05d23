"""The read models that are built from events: by whom, from what, and how each is compared with another of its kind.

``Anew`` builds one from zero: every message of the streams once, in the streams' order, into a new database, past the
consumer and its inbox.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from spoel_audit import tables as audit
from spoel_audit.handlers import Sequencer
from spoel_audit.projections import log_projection
from spoel_common import persons
from spoel_common.clock import ScaledClock
from spoel_common.events import Envelope
from spoel_common.messaging import Projection, Received
from spoel_common.store import Database, migrate
from spoel_intake import tables as intake
from spoel_intake.events import ALL_EVENTS as INTAKE_EVENTS
from spoel_intake.projections import ANSWERING_SERVICES, Stamp, project_own, strips_projection
from spoel_planning import tables as planning
from spoel_planning.projections import knowledge_projection
from spoel_stimulation import foreign_events as stimulation_foreign
from spoel_stimulation import projections as stimulation
from spoel_stimulation.domain.facts import NEEDED_SERVICES

_ZONE = ZoneInfo("Europe/Amsterdam")


class Model(NamedTuple):
    """A service's read models.

    Attributes:
        package: whose migrations make the tables.
        projection: what builds those of others' events.
        queries: table → what of it must be equal, wherever it was built.
        own: the service whose own events build some of them, in their transaction; None if there is none.
        also: what else reads in this service, and whose events: only that it has read them all is checked.
    """

    package: str
    projection: Projection
    queries: Mapping[str, sa.Select[Any]]
    own: str | None = None
    also: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """Projection → the services whose events it reads."""
        return {self.projection.name: self.projection.services, **self.also}


def _without(table: sa.Table, *columns: str) -> sa.Select[Any]:
    return sa.select(*(column for column in table.c if column.name not in columns))


def _whole(*tables: sa.Table) -> dict[str, sa.Select[Any]]:
    return {table.name: sa.select(table) for table in tables}


def _log() -> sa.Select[Any]:
    """Return the log without what another log of the same events would not have: place, salt, time of recording."""
    index = [column for column in audit.log_index.c if column.name not in {"sequence", "recorded_us"}]
    entry, content = audit.log_entry, audit.log_content
    return (
        sa.select(entry.c.event_id, content.c.event_bytes, *index)
        .join_from(entry, content, content.c.sequence == entry.c.sequence)
        .join(audit.log_index, audit.log_index.c.sequence == entry.c.sequence)
    )


MODELS: Mapping[str, Model] = {
    "intake": Model(
        "spoel_intake",
        strips_projection(_ZONE, lambda: None),
        {
            # how often a strip was changed, and put into its room, is a list of work and not a read model
            "strips": _without(intake.strips, "revision", "pushed"),
            **_whole(intake.rooms, intake.cases, intake.staff, intake.merges, persons.person_files),
        },
        own="intake",
        also={"erasure-answers": ANSWERING_SERVICES, "room-withdrawals": ("stimulation",)},
    ),
    "planning": Model(
        "spoel_planning",
        knowledge_projection(),
        _whole(
            planning.known_cases,
            planning.registrations,
            planning.known_rooms,
            planning.answered_stimuli,
            planning.room_sessions,
            persons.person_files,
        ),
        also={"patients": ("intake",)},
    ),
    "stimulation": Model(
        "spoel_stimulation",
        Projection(
            name="known",
            version=1,
            services=NEEDED_SERVICES,
            catalogue=stimulation_foreign.CATALOGUE,
            apply=stimulation.apply,
        ),
        _whole(
            stimulation.patients,
            stimulation.cases,
            stimulation.registrations,
            stimulation.measurement_orders,
            stimulation.thresholds,
            stimulation.prescriptions,
            stimulation.withdrawn_prescriptions,
            stimulation.bookings,
            stimulation.cancelled_bookings,
            persons.person_files,
        ),
    ),
    "audit": Model(
        "spoel_audit",
        log_projection(Sequencer(ScaledClock.starting_now(1.0))),
        {"log": _log(), "log_feed": sa.select(audit.log_feed), "log_tree": sa.select(audit.log_tree.c.size)},
        also={"erasures": ("intake",), "persons": ("intake",)},
    ),
}


class Anew:
    """Read models of one service, built from zero and kept up with the streams."""

    def __init__(self, model: Model, database: Database) -> None:
        self.database = database
        self._model = model

    @classmethod
    async def open(cls, service: str, folder: Path) -> "Anew":
        database = await Database.open(f"sqlite:///{folder}/{service}.db")
        await migrate(database, MODELS[service].package)
        return cls(MODELS[service], database)

    async def apply(self, service: str, raw: bytes) -> None:
        """Apply one event of a service, if these read models are built of it."""
        projection = self._model.projection
        if service == self._model.own:
            await self._apply_own(Envelope.from_bytes(raw))
        if service not in projection.services:
            return
        envelope = Envelope.from_bytes(raw)
        decoded = None if projection.catalogue is None else projection.catalogue.decode(envelope)
        if projection.catalogue is not None and decoded is None:
            return
        async with self.database.write() as conn:
            if projection.apply is not None:
                await projection.apply(conn, envelope, decoded, raw)
            elif projection.apply_batch is not None:
                await projection.apply_batch(conn, [Received(envelope, decoded, raw)])

    async def differences(self, serving: Database) -> tuple[int, list[str]]:
        """Return how many rows of ``serving`` were compared with these, and every row that only one side has."""
        compared, unlike = 0, []
        for name, query in self._model.queries.items():
            found, anew = await _rows(serving, query), await _rows(self.database, query)
            compared += found.total()
            unlike += [f"{name}: too many {row}" for row in found - anew]
            unlike += [f"{name}: missing {row}" for row in anew - found]
        return compared, unlike

    async def _apply_own(self, envelope: Envelope) -> None:
        event = INTAKE_EVENTS.decode(envelope)
        if event is not None:
            async with self.database.write() as conn:
                await project_own(conn, event, Stamp(envelope.time, envelope.actorid))


async def _rows(database: Database, query: sa.Select[Any]) -> Counter[tuple[Any, ...]]:
    async with database.read() as conn:
        return Counter(tuple(row) for row in await conn.execute(query))
