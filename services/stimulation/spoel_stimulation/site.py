"""What a node knows of the site beyond its own rooms: read models from the other nodes' streams, and their questions.

A node's own store is left out: its own events are kept at hand in the transaction that appends them. Nothing here names
a person; a session is a pseudonym of a pseudonym.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import Envelope, EventData, ForeignEvent
from spoel_common.persons import same_person
from spoel_common.store import UtcDateTime, upsert
from spoel_stimulation.domain.facts import Booking
from spoel_stimulation.domain.reach import OtherBooking, Reach, lease_ends_at, local_day_ends_at
from spoel_stimulation.foreign_events.rooms import (
    ConsentWithdrawnInRoom,
    LeaseReleased,
    RoomLatched,
    RoomOpened,
    RoomReset,
    SessionClosed,
    SessionOpened,
)
from spoel_stimulation.projections import bookings, cancelled_bookings, withdrawals_recorded

OPEN_SESSION_HOLDS = timedelta(hours=24)
"""A session that a node left open, and of which nothing was heard any more, keeps its patient for so long."""

NEVER_S = 1e9

_metadata = sa.MetaData()
_ONE_DAY = timedelta(days=1)

site_rooms = sa.Table(
    "site_rooms",
    _metadata,
    sa.Column("room_id", sa.String, primary_key=True),
    sa.Column("source", sa.String, primary_key=True),
    sa.Column("stimulator_model", sa.String),
    sa.Column("stimulator_serial", sa.String),
    sa.Column("coil_model", sa.String),
    sa.Column("latch_reason", sa.String),
)
site_sessions = sa.Table(
    "site_sessions",
    _metadata,
    sa.Column("session_id", sa.String, primary_key=True),
    sa.Column("room_id", sa.String),
    sa.Column("case_id", sa.String),
    sa.Column("patient_id", sa.String),
    sa.Column("opened_at", UtcDateTime),
    sa.Column("closed_at", UtcDateTime),
)
site_leases_released = sa.Table("site_leases_released", _metadata, sa.Column("session_id", sa.String, primary_key=True))
site_withdrawals = sa.Table(
    "site_withdrawals",
    _metadata,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("case_id", sa.String, nullable=False),
    sa.Column("patient_id", sa.String),
)
SITE_TABLES = (site_rooms, site_sessions, site_leases_released, site_withdrawals)
"""All that ``apply`` writes."""

leases_released = sa.Table("leases_released", _metadata, sa.Column("session_id", sa.String, primary_key=True))
withdrawals = sa.Table(
    "withdrawals",
    _metadata,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("case_id", sa.String, nullable=False),
    sa.Column("patient_id", sa.String),
)


# --- others' events


async def apply(conn: AsyncConnection, envelope: Envelope, event: EventData | ForeignEvent | None, raw: bytes) -> None:
    """Apply one event of another node, in the transaction of the inbox."""
    del raw
    match event:
        case RoomOpened():
            await _put(conn, site_rooms, **event.model_dump(), source=envelope.source)
        case RoomLatched():
            row = {"room_id": event.room_id, "source": envelope.source, "latch_reason": event.reason}
            await _put(conn, site_rooms, **row)
        case RoomReset():
            await _put(conn, site_rooms, room_id=event.room_id, source=envelope.source, latch_reason=None)
        case SessionOpened():
            row = event.model_dump(include={"session_id", "room_id", "case_id", "patient_id"})
            await _put(conn, site_sessions, **row, opened_at=envelope.time)
        case SessionClosed():
            await _put(conn, site_sessions, session_id=event.session_id, closed_at=envelope.time)
        case LeaseReleased():
            await _put(conn, site_leases_released, session_id=event.session_id)
        case ConsentWithdrawnInRoom():
            await _put(conn, site_withdrawals, event_id=envelope.id, **event.model_dump())
        case _:
            pass


async def _put(conn: AsyncConnection, table: sa.Table, **values: object) -> None:
    await upsert(conn, table, [values])


# --- own events, in the transaction of their append


async def keep_release(conn: AsyncConnection, session_id: str) -> None:
    """Keep that this node gave a booking back."""
    await _put(conn, leases_released, session_id=session_id)


async def keep_withdrawal(conn: AsyncConnection, event_id: str, case_id: str, patient_id: str) -> None:
    """Keep a withdrawal that was entered here, until intake has recorded it."""
    await _put(conn, withdrawals, event_id=event_id, case_id=case_id, patient_id=patient_id)


# --- questions


async def withdrawn_in_a_room(conn: AsyncConnection, case_id: str, patient_id: str | None = None) -> bool:
    """Tell whether consent was withdrawn in a room, here or elsewhere, and intake has not recorded that yet.

    Once it has, intake's own events say how consent stands: a consent that is given anew follows there.

    Args:
        conn: any connection.
        case_id: of the consent.
        patient_id: if given, a withdrawal in any file of this patient's person counts, in whichever case.
    """
    recorded = sa.select(withdrawals_recorded.c.event_id)
    entered = [
        sa.select(table.c.event_id).where(_of(table, case_id, patient_id), table.c.event_id.not_in(recorded))
        for table in (withdrawals, site_withdrawals)
    ]
    return (await conn.execute(sa.union_all(*entered).limit(1))).first() is not None


def _of(table: sa.Table, case_id: str, patient_id: str | None) -> sa.ColumnElement[bool]:
    of_case = table.c.case_id == case_id
    return of_case if patient_id is None else sa.or_(of_case, table.c.patient_id.in_(same_person(patient_id)))


async def room_of_patient_elsewhere(conn: AsyncConnection, patient_id: str, now: datetime) -> str | None:
    """Return a room of another node in which a patient's person has an open session."""
    query = sa.select(site_sessions.c.room_id).where(
        site_sessions.c.patient_id.in_(same_person(patient_id)),
        site_sessions.c.closed_at.is_(None),
        site_sessions.c.opened_at > now - OPEN_SESSION_HOLDS,
    )
    return (await conn.execute(query)).scalars().first()


