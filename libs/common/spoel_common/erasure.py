"""What every service but intake does when a patient is erased: clear what it holds, and answer ``erasure-completed``.

A service notes ``patient-erased`` in the transaction in which it clears its own tables (``ErasureAnswers.note``); a
task then clears what lies outside the database, and appends the answer. A service that was restored from an old
backup reads the event again, behind its restored checkpoint, and clears again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.errors import VersionConflict
from spoel_common.events import Catalogue, Envelope, EventData
from spoel_common.people import Actor
from spoel_common.runtime import Runtime
from spoel_common.work import Aggregate

LOOK_EVERY_S = 5.0


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("patient_id", sa.String, primary_key=True),
        sa.Column("erasure_id", sa.String, nullable=False),
        sa.Column("correlation_id", sa.String, nullable=False),
        sa.Column("cleared", sa.String, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
    ]


due = sa.Table("erasures_due", sa.MetaData(), *_columns())
"""Every patient who was erased, and whether this service has answered; ``cleared`` is a JSON object of counts."""


class TableMaker(Protocol):
    """What is needed of ``alembic.op``."""

    def create_table(self, table_name: str, /, *columns: sa.Column[Any]) -> sa.Table:
        """Make a table."""


def create_table(op: TableMaker) -> None:
    """Make the table of erasures in a revision of a service's migrations."""
    op.create_table("erasures_due", *_columns())


class Erased(NamedTuple):
    """An erasure that is to be answered."""

    patient_id: str
    erasure_id: str
    correlation_id: str
    cleared: dict[str, int]


ClearOutside = Callable[[Runtime, str], Awaitable[Mapping[str, int]]]
"""Clears what lies outside the database of a patient; returns what → how many. May be called again."""


async def nothing_outside(_runtime: Runtime, _patient_id: str) -> Mapping[str, int]:
    """For a service that keeps everything in its database."""
    return {}


async def is_erased(conn: AsyncConnection, patient_id: str) -> bool:
    """Tell whether this service knows that a patient was erased."""
    return await conn.scalar(sa.select(due.c.erasure_id).where(due.c.patient_id == patient_id)) is not None


ERASURE = "erasure"
"""The kind of aggregate of the services' answers, in every service."""


class ErasureAnswers:
    """A service's answers to erasures.

    Args:
        completed: the service's own ``erasure-completed`` with ``patient_id``, ``erasure_id`` and
            ``cleared``: what → how many.
        clear_outside: clears what lies outside the database.
    """

    def __init__(self, completed: type[EventData], clear_outside: ClearOutside = nothing_outside) -> None:
        self._completed = completed
        self._clear_outside = clear_outside
        self._aggregate = Aggregate(ERASURE, lambda: False, lambda _state, _event: True, Catalogue([completed]))
        self._noted = asyncio.Event()

    async def note(
        self, conn: AsyncConnection, envelope: Envelope, patient_id: str, cleared: Mapping[str, int]
    ) -> None:
        """Note that a patient was erased, in the transaction that cleared the tables; a repeat is answered once."""
        values = {
            "patient_id": patient_id,
            "erasure_id": envelope.id,
            "correlation_id": envelope.correlationid,
            "cleared": json.dumps(dict(cleared)),
            "answered": False,
        }
        if not await is_erased(conn, patient_id):
            await conn.execute(sa.insert(due).values(values))

    async def after_commit(self, _applied: list[Envelope]) -> None:
        """Look at once; for ``after_commit`` of the projection that notes erasures."""
        self._noted.set()

    async def run(self, runtime: Runtime) -> None:
        """Answer what is noted, for ever; raises where clearing fails, to be started again."""
        while True:
            self._noted.clear()
            for erased in await _unanswered(runtime):
                outside = await self._clear_outside(runtime, erased.patient_id)
                with suppress(VersionConflict):  # another process of this service was faster
                    await self._answer(runtime, erased, {**erased.cleared, **outside})
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._noted.wait()

    async def _answer(self, runtime: Runtime, erased: Erased, cleared: dict[str, int]) -> None:
        service = Actor(person_id=f"system:{runtime.settings.service}", roles=frozenset())
        begin = runtime.units.begin(service, erased.correlation_id, causation_id=erased.erasure_id)
        async with begin as work:
            loaded = await work.load(self._aggregate, erased.patient_id)
            if not loaded.state:
                data = {"patient_id": erased.patient_id, "erasure_id": erased.erasure_id, "cleared": cleared}
                await work.append(self._aggregate, erased.patient_id, loaded, [self._completed.model_validate(data)])
            await work.conn.execute(sa.update(due).where(due.c.patient_id == erased.patient_id).values(answered=True))


async def _unanswered(runtime: Runtime) -> list[Erased]:
    query = sa.select(due).where(sa.not_(due.c.answered)).order_by(due.c.erasure_id)
    async with runtime.database.read() as conn:
        return [
            Erased(row.patient_id, row.erasure_id, row.correlation_id, json.loads(row.cleared))
            for row in await conn.execute(query)
        ]
