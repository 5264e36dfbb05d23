"""What is read for a GET: a case from its events, lists from the read models. An EHR finds its own referrals only."""

import json
from contextlib import suppress
from datetime import date, datetime
from fnmatch import fnmatch
from functools import reduce
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from spoel_common.errors import NotAllowed, NotFound, PatientErased
from spoel_common.people import Actor, check_role
from spoel_common.runtime import Runtime
from spoel_common.store import AggregateRef
from spoel_intake.access import log_opened
from spoel_intake.domain.case import Case
from spoel_intake.domain.case import evolve as evolve_case
from spoel_intake.domain.refusals import CaseUnknown
from spoel_intake.domain.sight import is_ehr_only, sees_identity
from spoel_intake.events import CASE_EVENTS
from spoel_intake.handlers import CASE, Intake
from spoel_intake.projections import ANSWERING_SERVICES
from spoel_intake.tables import cases, erasure_answers, erasures, merges, patient_channels, staff, vault
from spoel_intake.views import (
    CaseLine,
    CasePage,
    CaseView,
    ErasureList,
    ErasureReply,
    ErasureView,
    RegistrationView,
    StaffList,
    case_view,
)


async def read_case(runtime: Runtime, intake: Intake, case_id: str, reader: Actor) -> CaseView:
    """Return a case; identity and free text only for who may see them.

    Raises:
        NotAllowed: the reader's role reads no cases.
        CaseUnknown: no such case, or an EHR's that did not send it.
    """
    check_role("read-case", reader)
    async with runtime.database.read() as conn:
        envelopes = await runtime.store.load(conn, AggregateRef(CASE.name, case_id))
        if not envelopes or (is_ehr_only(reader) and envelopes[0].actorid != reader.person_id):
            raise CaseUnknown("No such case is known here, or not to you. Check the case's id.")
        events = [event for event in map(CASE_EVENTS.decode, envelopes) if event is not None]
        case = reduce(evolve_case, events, Case())
        if case.referral is None:
            raise CaseUnknown("This case has no referral.")
        file = None
        if sees_identity(reader):
            with suppress(PatientErased):
                file = await intake.vault.open(conn, case.referral.patient_id, reader, f"read case {case_id}")
    if file is not None:
        await log_opened(runtime, reader, case.referral.patient_id, case_id)
    return case_view(case, case.referral, envelopes, file, reader)


async def load_case(runtime: Runtime, case_id: str, reader: Actor) -> Case:
    """Return a case's state, without identity; raises as ``read_case`` does."""
    check_role("read-case", reader)
    if is_ehr_only(reader):
        async with runtime.database.read() as conn:
            query = sa.select(cases.c.referred_by).where(cases.c.case_id == case_id)
            if await conn.scalar(query) != reader.person_id:
                raise CaseUnknown("No such case is known here, or not to you. Check the case's id.")
    loaded = await runtime.units.load(CASE, case_id)
    if not loaded.version:
        raise CaseUnknown("No such case is known here. Check the case's id.")
    return loaded.state


async def list_cases(runtime: Runtime, reader: Actor, after: str | None, limit: int) -> CasePage:
    """Return a page of cases in the order in which they came in."""
    check_role("read-case", reader)
    query = sa.select(*(cases.c[name] for name in CaseLine.model_fields)).order_by(cases.c.case_id).limit(limit + 1)
    if after is not None:
        query = query.where(cases.c.case_id > after)
    if is_ehr_only(reader):
        query = query.where(cases.c.referred_by == reader.person_id)
    async with runtime.database.read() as conn:
        lines = [CaseLine.model_validate(dict(row)) for row in (await conn.execute(query)).mappings()]
    page = lines[:limit]
    return CasePage(items=page, next=page[-1].case_id if len(lines) > limit else None)


async def list_staff(runtime: Runtime, reader: Actor, today: date) -> StaffList:
    """Return the staff register; a registration past its end is shown as not current.

    Raises:
        NotAllowed: the reader's role reads no cases, or is an EHR's.
    """
    check_role("read-case", reader)
    if is_ehr_only(reader):
        raise NotAllowed("The staff register is for the clinic's own people. Sign in as one of them.", act="read-case")
    async with runtime.database.read() as conn:
        rows = (await conn.execute(sa.select(staff).order_by(staff.c.person_id))).mappings().all()
    return StaffList(items=[_registration(dict(row), today) for row in rows])


