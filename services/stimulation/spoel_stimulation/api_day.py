"""HTTP of the checks of the day and of what happens to the patient: opening check, daily check, presence, side effects.

Stopping comes first here too: what disarms does so before anything is written down (INV-8).
"""
# ruff: noqa: FAST003 - ``SessionDep`` takes the session's id from the path

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.clock import utc_now
from spoel_common.errors import NotFound
from spoel_common.people import check_role
from spoel_common.runtime import Runtime
from spoel_common.web import ActorDep, CommandDep, RuntimeDep
from spoel_common.work import Work
from spoel_stimulation import adverse, checks, views
from spoel_stimulation import commands as asked
from spoel_stimulation.adverse import PatientStateAnswer, ReleaseAnswer, SideEffectAnswer
from spoel_stimulation.aggregates import ROOM, SESSION
from spoel_stimulation.answers import SessionAnswer
from spoel_stimulation.api import SessionCall, SessionDep
from spoel_stimulation.api_rooms import EmergencyStopAnswer, person_of
from spoel_stimulation.checks import DailyCheckAnswer, RoomCheckAnswer
from spoel_stimulation.dependencies import NodeDep, PathId
from spoel_stimulation.domain import lists
from spoel_stimulation.domain.adverse import pauses
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.start import STAGES, Situation, Stage, missing
from spoel_stimulation.events.rooms import RoomChecked
from spoel_stimulation.events.words import InterlockReason, StopOutcome
from spoel_stimulation.gathering import gather
from spoel_stimulation.guard.stops import INSTRUCTIONS
from spoel_stimulation.node import Node
from spoel_stimulation.runner import Room
from spoel_stimulation.runner.delivery import RoomFault

FIND_ROOM_TIMEOUT_S = 1.0
WORST_FIRST: tuple[StopOutcome, ...] = ("not-confirmed", "sent", "confirmed")

router = APIRouter()


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class OpeningCheckView(_View):
    """The list of the opening check, and today's check of a room; null where it was not done."""

    list: lists.OpeningCheck
    today: date
    done: RoomChecked | None


class DailyCheckView(_View):
    """The questions of the day; ``undecided`` names those whose answers wait for a decision, null before asking."""

    list: lists.DailyCheck
    undecided: dict[str, str] | None


class ConditionView(_View):
    """One start condition: what it asks, and what is missing where it does not hold.

    Attributes:
        asked_at: the first act that is refused without it.
        problem: type of the refusal, as the act itself would give it.
    """

    name: str
    title: lists.Text
    asked_at: Stage
    holds: bool
    problem: str | None = None
    detail: str | None = None


class ConditionsView(_View):
    """Every start condition of a session, and which acts they would allow now."""

    session_id: str
    allowed: dict[Stage, bool]
    conditions: list[ConditionView]


class LossAnswer(EmergencyStopAnswer):
    """What the stop did, and the first-aid card; the patient is blocked in all rooms until a physician decides."""

    first_aid: lists.FirstAid


# --- the room's opening check


@router.get("/rooms/{room_id}/opening-check", tags=["rooms"])
async def get_opening_check(room_id: PathId, actor: ActorDep, node: NodeDep, runtime: RuntimeDep) -> OpeningCheckView:
    """Show what is looked at before the first session of a day, and whether it was done today."""
    check_role("read-room", actor)
    node.room(room_id)
    done = (await runtime.units.load(ROOM, room_id)).state.checked
    today = local_day(utc_now(runtime.clock))
    of_today = done if done is not None and done.day == today else None
    return OpeningCheckView(list=lists.opening_check(), today=today, done=of_today)


@router.post("/rooms/{room_id}/opening-check", status_code=201, response_model=RoomCheckAnswer, tags=["rooms"])
async def post_opening_check(room_id: PathId, command: asked.CheckRoom, call: CommandDep, node: NodeDep) -> Response:
    """Record the opening check of the day: every item, in order or not."""
    node.room(room_id)
    return await call.run(lambda work: checks.check_room(work, room_id, command))


