"""Read models from others' events: what planning knows of cases, staff, rooms and threshold sessions.

Events of different aggregates come in any order; each handler writes its own columns and asks for no other row.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import persons
from spoel_common.events import Envelope, EventModel
from spoel_common.messaging import Projection
from spoel_planning.foreign_events import (
    FOREIGN_EVENTS,
    ConsentGiven,
    ConsentWithdrawn,
    IndicationDecided,
    LocationsRanked,
    PatientMerged,
    ReferralReceived,
    RegistrationEnded,
    RegistrationVerified,
    RoomOpened,
    SessionClosed,
    SessionOpened,
    StimulusAnswered,
)
from spoel_planning.tables import (
    answered_stimuli,
    known_cases,
    known_rooms,
    ranked_searches,
    registrations,
    room_sessions,
)

Handle = Callable[[AsyncConnection, Envelope, Any], Awaitable[None]]


def knowledge_projection() -> Projection:
    """Return the projection that keeps all of planning's read models of others."""
    return Projection(
        name="knowledge",
        version=1,
        services=("intake", "stimulation"),
        catalogue=FOREIGN_EVENTS,
        apply=apply_foreign,
        tables=(
            known_cases,
            registrations,
            known_rooms,
            answered_stimuli,
            room_sessions,
            ranked_searches,
            persons.person_files,
        ),
    )


async def apply_foreign(conn: AsyncConnection, envelope: Envelope, event: EventModel | None, _raw: bytes) -> None:
    """Apply one foreign event, within the inbox's transaction."""
    if event is not None:
        await _HANDLERS[type(event)](conn, envelope, event)


async def _merged(conn: AsyncConnection, _envelope: Envelope, event: PatientMerged) -> None:
    await persons.keep_merge(conn, event.patient_id, event.into_patient_id)


async def _referral(conn: AsyncConnection, _envelope: Envelope, event: ReferralReceived) -> None:
    await _put_case(conn, event.case_id, event.patient_id, indication=event.indication)


async def _indication(conn: AsyncConnection, _envelope: Envelope, event: IndicationDecided) -> None:
    await _put_case(conn, event.case_id, event.patient_id, decision=event.decision)


async def _consent_given(conn: AsyncConnection, _envelope: Envelope, event: ConsentGiven) -> None:
    await _put_case(conn, event.case_id, event.patient_id, consent="given")


async def _consent_withdrawn(conn: AsyncConnection, _envelope: Envelope, event: ConsentWithdrawn) -> None:
    await _put_case(conn, event.case_id, event.patient_id, consent="withdrawn")


async def _put_case(conn: AsyncConnection, case_id: str, patient_id: str, **values: str) -> None:
    await _put(conn, known_cases, {"case_id": case_id}, {"patient_id": patient_id, **values})


async def _registration_verified(conn: AsyncConnection, _envelope: Envelope, event: RegistrationVerified) -> None:
    key = {"person_id": event.person_id, "big_number": event.big_number}
    await _put(conn, registrations, key, {**event.model_dump(exclude=set(key)), "ended_on": None})


async def _registration_ended(conn: AsyncConnection, _envelope: Envelope, event: RegistrationEnded) -> None:
    key = {"person_id": event.person_id, "big_number": event.big_number}
    await _put(conn, registrations, key, {"ended_on": event.ended_on})


async def _room_opened(conn: AsyncConnection, _envelope: Envelope, event: RoomOpened) -> None:
    await _put(conn, known_rooms, {"room_id": event.room_id}, event.model_dump(exclude={"room_id"}))


async def _stimulus_answered(conn: AsyncConnection, envelope: Envelope, event: StimulusAnswered) -> None:
    key = {"session_id": event.session_id, "version": envelope.aggregateversion}
    values = event.model_dump(exclude={"session_id", "patient_id"})
    await _put(conn, answered_stimuli, key, {**values, "answered_at": envelope.time})


async def _ranked(conn: AsyncConnection, envelope: Envelope, event: LocationsRanked) -> None:
    values = event.model_dump(exclude={"session_id", "locations"})
    locations = json.dumps([place.model_dump() for place in event.locations])
    key = {"session_id": event.session_id}
    await _put(conn, ranked_searches, key, {**values, "locations": locations, "ranked_at": envelope.time})


async def _session_opened(conn: AsyncConnection, envelope: Envelope, event: SessionOpened) -> None:
    await _put(conn, room_sessions, {"session_id": event.session_id}, {"opened_at": envelope.time})


async def _session_closed(conn: AsyncConnection, envelope: Envelope, event: SessionClosed) -> None:
    values = {"outcome": event.outcome, "closed_at": envelope.time}
    await _put(conn, room_sessions, {"session_id": event.session_id}, values)


async def _put(conn: AsyncConnection, table: sa.Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    matches = sa.and_(*(table.c[name] == value for name, value in key.items()))
    updated = await conn.execute(sa.update(table).where(matches).values(**values))
    if updated.rowcount == 0:
        await conn.execute(sa.insert(table).values(**key, **values))


_HANDLERS: dict[type[EventModel], Handle] = {
    PatientMerged: _merged,
    ReferralReceived: _referral,
    IndicationDecided: _indication,
    ConsentGiven: _consent_given,
    ConsentWithdrawn: _consent_withdrawn,
    RegistrationVerified: _registration_verified,
    RegistrationEnded: _registration_ended,
    RoomOpened: _room_opened,
    StimulusAnswered: _stimulus_answered,
    LocationsRanked: _ranked,
    SessionOpened: _session_opened,
    SessionClosed: _session_closed,
}
