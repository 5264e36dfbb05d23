"""HTTP of rooms: what stands in them, reset, the emergency stop; and who supervises."""

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from spoel_common.errors import SpoelError
from spoel_common.people import check_role
from spoel_common.web import ActorDep, CommandDep, RuntimeDep
from spoel_stimulation import commands as asked
from spoel_stimulation import handlers, views
from spoel_stimulation.answers import DutyAnswer, RoomAnswer
from spoel_stimulation.dependencies import NodeDep, PathId, RoomActorDep
from spoel_stimulation.events.words import StopOutcome
from spoel_stimulation.guard.stops import INSTRUCTIONS
from spoel_stimulation.shown import ShownAnswer, confirm_device

EMERGENCY_STOP_PATHS = r"/rooms/[^/]+/emergency-stop|/sessions/[^/]+/loss-of-consciousness"
"""Paths that nothing is asked of: no token, no key, no body (INV-8)."""

TOKEN_TIMEOUT_S = 2.0

router = APIRouter()


class EmergencyStopAnswer(BaseModel):
    """What the emergency stop did.

    Attributes:
        outcome: ``confirmed`` is disabled, read back, and no pulse for half a second.
        through: ``guard``, or ``room`` where the room has no guard or that does not answer.
    """

    room_id: str
    outcome: StopOutcome
    instruction: dict[str, str]
    through: Literal["guard", "room"]


@router.get("/rooms", tags=["rooms"])
async def get_rooms(actor: ActorDep, node: NodeDep, runtime: RuntimeDep) -> views.RoomsView:
    """List the rooms of this node: device, latch, session."""
    check_role("read-room", actor)
    return views.RoomsView(rooms=[await views.room_view(runtime, room) for room in node.rooms.values()])


@router.get("/rooms/{room_id}", tags=["rooms"])
async def get_room(room_id: PathId, actor: RoomActorDep, node: NodeDep, runtime: RuntimeDep) -> views.RoomView:
    """Show a room: device, latch, session."""
    check_role("read-room", actor)
    return await views.room_view(runtime, node.room(room_id))


@router.post("/rooms/{room_id}/reset", response_model=RoomAnswer, tags=["rooms"])
async def post_reset(room_id: PathId, command: asked.ResetRoom, call: CommandDep, node: NodeDep) -> Response:
    """Release a latched room, after looking at device and patient."""
    room = node.room(room_id)
    return await call.run(lambda work: handlers.reset_room(work, command, room.look), 200)


@router.post("/rooms/{room_id}/device-shown", response_model=ShownAnswer, tags=["rooms"])
async def post_device_shown(room_id: PathId, command: asked.ConfirmDevice, call: CommandDep, node: NodeDep) -> Response:
    """Say what a device that is set by hand shows: settings, coil, and its counter of pulses."""
    room = node.room(room_id)
    return await call.run(lambda work: confirm_device(work, command, room), 200)


@router.post("/rooms/{room_id}/emergency-stop", tags=["rooms"])
async def post_emergency_stop(room_id: PathId, request: Request, node: NodeDep) -> EmergencyStopAnswer:
    """Disarm now. Needs no token, no body and no key. The room's guard answers the same at a port of its own."""
    room = node.room(room_id)
    outcome, through = await room.stops.emergency(lambda: person_of(request))
    instruction = INSTRUCTIONS[outcome]
    return EmergencyStopAnswer(room_id=room_id, outcome=outcome, instruction=instruction, through=through)


async def person_of(request: Request) -> str:
    """Return who pressed the emergency stop, ``unverified`` unless a valid token says so."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return "unverified"
    try:
        async with asyncio.timeout(TOKEN_TIMEOUT_S):
            return str((await request.app.state.runtime.verifier.verify(token.strip())).person_id)
    except (SpoelError, TimeoutError):
        return "unverified"


@router.post("/supervision", status_code=201, response_model=DutyAnswer, tags=["supervision"])
async def post_supervision(command: asked.StartSupervision, call: CommandDep, node: NodeDep) -> Response:
    """Go on duty as a supervisor, until a moment within a day."""
    return await call.run(lambda work: handlers.change_duty(work, node.settings.site, command))


@router.post("/supervision/end", response_model=DutyAnswer, tags=["supervision"])
async def post_supervision_end(command: asked.EndSupervision, call: CommandDep, node: NodeDep) -> Response:
    """Go off duty; sessions under this supervision stop at once."""

    async def look_again(_body: dict[str, Any]) -> None:
        node.look_again()

    return await call.run(lambda work: handlers.change_duty(work, node.settings.site, command), 200, effect=look_again)
