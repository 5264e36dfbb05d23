"""The FHIR R4 door over HTTP: metadata, and create, read and vread of Patient and ServiceRequest."""

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import JSONResponse, Response
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import BaseModel

from spoel_common.errors import NotFound, SpoelError
from spoel_common.people import Actor, check_role
from spoel_common.runtime import Runtime
from spoel_common.web import ActorDep, CommandCall, CommandDep, RuntimeDep
from spoel_common.work import Work
from spoel_intake import handlers, reads
from spoel_intake.access import log_opened
from spoel_intake.api import IntakeDep
from spoel_intake.domain.sight import sees_identity
from spoel_intake.events import Channel
from spoel_intake.fhir.capability import capability_statement
from spoel_intake.fhir.parse import read_resource
from spoel_intake.fhir.render import patient_resource, service_request_resource
from spoel_intake.fhir.terms import MEDIA_TYPE
from spoel_intake.fhir.translate import identity_of, order_of
from spoel_intake.handlers import Intake

PREFIX = "/fhir/R4"

Json = dict[str, Any]

_OUTCOME: Json = {"description": "An OperationOutcome.", "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}

router = APIRouter(prefix=PREFIX, tags=["fhir"], responses={"default": _OUTCOME, 422: _OUTCOME})

_BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}}
ResourceId = Annotated[str, Path(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
Handler = Callable[[Work], Awaitable[BaseModel]]
Current = Callable[[Json], Awaitable[Json]]


class ConditionalCreateNotSupported(SpoelError):
    """A create with If-None-Exist."""

    slug: ClassVar[str] = "conditional-create-not-supported"
    status = 400
    title: ClassVar[str] = "If-None-Exist is not supported"


@router.get("/metadata")
async def get_metadata(request: Request) -> Response:
    """Show what this server can do; open to everybody."""
    return JSONResponse(capability_statement(_base(request)), media_type=MEDIA_TYPE)


@router.post("/Patient", status_code=201, openapi_extra=_BODY)
async def create_patient(
    request: Request,
    call: CommandDep,
    intake: IntakeDep,
    if_none_exist: Annotated[str | None, Header()] = None,
) -> Response:
    """Register a patient, or find the file that this BSN has already."""
    _refuse_conditional(if_none_exist)
    check_role("refer", call.actor)
    identity = identity_of(read_resource(await request.body(), Patient))

    async def handle(work: Work) -> BaseModel:
        return await handlers.register_patient(work, intake, identity)

    async def current(answer: Json) -> Json:
        shown = await _patient(call.runtime, intake, answer["patient_id"], call.actor)
        return {"is_new": answer["is_new"], "resource": shown}

    return await _created(request, call, handle, current)


@router.get("/Patient/{patient_id}")
async def read_patient(patient_id: ResourceId, actor: ActorDep, runtime: RuntimeDep, intake: IntakeDep) -> Response:
    """Show a patient; an EHR sees those it sent in."""
    return _shown(await _patient(runtime, intake, patient_id, actor))


@router.get("/Patient/{patient_id}/_history/{version_id}")
async def vread_patient(
    patient_id: ResourceId, version_id: ResourceId, actor: ActorDep, runtime: RuntimeDep, intake: IntakeDep
) -> Response:
    """Show a version of a patient: the first as it was sent, and one more for each merge."""
    return _shown(await _patient(runtime, intake, patient_id, actor, version_id))


@router.post("/ServiceRequest", status_code=201, openapi_extra=_BODY)
async def create_service_request(
    request: Request,
    call: CommandDep,
    intake: IntakeDep,
    if_none_exist: Annotated[str | None, Header()] = None,
) -> Response:
    """Take in a referral."""
    _refuse_conditional(if_none_exist)
    check_role("refer", call.actor)
    order = order_of(read_resource(await request.body(), ServiceRequest), intake.zone)

    async def handle(work: Work) -> BaseModel:
        if order.patient is not None:
            return await handlers.refer(work, intake, order.referral, order.patient, Channel.FHIR)
        return await handlers.refer_known(work, intake, order.referral, order.patient_id or "", Channel.FHIR)

    async def current(answer: Json) -> Json:
        shown = await _service_request(call.runtime, intake, answer["case_id"], call.actor)
        return {"is_new": True, "resource": shown}

    return await _created(request, call, handle, current)


@router.get("/ServiceRequest/{case_id}")
async def read_service_request(
    case_id: ResourceId, actor: ActorDep, runtime: RuntimeDep, intake: IntakeDep
) -> Response:
    """Show a referral; an EHR sees its own."""
    return _shown(await _service_request(runtime, intake, case_id, actor))


@router.get("/ServiceRequest/{case_id}/_history/{version_id}")
async def vread_service_request(
    case_id: ResourceId, version_id: ResourceId, actor: ActorDep, runtime: RuntimeDep, intake: IntakeDep
) -> Response:
    """Show a version of a referral; there is one."""
    _number_of(version_id, 1)
    return _shown(await _service_request(runtime, intake, case_id, actor))


async def _created(request: Request, call: CommandCall, handle: Handler, current: Current) -> Response:
    """Run a create and answer as FHIR does: 201 with Location, ETag and the resource; 200 where it was there."""
    answered = await call.run(handle, current=current)
    answer: Json = json.loads(bytes(answered.body))
    resource = answer["resource"]
    response = _shown(resource)
    response.status_code = answered.status_code if answer["is_new"] else 200
    response.headers["Location"] = (
        f"{_base(request)}/{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"
    )
    return response


def _shown(resource: Json) -> Response:
    """Answer with a resource, its version and its time."""
    changed_at = datetime.fromisoformat(resource["meta"]["lastUpdated"])
    headers = {
        "ETag": f'W/"{resource["meta"]["versionId"]}"',
        "Last-Modified": format_datetime(changed_at, usegmt=True),
    }
    return JSONResponse(resource, headers=headers, media_type=MEDIA_TYPE)


async def _patient(
    runtime: Runtime, intake: Intake, patient_id: str, reader: Actor, version_id: str | None = None
) -> Json:
    check_role("read-case", reader)
    if not sees_identity(reader) or not await reads.may_see_patient(runtime, patient_id, reader):
        raise NotFound("No such Patient is known here, or not to you.")
    links = await reads.patient_links(runtime, patient_id)
    if version_id is not None:
        links = links[: _number_of(version_id, len(links) + 1) - 1]
    async with runtime.database.read() as conn:
        file = await intake.vault.open(conn, patient_id, reader, "read Patient")
    await log_opened(runtime, reader, patient_id)
    return patient_resource(patient_id, file.identity, file.registered_at, links)


async def _service_request(runtime: Runtime, intake: Intake, case_id: str, reader: Actor) -> Json:
    return service_request_resource(await reads.read_case(runtime, intake, case_id, reader))


def _base(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{PREFIX}"


def _number_of(version_id: str, newest: int) -> int:
    """Return the number of a version; raises ``NotFound`` where there is none such."""
    for number in range(1, newest + 1):
        if version_id == str(number):
            return number
    raise NotFound(f"There is no such version; the newest is {newest}.")


def _refuse_conditional(if_none_exist: str | None) -> None:
    if if_none_exist is not None:
        raise ConditionalCreateNotSupported(
            "Leave If-None-Exist out: Idempotency-Key keeps a repeat from creating anything twice, and a BSN that is "
            "known never gets a second Patient."
        )
