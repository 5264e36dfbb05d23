"""Read models of a room node: what it knows of intake and planning, and what it keeps at hand of its own events.

References to what has not arrived yet are accepted, whatever the order in which feeds arrive: every fact has a row of
its own, and a decision asks for all that it needs.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import persons
from spoel_common.events import Envelope, EventData, ForeignEvent
from spoel_common.people import Registration
from spoel_common.sealing import can_seal_for
from spoel_common.store import BigInt, UtcDateTime, upsert
from spoel_stimulation.domain.facts import Booking, OrderFacts
from spoel_stimulation.events.patients import NoteWritten
from spoel_stimulation.events.sessions import SessionClosed, SessionOpened
from spoel_stimulation.events.trains import TrainDelivered, TrainOutcomeUnknown
from spoel_stimulation.foreign_events.intake import (
    ConsentGiven,
    ConsentWithdrawn,
    IndicationDecided,
    PatientMerged,
    PatientRegistered,
    RegistrationEnded,
    RegistrationVerified,
)
from spoel_stimulation.foreign_events.planning import (
    MeasurementOrderSigned,
    PrescriptionSigned,
    PrescriptionWithdrawn,
    SessionBooked,
    SessionBookingCancelled,
    ThresholdEstimated,
)
from spoel_stimulation.orders import MeasurementOrder, ThresholdKey, TreatmentOrder

_metadata = sa.MetaData()


def table(name: str, *columns: str, keys: int = 1) -> sa.Table:
    """Describe a table of text columns, the first ``keys`` of which are its key; a type stands behind a colon."""
    kinds: Mapping[str, Any] = {"": sa.String(), "int": BigInt, "date": sa.Date(), "moment": UtcDateTime()}
    described = []
    for place, column in enumerate(columns):
        label, _, kind = column.partition(":")
        described.append(sa.Column(label, kinds[kind], primary_key=place < keys))
    return sa.Table(name, _metadata, *described)


patients = table("patients", "patient_id", "public_key")
cases = table("cases", "case_id", "consent", "indication")
registrations = table(
    "registrations",
    "person_id",
    "big_number",
    "profession",
    "verified_on:date",
    "evidence",
    "valid_until:date",
    "ended_on:date",
)
measurement_orders = table("measurement_orders", "order_id", "case_id", "body")
thresholds = table("thresholds", "threshold_id", "body")
prescriptions = table("prescriptions", "prescription_id", "version:int", "case_id", "body", keys=2)
withdrawn_prescriptions = table("withdrawn_prescriptions", "prescription_id")
bookings = table(
    "bookings",
    "session_id",
    "case_id",
    "patient_id",
    "room_id",
    "kind",
    "measurement_order_id",
    "prescription_id",
    "prescription_version:int",
    "starts_at:moment",
    "ends_at:moment",
)
cancelled_bookings = table("cancelled_bookings", "session_id")
withdrawals_recorded = table("withdrawals_recorded", "event_id")
KNOWN_TABLES = (
    patients,
    cases,
    registrations,
    measurement_orders,
    thresholds,
    prescriptions,
    withdrawn_prescriptions,
    bookings,
    cancelled_bookings,
    withdrawals_recorded,
    persons.person_files,
)
"""All that ``apply`` writes: what the node knows of others."""

open_sessions = table("open_sessions", "room_id", "session_id", "case_id", "patient_id")
notes = table("notes", "note_id", "event_id", "session_id", "patient_id", "sealed", "written_at:moment", "written_by")
stimuli = table("stimuli", "train_id", "order_id")
counters = table("counters", "room_id", "serial", "total_pulses:int", "uncertain_pulses:int")
guard_files = table("guard_files", "room_id", "file_id", "recorded_to:int")


async def _put(conn: AsyncConnection, table: sa.Table, **values: object) -> None:
    """Insert a row, or replace the given columns of the one with the same key."""
    await upsert(conn, table, [values])


# --- others' events


async def apply(conn: AsyncConnection, envelope: Envelope, event: EventData | ForeignEvent | None, raw: bytes) -> None:
    """Apply one event of intake or planning, in the transaction of the inbox."""
    del envelope, raw
    match event:
        case PatientRegistered():
            await _put(conn, patients, patient_id=event.patient_id, public_key=event.public_key)
        case PatientMerged():
            await persons.keep_merge(conn, event.patient_id, event.into_patient_id)
        case ConsentGiven():
            await _put(conn, cases, case_id=event.case_id, consent="given")
        case ConsentWithdrawn():
            await _put(conn, cases, case_id=event.case_id, consent="withdrawn")
            if event.room_event_id is not None:
                await _put(conn, withdrawals_recorded, event_id=event.room_event_id)
        case IndicationDecided():
            await _put(conn, cases, case_id=event.case_id, indication=event.decision)
        case RegistrationVerified():
            await _put(conn, registrations, **event.model_dump(), ended_on=None)
        case RegistrationEnded():
            await _end_registration(conn, event)
        case _:
            await _apply_planning(conn, event)


async def _apply_planning(conn: AsyncConnection, event: EventData | ForeignEvent | None) -> None:
    match event:
        case MeasurementOrderSigned():
            body = MeasurementOrder.model_validate(event.order.model_dump()).model_dump_json()
            await _put(conn, measurement_orders, order_id=event.order_id, case_id=event.case_id, body=body)
        case ThresholdEstimated():
            body = event.model_dump_json(include=set(ThresholdKey.model_fields))
            await _put(conn, thresholds, threshold_id=event.threshold_id, body=body)
        case PrescriptionSigned():
            order = TreatmentOrder.model_validate(event.order.model_dump())
            row = event.model_dump(include={"prescription_id", "version", "case_id"})
            await _put(conn, prescriptions, **row, body=order.model_dump_json())
        case PrescriptionWithdrawn():
            await _put(conn, withdrawn_prescriptions, prescription_id=event.prescription_id)
        case SessionBooked():
            await _put(conn, bookings, **event.model_dump())
        case SessionBookingCancelled():
            await _put(conn, cancelled_bookings, session_id=event.session_id)
        case _:
            pass


async def _end_registration(conn: AsyncConnection, event: RegistrationEnded) -> None:
    ended = (
        sa.update(registrations)
        .where(registrations.c.person_id == event.person_id, registrations.c.big_number == event.big_number)
        .values(ended_on=event.ended_on)
    )
    await conn.execute(ended)


async def clear_patient(conn: AsyncConnection, patient_id: str) -> dict[str, int]:
    """Clear what is held of an erased patient; return what → how many."""
    cleared = {}
    for name, table in (("keys", patients), ("notes", notes)):
        gone = await conn.execute(sa.delete(table).where(table.c.patient_id == patient_id))
        cleared[name] = gone.rowcount
    return cleared


# --- own events, in the transaction of their append


async def keep(conn: AsyncConnection, event: EventData) -> None:
    """Keep at hand what later decisions need of an own event."""
    match event:
        case SessionOpened():
            row = event.model_dump(include={"room_id", "session_id", "case_id", "patient_id"})
            await conn.execute(sa.insert(open_sessions).values(row))
        case SessionClosed():
            await conn.execute(sa.delete(open_sessions).where(open_sessions.c.session_id == event.session_id))
        case TrainDelivered(outcome="none"):
            await conn.execute(sa.delete(stimuli).where(stimuli.c.train_id == event.train_id))
        case TrainOutcomeUnknown():
            uncertain = counters.c.uncertain_pulses + event.pulses_at_most
            of_room = sa.update(counters).where(counters.c.room_id == event.room_id)
            await conn.execute(of_room.values(uncertain_pulses=uncertain))
        case _:
            pass


async def keep_stimulus(conn: AsyncConnection, train_id: str, order_id: str) -> None:
    """Count a stimulus against its measurement order."""
    await _put(conn, stimuli, train_id=train_id, order_id=order_id)


async def keep_counter(conn: AsyncConnection, room_id: str, serial: str, total_pulses: int | None) -> None:
    """Keep the device's pulse counter up to which every pulse is accounted for; a device without one has no row."""
    if total_pulses is None:
        return
    await _put(conn, counters, room_id=room_id, serial=serial, total_pulses=total_pulses, uncertain_pulses=0)


