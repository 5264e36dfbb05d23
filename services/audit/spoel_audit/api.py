"""HTTP of the audit service: reading the log and what a third party needs in order to check it.

Everything here asks for a role that may read the log. Bytes and hashes are base64; what an entry says in hex stays so.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_audit.domain import SessionTotals, session_totals
from spoel_audit.foreign_events import SESSION_EVENTS
from spoel_audit.queries import (
    EventFilter,
    count_aside,
    knows_session,
    read_entries,
    read_event,
    read_log,
    read_log_by_source,
    read_page,
    read_session_events,
)
from spoel_audit.tables import moment_of
from spoel_common.errors import NotFound, SpoelError
from spoel_common.events import Envelope, ForeignEvent, NewerVersion, UtcTime
from spoel_common.people import check_role
from spoel_common.persons import files_of
from spoel_common.web import ActorDep, RuntimeDep

MAX_PAGE = 500
MAX_ENTRIES = 1_000
_MAX_SEQUENCE = 2**63 - 1


async def may_read_log(actor: ActorDep) -> None:
    """Refuse who may not read the log."""
    check_role("read-log", actor)


router = APIRouter(tags=["log"], dependencies=[Depends(may_read_log)])

Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Sequence64 = Annotated[int, Field(ge=0, le=_MAX_SEQUENCE)]


class SizeBeyondLog(SpoelError):
    """A page is asked of a log that is larger than this one."""

    slug = "size-beyond-log"
    status = 422
    title = "The log is not that large"


class SessionNotReadable(SpoelError):
    """An event of the session is of a version, or a form, that this service cannot add up."""

    slug = "session-not-readable"
    status = 503
    title = "The session cannot be added up here"


class EventQuery(BaseModel):
    """Which events, and which page of them.

    Attributes:
        patient: any file of a person who has several; the events of all of them are found.
        start: earliest time of the event itself.
        end: the time of the event itself is before this.
        after: only sequences above this.
        limit: most events on the page.
        size: the size of the log that the page is bound to; what the first page said.
    """

    model_config = ConfigDict(extra="forbid")

    case: Text | None = None
    patient: Text | None = None
    session: Text | None = None
    room: Text | None = None
    person: Text | None = None
    type: Text | None = None
    start: AwareDatetime | None = Field(default=None, alias="from")
    end: AwareDatetime | None = Field(default=None, alias="to")
    after: Sequence64 | None = None
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)
    size: Sequence64 | None = None

    async def wanted(self, conn: AsyncConnection) -> EventFilter:
        """Return which events are asked for: of a patient, those of all files of the person."""
        patients = () if self.patient is None else tuple(await files_of(conn, self.patient))
        return EventFilter(patients=patients, **self.model_dump(exclude={"patient", "after", "limit", "size"}))


class EventLine(BaseModel):
    """One event of a page.

    Attributes:
        sequence: its place in the log.
        event: the whole event; None where its bytes were destroyed.
    """

    sequence: int
    id: str
    type: str
    service: str
    source: str
    aggregate: str
    subject: str
    version: int
    case: str | None
    patient: str | None
    session: str | None
    room: str | None
    person: str
    supervisor: str | None
    occurred: UtcTime
    recorded: UtcTime
    event: dict[str, Any] | None


class EventPage(BaseModel):
    """A page of events in the order of the log.

    Attributes:
        size: the size of the log that the page is bound to; give it back for the next page.
        next: ``after`` of the next page; None on the last.
    """

    size: int
    next: int | None
    items: list[EventLine]


class EventRecord(BaseModel):
    """One event with all that is needed to check its entry; salt and bytes are None where they were destroyed."""

    sequence: int
    entry: str
    entry_parsed: dict[str, str | int]
    leaf_hash: str
    salt: str | None
    event_bytes: str | None


class TreeRoot(BaseModel):
    """Size and root of the log's tree."""

    size: int
    root_hash: str


class RawEntries(BaseModel):
    """Raw entries from ``start`` on; ``size`` is the log's size now, and no entry is of a later one."""

    start: int
    size: int
    entries: list[str]


class SessionAnswer(SessionTotals):
    """What the log of this ``size`` holds of a session's trains."""

    session_id: str
    size: int


class Feed(BaseModel):
    """How far the log knows a store.

    Attributes:
        as_of: the moment up to which all of the store's events are in the log; None where that is not known.
        age_s: how long ago that was known, in seconds.
        position: of the last event that came in, in the store's own numbering.
        held: events of this store that have come and are not in the log.
        stopped: why the store is no longer read.
    """

    source: str
    as_of: UtcTime | None
    age_s: float
    position: int
    held: int
    stopped: str | None


class Status(TreeRoot):
    """How far the log is.

    Attributes:
        held: events that have come and wait for an earlier one of their aggregate, or for another try.
        parked: events that could not be taken in and wait for a person.
        per_source: events of each store in the log.
    """

    feeds: list[Feed]
    held: int
    parked: int
    per_source: dict[str, int]


