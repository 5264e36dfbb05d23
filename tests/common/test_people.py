"""Who may do what (INV-5): role, BIG number, registration, profession; and the table itself."""

from datetime import date

import pytest

from spoel_common.errors import (
    BigNumberInvalid,
    NotAllowed,
    ProfessionNotAllowed,
    RegistrationNotVerified,
    SpoelError,
    VersionConflict,
    all_problems,
)
from spoel_common.people import Actor, Profession, Registration, Role, acts, check_act, check_role

pytestmark = pytest.mark.invariant("INV-5")

BIG = "19012345601"
TODAY = date(2026, 11, 22)


def person(*roles: Role, big_number: str | None = BIG) -> Actor:
    return Actor(person_id="p-1", roles=frozenset(roles), big_number=big_number)


def registration(**changes: object) -> Registration:
    attributes = {
        "person_id": "p-1",
        "big_number": BIG,
        "profession": Profession.PSYCHIATER,
        "verified_on": date(2026, 1, 1),
        "evidence": "bigregister.nl print-out 2026-01-01",
    }
    return Registration.model_validate(attributes | changes)


def registered_act() -> str:
    """Return an act that asks for a registered psychiatrist in the role of supervisor."""
    return next(
        name
        for name, act in acts().items()
        if Role.SUPERVISOR in act.roles
        and Profession.PSYCHIATER in act.professions
        and Profession.VERPLEEGKUNDIGE not in act.professions
    )


def test_who_fulfils_every_condition_may():
    check_act(registered_act(), person(Role.SUPERVISOR), registration(), TODAY)
    check_act(registered_act(), person(Role.SUPERVISOR), registration(valid_until=TODAY), TODAY)


def test_another_role_may_not_whoever_is_registered():
    with pytest.raises(NotAllowed, match="asks for one of the roles"):
        check_act(registered_act(), person(Role.AUDITOR), registration(), TODAY)
    with pytest.raises(NotAllowed):
        check_role(registered_act(), person())


@pytest.mark.parametrize("number", [None, "", "1234567890", "123456789012", "1901234560x", "\uff11" * 11])
def test_a_big_number_has_eleven_digits(number):
    with pytest.raises(BigNumberInvalid):
        check_act(registered_act(), person(Role.SUPERVISOR, big_number=number), registration(), TODAY)


@pytest.mark.parametrize(
    "record", [None, registration(big_number="99999999999"), registration(valid_until=date(2026, 11, 21))]
)
def test_a_registration_must_be_known_the_persons_own_and_current(record):
    with pytest.raises(RegistrationNotVerified):
        check_act(registered_act(), person(Role.SUPERVISOR), record, TODAY)


def test_the_registered_profession_must_be_one_that_may():
    nurse = registration(profession=Profession.VERPLEEGKUNDIGE)
    with pytest.raises(ProfessionNotAllowed, match="verpleegkundige"):
        check_act(registered_act(), person(Role.SUPERVISOR), nurse, TODAY)


def test_an_act_that_asks_for_no_registration_needs_the_role_only():
    name, act = next((name, act) for name, act in acts().items() if not act.professions)
    check_act(name, person(next(iter(act.roles)), big_number=None), None, TODAY)


def test_an_unknown_act_is_a_fault_of_the_caller():
    with pytest.raises(KeyError):
        check_role("juggle", person(*Role))


def test_every_act_can_be_done_by_somebody_and_an_auditor_changes_nothing():
    assert acts()
    for name, act in acts().items():
        assert act.roles, name
    assert {name for name, act in acts().items() if Role.AUDITOR in act.roles} <= {
        name for name in acts() if "read" in name or "audit" in name or "export" in name or "view" in name
    }


def test_every_kind_of_problem_has_a_name_and_a_title_of_its_own():
    kinds = [kind for kind in all_problems() if kind.__module__.startswith("spoel_common.")]
    assert len({kind.slug for kind in kinds}) == len(kinds)
    assert VersionConflict("x").problem_type == "urn:spoel:problem:version-conflict"
    assert SpoelError("what is wrong", case="c").facts == {"case": "c"}
