"""Withdrawals of consent that were entered in a room: each is recorded in its case once, in the name of who entered it.

The room stopped by itself, and the other rooms heard it from the room; here it becomes what everybody else reads of a
case, and what a consent that is given anew comes after.
"""

import asyncio
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.errors import SpoelError
from spoel_common.events import Envelope, EventData, ForeignEvent
from spoel_common.messaging import Projection
from spoel_common.people import Actor, Role
from spoel_common.runtime import Runtime
from spoel_intake import handlers
from spoel_intake.domain.refusals import CaseUnknown
from spoel_intake.foreign_events import WITHDRAWAL_EVENTS, ConsentWithdrawnInRoom
from spoel_intake.tables import room_withdrawals

LOOK_EVERY_S = 5.0

_ROLES = frozenset(Role)

_log = structlog.get_logger(__name__)


class RoomWithdrawals:
    """Takes over what was withdrawn in rooms."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    def projection(self) -> Projection:
        """Return the projection that notes what was withdrawn in rooms."""
        return Projection(
            name="room-withdrawals",
            version=1,
            services=("stimulation",),
            catalogue=WITHDRAWAL_EVENTS,
            apply=_note,
            after_commit=self._after_commit,
        )

    async def run(self, runtime: Runtime) -> None:
        """Record what is noted, for ever; raises where the database fails, to be started again."""
        while True:
            self._heard.clear()
            await self.take_over_due(runtime)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._heard.wait()

    async def take_over_due(self, runtime: Runtime) -> None:
        """Record what is noted, once; what is refused is rolled back whole, and tried again the next time."""
        query = sa.select(room_withdrawals).where(sa.not_(room_withdrawals.c.taken_over))
        async with runtime.database.read() as conn:
            due = (await conn.execute(query.order_by(room_withdrawals.c.event_id))).all()
        for row in due:
            try:
                await self._take_over(runtime, row)
            except SpoelError as refusal:  # as when somebody works on the case
                _log.warning("withdrawal.tried-again", event_id=row.event_id, reason=refusal.slug)

    async def _take_over(self, runtime: Runtime, row: sa.Row[Any]) -> None:
        begin = runtime.units.begin(_actor_of(row), row.correlation_id, causation_id=row.event_id)
        async with begin as work:
            noted = sa.update(room_withdrawals).where(
                room_withdrawals.c.event_id == row.event_id, sa.not_(room_withdrawals.c.taken_over)
            )
            if not (await work.conn.execute(noted.values(taken_over=True))).rowcount:
                return
            try:
                await handlers.take_over_withdrawal(work, row.case_id, row.event_id, row.withdrawn_at)
            except CaseUnknown:  # raised before anything is written, and there is nothing to end
                _log.error("withdrawal.of-unknown-case", event_id=row.event_id)

    async def _after_commit(self, _applied: list[Envelope]) -> None:
        self._heard.set()


def _actor_of(row: sa.Row[Any]) -> Actor:
    roles = frozenset(Role(role) for role in row.roles.split(",") if role in _ROLES)
    return Actor(person_id=row.person_id, roles=roles, big_number=row.big_number, supervisor_id=row.supervisor_id)


async def _note(conn: AsyncConnection, envelope: Envelope, event: ForeignEvent | EventData | None, _raw: bytes) -> None:
    if not isinstance(event, ConsentWithdrawnInRoom):
        return
    row = {
        "event_id": envelope.id,
        "case_id": event.case_id,
        "withdrawn_at": event.withdrawn_at,
        "correlation_id": envelope.correlationid,
        "person_id": envelope.actorid,
        "roles": envelope.actorroles or "",
        "big_number": envelope.actorbig,
        "supervisor_id": envelope.supervisorid,
        "taken_over": False,
    }
    known = sa.select(room_withdrawals.c.event_id).where(room_withdrawals.c.event_id == envelope.id)
    if await conn.scalar(known) is None:
        await conn.execute(sa.insert(room_withdrawals), row)
