"""Remarks about a session: sealed in the room with the patient's own key, opened by intake for who may read them.

Writing needs nothing but the room's journal, so it works while the room is cut off; reading needs intake.
"""

import asyncio

import sqlalchemy as sa
from pydantic import BaseModel

from spoel_common.errors import PatientKeyUnknown
from spoel_common.events import UtcTime
from spoel_common.ids import new_id
from spoel_common.opening import Reason, SealedText, open_text
from spoel_common.people import check_role
from spoel_common.runtime import Runtime
from spoel_common.sealing import seal
from spoel_common.work import Aggregate, Work
from spoel_stimulation import projections
from spoel_stimulation.aggregates import load_opened
from spoel_stimulation.commands import WriteNote
from spoel_stimulation.events import NOTE_EVENTS
from spoel_stimulation.events.patients import NoteWritten

NOTE = Aggregate("note", lambda: False, lambda _state, _event: True, NOTE_EVENTS)


class NoteAnswer(BaseModel):
    """A remark was written; its text is not repeated."""

    note_id: str
    session_id: str


class NoteView(BaseModel):
    """A remark, opened by intake for this answer alone."""

    note_id: str
    written_at: UtcTime
    written_by: str
    text: str


class NotesView(BaseModel):
    """The remarks about a session, in the order in which they were written."""

    session_id: str
    notes: list[NoteView]


async def write_note(work: Work, session_id: str, command: WriteNote) -> NoteAnswer:
    """Seal a remark to the patient of a session and record it.

    Raises:
        NotAllowed: the role writes no remarks.
        NotFound: the session was not opened here.
        PatientKeyUnknown: the patient was erased, or no usable key has arrived here.
    """
    check_role("write-note", work.actor)
    about = (await load_opened(work, session_id)).state.session
    key = await projections.key_of(work.conn, about.patient_id)
    if key is None:
        raise PatientKeyUnknown(
            "Nothing can be sealed for this patient: no usable key is known here. It may still arrive."
        )
    note_id, event_id = new_id(), work.new_event_id()
    event = NoteWritten(
        note_id=note_id,
        session_id=session_id,
        case_id=about.case_id,
        patient_id=about.patient_id,
        room_id=about.room_id,
        sealed_text=seal(command.text, key, event_id, NoteWritten.event_type()),
    )
    loaded = await work.load(NOTE, note_id)
    await work.append(NOTE, note_id, loaded, [event], event_ids=[event_id], room=about.room_id)
    await projections.keep_note(work.conn, event_id, event, work.now, work.actor.person_id)
    return NoteAnswer(note_id=note_id, session_id=session_id)


async def read_notes(runtime: Runtime, session_id: str, token: str, reason: Reason) -> NotesView:
    """Have intake open the remarks about a session; none of it is kept here. Raises as ``open_text`` does."""
    notes = projections.notes
    query = sa.select(notes).where(notes.c.session_id == session_id).order_by(notes.c.event_id)
    async with runtime.database.read() as conn:
        rows = (await conn.execute(query)).all()
    sealed = [SealedText(row.patient_id, row.event_id, NoteWritten.event_type(), row.sealed) for row in rows]
    texts = await asyncio.gather(*(open_text(runtime, token, each, reason) for each in sealed))
    views = [
        NoteView(note_id=row.note_id, written_at=row.written_at, written_by=row.written_by, text=text)
        for row, text in zip(rows, texts, strict=True)
    ]
    return NotesView(session_id=session_id, notes=views)