# --- the patient's answers of the day


@router.get("/sessions/{session_id}/daily-check", tags=["sessions"])
async def get_daily_check(session_id: PathId, actor: ActorDep, runtime: RuntimeDep) -> DailyCheckView:
    """Show the questions of the day with their answers, and what waits for a decision."""
    check_role("read-room", actor)
    checked = (await views.load_session(runtime, session_id)).checked
    undecided = None if checked is None else {question: str(who) for question, who in checked.undecided.items()}
    return DailyCheckView(list=lists.daily_check(), undecided=undecided)


@router.post("/sessions/{session_id}/daily-check", status_code=201, response_model=DailyCheckAnswer, tags=["sessions"])
async def post_daily_check(command: asked.AnswerDailyCheck, its: SessionDep) -> Response:
    """Record what the patient answered; an answer may ask for a decision, or close the session."""
    return await its.run(lambda work: checks.answer_daily_check(work, its.session_id, command, its.look), 201)


@router.post(
    "/sessions/{session_id}/daily-check/decision", status_code=201, response_model=DailyCheckAnswer, tags=["sessions"]
)
async def post_daily_check_decision(command: asked.DecideDailyCheck, its: SessionDep) -> Response:
    """Decide on one answer, as the session's supervisor or as a physician."""
    return await its.run(lambda work: checks.decide_daily_check(work, its.session_id, command, its.look), 201)


# --- start conditions


@router.get("/sessions/{session_id}/conditions", tags=["sessions"])
async def get_conditions(session_id: PathId, actor: ActorDep, node: NodeDep, runtime: RuntimeDep) -> ConditionsView:
    """Show every start condition at once, of a session that is open or only booked, with what is missing."""
    check_role("read-room", actor)
    room = await node.room_for(runtime, session_id)
    await room.freshen()
    state = (await runtime.units.load(SESSION, session_id)).state
    opened = state.opened
    by = actor if opened is None else state.operator
    async with runtime.units.begin(by, session_id) as work:
        facts = await gather(work, room.look(), session_id, state)
    its = Situation(state, session_id, by, None if opened is None else opened.supervisor_id, facts)
    texts = lists.condition_texts()
    shown = [
        ConditionView(
            name=name,
            title=lists.Text(nl=texts[name].nl, en=texts[name].en),
            asked_at=texts[name].asked_at,
            holds=refusal is None,
            problem=None if refusal is None else refusal.problem_type,
            detail=None if refusal is None else refusal.detail,
        )
        for name, refusal in missing(its).items()
    ]
    return ConditionsView(session_id=session_id, allowed=_allowed(shown), conditions=shown)


def _allowed(shown: list[ConditionView]) -> dict[Stage, bool]:
    """Return for each act whether all that it asks for holds; its place in the state's table is not looked at."""
    return {
        stage: all(each.holds for each in shown if STAGES.index(each.asked_at) <= STAGES.index(stage))
        for stage in STAGES
    }


# --- presence


@router.post("/sessions/{session_id}/presence", status_code=201, response_model=SessionAnswer, tags=["sessions"])
async def post_presence(command: asked.ConfirmPresence, its: SessionDep) -> Response:
    """Show that a trained person is in the room and whether the patient is awake; one who is not is not stimulated."""

    async def present(_body: dict[str, Any]) -> None:
        its.room.lookout.present(its.session_id, awake=command.awake)

    async def confirm(work: Work) -> SessionAnswer:
        return await checks.confirm_presence(work, its.session_id, command, its.look)

    check_role("watch-patient" if command.awake else "report-not-awake", its.call.actor)
    if command.awake or not its.state.may(Act.INTERRUPT):
        return await its.call.run(confirm, 201, effect=present)
    async with _pausing(its, "patient-not-awake"):
        return await its.call.run(confirm, 201, effect=present)


# --- side effects and adverse events


