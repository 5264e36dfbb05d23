"""Reads of planning's read models, as the values that the decisions take."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.people import Profession, Registration
from spoel_common.persons import same_person
from spoel_planning.domain.booking import Booked
from spoel_planning.domain.known import (
    KnownCase,
    KnownRoom,
    PatientSlot,
    Progress,
    RankedSearch,
    SeenSession,
    SeenStimulus,
)
from spoel_planning.tables import (
    answered_stimuli,
    booked_sessions,
    known_cases,
    known_rooms,
    ranked_searches,
    registrations,
    room_sessions,
)

_ONE_DAY = timedelta(days=1)


async def find_case(conn: AsyncConnection, case_id: str) -> KnownCase | None:
    """Return what is known of a case, or None."""
    rows = await conn.execute(sa.select(known_cases).where(known_cases.c.case_id == case_id))
    row = rows.mappings().one_or_none()
    return None if row is None else KnownCase.model_validate(row)


async def lock_patient(conn: AsyncConnection, patient_id: str) -> None:
    """Let only one transaction at a time book for a person, whichever of the person's files and cases it is about."""
    await conn.execute(
        sa.select(known_cases.c.case_id)
        .where(known_cases.c.patient_id.in_(same_person(patient_id)))
        .order_by(known_cases.c.case_id)
        .with_for_update()
    )


async def find_registrations(
    conn: AsyncConnection, person_id: str, big_number: str | None = None
) -> list[Registration]:
    """Return the verified registrations of a person, or the one of a number.

    One that was ended holds up to the day before.
    """
    wanted = registrations.c.person_id == person_id
    if big_number is not None:
        wanted &= registrations.c.big_number == big_number
    rows = await conn.execute(sa.select(registrations).where(wanted, registrations.c.profession.is_not(None)))
    return [
        Registration(
            person_id=row.person_id,
            big_number=row.big_number,
            profession=Profession(row.profession),
            verified_on=row.verified_on,
            evidence=row.evidence,
            valid_until=_last_day(row.valid_until, row.ended_on),
        )
        for row in rows
    ]


async def list_rooms(conn: AsyncConnection) -> list[KnownRoom]:
    """Return every known room, by id."""
    rows = await conn.execute(sa.select(known_rooms).order_by(known_rooms.c.room_id))
    return [KnownRoom.model_validate(row) for row in rows.mappings()]


async def find_session(conn: AsyncConnection, session_id: str) -> SeenSession | None:
    """Return what has arrived of a threshold session, or None where no stimulus has."""
    wanted = sa.select(answered_stimuli).where(answered_stimuli.c.session_id == session_id)
    rows = (await conn.execute(wanted.order_by(answered_stimuli.c.version))).mappings().all()
    if not rows:
        return None
    order_id = rows[0]["measurement_order_id"]
    elsewhere = sa.select(sa.func.count()).where(
        answered_stimuli.c.measurement_order_id == order_id, answered_stimuli.c.session_id != session_id
    )
    return SeenSession(
        session_id=session_id,
        case_id=rows[0]["case_id"],
        measurement_order_id=order_id,
        stimuli=tuple(SeenStimulus.model_validate(row) for row in rows),
        stimuli_elsewhere=(await conn.execute(elsewhere)).scalar_one(),
    )


async def list_searches(conn: AsyncConnection, case_id: str) -> list[RankedSearch]:
    """Return what the heart-brain searches of a case found, the oldest first."""
    wanted = sa.select(ranked_searches).where(ranked_searches.c.case_id == case_id)
    rows = (await conn.execute(wanted.order_by(ranked_searches.c.ranked_at))).mappings()
    return [RankedSearch.model_validate({**row, "locations": json.loads(row["locations"])}) for row in rows]


async def list_patient_slots(conn: AsyncConnection, patient_id: str) -> list[PatientSlot]:
    """Return every session of a patient's person that will take place or was begun, in all rooms, files and cases."""
    booked, seen = booked_sessions.c, room_sessions.c
    rows = await conn.execute(
        sa.select(booked_sessions, seen.opened_at, seen.outcome, seen.closed_at)
        .join_from(booked_sessions, room_sessions, booked.session_id == seen.session_id, isouter=True)
        .where(booked.patient_id.in_(same_person(patient_id)))
        .where(sa.or_(sa.not_(booked.cancelled), seen.opened_at.is_not(None)))
        .order_by(booked.starts_at)
    )
    return [_patient_slot(row) for row in rows]


def _patient_slot(row: sa.Row[Any]) -> PatientSlot:
    ends_at = row.ends_at if row.closed_at is None else row.closed_at
    return PatientSlot(
        session_id=row.session_id,
        room_id=row.room_id,
        kind=row.kind,
        starts_at=min(row.starts_at, row.opened_at or ends_at, ends_at),
        ends_at=ends_at,
        local_day=row.local_day,
        pulses=0 if row.outcome == "not-started" else row.pulses,
        min_pause_s=row.min_pause_s,
    )


async def closed_in_room(conn: AsyncConnection, room_id: str, after: datetime) -> dict[str, datetime]:
    """Return when those sessions of a room ended that are over though booked until later than ``after``."""
    booked, seen = booked_sessions.c, room_sessions.c
    rows = await conn.execute(
        sa.select(seen.session_id, seen.closed_at)
        .join_from(room_sessions, booked_sessions, booked.session_id == seen.session_id)
        .where(booked.room_id == room_id, booked.ends_at > after, seen.closed_at.is_not(None))
    )
    return {row.session_id: row.closed_at for row in rows}


async def find_progress(conn: AsyncConnection, session_id: str) -> Progress:
    """Return how far a room is known to be with a session."""
    wanted = sa.select(room_sessions.c.closed_at).where(room_sessions.c.session_id == session_id)
    row = (await conn.execute(wanted)).one_or_none()
    if row is None:
        return "not-begun"
    return "under-way" if row.closed_at is None else "over"


async def keep_booked(conn: AsyncConnection, booked: Booked, local_day: date) -> None:
    """Keep a booking where other bookings of the patient look for it."""
    event = booked.event
    await conn.execute(
        sa.insert(booked_sessions).values(
            session_id=event.session_id,
            patient_id=event.patient_id,
            room_id=event.room_id,
            kind=event.kind,
            starts_at=event.starts_at,
            ends_at=event.ends_at,
            local_day=local_day,
            pulses=booked.pulses,
            min_pause_s=booked.min_pause_s,
            cancelled=False,
        )
    )


async def keep_cancelled(conn: AsyncConnection, session_id: str) -> None:
    """Keep that a booking was cancelled."""
    await conn.execute(
        sa.update(booked_sessions).where(booked_sessions.c.session_id == session_id).values(cancelled=True)
    )


def _last_day(valid_until: date | None, ended_on: date | None) -> date | None:
    ends = [day for day in (valid_until, ended_on - _ONE_DAY if ended_on else None) if day is not None]
    return min(ends, default=None)
