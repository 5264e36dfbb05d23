"""Erasure: destroys a patient's key, and sees to it that no restored backup brings it back.

Every erasure is kept in the table ``erasures``, in a file beside the data, and in the event stream. At start the file
and the stream are compared with the database, before anything is served: what they know and the database does not is
erased again.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import sqlalchemy as sa
import structlog
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import persons
from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.messaging import BrokerAway, read_history
from spoel_common.people import Actor
from spoel_common.readiness import Check
from spoel_common.runtime import Runtime, nats_settings
from spoel_common.store import StoreName, upsert
from spoel_common.store.schema import events as stored
from spoel_common.work import Aggregate, Work
from spoel_intake.commands import ErasePatient, WithdrawConsent
from spoel_intake.domain import case as case_domain
from spoel_intake.domain import patient as patient_domain
from spoel_intake.domain.patient import OnFile
from spoel_intake.erasure_file import ErasureFile
from spoel_intake.events import REPLAY_EVENTS, ErasureReplayed, PatientErased
from spoel_intake.handlers import CASE, PATIENT, Intake, given_of, is_erased, project
from spoel_intake.scrub import scrub
from spoel_intake.tables import cases, erasures, strips
from spoel_intake.vault import Vault

REPLAY = Aggregate("erasure-replay", lambda: False, lambda _state, _event: True, REPLAY_EVENTS)
_RESTORER = Actor(person_id="system:intake", roles=frozenset())
_LOOK_EVERY_S = 5.0

_log = structlog.get_logger(__name__)


class ErasureAnswer(BaseModel):
    """A patient was erased; the erasure's state is at ``GET /patients/{patient_id}/erasure``."""

    patient_id: str
    erasure_id: str


async def erase_patient(work: Work, intake: Intake, patient_id: str, command: ErasePatient) -> ErasureAnswer:
    """Destroy a patient's key and clear what intake holds; consent that still stands ends with it."""
    await intake.vault.lock(work.conn, patient_id)
    loaded = await work.load(PATIENT, patient_id)
    case_ids = list(await work.conn.scalars(sa.select(cases.c.case_id).where(cases.c.patient_id == patient_id)))
    on_file = await _on_file(work, patient_id)
    given = await given_of(work, intake)
    # a database that was restored lacks the event, not the row
    patient = loaded.state.model_copy(update={"is_erased": await is_erased(work.conn, patient_id)})
    events = patient_domain.erase(patient, command, on_file, given)
    for case_id in case_ids:
        await _end_consent(work, intake, case_id)
    erasure_id = work.new_event_id()
    await work.append(PATIENT, patient_id, loaded, events, event_ids=[erasure_id])
    await _clear(work.conn, intake.vault, patient_id)
    raw = (await work.conn.execute(sa.select(stored.c.raw).where(stored.c.id == erasure_id))).scalar_one()
    await _note(work.conn, bytes(raw))
    return ErasureAnswer(patient_id=patient_id, erasure_id=erasure_id)


