"""Looking after events: those that a read model keeps aside, and publishing again. Every service has these routes."""

import json
from typing import Annotated, Any, Self

import structlog
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoel_common.events import (
    Catalogue,
    Command,
    DiscardReason,
    Envelope,
    Reference,
    UtcTime,
    parked_event_discarded,
    pseudonyms_in,
)
from spoel_common.messaging import HeldEvent, State, parked
from spoel_common.people import check_role
from spoel_common.web.commands import CommandDep
from spoel_common.web.dependencies import ActorDep, RuntimeDep
from spoel_common.work import Aggregate, Loaded, Work

MAX_PAGE = 500
_MAX_NUMBER = 2**63 - 1
DISCARDED = "discarded-event"

router = APIRouter(prefix="/operations", tags=["operations"])

HeldId = Annotated[int, Path(ge=1, le=_MAX_NUMBER, description="Number of the held event at this service.")]

_log = structlog.get_logger(__name__)


class HeldQuery(BaseModel):
    """Which held events, and which page of them: above number ``after``."""

    model_config = ConfigDict(extra="forbid")

    projection: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-z0-9-]+$")] | None = None
    state: State | None = None
    after: int = Field(default=0, ge=0, le=_MAX_NUMBER)
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class HeldLine(BaseModel):
    """An event that a read model keeps aside.

    Attributes:
        held_id: its number at this service.
        source: the store whose event it is.
        version: within its aggregate; None where the bytes are no event, as are ``event_id`` and ``event_type``.
        state: ``gap``: an earlier version has not come; ``retry``: is tried again by itself; ``behind``: waits behind
            such a one; ``parked``: given up until a person decides, or behind such a one.
        tries: how often it was tried.
        error: why the last try failed; empty where it was not tried yet.
        stream_sequence: where it is in its store's stream.
    """

    held_id: int
    projection: str
    projection_version: int
    source: str
    aggregate_type: str
    aggregate_id: str
    version: int | None
    event_id: str | None
    event_type: str | None
    state: State
    tries: int
    error: str
    held_at: UtcTime
    stream_sequence: int

    @classmethod
    def of(cls, event: HeldEvent) -> Self:
        """Return what is told of ``event``."""
        envelope = _envelope(event)
        return cls(
            **event._asdict() | _aggregate(event),
            event_id=None if envelope is None else envelope.id,
            event_type=None if envelope is None else envelope.type,
        )


class HeldPage(BaseModel):
    """A page of held events in the order in which they came; ``next``: ``after`` of the next page, None on the last."""

    items: list[HeldLine]
    next: int | None


class HeldDetail(HeldLine):
    """One held event with its content.

    Attributes:
        first: no earlier event of its aggregate is aside, so that it is the one to decide about.
        waiting_behind: later events of its aggregate that are aside.
        bytes_sha256: of its bytes, in hexadecimal.
        envelope: the event as it came, sealed text still sealed; None where the bytes are no event: nothing vouches
            for what is in those, so they are not shown.
    """

    first: bool
    waiting_behind: int
    size_bytes: int
    bytes_sha256: str
    envelope: dict[str, Any] | None


class Replayed(BaseModel):
    """``events`` of the aggregate are being tried again, from the first."""

    held_id: int
    events: int


class DiscardHeldEvent(Command):
    """Give up an event; the read model goes on as if it had said nothing.

    Attributes:
        reason: why.
        reference: where that is told at length, such as a ticket's number; never a text about a patient.
    """

    reason: DiscardReason
    reference: Reference | None = None


class Discarded(BaseModel):
    """What was given up, the id of the event that says so, and how many events behind it are being tried now."""

    held_id: int
    event_id: str
    events: int


class Republish(Command):
    """Publish the stored bytes again, from this position of the store on."""

    from_position: int = Field(ge=1, le=_MAX_NUMBER)


class Republishing(BaseModel):
    """The relay goes back to ``from_position`` and publishes up to the newest event, ``to_position`` at this moment."""

    from_position: int
    to_position: int


@router.get("/held")
async def list_held(query: Annotated[HeldQuery, Query()], actor: ActorDep, runtime: RuntimeDep) -> HeldPage:
    """List the events that this service's read models keep aside."""
    check_role("read-held-events", actor)
    async with runtime.database.read() as conn:
        found = await parked.read_held(
            conn, after_id=query.after, limit=query.limit + 1, projection=query.projection, state=query.state
        )
    items = [HeldLine.of(event) for event in found[: query.limit]]
    return HeldPage(items=items, next=items[-1].held_id if len(found) > query.limit else None)


