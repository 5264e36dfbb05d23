"""HTTP of planning: translate, authorise, call a handler or a read model."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from spoel_common.opening import Reason, SealedText, open_text
from spoel_common.people import check_role
from spoel_common.web import ActorDep, CommandDep, RuntimeDep, TokenDep
from spoel_planning import handlers, queries
from spoel_planning.answers import (
    AllocatedAnswer,
    BookingAnswer,
    CancelledAnswer,
    CaseAnswer,
    MeasurementOrderAnswer,
    MeasurementSignedAnswer,
    NoteAnswer,
    NotesAnswer,
    PrescriptionAnswer,
    PrescriptionSignedAnswer,
    PrescriptionWithdrawnAnswer,
    ProtocolAnswer,
    ProtocolsAnswer,
    RoomsAnswer,
    TargetsAnswer,
    ThresholdAnswer,
    ThresholdStateAnswer,
    UnblindedAnswer,
)
from spoel_planning.commands import (
    Allocate,
    Book,
    CancelBooking,
    EstimateThreshold,
    MeasureHead,
    OrderMeasurement,
    OrderSearch,
    Prescribe,
    SignMeasurementOrder,
    SignPrescription,
    Unblind,
    WithdrawPrescription,
)
from spoel_planning.domain.blinding import allocation_of
from spoel_planning.domain.catalogue import cleared_row, protocol_doses
from spoel_planning.domain.known import known_case
from spoel_planning.domain.measuring import not_found_text, session_order, threshold_step
from spoel_planning.domain.staircase import Finished, Next, NotFound
from spoel_planning.events.prescribing import AllocationRecorded
from spoel_planning.handlers import PLAN, Clinic
from spoel_planning.patients import read_notes

router = APIRouter()

PathId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]


def clinic_of(request: Request) -> Clinic:
    """Return the clinic's rules and zone, as the composition root set them."""
    clinic: Clinic = request.app.state.clinic
    return clinic


ClinicDep = Annotated[Clinic, Depends(clinic_of)]


@router.get("/protocols", tags=["catalogue"])
async def get_protocols(actor: ActorDep, clinic: ClinicDep) -> ProtocolsAnswer:
    """List the protocol catalogue, with sources and what the clinic has cleared."""
    check_role("read-plan", actor)
    rules = clinic.rules
    return ProtocolsAnswer(
        protocols=[
            ProtocolAnswer(
                **dict(each), cleared=all(cleared_row(dose, rules.cleared) is not None for dose in protocol_doses(each))
            )
            for each in rules.protocols
        ]
    )


@router.get("/rooms", tags=["rooms"])
async def get_rooms(actor: ActorDep, runtime: RuntimeDep) -> RoomsAnswer:
    """List the rooms whose device has answered."""
    check_role("read-plan", actor)
    async with runtime.database.read() as conn:
        rooms = await queries.list_rooms(conn)
    return RoomsAnswer(rooms=rooms, known=runtime.knowledge(("stimulation",)))


@router.get("/cases/{case_id}", tags=["plan"])
async def get_case(case_id: PathId, actor: ActorDep, runtime: RuntimeDep) -> CaseAnswer:
    """Show all that was planned for a case."""
    check_role("read-plan", actor)
    async with runtime.database.read() as conn:
        case = known_case(await queries.find_case(conn, case_id), case_id)
        searches = await queries.list_searches(conn, case_id)
    plan = (await runtime.units.load(PLAN, case_id)).state
    return CaseAnswer.of(case, plan, searches, runtime.knowledge())


