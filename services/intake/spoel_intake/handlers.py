"""One unit of work a command: load, decide, append, bring the read models up to date."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common import persons
from spoel_common.errors import PatientErased, VersionConflict
from spoel_common.events import EventData
from spoel_common.ids import new_id
from spoel_common.people import check_role
from spoel_common.sealing import seal
from spoel_common.store import upsert
from spoel_common.work import Aggregate, Loaded, Work
from spoel_intake.bsn import Bsn, parse_bsn
from spoel_intake.commands import (
    CompleteScreen,
    DecideIndication,
    EndOfRegistration,
    GiveConsent,
    IndicationFacts,
    JudgeItem,
    PatientIdentity,
    ReceiveReferral,
    Referral,
    VerifyRegistration,
    WithdrawConsent,
)
from spoel_intake.domain import case as case_domain
from spoel_intake.domain import patient as patient_domain
from spoel_intake.domain import staff as staff_domain
from spoel_intake.domain.advice import Advice
from spoel_intake.domain.case import Case, CaseCommand
from spoel_intake.domain.given import Given
from spoel_intake.domain.patient import Identity, Patient
from spoel_intake.domain.persons import endings
from spoel_intake.domain.refusals import (
    AbsoluteExclusion,
    ActiveCaseExists,
    FileMerged,
    ImpossibleValue,
    PatientUnknown,
    PersonalDataInField,
)
from spoel_intake.domain.sight import is_ehr_only
from spoel_intake.domain.staff import StaffMember
from spoel_intake.events import (
    CASE_EVENTS,
    PATIENT_EVENTS,
    STAFF_EVENTS,
    Channel,
    ConsentWithdrawn,
    IndicationDecided,
    ReferralReceived,
    ScreenItemJudged,
)
from spoel_intake.projections import Stamp, project_own
from spoel_intake.tables import cases, erasures, merges, patient_channels, vault
from spoel_intake.vault import Vault, VaultEntry

CASE = Aggregate("case", Case, case_domain.evolve, CASE_EVENTS)
PATIENT = Aggregate("patient", Patient, patient_domain.evolve, PATIENT_EVENTS)
STAFF = Aggregate("staff", StaffMember, staff_domain.evolve, STAFF_EVENTS)


@dataclass(frozen=True)
class Intake:
    """What handlers and reads need next to the runtime.

    Attributes:
        zone: the clinic's time zone; a local day is a day there.
    """

    vault: Vault
    zone: ZoneInfo


class PatientAnswer(BaseModel):
    """A patient is known here under a pseudonym; ``is_new``: since this request."""

    patient_id: str
    is_new: bool


class ReferralAnswer(BaseModel):
    """A referral was taken in."""

    case_id: str
    patient_id: str


async def register_patient(work: Work, intake: Intake, given: PatientIdentity) -> PatientAnswer:
    """Put a person into the vault, or find the file that this BSN has already (IN-15)."""
    check_role("refer", work.actor)
    entry, is_new = await _file_of(work, intake, given)
    return PatientAnswer(patient_id=entry.patient_id, is_new=is_new)


async def refer(
    work: Work, intake: Intake, referral: Referral, given: PatientIdentity, channel: Channel
) -> ReferralAnswer:
    """Take in a referral of a person who may or may not be known here."""
    check_role("refer", work.actor)
    entry, _ = await _file_of(work, intake, given)
    _check_against(referral, parse_bsn(given.bsn.get_secret_value()), given.birth_date)
    return await _receive(work, intake, referral, entry, channel)


async def refer_known(
    work: Work, intake: Intake, referral: Referral, patient_id: str, channel: Channel
) -> ReferralAnswer:
    """Take in a referral of a patient who was sent in before.

    Raises:
        PatientUnknown: no such patient, or an EHR that did not send this patient in.
    """
    check_role("refer", work.actor)
    is_readable = vault.c.wrapped_private_key.is_not(None)
    query = sa.select(vault.c.public_key).where(vault.c.patient_id == patient_id, is_readable)
    if is_ehr_only(work.actor):
        sent_in = (patient_channels.c.patient_id == patient_id) & (patient_channels.c.person_id == work.actor.person_id)
        query = query.where(sa.exists().where(sent_in))
    public_key = await work.conn.scalar(query.with_for_update(read=True))
    if public_key is None:
        raise PatientUnknown("The subject is no patient that you sent in. Send the Patient first, or contained.")
    file = await intake.vault.open(work.conn, patient_id, work.actor, "check referral")
    _check_against(referral, file.identity.bsn, file.identity.birth_date)
    return await _receive(work, intake, referral, VaultEntry(patient_id, public_key), channel)


async def complete_screen(work: Work, intake: Intake, case_id: str, command: CompleteScreen) -> Case:
    """Record the answers to the safety questionnaire."""
    return await _act(work, intake, case_id, command)


async def judge_item(work: Work, intake: Intake, case_id: str, command: JudgeItem) -> Case:
    """Record the judgement of one item that was answered yes."""
    return await _act(work, intake, case_id, command, command.reason, ScreenItemJudged)


async def advise(work: Work, case_id: str, facts: IndicationFacts) -> Advice:
    """Compute the advice; nothing is recorded."""
    loaded = await work.load(CASE, case_id)
    return case_domain.advice_for(loaded.state, facts)


async def decide_indication(work: Work, intake: Intake, case_id: str, command: DecideIndication) -> Case:
    """Record advice and decision."""
    return await _act(work, intake, case_id, command, command.reason, IndicationDecided)


async def give_consent(work: Work, intake: Intake, case_id: str, command: GiveConsent) -> Case:
    """Record consent."""
    return await _act(work, intake, case_id, command)


async def withdraw_consent(work: Work, intake: Intake, case_id: str, command: WithdrawConsent) -> Case:
    """Record the withdrawal of consent."""
    return await _act(work, intake, case_id, command, command.reason, ConsentWithdrawn)


async def take_over_withdrawal(work: Work, case_id: str, room_event_id: str, withdrawn_at: datetime) -> Case:
    """Record a withdrawal that was entered in a room, of a patient who was erased meanwhile too.

    It ends consent in the person's other files too, whenever that was given, as here: nobody there could know, and a
    room's clock may be wrong. The rooms hold those files back until it is recorded.
    """
    loaded = await work.load(CASE, case_id)
    events = case_domain.take_over_withdrawal(loaded.state, room_event_id, withdrawn_at)
    heard = [event.model_copy(update={"withdrawn_at": work.now}) for event in events]
    await _end_elsewhere(work, case_id, reduce(case_domain.evolve, heard, loaded.state))
    after = await work.append(CASE, case_id, loaded, events)
    referral = loaded.state.referral
    if referral is None or not await is_erased(work.conn, referral.patient_id):
        await project(work, events)  # who was erased stays so in every list
    return after.state


async def keep_register(
    work: Work, intake: Intake, person_id: str, command: VerifyRegistration | EndOfRegistration
) -> StaffMember:
    """Record that a registration was verified, or ended."""
    loaded = await work.load(STAFF, person_id)
    given = await given_of(work, intake)
    events = staff_domain.decide(loaded.state, command, given)
    after = await work.append(STAFF, person_id, loaded, events)
    await project(work, events)
    return after.state


async def _act(
    work: Work,
    intake: Intake,
    case_id: str,
    command: CaseCommand,
    text: str | None = None,
    text_in: type[EventData] | None = None,
) -> Case:
    """Do a command on a case; ``text`` is sealed to the patient for the event ``text_in``."""
    loaded = await work.load(CASE, case_id)
    if loaded.state.referral is not None and await is_erased(work.conn, loaded.state.referral.patient_id):
        raise PatientErased("This case's patient was erased; nothing more is recorded about it.")
    event_id = work.new_event_id()
    sealed = None
    if text is not None and text_in is not None and loaded.state.referral is not None:
        patient = await work.load(PATIENT, loaded.state.referral.patient_id)
        sealed = seal_to(patient, text, event_id, text_in)
    events = case_domain.decide(loaded.state, command, await given_of(work, intake, sealed))
    against = await _end_elsewhere(work, case_id, reduce(case_domain.evolve, events, loaded.state))
    if not isinstance(command, WithdrawConsent):
        _refuse_excluded(against)
    after = await work.append(CASE, case_id, loaded, events, event_ids=[event_id])
    await project(work, events)
    return after.state


async def _end_elsewhere(work: Work, case_id: str, case: Case) -> list[EventData]:
    """End in the person's other files what this case, as it will be, ends there; return what they would end in it.

    Comes before the case's own events, so that no room sees these alone.
    """
    referral = case.referral
    if referral is None or len(await lock_person(work.conn, referral.patient_id)) == 1:
        return []
    ended = await end_in_open_cases(work, referral.patient_id, {case_id: case})
    return ended.get(case_id, [])


def _refuse_excluded(against: list[EventData]) -> None:
    """Refuse what goes on with treatment; a withdrawal is never refused.

    Raises:
        AbsoluteExclusion: a younger safety screen, in another file, stands against what the case would decide.
    """
    if any(isinstance(event, IndicationDecided) for event in against):
        raise AbsoluteExclusion(
            "A younger safety screen of this person, in another file, excludes treatment. Complete the screen of this "
            "case again, with what that one says, before the indication is decided."
        )


async def lock_person(conn: AsyncConnection, *patient_ids: str) -> list[str]:
    """Let only one transaction at a time work on the files of a person, or of several who are to be merged.

    Raises:
        VersionConflict: a file was merged with one of them meanwhile.
    """

    async def look() -> list[str]:
        return sorted({file for each in patient_ids for file in await persons.files_of(conn, each)})

    files = await look()
    of_person = sa.select(vault.c.patient_id).where(vault.c.patient_id.in_(files))
    await conn.execute(of_person.order_by(vault.c.patient_id).with_for_update())
    if await look() != files:
        raise VersionConflict("A file of this patient was merged with another one at the same time. Repeat it.")
    return files


async def end_in_open_cases(work: Work, patient_id: str, about: Mapping[str, Case]) -> dict[str, list[EventData]]:
    """Append what ends in the open cases of a person because of cases in the person's other files, and return it.

    Args:
        work: of a command about one of them; the person is locked.
        patient_id: any file of the person.
        about: cases as they will be; nothing is appended to these.
    """
    theirs = sa.select(cases.c.case_id, cases.c.is_open).where(cases.c.patient_id.in_(persons.same_person(patient_id)))
    is_open = {row.case_id: row.is_open for row in await work.conn.execute(theirs)}
    loaded = {case_id: await work.load(CASE, case_id) for case_id in sorted(is_open)}
    states = {case_id: found.state for case_id, found in loaded.items()} | dict(about)
    ended = {case_id: events for case_id, events in endings(states).items() if is_open[case_id]}
    for case_id, events in ended.items():
        if case_id not in about:
            await work.append(CASE, case_id, loaded[case_id], events)
            await project(work, events)
    return ended


async def is_erased(conn: AsyncConnection, patient_id: str) -> bool:
    """Tell whether a patient was erased."""
    return await conn.scalar(sa.select(erasures.c.erasure_id).where(erasures.c.patient_id == patient_id)) is not None


async def _receive(
    work: Work, intake: Intake, referral: Referral, entry: VaultEntry, channel: Channel
) -> ReferralAnswer:
    await _refuse_merged(work, entry.patient_id)
    await _refuse_second_case(work, entry.patient_id)
    case_id = new_id()
    event_id = work.new_event_id()
    sealed = seal(referral.question, entry.public_key, event_id, ReferralReceived.event_type())
    command = ReceiveReferral(
        **referral.model_dump(include=set(Referral.model_fields)),
        case_id=case_id,
        patient_id=entry.patient_id,
        channel=channel,
    )
    loaded = await work.load(CASE, case_id)
    events = case_domain.decide(loaded.state, command, await given_of(work, intake, sealed))
    await work.append(CASE, case_id, loaded, events, event_ids=[event_id])
    await project(work, events)
    return ReferralAnswer(case_id=case_id, patient_id=entry.patient_id)


async def _refuse_merged(work: Work, patient_id: str) -> None:
    into = await work.conn.scalar(sa.select(merges.c.into_patient_id).where(merges.c.patient_id == patient_id))
    if into is not None:
        # an EHR may see the other file only where it sent that in itself
        facts = {} if is_ehr_only(work.actor) else {"into_patient_id": into}
        raise FileMerged(
            "This file was merged into another one and takes no new referral. Read the BSN again from the document and "
            "send the patient with it; if it is the same, call the clinic's intake.",
            **facts,
        )


async def _refuse_second_case(work: Work, patient_id: str) -> None:
    theirs = cases.c.patient_id.in_(persons.same_person(patient_id))
    query = sa.select(sa.func.count()).select_from(cases).where(theirs, cases.c.is_open)
    if await work.conn.scalar(query):
        raise ActiveCaseExists(
            "This patient already has an open case; one person has one active course. Go on with that case; a decision "
            "not-indicated closes it."
        )


def _check_against(referral: Referral, bsn: Bsn, birth_date: date) -> None:
    """Refuse a referral that does not go with who the patient is; nothing of it is repeated."""
    if referral.referred_on < birth_date:
        raise ImpossibleValue("referred_on lies before the patient's birth.", field="referred_on")
    digits = "".join(character for character in referral.external_id or "" if character.isdigit())
    if bsn.removeprefix("0") in digits:
        raise PersonalDataInField("external_id holds the BSN; it is published in clear. Send the order's own number.")


async def _file_of(work: Work, intake: Intake, given: PatientIdentity) -> tuple[VaultEntry, bool]:
    """Return the file of a person, and whether it is new. Whoever sends the identity may see that patient."""
    identity = Identity.check(given, _today(work, intake))
    entry = await intake.vault.find(work.conn, identity.bsn)
    is_new = entry is None
    if entry is None:
        entry = await _new_file(work, intake, identity)
    else:
        known = await intake.vault.open(work.conn, entry.patient_id, work.actor, "compare identity")
        identity.check_same(known.identity)
    row = {"patient_id": entry.patient_id, "person_id": work.actor.person_id}
    await upsert(work.conn, patient_channels, [row])
    return entry, is_new


async def _new_file(work: Work, intake: Intake, identity: Identity) -> VaultEntry:
    patient_id = new_id()
    try:
        entry = await intake.vault.store(work.conn, patient_id, identity, work.now)
    except IntegrityError as error:
        raise VersionConflict("This person was registered by another request at the same time. Repeat it.") from error
    loaded = await work.load(PATIENT, patient_id)
    events = patient_domain.register(loaded.state, patient_id, entry.public_key)
    await work.append(PATIENT, patient_id, loaded, events)
    return entry


async def project(work: Work, events: list[EventData]) -> None:
    """Bring the read models up to date with events that were appended."""
    try:
        for event in events:
            await project_own(work.conn, event, Stamp(work.now, work.actor.person_id))
    except IntegrityError as error:
        raise VersionConflict("This patient was referred by another request at the same time. Repeat it.") from error


async def given_of(work: Work, intake: Intake, sealed_text: str | None = None) -> Given:
    """Return the circumstances; the registration is the one of the staff register, in this transaction."""
    register = await work.load(STAFF, work.actor.person_id)
    return Given(
        by=work.actor,
        registration=register.state.registration,
        now=work.now,
        today=_today(work, intake),
        sealed_text=sealed_text,
    )


def _today(work: Work, intake: Intake) -> date:
    return work.now.astimezone(intake.zone).date()


def seal_to(patient: Loaded[Patient], text: str, event_id: str, event: type[EventData]) -> str:
    """Seal a free text to a patient, for one event.

    Raises:
        PatientUnknown: there is no such patient.
    """
    public_key = patient.state.public_key
    if public_key is None:
        raise PatientUnknown("This case's patient was never registered here.")
    return seal(text, public_key, event_id, event.event_type())