@router.get("/held/{held_id}")
async def inspect_held(held_id: HeldId, actor: ActorDep, runtime: RuntimeDep) -> HeldDetail:
    """Show a held event: what it says, why it could not be taken in, and what waits behind it."""
    check_role("read-held-events", actor)
    async with runtime.database.read() as conn:
        event = await parked.find_held(conn, held_id)
        first, behind = await parked.is_first(conn, event), await parked.count_behind(conn, event)
    return HeldDetail(
        **HeldLine.of(event).model_dump(),
        first=first,
        waiting_behind=behind,
        size_bytes=len(event.raw),
        bytes_sha256=event.hash,
        envelope=None if _envelope(event) is None else json.loads(event.raw),
    )


@router.post("/held/{held_id}/replay", status_code=202, response_model=Replayed)
async def replay_held(held_id: HeldId, call: CommandDep) -> Response:
    """Have the events of this one's aggregate tried again, from the first, by the running service."""
    check_role("replay-held-events", call.actor)

    async def replay(work: Work) -> Replayed:
        event = await parked.locked(work.conn, held_id)
        return Replayed(held_id=held_id, events=await parked.replay(work.conn, event))

    async def note(answer: dict[str, Any]) -> None:
        _log.info("held-events-replayed", person=call.actor.person_id, **answer)

    return await call.run(replay, 202, effect=note)


@router.post("/held/{held_id}/discard", response_model=Discarded)
async def discard_held(held_id: HeldId, command: DiscardHeldEvent, call: CommandDep) -> Response:
    """Give up a parked event for good; those behind it are applied. Recorded as ``parked-event-discarded``."""
    check_role("discard-held-event", call.actor)
    service = call.runtime.settings.service

    async def discard(work: Work) -> Discarded:
        event = await parked.locked(work.conn, held_id)
        due = await parked.discard(work.conn, event)
        return Discarded(held_id=held_id, event_id=await _record(work, service, event, command), events=due)

    async def note(answer: dict[str, Any]) -> None:
        _log.warning("held-event-discarded", person=call.actor.person_id, reason=command.reason, **answer)

    return await call.run(discard, 200, effect=note)


@router.post("/republish", status_code=202, response_model=Republishing)
async def republish(command: Republish, call: CommandDep) -> Response:
    """Have this service's relay publish its stored events again; readers drop what they have already."""
    check_role("republish-events", call.actor)

    async def start(work: Work) -> Republishing:  # noqa: ARG001 - nothing is written
        head = await call.runtime.store.head()
        call.runtime.republish_from(command.from_position)  # harmless if it happens twice: better than never
        return Republishing(from_position=command.from_position, to_position=head.position)

    async def note(answer: dict[str, Any]) -> None:
        _log.info("events-republished", person=call.actor.person_id, **answer)

    return await call.run(start, 202, effect=note)


async def _record(work: Work, service: str, event: HeldEvent, command: DiscardHeldEvent) -> str:
    """Append the event that says who discarded what, and why; return its id."""
    model, envelope = parked_event_discarded(service), _envelope(event)
    said = model(
        projection=event.projection,
        projection_version=event.projection_version,
        source=event.source,
        **_aggregate(event),
        version=event.version,
        stream_sequence=event.stream_sequence,
        discarded_id=None if envelope is None else envelope.id,
        discarded_type=None if envelope is None else envelope.type,
        bytes_sha256=event.hash,
        tries=event.tries,
        reason=command.reason,
        reference=command.reference,
        **({} if envelope is None else pseudonyms_in(envelope.data)),
    )
    kind = Aggregate(DISCARDED, lambda: None, lambda state, _event: state, Catalogue([model]))
    event_id = work.new_event_id()
    await work.append(kind, event_id, Loaded(None, 0), [said], event_ids=[event_id])
    return event_id


def _aggregate(event: HeldEvent) -> dict[str, str]:
    return {"aggregate_type": event.aggregate.type, "aggregate_id": event.aggregate.id}


def _envelope(event: HeldEvent) -> Envelope | None:
    if event.version is None:
        return None
    try:
        return Envelope.from_bytes(event.raw)
    except ValidationError:
        return None
