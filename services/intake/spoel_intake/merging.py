"""Merging: a person who has two files is one person for every rule from then on (IN-15, HZ-14)."""

from pydantic import BaseModel, Field

from spoel_common import persons
from spoel_common.work import Loaded, Work
from spoel_intake.commands import MergePatient
from spoel_intake.domain import persons as domain
from spoel_intake.domain.patient import Patient
from spoel_intake.events import PatientMerged
from spoel_intake.handlers import PATIENT, Intake, end_in_open_cases, given_of, is_erased, lock_person, project, seal_to


class MergeAnswer(BaseModel):
    """Two files are of one person.

    Attributes:
        files: all files of the person.
        ended_cases: open cases in which consent or indication ended, because the other file's word is younger.
    """

    patient_id: str
    into_patient_id: str
    files: list[str]
    ended_cases: list[str] = Field(default_factory=list)


async def merge_patient(work: Work, intake: Intake, patient_id: str, command: MergePatient) -> MergeAnswer:
    """Merge a file into another one; what the one says against treatment holds for the other at once.

    A BSN that was wrong finds the merged file no longer: it may be another person's (HZ-01).

    Raises:
        SpoelError: as ``domain.persons.merge`` says.
    """
    into_patient_id = command.into_patient_id
    await lock_person(work.conn, patient_id, into_patient_id)
    loaded, into = await _load(work, patient_id), await _load(work, into_patient_id)
    domain.check_mergeable(loaded.state, into.state, await given_of(work, intake))
    event_id = work.new_event_id()
    given = await given_of(work, intake, seal_to(loaded, command.reason, event_id, PatientMerged))
    same = await _same_birth_date(work, intake, patient_id, into_patient_id)
    event = domain.merge(loaded.state, into.state, command, given, same_birth_date=same)
    await work.append(PATIENT, patient_id, loaded, [event], event_ids=[event_id])
    await project(work, [event])
    if command.ground.is_wrong_bsn:
        await intake.vault.forget_number(work.conn, patient_id)
    ended = await end_in_open_cases(work, patient_id, {})
    files = await persons.files_of(work.conn, patient_id)
    return MergeAnswer(patient_id=patient_id, into_patient_id=into_patient_id, files=files, ended_cases=sorted(ended))


async def _load(work: Work, patient_id: str) -> Loaded[Patient]:
    """Return a patient; a database that was restored may lack the event of an erasure, not its row."""
    loaded = await work.load(PATIENT, patient_id)
    erased = await is_erased(work.conn, patient_id)
    return Loaded(loaded.state.model_copy(update={"is_erased": erased}), loaded.version)


async def _same_birth_date(work: Work, intake: Intake, patient_id: str, into_patient_id: str) -> bool:
    purpose = "compare birth dates of two files"
    one = await intake.vault.open(work.conn, patient_id, work.actor, purpose)
    other = await intake.vault.open(work.conn, into_patient_id, work.actor, purpose)
    return one.identity.birth_date == other.identity.birth_date