@router.get("/side-effects", tags=["sessions"])
async def get_side_effects(actor: ActorDep) -> lists.SideEffects:
    """Show the side effects that can be recorded, and what each leads to."""
    check_role("read-room", actor)
    return lists.side_effects()


@router.get("/first-aid", tags=["sessions"])
async def get_first_aid(actor: ActorDep) -> lists.FirstAid:
    """Show the first-aid card for any loss of consciousness."""
    check_role("read-room", actor)
    return lists.first_aid()


@router.post("/sessions/{session_id}/side-effects", status_code=201, response_model=SideEffectAnswer, tags=["sessions"])
async def post_side_effect(command: asked.ReportSideEffect, its: SessionDep) -> Response:
    """Record a side effect as it happens, or afterwards; movement of a limb disarms at once and pauses."""

    async def report(work: Work) -> SideEffectAnswer:
        return await adverse.report_side_effect(work, its.session_id, command, its.look)

    check_role("report-side-effect", its.call.actor)
    if not pauses(command) or not its.state.may(Act.INTERRUPT):
        return await its.call.run(report, 201)
    async with _pausing(its, "limb-movement"):
        return await its.call.run(report, 201)


@asynccontextmanager
async def _pausing(its: SessionCall, reason: InterlockReason) -> AsyncIterator[None]:
    """Disarm first; whatever becomes of the command, a repeat of it too, the session is recorded as paused."""
    disarmed = True
    try:
        async with its.room.stops.halted() as disarmed:
            try:
                yield
            finally:
                await its.room.journal.persist(lambda: its.room.journal.interlock(its.state, reason))
    finally:
        if not disarmed:
            await its.room.faults.record(
                RoomFault("device-fault", "disarm-not-confirmed", f"not read back as disabled: {reason}")
            )


@router.post("/sessions/{session_id}/loss-of-consciousness", tags=["sessions"])
async def post_loss_of_consciousness(
    session_id: PathId, request: Request, node: NodeDep, runtime: RuntimeDep
) -> LossAnswer:
    """Disarm now: the patient lost consciousness, or may have a seizure. Needs no token, no body and no key."""
    rooms = await _rooms_to_stop(node, runtime, session_id)
    stopped = await asyncio.gather(
        *(room.stops.emergency(lambda: person_of(request), lost=session_id) for room in rooms)
    )
    outcome, through = min(stopped, key=lambda each: WORST_FIRST.index(each.outcome))
    return LossAnswer(
        room_id=rooms[0].room_id,
        outcome=outcome,
        instruction=INSTRUCTIONS[outcome],
        through=through,
        first_aid=lists.first_aid(),
    )


async def _rooms_to_stop(node: Node, runtime: Runtime, session_id: str) -> list[Room]:
    """Return the session's room; every room of this node where the journal does not answer in time, or knows none.

    Whoever presses this may have the wrong session before them: a room that stops for nothing is no harm. So the only
    room of a node is stopped without waiting for the journal's word (INV-8).
    """
    rooms = list(node.rooms.values())
    if len(rooms) == 1:
        return rooms
    try:
        async with asyncio.timeout(FIND_ROOM_TIMEOUT_S):
            return [await node.room_of(runtime, session_id)]
    except (TimeoutError, SQLAlchemyError, NotFound):
        return rooms


@router.post("/patients/{patient_id}/release", status_code=201, response_model=ReleaseAnswer, tags=["sessions"])
async def post_release(patient_id: PathId, command: asked.ReleasePatient, call: CommandDep) -> Response:
    """Let a patient be treated again after a loss of consciousness: a physician's decision, for all rooms."""
    return await call.run(lambda work: adverse.release_patient(work, patient_id, command))


@router.post("/sessions/{session_id}/after", status_code=201, response_model=PatientStateAnswer, tags=["sessions"])
async def post_after(command: asked.RecordPatientState, its: SessionDep) -> Response:
    """Say how the patient was after a session that was closed without saying so."""
    return await its.call.run(lambda work: adverse.record_patient_state(work, its.session_id, command))