@router.get("/cases/{case_id}/notes", tags=["plan"])
async def get_notes(
    case_id: PathId,
    reason: Annotated[Reason, Query(description="Why the texts are read; kept in the access log.")],
    token: TokenDep,
    actor: ActorDep,
    runtime: RuntimeDep,
    response: Response,
) -> NotesAnswer:
    """Read the free texts of a case: the referral's question, the reasons of judgements and of the decision.

    Intake opens each for the person who asks, and logs it; nothing is kept here or may be kept on the way.
    """
    check_role("open-sealed-text", actor)
    async with runtime.database.read() as conn:
        known_case(await queries.find_case(conn, case_id), case_id)
    response.headers["Cache-Control"] = "no-store"
    notes = await read_notes(runtime, case_id, token, reason)
    return NotesAnswer(
        case_id=case_id,
        notes=[NoteAnswer.model_validate(note._asdict()) for note in notes],
        known=runtime.knowledge(("intake",)),
    )


@router.post("/cases/{case_id}/head-measures", status_code=201, response_model=TargetsAnswer, tags=["plan"])
async def post_head_measures(case_id: PathId, command: MeasureHead, call: CommandDep, clinic: ClinicDep) -> Response:
    """Record head measures; answers both targets."""
    return await call.under(command.supervisor_id).run(
        lambda work: handlers.measure_head(work, clinic, case_id, command)
    )


