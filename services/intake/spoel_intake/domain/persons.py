"""One person with two files: when they may be merged, and what a case of one file means for those of the other. Pure.

A merged person can have open cases in both files. They go on, but what ends treatment in one of them ends it in the
other (HZ-14, HZ-20, HZ-21): a withdrawal of consent that is younger than the other's consent, and a safety screen with
an exclusion that is younger than the screen on which the other was decided. So the newest word of the person holds,
as in one file. A decision not-indicated on other grounds ends nothing: a double referral is closed with one.
"""

from collections.abc import Mapping, Sequence

from spoel_common.errors import PatientErased
from spoel_common.events import EventData
from spoel_intake.commands import MergePatient
from spoel_intake.domain.case import Case
from spoel_intake.domain.given import Given
from spoel_intake.domain.patient import Patient
from spoel_intake.domain.refusals import IdentityDiffers, PatientMergedAlready, PatientUnknown, ReasonNeeded, SameFile
from spoel_intake.events import (
    ConsentWithdrawn,
    Decision,
    IndicationDecided,
    MergeGround,
    Outcome,
    PatientMerged,
    ReferralReceived,
    RuleResult,
)


def check_mergeable(patient: Patient, into: Patient, given: Given) -> None:
    """Refuse to merge a file into another one; whose they are is compared apart.

    Raises:
        NotAllowed, BigNumberInvalid, RegistrationNotVerified, ProfessionNotAllowed: not this person's to say.
        PatientUnknown, PatientErased: there is no such file, or no longer.
        SameFile: it is one file.
        PatientMergedAlready: one of them was merged before.
    """
    given.may("merge-patient")
    for file in (patient, into):
        if file.public_key is None:
            raise PatientUnknown("One of the two files is not known here. Check both patients' ids.")
        if file.is_erased:
            raise PatientErased("One of the two patients was erased; nobody can say any more who it was.")
    if patient.patient_id == into.patient_id:
        raise SameFile("Both ids are of one file. Give the id of the other one as into_patient_id.")
    for file in (patient, into):
        if file.merged_into is not None:
            raise PatientMergedAlready(
                f"File {file.patient_id} was merged into {file.merged_into} before. A merge cannot be undone; merge "
                "with the file in which that person goes on.",
                patient_id=file.patient_id,
                merged_into=file.merged_into,
            )


def merge(patient: Patient, into: Patient, command: MergePatient, given: Given, *, same_birth_date: bool) -> EventData:
    """Merge a file into another one.

    Args:
        patient: takes no new referral from then on.
        into: the file in which the person goes on.
        command: with its reason sealed in ``given``.
        given: who says it, and when.
        same_birth_date: whether both files have the same one.

    Raises:
        IdentityDiffers: they have not, and the ground does not say that one is wrong.
        SpoelError: as ``check_mergeable`` says.
    """
    check_mergeable(patient, into, given)
    if not same_birth_date and command.ground is not MergeGround.WRONG_BSN_AND_BIRTH_DATE:
        raise IdentityDiffers(
            "The two files have different birth dates. Read the document again: if one of the files has it wrong, give "
            f"the ground {MergeGround.WRONG_BSN_AND_BIRTH_DATE}; otherwise they are two persons."
        )
    if given.sealed_text is None:
        raise ReasonNeeded("Say how it was established that this is one person.")
    return PatientMerged(
        patient_id=patient.patient_id,
        into_patient_id=into.patient_id,
        ground=command.ground,
        sealed_reason=given.sealed_text,
    )


def endings(cases: Mapping[str, Case]) -> dict[str, list[EventData]]:
    """Return what ends in which open case because of a case in another file of the same person.

    Args:
        cases: all cases of one person's files, by their ids.
    """
    found = {}
    for case_id, case in cases.items():
        if case.referral is not None and case.is_open:
            elsewhere = [other for other in cases.values() if _in_another_file(other, case.referral)]
            found[case_id] = [*_exclusion(case, case.referral, elsewhere), *_withdrawal(case, case.referral, elsewhere)]
    return {case_id: events for case_id, events in found.items() if events}


def _in_another_file(other: Case, referral: ReferralReceived) -> bool:
    return other.referral is not None and other.referral.patient_id != referral.patient_id


def _withdrawal(case: Case, referral: ReferralReceived, elsewhere: Sequence[Case]) -> list[EventData]:
    if case.consent is None:
        return []
    given_at = case.consent.given_at
    withdrawn = [other.withdrawal.withdrawn_at for other in elsewhere if other.withdrawal is not None]
    return [
        ConsentWithdrawn(
            case_id=referral.case_id, patient_id=referral.patient_id, withdrawn_at=moment, sealed_reason=None
        )
        for moment in sorted(withdrawn)[-1:]
        if moment >= given_at
    ]


def _exclusion(case: Case, referral: ReferralReceived, elsewhere: Sequence[Case]) -> list[EventData]:
    if case.decided is None or case.screen is None:
        return []
    screened_at = case.screen.screened_at
    screens = [(other.screen, other.judgements) for other in elsewhere if other.screen is not None]
    newest, judgements = max(screens, key=lambda found: found[0].screened_at, default=(case.screen, {}))
    refused = [item for item, acceptable in judgements.items() if not acceptable]
    rules = [
        RuleResult(rule=rule, outcome=Outcome.NOT_MET, explanation=f"{words}, in another file of this person: {names}.")
        for rule, words, names in (
            ("absolute-exclusions", "Absolute exclusions answered yes", ", ".join(newest.absolute)),
            ("judged-items", "Items judged not acceptable", ", ".join(refused)),
        )
        if names
    ]
    if newest.screened_at < screened_at or not rules:
        return []
    return [
        IndicationDecided(
            case_id=referral.case_id,
            patient_id=referral.patient_id,
            decision=Decision.NOT_INDICATED,
            advice=Decision.NOT_INDICATED,
            followed_advice=True,
            rules=rules,
            sealed_reason=None,
        )
    ]
