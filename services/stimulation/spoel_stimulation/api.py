"""HTTP of sessions: translate, authorise, call a handler or a read model."""
# ruff: noqa: FAST003 - ``SessionDep`` takes the session's id from the path

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from spoel_common.opening import Reason
from spoel_common.people import check_role
from spoel_common.web import ActorDep, CommandCall, CommandDep, RuntimeDep, TokenDep
from spoel_common.work import Work
from spoel_stimulation import commands as asked
from spoel_stimulation import handlers, views
from spoel_stimulation.answers import SessionAnswer
from spoel_stimulation.dependencies import NodeDep, PathId, SessionActorDep, SessionCommandDep
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.session import check_may_halt
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.dose_view import DoseView, dose_view
from spoel_stimulation.notes import NoteAnswer, NotesView, read_notes, write_note
from spoel_stimulation.runner import Room
from spoel_stimulation.runner.arming import Wanted
from spoel_stimulation.runner.delivery import RoomFault
from spoel_stimulation.runner.faults import ARMED_PHASES
from spoel_stimulation.surroundings import Look

router = APIRouter()


class StopAnswer(SessionAnswer):
    """A session that was stopped.

    Attributes:
        device_disarmed: the device was read back as disabled; if not, lift the coil and press the device's own stop.
    """

    device_disarmed: bool


@dataclass(frozen=True)
class SessionCall:
    """A command to a session that was opened here, under the supervision of its grant."""

    call: CommandCall
    room: Room
    state: SessionState

    @property
    def session_id(self) -> str:
        """The session."""
        return self.state.session.session_id

    @property
    def look(self) -> Look:
        """How to look at the room's surroundings."""
        return self.room.look

    async def run(
        self, handler: Callable[[Work], Awaitable[BaseModel]], status: int = 200, *, wake: bool = False
    ) -> Response:
        """Do the command, and have the conductor look at what it changed."""

        async def woken(_body: dict[str, Any]) -> None:
            self.room.wake()

        return await self.call.run(handler, status, effect=woken if wake else None)


async def session_call(session_id: PathId, call: SessionCommandDep, node: NodeDep) -> SessionCall:
    """Return a command to a session.

    Raises:
        NotFound: the session was not opened on this node.
    """
    room = await node.room_of(call.runtime, session_id)
    state = await views.load_session(call.runtime, session_id)
    return SessionCall(call.under(state.session.supervisor_id), room, state)


SessionDep = Annotated[SessionCall, Depends(session_call)]


@router.post("/rooms/{room_id}/sessions", status_code=201, response_model=SessionAnswer, tags=["sessions"])
async def post_session(room_id: PathId, command: asked.OpenSession, call: CommandDep, node: NodeDep) -> Response:
    """Take a booked session into its room, with the signed order frozen into it."""
    room = node.room(room_id)
    await room.freshen()
    return await call.under(command.supervisor_id).run(
        lambda work: handlers.open_session(work, command, room.look, room.check_supported),
        location="/sessions/{session_id}",
    )


@router.get("/sessions/{session_id}", tags=["sessions"])
async def get_session(
    session_id: PathId, actor: SessionActorDep, node: NodeDep, runtime: RuntimeDep
) -> views.SessionView:
    """Show a session: state, progress, parameters in force, latest events."""
    check_role("read-room", actor)
    room = await node.room_of(runtime, session_id)
    return await views.session_view(runtime, room, session_id)


@router.get("/sessions/{session_id}/dose", tags=["sessions"])
async def get_dose(session_id: PathId, actor: ActorDep, node: NodeDep, runtime: RuntimeDep) -> DoseView:
    """Show how a session's dose stands to the published limits, and how warm the coil is expected to get."""
    check_role("read-room", actor)
    room = await node.room_of(runtime, session_id)
    state = await views.load_session(runtime, session_id)
    status = room.device.status
    record = room.device.capability.record if room.look().device.ready else None
    return dose_view(state, room.limits, record, None if status is None else status.coil_temperature_c)


@router.post("/sessions/{session_id}/confirm-identity", response_model=SessionAnswer, tags=["sessions"])
async def post_confirm_identity(command: asked.ConfirmIdentity, its: SessionDep, node: NodeDep) -> Response:
    """Compare what the patient said with the booking, and what will be done with the order."""
    strip = await node.strips[its.room.room_id].of(its.session_id) if its.state.may(Act.CONFIRM_IDENTITY) else None

    async def confirm(work: Work) -> SessionAnswer:
        return await handlers.confirm_identity(work, its.session_id, command, strip, its.look)

    return await its.run(confirm)