async def keep_guard_line(conn: AsyncConnection, room_id: str, file_id: str, number: int) -> bool:
    """Keep up to where a guard's file is recorded; False where this line already was: then nothing is to be done."""
    known_file, recorded_to = await guard_lines_of(conn, room_id)
    if file_id == known_file and number <= recorded_to:
        return False
    await _put(conn, guard_files, room_id=room_id, file_id=file_id, recorded_to=number)
    return True


async def keep_note(conn: AsyncConnection, event_id: str, event: NoteWritten, at: datetime, by: str) -> None:
    """Keep a sealed remark where its session is read."""
    row = event.model_dump(include={"note_id", "session_id", "patient_id"})
    await _put(conn, notes, **row, event_id=event_id, sealed=event.sealed_text, written_at=at, written_by=by)


# --- questions


async def key_of(conn: AsyncConnection, patient_id: str) -> str | None:
    """Return the public key for which a patient's texts are sealed.

    None where it has not arrived, the patient was erased, or what arrived is no key: then nothing can be sealed.
    """
    query = sa.select(patients.c.public_key).where(patients.c.patient_id == patient_id)
    key = (await conn.execute(query)).scalar_one_or_none()
    return key if key is not None and can_seal_for(key) else None


async def strip_keys_of(conn: AsyncConnection, patient_id: str) -> list[str]:
    """Return the keys of the bucket at which strips of a patient's bookings may be."""
    query = sa.select(bookings.c.room_id, bookings.c.session_id).where(bookings.c.patient_id == patient_id)
    return [f"{row.room_id}.{row.session_id}" for row in await conn.execute(query)]


async def counter_of(conn: AsyncConnection, room_id: str, serial: str) -> int | None:
    """Return the highest pulse counter that trains account for, those of unknown outcome taken as delivered."""
    highest = counters.c.total_pulses + counters.c.uncertain_pulses
    query = sa.select(highest).where(counters.c.room_id == room_id, counters.c.serial == serial)
    return (await conn.execute(query)).scalar_one_or_none()


