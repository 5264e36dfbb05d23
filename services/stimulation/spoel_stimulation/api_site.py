"""HTTP of a room node beyond its own rooms' sessions: withdrawal, grants, the site's rooms, and the live stream."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from spoel_common.events import UtcTime
from spoel_common.messaging import BrokerAway
from spoel_common.people import check_role
from spoel_common.runtime import Runtime
from spoel_common.web import ActorDep, CommandDep, RuntimeDep
from spoel_stimulation import commands as asked
from spoel_stimulation import handlers, site
from spoel_stimulation.aggregates import SESSION
from spoel_stimulation.answers import SessionAnswer
from spoel_stimulation.api import while_halted
from spoel_stimulation.dependencies import NodeDep, PathId, RoomActorDep, SessionCommandDep
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.events.base import Known
from spoel_stimulation.live import EventStream
from spoel_stimulation.node import Node, known_of
from spoel_stimulation.presence import Presence, age_s
from spoel_stimulation.withdrawals import WithdrawalAnswer, withdraw_consent

router = APIRouter()


class WithdrawnAnswer(WithdrawalAnswer):
    """Consent is withdrawn.

    Attributes:
        device_disarmed: the device was read back as disabled; if not, lift the coil and press the device's own stop.
    """

    device_disarmed: bool


class SiteRoom(BaseModel):
    """One room of the site.

    Attributes:
        node: store of the node that has it.
        here: it is a room of the node that answers.
        presence: ``unknown`` where NATS is not reached: then nothing is known of any room but those here.
        said_age_s: how long ago it said that it is there.
        known_age_s: how old what this node knows of the room's events is; 0 for its own.
    """

    room_id: str
    node: str
    here: bool
    presence: Literal["present", "absent", "unknown"]
    state: str | None
    session_id: str | None
    phase: str | None
    since: UtcTime | None
    device_ready: bool | None
    stimulator_model: str | None
    coil_model: str | None
    latch_reason: str | None
    said_age_s: float | None
    known_age_s: float | None


class SiteRooms(BaseModel):
    """All rooms of the site that this node ever heard of, and how old the knowledge of each feed is."""

    rooms: list[SiteRoom]
    nats_connected: bool
    known: list[Known]


@router.post("/sessions/{session_id}/withdraw-consent", response_model=WithdrawnAnswer, tags=["sessions"])
async def post_withdraw_consent(
    session_id: PathId, _command: asked.WithdrawConsent, call: SessionCommandDep, node: NodeDep
) -> Response:
    """The patient withdraws consent: disarm at once, close the session; no network is needed, every room will know."""
    check_role("withdraw-consent", call.actor)
    room = await node.room_for(call.runtime, session_id)
    state = (await call.runtime.units.load(SESSION, session_id)).state

    async def told(_body: dict[str, Any]) -> None:
        node.look_again()

    async def withdraw(*, disarmed: bool) -> Response:
        async def current(body: dict[str, Any]) -> dict[str, Any]:
            return body | {"device_disarmed": disarmed}

        return await call.run(lambda work: withdraw_consent(work, session_id, room.look), 200, current, effect=told)

    return await while_halted(room, state, Act.STOP, withdraw)


@router.post("/sessions/{session_id}/revoke-grant", response_model=SessionAnswer, tags=["sessions"])
async def post_revoke_grant(
    session_id: PathId, command: asked.RevokeGrant, call: CommandDep, node: NodeDep
) -> Response:
    """End the grant under which a session is run: it is interrupted, whatever its operator's token says."""
    room = await node.room_of(call.runtime, session_id)

    async def told(_body: dict[str, Any]) -> None:
        node.look_again()

    return await call.run(lambda work: handlers.revoke_grant(work, session_id, command, room.look), 200, effect=told)


