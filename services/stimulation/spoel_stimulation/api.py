"""HTTP of a room node: translate, authorise, call a handler or a read model."""
# ruff: noqa: FAST003 - ``SessionDep`` takes the session's id from the path

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from spoel_common.errors import SpoelError
from spoel_common.ids import new_id
from spoel_common.opening import Reason
from spoel_common.people import check_role
from spoel_common.web import ActorDep, CommandCall, CommandDep, RuntimeDep, TokenDep
from spoel_common.work import Work
from spoel_stimulation import commands as asked
from spoel_stimulation import handlers, views
from spoel_stimulation.coupling_view import CouplingView, Language, coupling_svg, coupling_view
from spoel_stimulation.dependencies import NodeDep, PathId, RoomActorDep, SessionActorDep, SessionCommandDep
from spoel_stimulation.domain.session import check_may_halt
from spoel_stimulation.domain.state import Act, SessionState
from spoel_stimulation.dose_view import DoseView, dose_view
from spoel_stimulation.events import StopOutcome
from spoel_stimulation.guard.stops import INSTRUCTIONS
from spoel_stimulation.handlers import DutyAnswer, Look, RoomAnswer, SessionAnswer
from spoel_stimulation.notes import NoteAnswer, NotesView, read_notes, write_note
from spoel_stimulation.runner import Room
from spoel_stimulation.runner.delivery import RoomFault
from spoel_stimulation.runner.room import ARMED_PHASES
from spoel_stimulation.shown import ShownAnswer, confirm_device

EMERGENCY_STOP_PATHS = r"/rooms/[^/]+/emergency-stop|/sessions/[^/]+/loss-of-consciousness"
"""Paths that nothing is asked of: no token, no key, no body (INV-8)."""

STIMULUS_WAIT_S = 1.5
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


# --- rooms


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


@router.post("/rooms/{room_id}/sessions", status_code=201, response_model=SessionAnswer, tags=["sessions"])
async def post_session(room_id: PathId, command: asked.OpenSession, call: CommandDep, node: NodeDep) -> Response:
    """Take a booked session into its room, with the signed order frozen into it."""
    room = node.room(room_id)
    await room.freshen()
    return await call.under(command.supervisor_id).run(
        lambda work: handlers.open_session(work, command, room.look, room.check_supported),
        location="/sessions/{session_id}",
    )


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
    outcome, through = await room.emergency_stop(lambda: person_of(request))
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


# --- supervision


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


# --- sessions


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
        await its.room.arm(its.state, body["event_id"], its.call.actor, bars, asked_again=command.consent_asked_again)

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
    async with room.halted() as disarmed:
        response = await do(disarmed=disarmed)
    if not disarmed and state.phase in ARMED_PHASES:
        await room.fault(RoomFault("device-fault", "disarm-not-confirmed", "not read back as disabled at a stop"))
    return response


@router.post("/sessions/{session_id}/parameters", response_model=SessionAnswer, tags=["sessions"])
async def post_parameter(command: asked.ChangeParameter, its: SessionDep) -> Response:
    """Change intensity or pause within the signed band, from the next train on."""
    return await its.run(
        lambda work: handlers.change_parameter(work, its.session_id, command, its.look, its.room.check_supported),
        wake=True,
    )


# --- stimuli and trains


@router.post("/sessions/{session_id}/stimuli", status_code=202, response_model=views.StimulusView, tags=["stimuli"])
async def post_stimulus(command: asked.Stimulate, its: SessionDep) -> Response:
    """Deliver one stimulus of a measurement; a repeat tells what became of it and never delivers another."""
    await its.room.freshen()
    await its.room.count()
    train_id = new_id()
    authorised = its.state

    async def authorise(work: Work) -> handlers.StimulusIntention:
        nonlocal authorised
        authorised = await handlers.intend_stimulus(work, its.session_id, command, train_id, its.look)
        return handlers.StimulusIntention(session_id=its.session_id, train_id=train_id)

    async def fire(_body: dict[str, Any]) -> None:
        await asyncio.wait({its.room.fire(authorised)}, timeout=STIMULUS_WAIT_S)

    async def current(body: dict[str, Any]) -> dict[str, Any]:
        state = await views.load_session(its.call.runtime, its.session_id)
        return body | {"outcome": views.train_view(state, body["train_id"]).outcome}

    with its.room.delivery.under_way():
        return await its.call.run(authorise, 202, current, effect=fire)


@router.post(
    "/sessions/{session_id}/stimuli/{train_id}/answer", status_code=201, response_model=SessionAnswer, tags=["stimuli"]
)
async def post_answer(train_id: PathId, command: asked.AnswerStimulus, its: SessionDep) -> Response:
    """Say what was seen after a stimulus."""
    return await its.run(lambda work: handlers.answer_stimulus(work, its.session_id, train_id, command, its.look), 201)


# --- heart-brain search


@router.post("/sessions/{session_id}/search", response_model=SessionAnswer, tags=["heart"])
async def post_search(command: asked.SearchLocation, its: SessionDep) -> Response:
    """Give the trains of a heart-brain search at one location, to which the coil was put, while the belt records."""
    await its.room.freshen()
    return await its.run(
        lambda work: handlers.search_location(work, its.session_id, command, its.look, its.room.heart.problem),
        wake=True,
    )


@router.get("/sessions/{session_id}/coupling", tags=["heart"])
async def get_coupling(session_id: PathId, actor: ActorDep, node: NodeDep, runtime: RuntimeDep) -> CouplingView:
    """Show a heart-brain search: belt, runs, locations from strongest to weakest coupling."""
    check_role("read-room", actor)
    room = await node.room_of(runtime, session_id)
    return coupling_view(await views.load_session(runtime, session_id), room.heart)


@router.get("/sessions/{session_id}/coupling.svg", tags=["heart"], response_class=Response)
async def get_coupling_plot(
    session_id: PathId,
    actor: ActorDep,
    node: NodeDep,
    runtime: RuntimeDep,
    language: Annotated[Language, Query(description="Of the labels.")] = "nl",
) -> Response:
    """Draw the locations of a heart-brain search."""
    check_role("read-room", actor)
    room = await node.room_of(runtime, session_id)
    drawn = coupling_svg(await views.load_session(runtime, session_id), room.heart, language)
    return Response(drawn, media_type="image/svg+xml")


# --- remarks


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


# --- trains


@router.get("/sessions/{session_id}/trains/{train_id}", tags=["stimuli"])
async def get_train(
    session_id: PathId, train_id: PathId, actor: SessionActorDep, node: NodeDep, runtime: RuntimeDep
) -> views.TrainView:
    """Show one train or stimulus, and what became of it."""
    check_role("read-room", actor)
    await node.room_of(runtime, session_id)
    return views.train_view(await views.load_session(runtime, session_id), train_id)