@router.post(
    "/cases/{case_id}/measurement-orders", status_code=201, response_model=MeasurementOrderAnswer, tags=["threshold"]
)
async def post_measurement_order(
    case_id: PathId, command: OrderMeasurement, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Draft a measurement order."""
    return await call.run(lambda work: handlers.order_measurement(work, clinic, case_id, command))


@router.post(
    "/cases/{case_id}/heart-brain-searches", status_code=201, response_model=MeasurementOrderAnswer, tags=["heart"]
)
async def post_search_order(case_id: PathId, command: OrderSearch, call: CommandDep, clinic: ClinicDep) -> Response:
    """Draft the order of a heart-brain search; it is signed as any measurement order."""
    return await call.run(lambda work: handlers.order_search(work, clinic, case_id, command))


@router.post(
    "/cases/{case_id}/measurement-orders/{order_id}/signature",
    status_code=201,
    response_model=MeasurementSignedAnswer,
    tags=["threshold"],
)
async def post_measurement_signature(
    case_id: PathId, order_id: PathId, _command: SignMeasurementOrder, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Sign a measurement order."""
    return await call.run(lambda work: handlers.sign_measurement_order(work, clinic, case_id, order_id))


@router.get("/cases/{case_id}/threshold", tags=["threshold"])
async def get_threshold(
    case_id: PathId,
    session_id: Annotated[str, Query(min_length=1, max_length=64)],
    actor: ActorDep,
    runtime: RuntimeDep,
    clinic: ClinicDep,
) -> ThresholdStateAnswer:
    """Say what the staircase of a measurement session wants next."""
    check_role("read-plan", actor)
    async with runtime.database.read() as conn:
        known_case(await queries.find_case(conn, case_id), case_id)
        session = await queries.find_session(conn, session_id)
    plan = (await runtime.units.load(PLAN, case_id)).state
    order = session_order(plan, case_id, session, session_id)
    step = threshold_step(plan, case_id, session, session_id, clinic.rules.threshold)
    return ThresholdStateAnswer(
        session_id=session_id,
        order_id=order.order_id,
        state="next" if isinstance(step, Next) else "finished" if isinstance(step, Finished) else "not-found",
        finished=isinstance(step, Finished),
        next_percent_mso=step.percent_mso if isinstance(step, Next) else None,
        estimate_percent_mso=step.estimate_percent_mso if isinstance(step, Finished) else None,
        reason=not_found_text(step.reason) if isinstance(step, NotFound) else None,
        stimuli_seen=len(session.stimuli) if session is not None else 0,
        ceiling_percent_mso=order.ceiling_percent_mso,
        max_stimuli=order.max_stimuli,
        min_interval_s=order.min_interval_s,
        known=runtime.knowledge(("stimulation",)),
    )


@router.post("/cases/{case_id}/threshold", status_code=201, response_model=ThresholdAnswer, tags=["threshold"])
async def post_threshold(case_id: PathId, command: EstimateThreshold, call: CommandDep, clinic: ClinicDep) -> Response:
    """Take the threshold that a session found."""
    return await call.under(command.supervisor_id).run(
        lambda work: handlers.estimate_threshold(work, clinic, case_id, command)
    )


@router.post("/cases/{case_id}/allocation", status_code=201, response_model=AllocatedAnswer, tags=["blinding"])
async def post_allocation(case_id: PathId, command: Allocate, call: CommandDep, clinic: ClinicDep) -> Response:
    """Allocate a condition of a blinded trial; asked by its randomisation, and sealed before it is stored."""
    return await call.run(lambda work: handlers.allocate(work, clinic, case_id, command))


@router.post("/cases/{case_id}/unblind", response_model=UnblindedAnswer, tags=["blinding"])
async def post_unblind(
    case_id: PathId, command: Unblind, token: TokenDep, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Tell a physician, in an emergency, which condition a patient has; that it was asked is recorded first.

    Where intake does not answer, repeat the request with the same key: it asks again and records nothing twice.
    """

    async def told(body: dict[str, Any]) -> dict[str, Any]:
        allocation = allocation_of((await call.runtime.units.load(PLAN, case_id)).state)
        sealed = SealedText(
            allocation.patient_id,
            allocation.allocation_event_id,
            AllocationRecorded.event_type(),
            allocation.sealed_allocation,
        )
        return body | {"allocation": await open_text(call.runtime, token, sealed, "incident")}

    response = await call.run(lambda work: handlers.unblind(work, clinic, case_id, command), 200, told)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post(
    "/cases/{case_id}/prescriptions", status_code=201, response_model=PrescriptionAnswer, tags=["prescription"]
)
async def post_prescription(case_id: PathId, command: Prescribe, call: CommandDep, clinic: ClinicDep) -> Response:
    """Draft a prescription; answers its grade and findings."""
    return await call.run(lambda work: handlers.draft_prescription(work, clinic, case_id, command))


@router.post(
    "/cases/{case_id}/prescriptions/{prescription_id}/versions",
    status_code=201,
    response_model=PrescriptionAnswer,
    tags=["prescription"],
)
async def post_version(
    case_id: PathId, prescription_id: PathId, command: Prescribe, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Draft a new version of a prescription; it supersedes the older ones."""
    return await call.run(lambda work: handlers.draft_version(work, clinic, case_id, prescription_id, command))


@router.post(
    "/cases/{case_id}/prescriptions/{prescription_id}/signature",
    status_code=201,
    response_model=PrescriptionSignedAnswer,
    tags=["prescription"],
)
async def post_signature(
    case_id: PathId, prescription_id: PathId, command: SignPrescription, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Sign exactly one version."""
    return await call.run(lambda work: handlers.sign_prescription(work, clinic, case_id, prescription_id, command))


@router.post(
    "/cases/{case_id}/prescriptions/{prescription_id}/withdrawal",
    status_code=201,
    response_model=PrescriptionWithdrawnAnswer,
    tags=["prescription"],
)
async def post_withdrawal(
    case_id: PathId, prescription_id: PathId, command: WithdrawPrescription, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Withdraw a prescription with all its versions."""
    return await call.run(lambda work: handlers.withdraw_prescription(work, clinic, case_id, prescription_id, command))


@router.post("/cases/{case_id}/bookings", status_code=201, response_model=BookingAnswer, tags=["booking"])
async def post_booking(case_id: PathId, command: Book, call: CommandDep, clinic: ClinicDep) -> Response:
    """Book a session in a room."""
    return await call.run(lambda work: handlers.book(work, clinic, case_id, command))


@router.post(
    "/cases/{case_id}/bookings/{session_id}/cancellation",
    status_code=201,
    response_model=CancelledAnswer,
    tags=["booking"],
)
async def post_cancellation(
    case_id: PathId, session_id: PathId, command: CancelBooking, call: CommandDep, clinic: ClinicDep
) -> Response:
    """Cancel a booking."""
    return await call.run(lambda work: handlers.cancel_booking(work, clinic, case_id, session_id, command))