@router.get(
    "/rooms/{room_id}/live",
    tags=["rooms"],
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events `room`, for as long as one listens."}
    },
)
async def get_live(room_id: PathId, actor: RoomActorDep, node: NodeDep, request: Request) -> Response:
    """Show a room as it happens: server-sent events, at every change and at least once a second."""
    check_role("read-room", actor)
    node.room(room_id)
    board = node.live[room_id]
    board.check_room()
    return EventStream(board.watch(), lambda: bool(getattr(request.app.state, "stopping", False)))


@router.get("/site/rooms", tags=["rooms"])
async def get_site_rooms(actor: ActorDep, node: NodeDep, runtime: RuntimeDep) -> SiteRooms:
    """List all rooms of the site: what their nodes published, and who is there at this moment."""
    check_role("read-room", actor)
    async with runtime.database.read() as conn:
        elsewhere = await site.rooms_elsewhere(conn)
    ids = [*node.rooms, *(row["room_id"] for row in elsewhere if row["room_id"] not in node.rooms)]
    present = await _present(node, runtime, list(dict.fromkeys(ids)))
    rooms = [await _own(node, room_id, present) for room_id in node.rooms]
    ages = {feed.source: feed.age_s for feed in runtime.knowledge(("stimulation",))}
    rooms += [_elsewhere(row, present, ages) for row in elsewhere if row["room_id"] not in node.rooms]
    connected = runtime.broker is not None and runtime.broker.connected
    return SiteRooms(rooms=rooms, nats_connected=connected, known=[*known_of(runtime), *_known_nodes(runtime)])


async def _present(node: Node, runtime: Runtime, room_ids: list[str]) -> dict[str, Presence | None] | None:
    try:
        return await node.presences.read(runtime, room_ids)
    except BrokerAway:
        return None


async def _own(node: Node, room_id: str, present: Mapping[str, Presence | None] | None) -> SiteRoom:
    room = node.rooms[room_id]
    recorded = await room.state()
    session = await room.journal.open_session()
    device = recorded.device
    described = {
        "node": node.settings.store,
        "here": True,
        "state": "latched" if recorded.latch else "free" if session is None else "in-session",
        "session_id": None if session is None else session.session.session_id,
        "phase": None if session is None else session.phase,
        "device_ready": room.look().device.ready,
        "stimulator_model": None if device is None else device.stimulator_model,
        "coil_model": None if device is None else device.coil_model,
        "latch_reason": None if recorded.latch is None else recorded.latch.reason,
        "known_age_s": 0.0,
    }
    return SiteRoom.model_validate(_said(room_id, present) | described)


def _elsewhere(
    row: Mapping[Any, Any], present: Mapping[str, Presence | None] | None, ages: Mapping[str, float]
) -> SiteRoom:
    said = _said(row["room_id"], present)
    source = row["source"]
    published = {
        "node": source.rpartition("/")[2],
        "here": False,
        "session_id": said.get("session_id") or row["session_id"],
        "stimulator_model": row["stimulator_model"],
        "coil_model": row["coil_model"],
        "latch_reason": row["latch_reason"],
        "known_age_s": ages.get(source),
    }
    return SiteRoom.model_validate(said | published)


def _said(room_id: str, present: Mapping[str, Presence | None] | None) -> dict[str, Any]:
    """Return what a room says of itself, all of it None where it says nothing."""
    fields: dict[str, Any] = dict.fromkeys(SiteRoom.model_fields) | {"room_id": room_id}
    if present is None:
        return fields | {"presence": "unknown"}
    said = present.get(room_id)
    if said is None:
        return fields | {"presence": "absent"}
    told = said.model_dump(include={"state", "session_id", "phase", "since", "device_ready"})
    return fields | told | {"presence": "present", "said_age_s": round(age_s(said), 3)}


def _known_nodes(runtime: Runtime) -> list[Known]:
    return [
        Known(source=feed.source, as_of=feed.as_of, age_s=feed.age_s) for feed in runtime.knowledge(("stimulation",))
    ]
