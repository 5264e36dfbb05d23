"""Intake over plain JSON: translate, authorise, call a handler or a read."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from spoel_common.clock import utc_now
from spoel_common.people import Role, check_role
from spoel_common.web import ActorDep, CommandDep, RuntimeDep
from spoel_common.work import Work
from spoel_intake import handlers, reads
from spoel_intake.commands import (
    CompleteScreen,
    DecideIndication,
    EndOfRegistration,
    ErasePatient,
    GiveConsent,
    IndicationFacts,
    JudgeItem,
    Judgement,
    MergePatient,
    ReferralRequest,
    Verification,
    VerifyRegistration,
    WithdrawConsent,
)
from spoel_intake.domain.questionnaire import Questionnaire, safety_questionnaire
from spoel_intake.erasing import ErasureAnswer, Erasures, erase_patient
from spoel_intake.events import Channel
from spoel_intake.handlers import Intake, ReferralAnswer
from spoel_intake.merging import MergeAnswer, merge_patient
from spoel_intake.views import (
    AdviceView,
    CasePage,
    CaseView,
    ConsentView,
    ErasureList,
    ErasureView,
    IndicationView,
    ScreenAnswer,
    StaffAnswer,
    StaffList,
    advice_view,
    consent_view,
    indication_view,
    screen_answer,
    staff_answer,
)

router = APIRouter(tags=["intake"])


def intake_of(request: Request) -> Intake:
    """Return what handlers need next to the runtime."""
    intake: Intake = request.app.state.intake
    return intake


IntakeDep = Annotated[Intake, Depends(intake_of)]
CaseId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Id of a case: a UUIDv7.")]
PatientId = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Pseudonym of a patient: a UUIDv7.")]
PersonId = Annotated[str, Path(pattern=r"^[!-~]{1,128}$", description="Id of a person: `sub` of their tokens.")]
ItemId = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$", description="Id of an item of the safety questionnaire.")]


@router.post("/referrals", status_code=201, response_model=ReferralAnswer)
async def post_referral(body: ReferralRequest, call: CommandDep, intake: IntakeDep) -> Response:
    """Take in a referral; the person is found by BSN, or gets a file."""
    check_role("refer", call.actor)
    channel = Channel.REST if Role.EHR in call.actor.roles else Channel.MANUAL

    async def handle(work: Work) -> BaseModel:
        return await handlers.refer(work, intake, body, body.patient, channel)

    return await call.run(handle, location="/cases/{case_id}")


@router.get("/referrals")
async def get_referrals(
    actor: ActorDep,
    runtime: RuntimeDep,
    after: Annotated[
        str | None, Query(pattern=r"^[A-Za-z0-9-]{1,64}$", description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> CasePage:
    """List referrals, oldest first; an EHR gets its own."""
    return await reads.list_cases(runtime, actor, after, limit)


@router.get("/cases/{case_id}")
async def get_case(case_id: CaseId, actor: ActorDep, runtime: RuntimeDep, intake: IntakeDep) -> CaseView:
    """Show a case; identity and free text for people of care, and for the EHR that sent it."""
    return await reads.read_case(runtime, intake, case_id, actor)


@router.get("/questionnaires/safety-screen")
async def get_questionnaire(_actor: ActorDep) -> Questionnaire:
    """Show the safety questionnaire in use: every item in Dutch and English."""
    return safety_questionnaire()


@router.post("/cases/{case_id}/safety-screen", status_code=201, response_model=ScreenAnswer)
async def post_screen(case_id: CaseId, body: CompleteScreen, call: CommandDep, intake: IntakeDep) -> Response:
    """Record the answers to the safety questionnaire."""

    async def handle(work: Work) -> BaseModel:
        return screen_answer(case_id, await handlers.complete_screen(work, intake, case_id, body))

    return await call.run(handle)


@router.post("/cases/{case_id}/safety-screen/{item}/judgement", status_code=201, response_model=ScreenAnswer)
async def post_judgement(
    case_id: CaseId, item: ItemId, body: Judgement, call: CommandDep, intake: IntakeDep
) -> Response:
    """Judge one item that was answered yes; a medical one is a physician's."""
    command = JudgeItem(item=item, acceptable=body.acceptable, reason=body.reason)

    async def handle(work: Work) -> BaseModel:
        return screen_answer(case_id, await handlers.judge_item(work, intake, case_id, command))

    return await call.run(handle)


@router.post("/cases/{case_id}/indication-advice", response_model=AdviceView)
async def post_advice(case_id: CaseId, body: IndicationFacts, call: CommandDep) -> Response:
    """Compute what the rules advise on these facts, without recording anything."""
    check_role("decide-indication", call.actor)

    async def handle(work: Work) -> BaseModel:
        return advice_view(case_id, await handlers.advise(work, case_id, body))

    return await call.run(handle, status=200)