async def read_erasure(runtime: Runtime, patient_id: str, reader: Actor) -> ErasureView:
    """Return an erasure and its answers.

    Raises:
        NotFound: this patient was not erased.
    """
    check_role("read-erasures", reader)
    found = await _erasures(runtime, erasures.c.patient_id == patient_id)
    if not found:
        raise NotFound("No erasure of such a patient is known here.")
    return found[0]


async def list_erasures(runtime: Runtime, reader: Actor) -> ErasureList:
    """Return all erasures, the newest first."""
    check_role("read-erasures", reader)
    return ErasureList(items=await _erasures(runtime, sa.true()))


async def _erasures(runtime: Runtime, wanted: sa.ColumnElement[bool]) -> list[ErasureView]:
    query = sa.select(erasures).where(wanted).order_by(erasures.c.erased_at.desc(), erasures.c.patient_id)
    async with runtime.database.read() as conn:
        rows = (await conn.execute(query)).all()
        answers = (await conn.execute(sa.select(erasure_answers).order_by(erasure_answers.c.source))).all()
    stores = _answering_stores(runtime)
    views = []
    for row in rows:
        answered = [
            ErasureReply(source=each.source, answered_at=each.answered_at, cleared=json.loads(each.cleared))
            for each in answers
            if each.patient_id == row.patient_id
        ]
        heard = [reply.source for reply in answered]
        facts = {name: getattr(row, name) for name in ErasureView.model_fields if name not in ("answered", "awaited")}
        awaited = [store for store in stores if not any(fnmatch(source, store) for source in heard)]
        views.append(ErasureView(**facts, answered=answered, awaited=awaited))
    return views


def _answering_stores(runtime: Runtime) -> list[str]:
    """Return the stores that are to answer: every one that was seen, and ``/*`` for a service of which none was."""
    seen = [feed.source for feed in runtime.knowledge(ANSWERING_SERVICES)]
    site = runtime.settings.site
    unseen = [
        f"/spoel/{site}/{service}/*"
        for service in ANSWERING_SERVICES
        if not any(source.startswith(f"/spoel/{site}/{service}/") for source in seen)
    ]
    return sorted({*seen, *unseen})


async def may_see_patient(runtime: Runtime, patient_id: str, reader: Actor) -> bool:
    """Tell whether there is such a patient for the reader: any for people of care, those it sent in for an EHR."""
    has_file = sa.exists().where(vault.c.patient_id == patient_id)
    had_file = sa.exists().where(erasures.c.patient_id == patient_id)
    sent_in = sa.exists().where(
        patient_channels.c.patient_id == patient_id, patient_channels.c.person_id == reader.person_id
    )
    async with runtime.database.read() as conn:
        return bool(await conn.scalar(sa.select(sent_in if is_ehr_only(reader) else has_file | had_file)))


class PatientLink(NamedTuple):
    """That a file was merged; ``type`` as in FHIR's Patient.link: how the other file stands to this one."""

    other_patient_id: str
    type: Literal["replaced-by", "replaces"]
    merged_at: datetime


async def patient_links(runtime: Runtime, patient_id: str) -> list[PatientLink]:
    """Return with which files a file was merged, the first merge first."""
    its = sa.or_(merges.c.patient_id == patient_id, merges.c.into_patient_id == patient_id)
    query = sa.select(merges).where(its).order_by(merges.c.merged_at, merges.c.patient_id)
    async with runtime.database.read() as conn:
        rows = (await conn.execute(query)).all()
    return [
        PatientLink(row.into_patient_id, "replaced-by", row.merged_at)
        if row.patient_id == patient_id
        else PatientLink(row.patient_id, "replaces", row.merged_at)
        for row in rows
    ]


def _registration(row: dict[str, Any], today: date) -> RegistrationView:
    is_over = row["valid_until"] is not None and row["valid_until"] < today
    return RegistrationView(**row, current=row["ended_on"] is None and not is_over)