@router.post("/sessions/{session_id}/arm", status_code=202, response_model=views.ArmView, tags=["sessions"])
async def post_arm(command: asked.Arm, its: SessionDep) -> Response:
    """Write and read back every setting of the device, and enable it; ``outcome`` says whether that was done."""
    bars = its.room.delivery.bars

    async def arm(body: dict[str, Any]) -> None:
        wanted = Wanted(its.state, body["event_id"], its.call.actor, bars, command.consent_asked_again)
        await its.room.arming.arm(wanted)

    async def current(body: dict[str, Any]) -> dict[str, Any]:
        view = await views.arm_view(its.call.runtime, its.room, its.session_id, body["event_id"])
        return view.model_dump(mode="json")

    await its.room.freshen()
    return await its.call.run(
        lambda work: handlers.intend_to_arm(work, its.session_id, command, its.look, its.room.check_supported),
        202,
        current,
        effect=arm,
    )


@router.post("/sessions/{session_id}/start", response_model=SessionAnswer, tags=["sessions"])
async def post_start(command: asked.Start, its: SessionDep) -> Response:
    """Start an armed session: a treatment's trains begin, a measurement takes stimuli."""
    await its.room.freshen()
    return await its.run(lambda work: handlers.start(work, its.session_id, command, its.look), wake=True)


@router.post("/sessions/{session_id}/pause", response_model=SessionAnswer, tags=["sessions"])
async def post_pause(command: asked.Pause, its: SessionDep) -> Response:
    """No next train; the running one ends."""
    return await its.run(lambda work: handlers.pause(work, its.session_id, command, its.look), wake=True)


@router.post("/sessions/{session_id}/resume", response_model=SessionAnswer, tags=["sessions"])
async def post_resume(command: asked.Resume, its: SessionDep) -> Response:
    """Go on after a pause, with coil and ears checked; every start condition is looked at anew."""
    await its.room.freshen()
    return await its.run(lambda work: handlers.resume(work, its.session_id, command, its.look), wake=True)


@router.post("/sessions/{session_id}/place-coil", response_model=SessionAnswer, tags=["sessions"])
async def post_place_coil(command: asked.PlaceCoil, its: SessionDep) -> Response:
    """Say at which side or site the coil was placed for the next block; then arm, and resume."""
    return await its.run(lambda work: handlers.place_coil(work, its.session_id, command, its.look))


@router.post("/sessions/{session_id}/stop", response_model=StopAnswer, tags=["sessions"])
async def post_stop(command: asked.Stop, its: SessionDep) -> Response:
    """Disarm at once and close the session. The device's own stop and lifting the coil come first."""
    check_may_halt(its.call.actor)

    async def close(work: Work) -> SessionAnswer:
        return await handlers.stop(work, its.session_id, command, its.look)

    async def stop(*, disarmed: bool) -> Response:
        async def current(body: dict[str, Any]) -> dict[str, Any]:
            return body | {"device_disarmed": disarmed}

        return await its.call.run(close, 200, current)

    return await while_halted(its.room, its.state, Act.STOP, stop)


class WhileHalted(Protocol):
    """What closes a session whose device was just told to disarm."""

    async def __call__(self, *, disarmed: bool) -> Response:
        """Return the answer; ``disarmed``: the device was read back as disabled."""


async def while_halted(room: Room, state: SessionState, act: Act, do: WhileHalted) -> Response:
    """Disarm at once, and then do what closes the session; a room whose session this is not, or no more, is left alone.

    Args:
        room: the room.
        state: of the session that ``do`` closes.
        act: that closes it.
        do: is told whether the device was read back as disabled.
    """
    if not state.may(act):
        status = room.device.status
        return await do(disarmed=status is not None and not status.enabled)
    disarmed = True
    try:
        async with room.stops.halted() as disarmed:
            return await do(disarmed=disarmed)
    finally:
        if not disarmed and state.phase in ARMED_PHASES:
            await room.faults.record(
                RoomFault("device-fault", "disarm-not-confirmed", "not read back as disabled at a stop")
            )


@router.post("/sessions/{session_id}/parameters", response_model=SessionAnswer, tags=["sessions"])
async def post_parameter(command: asked.ChangeParameter, its: SessionDep) -> Response:
    """Change intensity or pause within the signed band, from the next train on."""
    return await its.run(
        lambda work: handlers.change_parameter(work, its.session_id, command, its.look, its.room.check_supported),
        wake=True,
    )


@router.post("/sessions/{session_id}/notes", status_code=201, response_model=NoteAnswer, tags=["sessions"])
async def post_note(session_id: PathId, command: asked.WriteNote, call: CommandDep) -> Response:
    """Write a remark about a session, sealed to the patient; works without network."""
    return await call.run(lambda work: write_note(work, session_id, command))


@router.get("/sessions/{session_id}/notes", tags=["sessions"])
async def get_notes(
    session_id: PathId,
    reason: Annotated[Reason, Query(description="Why the remarks are read; kept in the access log.")],
    token: TokenDep,
    actor: ActorDep,
    runtime: RuntimeDep,
    response: Response,
) -> NotesView:
    """Read the remarks about a session; intake opens each for the person who asks, and logs it."""
    check_role("open-sealed-text", actor)
    response.headers["Cache-Control"] = "no-store"
    return await read_notes(runtime, session_id, token, reason)
