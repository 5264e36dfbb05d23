from datetime import date, timedelta

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.intake.service import patient_body, referral_body
from tests.intake.story import TODAY

from spoel_intake.commands import PatientIdentity, ReferralRequest
from spoel_intake.domain import patient as patients
from spoel_intake.domain.patient import Identity, Patient, check_birth_date
from spoel_intake.domain.refusals import IdentityDiffers, ImpossibleValue


def identity(**changes):
    facts = {"bsn": "111222333", "given_name": "Sanne", "family_name": "Jansen", "birth_date": "1980-02-29"}
    return PatientIdentity.model_validate({**facts, **changes})


def test_a_patient_is_registered_once():
    (event,) = patients.register(Patient(), "patient-1", "a2V5")
    registered = patients.evolve(Patient(), event)
    assert registered == Patient(patient_id="patient-1", public_key="a2V5")
    assert patients.register(registered, "patient-1", "b3RoZXI=") == []


@pytest.mark.parametrize("birth_date", [TODAY + timedelta(days=1), date(1905, 11, 22), date.min, date.max])
def test_an_impossible_birth_date_is_refused_and_not_repeated(birth_date):
    with pytest.raises(ImpossibleValue) as refusal:
        check_birth_date(birth_date, TODAY)
    assert birth_date.isoformat() not in refusal.value.detail


@for_all(st.dates(date(1905, 11, 23), TODAY))
def test_a_possible_birth_date_is_taken(birth_date):
    check_birth_date(birth_date, TODAY)


@pytest.mark.requirement("IN-15")
def test_the_same_bsn_with_another_birth_date_is_somebody_else():
    known = Identity.check(identity(), TODAY)
    known.check_same(Identity.check(identity(family_name="de Vries-Jansen"), TODAY))
    with pytest.raises(IdentityDiffers) as refusal:
        known.check_same(Identity.check(identity(birth_date="1980-03-01"), TODAY))
    assert "1980" not in refusal.value.detail


@pytest.mark.invariant("INV-6")
def test_an_identity_does_not_show_itself_in_a_log():
    shown = repr(identity()) + repr(Identity.check(identity(), TODAY)) + str(identity())
    for personal in ("111222333", "Sanne", "Jansen", "1980"):
        assert personal not in shown


@pytest.mark.invariant("INV-6")
def test_what_does_not_fit_is_not_repeated_by_the_error():
    for model, body in ((Identity, patient_body(shoe=43)), (ReferralRequest, referral_body(question=["Zuurkool"]))):
        with pytest.raises(ValidationError) as refusal:
            model.model_validate(body)
        for personal in ("Zuurkool", *patient_body().values()):
            assert personal not in str(refusal.value)