@router.get("/events")
async def get_events(query: Annotated[EventQuery, Query()], runtime: RuntimeDep) -> EventPage:
    """List events in the order of the log; pages do not shift while the log grows."""
    async with runtime.database.read() as conn:
        log_size = (await read_log(conn)).size
        size = log_size if query.size is None else query.size
        if size > log_size:
            raise SizeBeyondLog(f"The log has {log_size} entries; 'size' asks for {size}. Leave it out to begin anew.")
        after = -1 if query.after is None else query.after
        rows = await read_page(conn, await query.wanted(conn), after, query.limit + 1, size)
    items = [_line(row) for row in rows[: query.limit]]
    return EventPage(size=size, next=items[-1].sequence if len(rows) > query.limit else None, items=items)


@router.get("/events/{event_id}")
async def get_event(event_id: Annotated[Text, Path()], runtime: RuntimeDep) -> EventRecord:
    """Show an event with its entry, salt and bytes exactly as they were hashed."""
    async with runtime.database.read() as conn:
        found = await read_event(conn, event_id)
    if found is None:
        raise NotFound(f"The log has no event {event_id}. It may still arrive; check the id.")
    return EventRecord(
        sequence=found.sequence,
        entry=_base64(found.entry),
        entry_parsed=json.loads(found.entry),
        leaf_hash=_base64(found.leaf_hash),
        salt=None if found.salt is None else _base64(found.salt),
        event_bytes=None if found.event_bytes is None else _base64(found.event_bytes),
    )


@router.get("/sessions/{session_id}")
async def get_session(session_id: Annotated[Text, Path()], runtime: RuntimeDep) -> SessionAnswer:
    """Add up the trains and pulses of a session from the events themselves."""
    names = [model.event_name for model in SESSION_EVENTS.models]
    async with runtime.database.read() as conn:
        size = (await read_log(conn)).size
        if not await knows_session(conn, session_id, size):
            raise NotFound(f"The log has no event of session {session_id}. It may still arrive; check the id.")
        raw_events = await read_session_events(conn, session_id, names, size)
    totals = session_totals(_decoded(raw_events))
    return SessionAnswer(session_id=session_id, size=size, **totals.model_dump())


@router.get("/tlog/root")
async def get_root(runtime: RuntimeDep) -> TreeRoot:
    """Show the size and the root of the log's tree (RFC 6962)."""
    async with runtime.database.read() as conn:
        log = await read_log(conn)
    return TreeRoot(size=log.size, root_hash=_base64(log.root()))


@router.get("/tlog/entries")
async def get_entries(
    runtime: RuntimeDep,
    start: Annotated[int, Query(ge=0, le=_MAX_SEQUENCE)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 500,
) -> RawEntries:
    """Give the raw entries that the tree is built over, so that its root can be computed anew."""
    async with runtime.database.read() as conn:
        size = (await read_log(conn)).size
        entries = await read_entries(conn, start, min(start + limit, size))
    return RawEntries(start=start, size=size, entries=[_base64(entry) for entry in entries])


@router.get("/status")
async def get_status(runtime: RuntimeDep) -> Status:
    """Show how far the log is, how old its knowledge of each store is, and what waits."""
    async with runtime.database.read() as conn:
        log, per_source = await read_log_by_source(conn)
        aside = await count_aside(conn)
    return Status(
        size=log.size,
        root_hash=_base64(log.root()),
        feeds=[Feed.model_validate(known, from_attributes=True) for known in runtime.knowledge()],
        held=aside.held,
        parked=aside.parked,
        per_source=per_source,
    )


def _line(row: Row[Any]) -> EventLine:
    return EventLine(
        sequence=row.sequence,
        id=row.event_id,
        type=row.type,
        service=row.service,
        source=row.source,
        aggregate=row.aggregate,
        subject=row.subject,
        version=row.version,
        case=row.case_id,
        patient=row.patient_id,
        session=row.session_id,
        room=row.room_id,
        person=row.person_id,
        supervisor=row.supervisor_id,
        occurred=moment_of(row.occurred_us),
        recorded=moment_of(row.recorded_us),
        event=None if row.event_bytes is None else json.loads(row.event_bytes),
    )


def _decoded(raw_events: Sequence[bytes]) -> list[ForeignEvent]:
    envelopes = [Envelope.from_bytes(raw) for raw in raw_events]
    try:
        events = [SESSION_EVENTS.decode(envelope) for envelope in envelopes]
    except (NewerVersion, ValidationError) as error:
        raise SessionNotReadable(
            "An event of this session is of a version or form that this service does not know. Update the service; "
            "the events themselves are at /events."
        ) from error
    return [event for event in events if event is not None]


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
