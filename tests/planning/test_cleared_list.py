"""Which cleared list holds at a site: the example, the clinic's own, or none."""

from importlib.resources import files

import pytest

from spoel_common.settings import CannotStart
from spoel_planning.app import site_rules
from spoel_planning.domain.rules import clinic_rules
from spoel_planning.settings import PlanningSettings

pytestmark = [pytest.mark.requirement("PL-07"), pytest.mark.hazard("HZ-13")]


def test_the_packaged_example_holds_where_nobody_is_treated():
    assert site_rules(PlanningSettings()).cleared == clinic_rules().cleared != ()


def test_the_packaged_example_clears_nothing_at_a_clinical_site():
    assert site_rules(PlanningSettings(clinical=True)).cleared == ()


def test_a_clinics_own_list_takes_the_place_of_the_example(tmp_path):
    packaged = files("spoel_planning").joinpath("data/cleared.toml").read_text(encoding="utf-8")
    first_row = "[[row]]" + packaged.split("[[row]]")[1].replace("example list, not signed by a clinic", "Dr. Vos")
    own = tmp_path / "cleared.toml"
    own.write_text(first_row, encoding="utf-8")
    rows = site_rules(PlanningSettings(clinical=True, cleared_list_file=own)).cleared
    assert [row.cleared_by for row in rows] == ["Dr. Vos"]


@pytest.mark.parametrize("text", ["[[row]]\nprotocol_id = 'x'", "not toml ["])
def test_a_list_that_cannot_be_read_stops_the_start(tmp_path, text):
    own = tmp_path / "cleared.toml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(CannotStart, match="SPOEL_CLEARED_LIST_FILE"):
        site_rules(PlanningSettings(cleared_list_file=own))


@pytest.mark.parametrize("number", ["inf", "nan"])
def test_a_row_without_a_limit_stops_the_start(tmp_path, number):
    packaged = files("spoel_planning").joinpath("data/cleared.toml").read_text(encoding="utf-8")
    own = tmp_path / "cleared.toml"
    own.write_text(packaged.replace("max_percent_rmt = 120.0", f"max_percent_rmt = {number}"), encoding="utf-8")
    with pytest.raises(CannotStart, match="finite"):
        site_rules(PlanningSettings(cleared_list_file=own))


def test_a_list_that_is_not_there_stops_the_start(tmp_path):
    with pytest.raises(CannotStart, match="SPOEL_CLEARED_LIST_FILE"):
        site_rules(PlanningSettings(cleared_list_file=tmp_path / "nothing.toml"))
