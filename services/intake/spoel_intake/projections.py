"""Read models: cases and staff from intake's own events, in their transaction; rooms and strips from others' events."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, time, timedelta
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import persons
from spoel_common.events import Envelope, EventData, ForeignEvent
from spoel_common.messaging import Projection
from spoel_common.store import upsert
from spoel_intake.events import (
    ConsentGiven,
    ConsentWithdrawn,
    Decision,
    IndicationDecided,
    PatientMerged,
    ReferralReceived,
    RegistrationEnded,
    RegistrationVerified,
    SafetyScreenCompleted,
)
from spoel_intake.foreign_events import (
    ANSWER_EVENTS,
    STRIP_EVENTS,
    Cleared,
    RoomOpened,
    SessionBooked,
    SessionBookingCancelled,
    SessionClosed,
)
from spoel_intake.tables import cases, erasure_answers, merges, rooms, staff, strips

ANSWERING_SERVICES = ("planning", "stimulation", "audit")
"""Whoever keeps anything of a patient's, and answers an erasure when it is cleared."""

STRIP_LEAD = timedelta(hours=1)
"""A strip is put into its room this long before the day of the session begins, so that it is there at midnight."""


class Stamp(NamedTuple):
    """When an own event happened and who caused it."""

    at: datetime
    person_id: str


async def project_own(conn: AsyncConnection, event: EventData, stamp: Stamp) -> None:
    """Bring intake's own read models up to date, in the transaction that appends ``event``.

    Raises:
        sqlalchemy.exc.IntegrityError: the patient has an open case already.
    """
    match event:
        case ReferralReceived():
            await conn.execute(sa.insert(cases), _new_case(event, stamp))
        case SafetyScreenCompleted():
            await _set_status(conn, event.case_id, "screened")
        case IndicationDecided():
            await _set_status(conn, event.case_id, event.decision, is_open=event.decision is Decision.INDICATED)
        case ConsentGiven():
            await _set_status(conn, event.case_id, "consented")
        case ConsentWithdrawn():
            await _set_status(conn, event.case_id, "consent-withdrawn")
        case PatientMerged():
            row = {"patient_id": event.patient_id, "into_patient_id": event.into_patient_id, "merged_at": stamp.at}
            await conn.execute(sa.insert(merges), row)
            await persons.keep_merge(conn, event.patient_id, event.into_patient_id)
        case RegistrationVerified():
            await upsert(conn, staff, [{**event.model_dump(), "ended_on": None, "end_reason": None}])
        case RegistrationEnded():
            change = sa.update(staff).where(staff.c.person_id == event.person_id)
            await conn.execute(change.values(ended_on=event.ended_on, end_reason=event.reason))
        case _:
            pass


def answers_projection() -> Projection:
    """Return the projection that keeps which stores have answered which erasure."""
    return Projection(
        name="erasure-answers",
        version=1,
        services=ANSWERING_SERVICES,
        catalogue=ANSWER_EVENTS,
        apply=_apply_answers,
    )


async def _apply_answers(
    conn: AsyncConnection, envelope: Envelope, event: ForeignEvent | EventData | None, _raw: bytes
) -> None:
    if isinstance(event, Cleared):
        row = {
            "patient_id": event.patient_id,
            "source": envelope.source,
            "answered_at": envelope.time,
            "cleared": json.dumps(event.cleared),
        }
        await upsert(conn, erasure_answers, [row])


def strips_projection(zone: ZoneInfo, changed: Callable[[], None]) -> Projection:
    """Return the projection that keeps which identity strips belong in which room.

    Args:
        zone: the clinic's time zone, for the local day.
        changed: called after a commit.
    """

    async def after_commit(_applied: list[Envelope]) -> None:
        changed()

    apply: Callable[..., Awaitable[None]] = partial(_apply_strips, zone)
    return Projection(
        name="strips",
        version=1,
        services=("planning", "stimulation"),
        catalogue=STRIP_EVENTS,
        apply=apply,
        after_commit=after_commit,
        tables=(rooms, strips),
        around_switch=_revisions_go_on,
    )


@asynccontextmanager
async def _revisions_go_on(conn: AsyncConnection) -> AsyncIterator[None]:
    """Number a rebuilt model's revisions above all old ones: every strip is carried out once more.

    A push of the old model that is under way cannot be mistaken for one of the new.
    """
    highest = await conn.scalar(sa.select(sa.func.max(strips.c.revision))) or 0
    yield
    await conn.execute(sa.update(strips).values(revision=strips.c.revision + highest))


def visible_window(starts_at: datetime, ends_at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return from when to when the strip of a session is in its room: its local day, and not after closing time."""
    first_day = starts_at.astimezone(zone).date()
    day_after = ends_at.astimezone(zone).date() + timedelta(days=1)
    return (
        datetime.combine(first_day, time.min, zone) - STRIP_LEAD,
        datetime.combine(day_after, time.min, zone),
    )


async def _apply_strips(
    zone: ZoneInfo, conn: AsyncConnection, _envelope: Envelope, event: EventData | ForeignEvent | None, _raw: bytes
) -> None:
    """Note what an event says about strips; bookings, ends and rooms come in any order."""
    match event:
        case SessionBooked():
            await _note_booking(conn, event, zone)
        case SessionBookingCancelled() | SessionClosed():
            await _note_strip(conn, event.session_id, {"ended": True})
        case RoomOpened():
            await _note_room(conn, event)
        case _:
            pass


async def _note_booking(conn: AsyncConnection, event: SessionBooked, zone: ZoneInfo) -> None:
    visible_from, visible_until = visible_window(event.starts_at, event.ends_at, zone)
    booking = {
        "room_id": event.room_id,
        "patient_id": event.patient_id,
        "visible_from": visible_from,
        "visible_until": visible_until,
    }
    await _note_strip(conn, event.session_id, booking)


async def _note_strip(conn: AsyncConnection, session_id: str, change: dict[str, object]) -> None:
    """Change one strip; its new revision is what is still to be carried out."""
    updated = await conn.execute(
        sa.update(strips).where(strips.c.session_id == session_id).values(**change, revision=strips.c.revision + 1)
    )
    if not updated.rowcount:
        new = {"session_id": session_id, "ended": False, "revision": 1, "pushed": 0, **change}
        await conn.execute(sa.insert(strips), new)


async def _note_room(conn: AsyncConnection, event: RoomOpened) -> None:
    known = await conn.scalar(sa.select(rooms.c.strip_public_key).where(rooms.c.room_id == event.room_id))
    if known == event.strip_public_key:
        return
    await upsert(conn, rooms, [{"room_id": event.room_id, "strip_public_key": event.strip_public_key}])
    await conn.execute(
        sa.update(strips)
        .where(strips.c.room_id == event.room_id, sa.not_(strips.c.ended))
        .values(revision=strips.c.revision + 1)
    )


def _new_case(event: ReferralReceived, stamp: Stamp) -> dict[str, object]:
    copied = {"case_id", "patient_id", "channel", "referrer_kind", "indication", "referred_on", "external_id"}
    return {
        **event.model_dump(include=copied),
        "referred_by": stamp.person_id,
        "received_at": stamp.at,
        "status": "referred",
        "is_open": True,
    }


async def _set_status(conn: AsyncConnection, case_id: str, status: str, **changes: bool) -> None:
    """Change how far a case is; only a decision opens or closes it: consent can still end in a closed one."""
    await conn.execute(sa.update(cases).where(cases.c.case_id == case_id).values(status=status, **changes))
