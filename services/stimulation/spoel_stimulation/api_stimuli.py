"""HTTP of single stimuli and their answers, of the runs of a heart-brain search, and of trains."""
# ruff: noqa: FAST003 - ``SessionDep`` takes the session's id from the path

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from spoel_common.ids import new_id
from spoel_common.people import check_role
from spoel_common.web import ActorDep, RuntimeDep
from spoel_common.work import Work
from spoel_stimulation import commands as asked
from spoel_stimulation import handlers, views
from spoel_stimulation.answers import SessionAnswer, StimulusIntention
from spoel_stimulation.api import SessionDep
from spoel_stimulation.coupling_view import CouplingView, Language, coupling_svg, coupling_view
from spoel_stimulation.dependencies import NodeDep, PathId, SessionActorDep

STIMULUS_WAIT_S = 1.5

router = APIRouter()


@router.post("/sessions/{session_id}/stimuli", status_code=202, response_model=views.StimulusView, tags=["stimuli"])
async def post_stimulus(command: asked.Stimulate, its: SessionDep) -> Response:
    """Deliver one stimulus of a measurement; a repeat tells what became of it and never delivers another."""
    await its.room.freshen()
    await its.room.count()
    train_id = new_id()
    authorised = its.state

    async def authorise(work: Work) -> StimulusIntention:
        nonlocal authorised
        authorised = await handlers.intend_stimulus(work, its.session_id, command, train_id, its.look)
        return StimulusIntention(session_id=its.session_id, train_id=train_id)

    async def fire(_body: dict[str, Any]) -> None:
        await asyncio.wait({its.room.fire(authorised)}, timeout=STIMULUS_WAIT_S)

    async def current(body: dict[str, Any]) -> dict[str, Any]:
        state = await views.load_session(its.call.runtime, its.session_id)
        return body | {"outcome": views.train_view(state, body["train_id"]).outcome}

    with its.room.authorising(train_id):
        return await its.call.run(authorise, 202, current, effect=fire)


@router.post(
    "/sessions/{session_id}/stimuli/{train_id}/answer", status_code=201, response_model=SessionAnswer, tags=["stimuli"]
)
async def post_answer(train_id: PathId, command: asked.AnswerStimulus, its: SessionDep) -> Response:
    """Say what was seen after a stimulus."""
    return await its.run(lambda work: handlers.answer_stimulus(work, its.session_id, train_id, command, its.look), 201)


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


@router.get("/sessions/{session_id}/trains/{train_id}", tags=["stimuli"])
async def get_train(
    session_id: PathId, train_id: PathId, actor: SessionActorDep, node: NodeDep, runtime: RuntimeDep
) -> views.TrainView:
    """Show one train or stimulus, and what became of it."""
    check_role("read-room", actor)
    await node.room_of(runtime, session_id)
    return views.train_view(await views.load_session(runtime, session_id), train_id)