@router.get("/cases/{case_id}/indication")
async def get_indication(case_id: CaseId, actor: ActorDep, runtime: RuntimeDep) -> IndicationView:
    """Show the decision with its rules, or what it still needs."""
    return indication_view(case_id, await reads.load_case(runtime, case_id, actor))


@router.post("/cases/{case_id}/indication", status_code=201, response_model=IndicationView)
async def post_indication(case_id: CaseId, body: DecideIndication, call: CommandDep, intake: IntakeDep) -> Response:
    """Decide the indication; the rules advise, a BIG-registered person decides."""

    async def handle(work: Work) -> BaseModel:
        return indication_view(case_id, await handlers.decide_indication(work, intake, case_id, body))

    return await call.run(handle)


@router.post("/cases/{case_id}/consent", status_code=201, response_model=ConsentView)
async def post_consent(case_id: CaseId, body: GiveConsent, call: CommandDep, intake: IntakeDep) -> Response:
    """Record consent, after a positive indication."""

    async def handle(work: Work) -> BaseModel:
        return consent_view(case_id, await handlers.give_consent(work, intake, case_id, body))

    return await call.run(handle)


@router.post("/cases/{case_id}/consent/withdrawal", status_code=201, response_model=ConsentView)
async def post_withdrawal(case_id: CaseId, body: WithdrawConsent, call: CommandDep, intake: IntakeDep) -> Response:
    """Record the withdrawal of consent: treatment stops from this moment."""

    async def handle(work: Work) -> BaseModel:
        return consent_view(case_id, await handlers.withdraw_consent(work, intake, case_id, body))

    return await call.run(handle)


@router.post("/patients/{patient_id}/erasure", status_code=201, response_model=ErasureAnswer)
async def post_erasure(
    request: Request, patient_id: PatientId, body: ErasePatient, call: CommandDep, intake: IntakeDep
) -> Response:
    """Destroy a patient's key, on a ground: nothing sealed to it can be read again, by anybody."""
    erasures: Erasures = request.app.state.erasures

    async def handle(work: Work) -> BaseModel:
        return await erase_patient(work, intake, patient_id, body)

    async def keep(_answer: dict[str, object]) -> None:
        await erasures.done(call.runtime)

    return await call.run(handle, effect=keep)


@router.post("/patients/{patient_id}/merge", status_code=201, response_model=MergeAnswer)
async def post_merge(patient_id: PatientId, body: MergePatient, call: CommandDep, intake: IntakeDep) -> Response:
    """Say that this file and another one are of one person; from then on every rule looks at both. Cannot be undone."""

    async def handle(work: Work) -> BaseModel:
        return await merge_patient(work, intake, patient_id, body)

    return await call.run(handle)


@router.get("/patients/{patient_id}/erasure")
async def get_erasure(patient_id: PatientId, actor: ActorDep, runtime: RuntimeDep) -> ErasureView:
    """Show an erasure: which services have answered that they cleared what they held, and which are awaited."""
    return await reads.read_erasure(runtime, patient_id, actor)


@router.get("/erasures")
async def get_erasures(actor: ActorDep, runtime: RuntimeDep) -> ErasureList:
    """List all erasures, the newest first."""
    return await reads.list_erasures(runtime, actor)


@router.post("/staff/{person_id}/registration", status_code=201, response_model=StaffAnswer)
async def post_registration(person_id: PersonId, body: Verification, call: CommandDep, intake: IntakeDep) -> Response:
    """Record that somebody's registration in the BIG register was looked up."""
    command = VerifyRegistration.model_validate({**body.model_dump(), "person_id": person_id})

    async def handle(work: Work) -> BaseModel:
        return staff_answer(person_id, await handlers.keep_register(work, intake, person_id, command))

    return await call.run(handle)


@router.post("/staff/{person_id}/registration/end", status_code=201, response_model=StaffAnswer)
async def post_registration_end(
    person_id: PersonId, body: EndOfRegistration, call: CommandDep, intake: IntakeDep
) -> Response:
    """Record that somebody's registration no longer counts."""

    async def handle(work: Work) -> BaseModel:
        return staff_answer(person_id, await handlers.keep_register(work, intake, person_id, body))

    return await call.run(handle)


@router.get("/staff")
async def get_staff(actor: ActorDep, runtime: RuntimeDep, intake: IntakeDep) -> StaffList:
    """Show the staff register."""
    today = utc_now(runtime.clock).astimezone(intake.zone).date()
    return await reads.list_staff(runtime, actor, today)