class Erasures:
    """Keeps erasures outside the database too, and replays them into one that was restored.

    Args:
        vault: what is erased from; closed while it is not known who was erased.
        file: beside the data.
        erased: called when somebody was erased.
    """

    def __init__(self, vault: Vault, file: ErasureFile, erased: Callable[[], None]) -> None:
        self._vault = vault
        self._file = file
        self._erased = erased
        self._asked_stream = False
        self._kept = 0
        self._scrubbed = 0
        self._keeping = asyncio.Lock()
        self._noted = asyncio.Event()

    async def begin(self, runtime: Runtime) -> None:
        """Compare the database with the file and the stream, before anything is served.

        Where the file is there it is complete, and a stream that cannot be reached is asked later. Where it is not, and
        the stream cannot be asked either, the vault stays closed until it can: nobody knows who was erased.

        Raises:
            CannotStart: the file is damaged, or another installation's.
        """
        in_file = await asyncio.to_thread(self._file.read)
        await self._replay(runtime, in_file or [], "file")
        await self._ask_stream(runtime)
        if in_file is None and not self._asked_stream and await self._holds_patients(runtime):
            self._vault.close("the file of erasures is not there, and the event stream cannot be asked who was erased")
        else:
            await self.keep_outside(runtime)

    async def run(self, runtime: Runtime) -> None:
        """Ask the stream as soon as it can be reached; keep and scrub what is erased. Raises where that fails."""
        while True:
            self._noted.clear()
            if not self._asked_stream and runtime.broker is not None and runtime.broker.connected:
                await self._ask_stream(runtime)
            if self._asked_stream and self._vault.closed_because is not None:
                self._vault.close(None)
            if self._vault.closed_because is None:
                await self.keep_outside(runtime)
                await self._scrub(runtime)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._noted.wait()

    async def keep_outside(self, runtime: Runtime) -> None:
        """Write to the file what the database has.

        Raises:
            OSError: the file cannot be written.
        """
        async with self._keeping:
            async with runtime.database.read() as conn:
                events = [bytes(event) for event in await conn.scalars(sa.select(erasures.c.event))]
            await asyncio.to_thread(self._file.keep, events)
        self._kept = len(events)

    async def done(self, runtime: Runtime) -> None:
        """Keep an erasure outside the database before it is answered, and overwrite what was deleted.

        Raises:
            OSError: the file cannot be written; it is tried again.
        """
        self._erased()
        self._noted.set()
        await self.keep_outside(runtime)
        await self._scrub(runtime)

    async def check(self, _runtime: Runtime) -> Check:
        """Return whether it is known who was erased."""
        because = self._vault.closed_because
        return Check("erasures", because is None, because or "replayed; the vault is open")

    async def _scrub(self, runtime: Runtime) -> None:
        """Overwrite what was deleted since the last time; what cannot be now is tried again."""
        kept = self._kept
        if kept <= self._scrubbed:
            return
        try:
            if await scrub(runtime.database):
                self._scrubbed = kept
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            _log.warning("vault-not-scrubbed", reason=type(error).__name__)

    async def _holds_patients(self, runtime: Runtime) -> bool:
        async with runtime.database.read() as conn:
            return await self._vault.holds_patients(conn)

    async def _ask_stream(self, runtime: Runtime) -> None:
        settings = runtime.settings
        if not settings.nats_url:
            self._asked_stream = True
            return
        name = StoreName(site=settings.site, service=settings.service, store=settings.store)
        try:
            found = await read_history(nats_settings(settings), name, PATIENT.name, PatientErased.event_name)
        except BrokerAway as error:
            _log.warning("erasures-stream-away", reason=str(error))
            return
        await self._replay(runtime, found, "stream")
        self._asked_stream = True

    async def _replay(self, runtime: Runtime, events: Sequence[bytes], found_in: Literal["file", "stream"]) -> None:
        for raw in events:
            envelope = Envelope.from_bytes(raw)
            async with runtime.units.begin(_RESTORER, new_id(), causation_id=envelope.id) as work:
                patient_id = envelope.subject
                known = await work.conn.scalar(sa.select(erasures.c.event).where(erasures.c.patient_id == patient_id))
                if known is not None:
                    continue
                await _clear(work.conn, self._vault, patient_id)
                await _note(work.conn, raw, replayed_by=work)
                event = ErasureReplayed(patient_id=patient_id, erasure_id=envelope.id, found_in=found_in)
                replay_id = new_id()
                await work.append(REPLAY, replay_id, await work.load(REPLAY, replay_id), [event])
                _log.warning("erasure-replayed", patient_id=patient_id, erasure_id=envelope.id, found_in=found_in)


async def _on_file(work: Work, patient_id: str) -> OnFile:
    """Return what an erasure would end; what is kept of a person is kept as long as the youngest of its files."""
    to_come = sa.select(strips.c.session_id).where(
        strips.c.patient_id == patient_id, sa.not_(strips.c.ended), strips.c.visible_until > work.now
    )
    theirs = sa.select(cases.c.case_id).where(cases.c.patient_id.in_(persons.same_person(patient_id)))
    of_cases = sa.select(stored.c.raw).where(stored.c.aggregate_type == CASE.name, stored.c.aggregate_id.in_(theirs))
    changes = [Envelope.from_bytes(bytes(raw)).time for raw in await work.conn.scalars(of_cases)]
    return OnFile(
        sessions_to_come=sorted(await work.conn.scalars(to_come)),
        last_changed_at=max(changes, default=None),
    )


async def _end_consent(work: Work, intake: Intake, case_id: str) -> None:
    loaded = await work.load(CASE, case_id)
    if loaded.state.consent is None:
        return
    events = case_domain.decide(loaded.state, WithdrawConsent(), await given_of(work, intake))
    await work.append(CASE, case_id, loaded, events)
    await project(work, events)


async def _clear(conn: AsyncConnection, vault: Vault, patient_id: str) -> None:
    """Clear what intake holds of a patient; a strip in a room's bucket is deleted by the pusher."""
    await vault.erase(conn, patient_id)
    of_patient = sa.update(cases).where(cases.c.patient_id == patient_id)
    await conn.execute(of_patient.values(external_id=None, is_open=False, status="erased"))
    await conn.execute(
        sa.update(strips)
        .where(strips.c.patient_id == patient_id)
        .values(patient_id=None, ended=True, revision=strips.c.revision + 1)
    )


async def _note(conn: AsyncConnection, raw: bytes, replayed_by: Work | None = None) -> None:
    envelope = Envelope.from_bytes(raw)
    row: Mapping[str, object] = {
        "patient_id": envelope.subject,
        "erasure_id": envelope.id,
        "ground": envelope.data["ground"],
        "erased_at": envelope.time,
        "erased_by": envelope.actorid,
        "replayed_at": None if replayed_by is None else replayed_by.now,
        "event": raw,
    }
    await upsert(conn, erasures, [row])