async def is_released(conn: AsyncConnection, session_id: str) -> bool:
    """Tell whether this node gave a booking back."""
    query = sa.select(leases_released).where(leases_released.c.session_id == session_id)
    return (await conn.execute(query)).first() is not None


async def other_treatments_that_day(conn: AsyncConnection, booking: Booking) -> int:
    """Return how many other treatments of the patient stand on the booking's local day, in all rooms."""
    ends_at = local_day_ends_at(booking.starts_at)
    cancelled = sa.select(cancelled_bookings.c.session_id)
    query = sa.select(bookings.c.starts_at).where(
        bookings.c.patient_id.in_(same_person(booking.patient_id)),
        bookings.c.session_id != booking.session_id,
        bookings.c.kind == "treatment",
        bookings.c.session_id.not_in(cancelled),
        bookings.c.starts_at.between(ends_at - 2 * _ONE_DAY, ends_at + _ONE_DAY),
    )
    starts = (await conn.execute(query)).scalars()
    return sum(local_day_ends_at(start) == ends_at for start in starts)


async def bookings_elsewhere(
    conn: AsyncConnection, booking: Booking, now: datetime, reach: Reach
) -> tuple[OtherBooking, ...]:
    """Return the patient's bookings in rooms of other nodes whose leases last at ``now``."""
    query = (
        sa.select(
            bookings,
            cancelled_bookings.c.session_id.is_not(None).label("cancelled"),
            site_leases_released.c.session_id.is_not(None).label("released"),
            site_sessions.c.closed_at.is_not(None).label("closed"),
        )
        .join_from(bookings, cancelled_bookings, bookings.c.session_id == cancelled_bookings.c.session_id, isouter=True)
        .join(site_leases_released, bookings.c.session_id == site_leases_released.c.session_id, isouter=True)
        .join(site_sessions, bookings.c.session_id == site_sessions.c.session_id, isouter=True)
        .where(
            bookings.c.patient_id.in_(same_person(booking.patient_id)),
            bookings.c.room_id.not_in(reach.own_rooms),
            bookings.c.starts_at.between(now - 2 * _ONE_DAY, now + _ONE_DAY),
        )
        .order_by(bookings.c.starts_at)
    )
    rows = (await conn.execute(query)).mappings().all()
    ages = {row["room_id"]: await _age_of(conn, row["room_id"], reach) for row in rows}
    today = local_day_ends_at(now)
    return tuple(
        _other_booking(row, ages[row["room_id"]])
        for row in rows
        if lease_ends_at(row["starts_at"], row["ends_at"]) > now and local_day_ends_at(row["starts_at"]) <= today
    )


