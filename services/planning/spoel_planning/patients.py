"""What planning keeps of patients: the key to seal to, and sealed texts of their cases until the patient is erased.

Events of a patient and of the patient's cases come in any order: a text that comes behind the erasure is not kept.
"""

import asyncio
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.erasure import ErasureAnswers, is_erased
from spoel_common.errors import PatientKeyUnknown, SealedTextChanged
from spoel_common.events import Envelope, EventModel
from spoel_common.messaging import Projection
from spoel_common.opening import Reason, SealedText, open_text
from spoel_common.runtime import Runtime
from spoel_common.sealing import seal
from spoel_common.store import upsert
from spoel_planning.events import ErasureCompleted
from spoel_planning.foreign_events import PATIENT_EVENTS, PatientErased, PatientRegistered
from spoel_planning.tables import patients, sealed_texts


class Note(NamedTuple):
    """A free text of a case, opened.

    Attributes:
        text: None where it does not open.
        problem: then why not: the slug of the refusal.
    """

    event_id: str
    event_type: str
    written_at: datetime
    written_by: str
    text: str | None
    problem: str | None


def erasure_answers() -> ErasureAnswers:
    """Return what answers erasures for planning."""
    return ErasureAnswers(ErasureCompleted)


def patients_projection(answers: ErasureAnswers) -> Projection:
    """Return the projection that keeps patients' keys and sealed texts, and clears them."""

    async def apply(conn: AsyncConnection, envelope: Envelope, event: EventModel | None, _raw: bytes) -> None:
        match event:
            case PatientRegistered():
                await upsert(conn, patients, [event.model_dump()])
            case PatientErased():
                await answers.note(conn, envelope, event.patient_id, await _clear(conn, event.patient_id))
            case _:
                await _keep_text(conn, envelope)

    return Projection(
        name="patients",
        version=1,
        services=("intake",),
        catalogue=PATIENT_EVENTS,
        apply=apply,
        after_commit=answers.after_commit,
    )


async def seal_for(conn: AsyncConnection, patient_id: str, text: str, event_id: str, event_type: str) -> str:
    """Seal a free text to a patient's own key, for one event; needs nothing but this service's database.

    Raises:
        PatientKeyUnknown: the patient was erased, or is not known here yet.
    """
    key = await conn.scalar(sa.select(patients.c.public_key).where(patients.c.patient_id == patient_id))
    if key is None:
        raise PatientKeyUnknown("Nothing can be sealed for this patient: no key is known here. It may still arrive.")
    return seal(text, key, event_id, event_type)


async def read_notes(runtime: Runtime, case_id: str, token: str, reason: Reason) -> list[Note]:
    """Have intake open every free text of a case, in the order in which they were written; keep none of it.

    Raises:
        SpoelError: as ``open_text``; only a text that was changed is shown as such among the others.
    """
    query = sa.select(sealed_texts).where(sealed_texts.c.case_id == case_id).order_by(sealed_texts.c.event_id)
    async with runtime.database.read() as conn:
        rows = (await conn.execute(query)).all()
    return list(await asyncio.gather(*(_opened(runtime, row, token, reason) for row in rows)))


async def _opened(runtime: Runtime, row: sa.Row[tuple[object, ...]], token: str, reason: Reason) -> Note:
    sealed = SealedText(row.patient_id, row.event_id, row.event_type, row.sealed)
    text, problem = None, None
    try:
        text = await open_text(runtime, token, sealed, reason)
    except SealedTextChanged as refusal:
        problem = refusal.slug
    return Note(row.event_id, row.event_type, row.written_at, row.written_by, text, problem)


async def _keep_text(conn: AsyncConnection, envelope: Envelope) -> None:
    texts = [value for name, value in envelope.data.items() if name.startswith("sealed_") and value is not None]
    patient_id = envelope.data["patient_id"]
    if not texts or await is_erased(conn, patient_id):
        return
    row = {
        "event_id": envelope.id,
        "event_type": envelope.type,
        "case_id": envelope.data["case_id"],
        "patient_id": patient_id,
        "sealed": texts[0],
        "written_at": envelope.time,
        "written_by": envelope.actorid,
    }
    await upsert(conn, sealed_texts, [row])


async def _clear(conn: AsyncConnection, patient_id: str) -> dict[str, int]:
    cleared = {}
    for name, table in (("keys", patients), ("sealed-texts", sealed_texts)):
        gone = await conn.execute(sa.delete(table).where(table.c.patient_id == patient_id))
        cleared[name] = gone.rowcount
    return cleared
