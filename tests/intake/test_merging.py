"""One person with two files: merged, they are one for every rule; what ends treatment in one ends it in the other."""

from datetime import timedelta

import pytest
from tests.intake.story import NOW, NURSE, Story, given, judgement, referral, screen, with_reason
from tests.intake.story import indication as decided

from spoel_common.errors import NotAllowed, PatientErased
from spoel_common.people import Profession, Role
from spoel_intake.commands import GiveConsent, MergePatient, WithdrawConsent
from spoel_intake.domain.patient import Patient, evolve
from spoel_intake.domain.persons import endings, merge
from spoel_intake.domain.refusals import (
    IdentityDiffers,
    PatientMergedAlready,
    PatientUnknown,
    ReasonNeeded,
    SameFile,
)
from spoel_intake.events import ConsentWithdrawn, IndicationDecided, MergeGround

OLD = Patient(patient_id="old", public_key="key")
NEW = Patient(patient_id="new", public_key="key")
BY_NURSE = with_reason(NURSE)
WRONG_BSN = MergePatient(into_patient_id="new", ground="wrong-bsn", reason="Paspoort gezien.")


def merged(patient=OLD, into=NEW, circumstances=BY_NURSE, command=WRONG_BSN, *, same_birth_date=True):
    return merge(patient, into, command, circumstances, same_birth_date=same_birth_date)


# --- the decision


@pytest.mark.requirement("IN-15")
def test_a_file_is_merged_into_another_with_a_sealed_reason():
    event = merged()
    assert event.model_dump(mode="json") == {
        "patient_id": "old",
        "into_patient_id": "new",
        "ground": "wrong-bsn",
        "sealed_reason": "c2VhbGVk",
    }
    assert evolve(OLD, event).merged_into == "new"


@pytest.mark.requirement("IN-15")
@pytest.mark.parametrize(
    ("patient", "into", "refusal"),
    [
        (OLD, OLD, SameFile),
        (Patient(), NEW, PatientUnknown),
        (OLD, Patient(), PatientUnknown),
        (OLD.model_copy(update={"is_erased": True}), NEW, PatientErased),
        (OLD, NEW.model_copy(update={"is_erased": True}), PatientErased),
        (OLD.model_copy(update={"merged_into": "third"}), NEW, PatientMergedAlready),
        (OLD, NEW.model_copy(update={"merged_into": "third"}), PatientMergedAlready),
    ],
)
def test_one_file_or_one_that_is_unknown_erased_or_merged_already_is_refused(patient, into, refusal):
    with pytest.raises(refusal):
        merged(patient, into)


def test_a_merge_cannot_be_undone_and_the_refusal_says_so():
    with pytest.raises(PatientMergedAlready, match="cannot be undone") as refusal:
        merged(OLD.model_copy(update={"merged_into": "new"}))
    assert refusal.value.facts == {"patient_id": "old", "merged_into": "new"}


@pytest.mark.hazard("HZ-01")
def test_two_birth_dates_are_two_persons_unless_one_is_said_to_be_wrong():
    with pytest.raises(IdentityDiffers):
        merged(same_birth_date=False)
    both_wrong = WRONG_BSN.model_copy(update={"ground": MergeGround.WRONG_BSN_AND_BIRTH_DATE})
    assert merged(same_birth_date=False, command=both_wrong).ground == "wrong-bsn-and-birth-date"


@pytest.mark.invariant("INV-5")
@pytest.mark.parametrize(
    ("circumstances", "refusal"),
    [
        (given(Role.EHR), NotAllowed),
        (given(Role.TMS_TECHNICIAN), NotAllowed),
        (given(Role.AUDITOR), NotAllowed),
        (NURSE, ReasonNeeded),
    ],
)
def test_a_registered_person_says_so_with_a_reason(circumstances, refusal):
    with pytest.raises(refusal):
        merged(circumstances=circumstances)


# --- what the one file means for the other


def at(circumstances, hours):
    moment = NOW + timedelta(hours=hours)
    return type(circumstances)(circumstances.by, circumstances.registration, moment, circumstances.today, "sealed")


PHYSICIAN = given(Role.PHYSICIAN, Profession.ARTS)
PROFESSIONAL = given(Role.TMS_PROFESSIONAL, Profession.GZ_PSYCHOLOOG)


def case(file, hour, *yes, consented=True):
    """A case of a file, screened at this hour; decided and consented where the screen allows it."""
    story = Story()
    story.tell(referral(case_id=f"case-{file}-{hour}", patient_id=file), with_reason(given(Role.EHR)))
    story.tell(screen(*yes), at(NURSE, hour))
    if consented:
        story.tell(decided(), at(PROFESSIONAL, hour))
        story.tell(GiveConsent(form_version="1", given_by="patient"), at(NURSE, hour))
    return story


def ends(*stories):
    return {
        case_id: [type(event) for event in events]
        for case_id, events in endings({story.case.referral.case_id: story.case for story in stories}).items()
    }


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
def test_a_withdrawal_ends_the_older_consent_in_the_other_file_and_not_a_younger_one():
    one, other = case("old", 0), case("new", 1)
    one.tell(WithdrawConsent(), at(NURSE, 2))
    (event,) = endings({"one": one.case, "other": other.case})["other"]
    assert isinstance(event, ConsentWithdrawn)
    assert (event.patient_id, event.case_id) == ("new", "case-new-1")
    assert event.withdrawn_at == NOW + timedelta(hours=2)
    assert ends(one, case("new", 3)) == {}
    one.tell(GiveConsent(form_version="1", given_by="patient"), at(NURSE, 4))
    assert ends(one, other) == {}


@pytest.mark.hazard("HZ-20")
@pytest.mark.requirement("IN-05")
def test_an_exclusion_in_a_younger_screen_of_the_other_file_ends_the_indication():
    excluded = case("new", 2, "epilepsy", consented=False)
    (event,) = endings({"one": case("old", 1).case, "two": excluded.case})["one"]
    assert isinstance(event, IndicationDecided)
    assert (event.decision, event.patient_id) == ("not-indicated", "old")
    assert "epilepsy" in event.rules[0].explanation
    assert ends(case("old", 3), excluded) == {}
    assert ends(case("old", 1), excluded, case("new", 4, consented=False)) == {}


@pytest.mark.hazard("HZ-20")
def test_an_item_that_was_judged_not_acceptable_in_the_other_file_ends_it_too():
    judged = case("new", 2, "medication", consented=False)
    assert ends(case("old", 1), judged) == {}
    judged.tell(judgement("medication", acceptable=False), with_reason(PHYSICIAN))
    assert ends(case("old", 1), judged) == {"case-old-1": [IndicationDecided]}


def test_a_double_referral_that_is_closed_as_not_indicated_ends_nothing_in_the_other_file():
    double = case("new", 2, consented=False)
    double.tell(decided("not-indicated"), at(PROFESSIONAL, 3))
    assert ends(case("old", 1), double) == {}


def test_cases_of_one_file_end_nothing_in_each_other():
    one = case("old", 0)
    one.tell(WithdrawConsent(), at(NURSE, 2))
    assert ends(one, case("old", 1), case("old", 3, "epilepsy", consented=False)) == {}
