from datetime import timedelta

import pytest
from tests.intake.story import TODAY, given

from spoel_common.errors import NotAllowed
from spoel_common.people import Profession, Role
from spoel_intake.commands import EndOfRegistration, VerifyRegistration
from spoel_intake.domain import staff
from spoel_intake.domain.refusals import BigNumberForm, ImpossibleValue, RegistrationNotCurrent

SUPERVISOR = given(Role.SUPERVISOR)


def verification(**changes):
    facts = {
        "person_id": "anna",
        "name": "Anna de Wit",
        "big_number": "19012345601",
        "profession": "verpleegkundige",
        "verified_on": TODAY,
        "evidence": "bigregister.nl print-out 2026-11-22",
    }
    return VerifyRegistration.model_validate({**facts, **changes})


def after(*commands, member=None):
    member = member or staff.StaffMember()
    for command in commands:
        for event in staff.decide(member, command, SUPERVISOR):
            member = staff.evolve(member, event)
    return member


@pytest.mark.invariant("INV-5")
def test_a_verified_registration_supports_the_person():
    member = after(verification(valid_until=TODAY + timedelta(days=365)))
    assert member.registration.big_number == "19012345601"
    assert member.registration.profession is Profession.VERPLEEGKUNDIGE
    assert member.registration.valid_until == TODAY + timedelta(days=365)


def test_a_later_verification_replaces_the_earlier_one():
    member = after(verification(), verification(profession="arts", big_number="19012345602"))
    assert member.registration.profession is Profession.ARTS


def test_a_registration_that_ended_supports_nobody():
    assert after(verification(), EndOfRegistration(ended_on=TODAY, reason="struck-off")).registration is None


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SUPERVISOR])
def test_only_a_supervisor_keeps_the_register(role):
    with pytest.raises(NotAllowed):
        staff.decide(staff.StaffMember(), verification(), given(role))


@pytest.mark.parametrize("number", ["1901234560", "190123456011", "1901234560x", "", "١٩٠١٢٣٤٥٦٠١"])
def test_a_big_number_of_another_form_is_refused(number):
    with pytest.raises(BigNumberForm):
        after(verification(big_number=number))


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"verified_on": TODAY + timedelta(days=1)}, ImpossibleValue),
        ({"valid_until": TODAY - timedelta(days=1)}, RegistrationNotCurrent),
    ],
)
def test_impossible_dates_are_refused(changes, refusal):
    with pytest.raises(refusal):
        after(verification(**changes))


def test_an_end_needs_a_registration_and_a_day_that_has_come():
    with pytest.raises(RegistrationNotCurrent):
        after(EndOfRegistration(ended_on=TODAY, reason="left"))
    with pytest.raises(ImpossibleValue):
        after(verification(), EndOfRegistration(ended_on=TODAY + timedelta(days=1), reason="left"))
