"""What a patient was given, and what blocks, over all rooms: kept of this node's own events and of other nodes'.

Own events are kept in the transaction of their append; those of other nodes as they arrive. The two lie in tables of
their own, because the second kind can be rebuilt from the streams; questions are asked of both, and of all files of the
patient's person (HZ-14).
"""

from datetime import date, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.events import EventData, ForeignEvent
from spoel_common.persons import same_person
from spoel_common.store import upsert
from spoel_stimulation.domain.facts import Given, local_day
from spoel_stimulation.events.checks import DailyCheckAnswered, DailyCheckDecided
from spoel_stimulation.events.harm import AdverseEventReported, PatientReleased
from spoel_stimulation.events.rooms import UnauthorisedPulseObserved
from spoel_stimulation.events.trains import TrainAuthorised, TrainDelivered
from spoel_stimulation.foreign_events import rooms as others
from spoel_stimulation.projections import table


class Book(NamedTuple):
    """Tables: trains of treatment and of searches, pulses that no train accounts for, what blocks, and what frees.

    ``stimuli`` has a patient's last single stimulus of any measurement: those are not among the trains.
    """

    given: sa.Table
    unauthorised: sa.Table
    stimuli: sa.Table
    adverse_events: sa.Table
    releases: sa.Table
    refused_days: sa.Table


def _book(prefix: str) -> Book:
    return Book(
        table(f"{prefix}given", "train_id", "session_id", "patient_id", "day:date", "pulses:int", "last_at:moment"),
        table(
            f"{prefix}unauthorised_pulses",
            "event_id",
            "session_id",
            "patient_id",
            "day:date",
            "pulses:int",
            "last_at:moment",
        ),
        table(f"{prefix}last_stimuli", "patient_id", "last_at:moment"),
        table(f"{prefix}adverse_events", "adverse_event_id", "patient_id"),
        table(f"{prefix}releases", "adverse_event_id", "patient_id"),
        table(f"{prefix}refused_days", "session_id", "patient_id", "day:date"),
    )


OWN, KNOWN = _book(""), _book("known_")
known_measurements = table("known_measurements", "session_id")
KNOWN_TABLES = (*KNOWN, known_measurements)


async def keep(conn: AsyncConnection, book: Book, event: EventData | ForeignEvent | None, today: date) -> None:
    """Keep what an event of a session, an adverse event or a release means for the patient's day.

    Args:
        conn: a write transaction.
        book: own or known.
        event: of this node or of another; trains of treatment and of a search, never single stimuli of a measurement.
        today: the local day on which it happened.
    """
    match event:
        case TrainAuthorised() | others.TrainAuthorised():
            last_at = event.planned_onset_at
            row = event.model_dump(include={"train_id", "session_id", "patient_id", "pulses"})
            await upsert(conn, book.given, [row | {"day": local_day(last_at), "last_at": last_at}])
        case TrainDelivered() | others.TrainDelivered():
            await _delivered(conn, book.given, event)
        case DailyCheckAnswered(outcome="no-session-today") | others.DailyCheckAnswered(outcome="no-session-today"):
            await _refuse_day(conn, book, event.session_id, event.patient_id, event.day)
        case DailyCheckDecided(decision="no-session-today") | others.DailyCheckDecided(decision="no-session-today"):
            await _refuse_day(conn, book, event.session_id, event.patient_id, today)
        case AdverseEventReported() | others.AdverseEventReported():
            row = event.model_dump(include={"adverse_event_id", "patient_id"})
            await upsert(conn, book.adverse_events, [row])
        case PatientReleased() | others.PatientReleased():
            released = [{"adverse_event_id": each, "patient_id": event.patient_id} for each in event.adverse_event_ids]
            await upsert(conn, book.releases, released)
        case _:
            pass


async def keep_stimulus(conn: AsyncConnection, book: Book, event: TrainAuthorised | others.TrainAuthorised) -> None:
    """Keep when a patient's last single stimulus was due, in whatever order they become known."""
    its, last_at = book.stimuli.c, event.planned_onset_at
    of_patient = sa.select(its.last_at).where(its.patient_id == event.patient_id)
    known = (await conn.execute(of_patient)).scalar_one_or_none()
    if known is None or known < last_at:
        await upsert(conn, book.stimuli, [{"patient_id": event.patient_id, "last_at": last_at}])


async def keep_unauthorised(
    conn: AsyncConnection,
    book: Book,
    event_id: str,
    event: UnauthorisedPulseObserved | others.UnauthorisedPulseObserved,
    observed_at: datetime,
) -> None:
    """Keep pulses that no train accounts for in the day of the patient whose session was open (HZ-14).

    Nobody knows where the coil was: it counts as given, the last one when it was observed.
    """
    if event.patient_id is None:
        return
    row = event.model_dump(include={"session_id", "patient_id", "pulses"})
    kept = row | {"event_id": event_id, "day": local_day(observed_at), "last_at": observed_at}
    await upsert(conn, book.unauthorised, [kept])