def _other_booking(row: Mapping[Any, Any], age_s: float) -> OtherBooking:
    fields = {name: row[name] for name in OtherBooking.model_fields if name != "age_s"}
    return OtherBooking.model_validate({**fields, "age_s": age_s})


async def _age_of(conn: AsyncConnection, room_id: str, reach: Reach) -> float:
    """Return how long ago a room's node was last fully known; the youngest where two nodes had the room."""
    found = await conn.execute(sa.select(site_rooms.c.source).where(site_rooms.c.room_id == room_id))
    return min((reach.nodes.get(source, NEVER_S) for source in found.scalars()), default=NEVER_S)


async def bookings_to_release(conn: AsyncConnection, own_rooms: frozenset[str]) -> list[Booking]:
    """Return the cancelled bookings of these rooms that are not given back yet."""
    query = (
        sa.select(bookings, sa.true().label("cancelled"))
        .join_from(bookings, cancelled_bookings, bookings.c.session_id == cancelled_bookings.c.session_id)
        .join(leases_released, bookings.c.session_id == leases_released.c.session_id, isouter=True)
        .where(bookings.c.room_id.in_(own_rooms), leases_released.c.session_id.is_(None))
    )
    rows = (await conn.execute(query)).mappings().all()
    return [Booking.model_validate({name: row[name] for name in Booking.model_fields}) for row in rows]


async def bookings_of_the_day(conn: AsyncConnection, own_rooms: frozenset[str], now: datetime) -> list[Booking]:
    """Return the bookings of these rooms on the local day of ``now`` that were not cancelled."""
    ends_at = local_day_ends_at(now)
    cancelled = sa.select(cancelled_bookings.c.session_id)
    query = sa.select(bookings).where(
        bookings.c.room_id.in_(own_rooms),
        bookings.c.session_id.not_in(cancelled),
        bookings.c.starts_at.between(ends_at - 2 * _ONE_DAY, ends_at),
    )
    rows = (await conn.execute(query)).mappings().all()
    names = [name for name in Booking.model_fields if name != "cancelled"]
    found = [Booking.model_validate({name: row[name] for name in names}) for row in rows]
    return [each for each in found if local_day_ends_at(each.starts_at) == ends_at]


async def rooms_elsewhere(conn: AsyncConnection) -> list[Mapping[Any, Any]]:
    """Return the rooms of other nodes, each with its open session (``session_id``, or None)."""
    opened = site_sessions.c.opened_at.is_not(None) & site_sessions.c.closed_at.is_(None)
    query = (
        sa.select(site_rooms, site_sessions.c.session_id)
        .join_from(site_rooms, site_sessions, (site_rooms.c.room_id == site_sessions.c.room_id) & opened, isouter=True)
        .order_by(site_rooms.c.room_id, site_rooms.c.source, site_sessions.c.opened_at.desc())
    )
    rows: dict[tuple[str, str], Mapping[Any, Any]] = {}
    for row in (await conn.execute(query)).mappings():
        rows.setdefault((row["room_id"], row["source"]), row)
    return list(rows.values())