async def guard_lines_of(conn: AsyncConnection, room_id: str) -> tuple[str, int]:
    """Return which file of a room's guard is being recorded, and up to which line."""
    row = (await conn.execute(sa.select(guard_files).where(guard_files.c.room_id == room_id))).one_or_none()
    return ("", 0) if row is None else (row.file_id, row.recorded_to)


async def booking_of(conn: AsyncConnection, session_id: str) -> Booking | None:
    """Return the booking of a session."""
    query = (
        sa.select(bookings, cancelled_bookings.c.session_id.is_not(None).label("cancelled"))
        .join(cancelled_bookings, cancelled_bookings.c.session_id == bookings.c.session_id, isouter=True)
        .where(bookings.c.session_id == session_id)
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else Booking.model_validate({name: row[name] for name in Booking.model_fields})


async def sessions_of(conn: AsyncConnection, patient_id: str, session_ids: Collection[str]) -> list[str]:
    """Return which of these sessions are booked for a patient's person."""
    if not session_ids:
        return []
    its = bookings.c
    of_person = its.patient_id.in_(persons.same_person(patient_id))
    query = sa.select(its.session_id).where(of_person, its.session_id.in_(session_ids))
    return list((await conn.execute(query.order_by(its.session_id))).scalars())


async def case_of(conn: AsyncConnection, case_id: str) -> tuple[str | None, str | None]:
    """Return what is known of a case: consent and indication."""
    row = (await conn.execute(sa.select(cases).where(cases.c.case_id == case_id))).mappings().one_or_none()
    return (None, None) if row is None else (row["consent"], row["indication"])


async def order_of(conn: AsyncConnection, booking: Booking) -> OrderFacts:
    """Return what is known of the order of a booking; an order of another case does not count."""
    if booking.kind == "measurement":
        return await _measurement_order(conn, booking)
    return await _prescription(conn, booking)


async def _measurement_order(conn: AsyncConnection, booking: Booking) -> OrderFacts:
    signed = (
        sa.select(measurement_orders.c.body)
        .where(measurement_orders.c.order_id == booking.measurement_order_id)
        .where(measurement_orders.c.case_id == booking.case_id)
    )
    used = sa.select(sa.func.count()).where(stimuli.c.order_id == booking.measurement_order_id)
    body = (await conn.execute(signed)).scalar_one_or_none()
    return OrderFacts(
        measurement=None if body is None else MeasurementOrder.model_validate_json(body),
        stimuli_used=(await conn.execute(used)).scalar_one(),
    )


async def _prescription(conn: AsyncConnection, booking: Booking) -> OrderFacts:
    signed = sa.select(prescriptions.c.version, prescriptions.c.body).where(
        prescriptions.c.prescription_id == booking.prescription_id, prescriptions.c.case_id == booking.case_id
    )
    versions = {row.version: row.body for row in await conn.execute(signed)}
    body = versions.get(booking.prescription_version)
    treatment = None if body is None else TreatmentOrder.model_validate_json(body)
    withdrawn = sa.select(withdrawn_prescriptions).where(
        withdrawn_prescriptions.c.prescription_id == booking.prescription_id
    )
    return OrderFacts(
        treatment=treatment,
        newest_version=max(versions, default=None),
        withdrawn=(await conn.execute(withdrawn)).one_or_none() is not None,
        threshold_keys={} if treatment is None else await _threshold_keys(conn, treatment),
    )


async def _threshold_keys(conn: AsyncConnection, order: TreatmentOrder) -> dict[str, ThresholdKey]:
    ids = {block.threshold_id for block in order.blocks}
    found = await conn.execute(sa.select(thresholds).where(thresholds.c.threshold_id.in_(ids)))
    return {row.threshold_id: ThresholdKey.model_validate_json(row.body) for row in found}


async def registrations_of(conn: AsyncConnection, people: Collection[str]) -> dict[str, Registration]:
    """Return the verified registrations that have not ended, by person."""
    query = sa.select(registrations).where(registrations.c.person_id.in_(people), registrations.c.ended_on.is_(None))
    rows = (await conn.execute(query)).mappings()
    return {
        row["person_id"]: Registration.model_validate({name: row[name] for name in Registration.model_fields})
        for row in rows
    }


async def open_session_of(conn: AsyncConnection, room_id: str) -> str | None:
    """Return the session that is open in a room."""
    query = sa.select(open_sessions.c.session_id).where(open_sessions.c.room_id == room_id)
    return (await conn.execute(query)).scalar_one_or_none()


async def room_of_patient(conn: AsyncConnection, patient_id: str, session_id: str) -> str | None:
    """Return the room in which a patient's person has an open session, other than this one."""
    its = open_sessions.c
    of_person = its.patient_id.in_(persons.same_person(patient_id))
    query = sa.select(its.room_id).where(of_person, its.session_id != session_id)
    return (await conn.execute(query)).scalars().first()
