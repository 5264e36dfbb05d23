"""What is read for a GET: a case from its events, lists from the read models. An EHR finds its own referrals only."""

from contextlib import suppress
from datetime import date
from functools import reduce
from typing import Any

import sqlalchemy as sa

from spoel_common.errors import NotAllowed
from spoel_common.people import Actor, check_role
from spoel_common.runtime import Runtime
from spoel_common.store import AggregateRef
from spoel_intake.domain.case import Case
from spoel_intake.domain.case import evolve as evolve_case
from spoel_intake.domain.refusals import CaseUnknown, PatientErased
from spoel_intake.domain.sight import is_ehr_only, sees_identity
from spoel_intake.events import CASE_EVENTS
from spoel_intake.handlers import CASE, Intake
from spoel_intake.tables import cases, patient_channels, staff, vault
from spoel_intake.views import CaseLine, CasePage, CaseView, RegistrationView, StaffList, case_view


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


async def may_see_patient(runtime: Runtime, patient_id: str, reader: Actor) -> bool:
    """Tell whether there is such a patient for the reader: any for people of care, those it sent in for an EHR."""
    query = sa.select(vault.c.patient_id).where(vault.c.patient_id == patient_id)
    if is_ehr_only(reader):
        query = sa.select(patient_channels.c.patient_id).where(
            patient_channels.c.patient_id == patient_id, patient_channels.c.person_id == reader.person_id
        )
    async with runtime.database.read() as conn:
        return (await conn.execute(query)).first() is not None


def _registration(row: dict[str, Any], today: date) -> RegistrationView:
    is_over = row["valid_until"] is not None and row["valid_until"] < today
    return RegistrationView(**row, current=row["ended_on"] is None and not is_over)