async def keep_known(
    conn: AsyncConnection, event_id: str, event: EventData | ForeignEvent | None, happened_at: datetime
) -> None:
    """Keep an event of another node.

    Single stimuli of a measurement do not count against the day's maximum; the trains of a heart-brain search do.
    """
    if isinstance(event, others.UnauthorisedPulseObserved):
        await keep_unauthorised(conn, KNOWN, event_id, event, happened_at)
    if isinstance(event, others.SessionOpened) and event.kind == "measurement":
        await upsert(conn, known_measurements, [{"session_id": event.session_id}])
    if isinstance(event, others.TrainAuthorised) and event.pulses == 1:
        its = known_measurements.c.session_id == event.session_id
        if (await conn.execute(sa.select(known_measurements).where(its))).one_or_none() is not None:
            await keep_stimulus(conn, KNOWN, event)
            return
    await keep(conn, KNOWN, event, local_day(happened_at))


async def _delivered(conn: AsyncConnection, given: sa.Table, event: TrainDelivered | others.TrainDelivered) -> None:
    its = given.c.train_id == event.train_id
    if event.pulses:
        await conn.execute(sa.update(given).where(its).values(pulses=event.pulses, last_at=event.ended_at))
    else:
        await conn.execute(sa.delete(given).where(its))


async def _refuse_day(conn: AsyncConnection, book: Book, session_id: str, patient_id: str, day: date) -> None:
    await upsert(conn, book.refused_days, [{"session_id": session_id, "patient_id": patient_id, "day": day}])


# --- questions, made once: a train waits for the answers

_BOTH = (OWN, KNOWN)
_FILES = same_person(sa.bindparam("patient_id", type_=sa.String()))
_SESSION: sa.BindParameter[str] = sa.bindparam("session_id", type_=sa.String())
_TODAY: sa.BindParameter[date] = sa.bindparam("today", type_=sa.Date())


def _given() -> sa.Select[int, int, Any]:
    trains = [
        sa.select(its.session_id, its.day, its.pulses, its.last_at, sa.false().label("unauthorised")).where(
            its.patient_id.in_(_FILES)
        )
        for its in (book.given.c for book in _BOTH)
    ]
    unauthorised = [
        sa.select(its.session_id, its.day, its.pulses, its.last_at, sa.true()).where(its.patient_id.in_(_FILES))
        for its in (book.unauthorised.c for book in _BOTH)
    ]
    every = sa.union_all(*trains, *unauthorised).subquery().c
    today, elsewhere = every.day == _TODAY, every.session_id != _SESSION
    here = sa.and_(today, sa.not_(elsewhere), every.unauthorised)
    return sa.select(
        _sum(sa.and_(today, elsewhere), every.pulses).label("pulses"),
        _sum(here, every.pulses).label("unauthorised_here"),
        sa.func.max(sa.case((elsewhere, every.last_at))).label("last_at"),
    )


def _sum(where: sa.ColumnElement[bool], pulses: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, pulses), else_=0)), 0)


def _blocking() -> sa.Select[Any]:
    happened = sa.union(
        *(
            sa.select(book.adverse_events.c.adverse_event_id).where(book.adverse_events.c.patient_id.in_(_FILES))
            for book in _BOTH
        )
    ).subquery()
    released = sa.union(*(sa.select(book.releases.c.adverse_event_id) for book in _BOTH))
    unreleased = sa.select(happened.c.adverse_event_id).where(happened.c.adverse_event_id.not_in(released))
    return unreleased.order_by(happened.c.adverse_event_id)


def _refused() -> sa.CompoundSelect[Any]:
    days = [book.refused_days.c for book in _BOTH]
    return sa.union_all(
        *(sa.select(its.session_id).where(its.patient_id.in_(_FILES), its.day == _TODAY) for its in days)
    )


def _last_stimulus() -> sa.Select[Any]:
    both = [sa.select(book.stimuli.c.last_at).where(book.stimuli.c.patient_id.in_(_FILES)) for book in _BOTH]
    return sa.select(sa.func.max(sa.union_all(*both).subquery().c.last_at))


_GIVEN, _BLOCKING, _REFUSED, _LAST_STIMULUS = _given(), _blocking(), _refused(), _last_stimulus()


async def given_to(conn: AsyncConnection, patient_id: str, session_id: str, today: date) -> Given:
    """Return what a patient was given in other sessions than this one, and in this one by no train."""
    values = {"patient_id": patient_id, "session_id": session_id, "today": today}
    row = (await conn.execute(_GIVEN, values)).one()
    return Given(pulses_today=row.pulses, unauthorised_here=row.unauthorised_here, last_at=row.last_at)


async def last_stimulus_of(conn: AsyncConnection, patient_id: str) -> datetime | None:
    """Return when a patient's last single stimulus was due, in any measurement of which this node knows."""
    last_at: datetime | None = (await conn.execute(_LAST_STIMULUS, {"patient_id": patient_id})).scalar_one_or_none()
    return last_at


async def blocking(conn: AsyncConnection, patient_id: str) -> tuple[str, ...]:
    """Return the adverse events, of any room, that no physician has decided on yet."""
    return tuple((await conn.execute(_BLOCKING, {"patient_id": patient_id})).scalars())


async def refused_on(conn: AsyncConnection, patient_id: str, today: date) -> bool:
    """Tell whether an answer of the day ruled out every session of a patient."""
    return (await conn.execute(_REFUSED, {"patient_id": patient_id, "today": today})).first() is not None
