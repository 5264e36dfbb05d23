"""Who sits in the chair: what was said, compared with the identity strip, and side and protocol with the order."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.stimulation.story import (
    OPERATOR,
    SAID,
    STRIP,
    Story,
    facts,
    measurement_order,
)

from spoel_stimulation.domain import refusals, session
from spoel_stimulation.domain.identity import IdentityStrip, check_identity, check_site


@pytest.mark.requirement("ST-10")
@pytest.mark.hazard("HZ-01")
@pytest.mark.parametrize(
    "same",
    [
        {"given_name": "ZOË"},
        {"given_name": " zoe "},
        {"family_name": "VAN DEN BERG"},
        {"family_name": "vandenberg"},
        {"family_name": "Van-den\u00adBerg"},
        {"side_or_site": "left-dlpfc"},
    ],
)
def test_identity_is_compared_without_case_space_signs_and_diacritics(same):
    story = Story().opened()
    said = SAID.model_copy(update=same)
    (event,) = session.confirm_identity(story.state, said, OPERATOR, facts(), STRIP)
    assert "Zo" not in event.model_dump_json()


@pytest.mark.requirement("ST-10")
@pytest.mark.hazard("HZ-01")
@pytest.mark.parametrize(
    ("other", "fields"),
    [
        ({"given_name": "Zora"}, ["given_name"]),
        ({"family_name": "van den Bergh"}, ["family_name"]),
        ({"birth_date": date(1980, 2, 28)}, ["birth_date"]),
        ({"given_name": "Anna", "family_name": "de Vries"}, ["given_name", "family_name"]),
    ],
)
def test_anothers_identity_is_refused_without_telling_whose_it_is(other, fields):
    with pytest.raises(refusals.IdentityMismatch) as caught:
        session.confirm_identity(Story().opened().state, SAID.model_copy(update=other), OPERATOR, facts(), STRIP)
    assert caught.value.facts["fields"] == fields
    assert not any(text in caught.value.detail for text in ("Zo", "Berg", "1980"))


@pytest.mark.requirement("ST-10")
@pytest.mark.hazard("HZ-01")
@pytest.mark.parametrize("nothing", ["", " ", "\u0301", "\u200b", "-"])
@pytest.mark.parametrize("said", [" ", "\u0308", "."])
def test_a_name_of_which_nothing_is_left_to_compare_is_nobodys(nothing, said):
    strip = STRIP.model_copy(update={"given_name": nothing})
    with pytest.raises(refusals.IdentityMismatch) as caught:
        check_identity(SAID.model_copy(update={"given_name": said}), strip)
    assert caught.value.facts["fields"] == ["given_name"]


@pytest.mark.parametrize(("said", "booked"), [("Yildiz", "Yıldız"), ("d'Hondt", "D’Hondt"), ("Oztürk", "ÖZTÜRK")])  # noqa: RUF001 - as in a passport
def test_names_are_one_however_they_are_typed(said, booked):
    check_identity(SAID.model_copy(update={"family_name": said}), STRIP.model_copy(update={"family_name": booked}))


@pytest.mark.hazard("HZ-03")
@pytest.mark.parametrize("other", [{"side_or_site": "right"}, {"side_or_site": "right-dlpfc"}, {"protocol_id": "itbs"}])
def test_another_side_or_protocol_is_refused(other):
    with pytest.raises(refusals.SiteMismatch):
        session.confirm_identity(Story().opened().state, SAID.model_copy(update=other), OPERATOR, facts(), STRIP)
    with pytest.raises(refusals.SiteMismatch):
        check_site(SAID, measurement_order())


NAMES = st.text(st.characters(categories=["L", "Zs", "Pd"]), min_size=1, max_size=20).filter(
    lambda name: any(sign.isalpha() for sign in name)
)


@given(NAMES, NAMES)
def test_a_name_equals_itself_and_no_other_birth_date_does(given_name, family_name):
    strip = IdentityStrip(given_name=given_name, family_name=family_name, birth_date=date(1990, 1, 2))
    said = SAID.model_copy(update={"given_name": given_name, "family_name": family_name})
    check_identity(said.model_copy(update={"birth_date": date(1990, 1, 2)}), strip)
    with pytest.raises(refusals.IdentityMismatch):
        check_identity(said.model_copy(update={"birth_date": date(1990, 2, 1)}), strip)
