"""The catalogue and the cleared list: rows clear what they say, and nothing one step beside it."""

import pytest
from tests.planning.story import RULES

from spoel_planning.domain.catalogue import Dose, cleared_row, find_protocol, protocol_doses
from spoel_planning.domain.pattern import check_possible, pulses_per_session
from spoel_planning.domain.refusals.prescribing import ProtocolUnknown

HF, ITBS, LF = "hf-left-dlpfc-10hz-standard", "itbs-600-left-dlpfc", "lf-right-dlpfc-1hz"
BILATERAL = "bilateral-1hz-right-10hz-left"


def numbers_of(value: object, path: str = "") -> list[str]:
    """The paths of all numbers in a protocol."""
    if isinstance(value, list | tuple):
        return [found for each in value for found in numbers_of(each, path)]
    if isinstance(value, dict):
        return [found for name, each in value.items() for found in numbers_of(each, f"{path}.{name}".lstrip("."))]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize("protocol", RULES.protocols, ids=lambda each: each.id)
def test_every_number_of_a_protocol_names_its_source(protocol):
    sourced = {field for evidence in protocol.evidence for field in evidence.fields}
    numbers = set(numbers_of(protocol.model_dump())) - {"version"}
    assert {each for each in numbers if each not in sourced and each.split(".")[0] not in sourced} == set()


def dose_of(protocol_id: str) -> Dose:
    (dose,) = protocol_doses(find_protocol(RULES.protocols, protocol_id))
    return dose


@pytest.mark.requirement("PL-04")
def test_the_catalogue_holds_its_protocols_with_their_sources():
    assert {each.id for each in RULES.protocols} == {HF, ITBS, LF, BILATERAL}
    for protocol in RULES.protocols:
        blocks = (protocol, *protocol.further_block)
        assert sum(pulses_per_session(block.pattern) for block in blocks) == protocol.pulses_per_session
        for block in blocks:
            check_possible(block.pattern)
            assert block.floor_percent_rmt <= block.percent_rmt <= block.ceiling_percent_rmt
        assert protocol.source
        assert protocol.verified is all(each.verified for each in protocol.evidence)


@pytest.mark.parametrize(("protocol_id", "site"), [(HF, "left-dlpfc"), (ITBS, "left-dlpfc"), (LF, "right-dlpfc")])
@pytest.mark.hazard("HZ-03")
def test_protocol_and_side_are_one_row(protocol_id, site):
    assert find_protocol(RULES.protocols, protocol_id).site == site


def test_the_newest_version_is_found_unless_one_is_named():
    old = find_protocol(RULES.protocols, HF)
    new = old.model_copy(update={"version": 2})
    assert find_protocol([new, old], HF) == new
    assert find_protocol([new, old], HF, 1) == old


@pytest.mark.parametrize(("protocol_id", "version"), [("snt", None), (HF, 9)])
def test_an_unknown_protocol_is_refused_with_what_there_is(protocol_id, version):
    with pytest.raises(ProtocolUnknown, match=HF):
        find_protocol(RULES.protocols, protocol_id, version)


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize("protocol_id", [HF, ITBS, LF, BILATERAL])
def test_each_protocol_is_cleared_as_its_file_has_it(protocol_id):
    for dose in protocol_doses(find_protocol(RULES.protocols, protocol_id)):
        row = cleared_row(dose, RULES.cleared)
        assert row is not None
        assert row.verified is False


ONE_STEP_OVER = [
    {"pattern": {"pulses_per_burst": 4}},
    {"pattern": {"pulses_per_burst": 2}},
    {"pattern": {"pulse_interval_s": 0.021}},
    {"pattern": {"pulse_interval_s": 0.019}},
    {"pattern": {"bursts_per_train": 11}},
    {"pattern": {"bursts_per_train": 9}},
    {"pattern": {"burst_interval_s": 0.19}},
    {"pattern": {"burst_interval_s": 0.21}},
    {"pattern": {"trains": 21}},
    {"pattern": {"train_interval_s": 9.9}},
    {"percent_rmt": 120.1},
    {"site": "right-dlpfc"},
    {"protocol": {"version": 2}},
    {"protocol": {"id": "itbs-1200-left-dlpfc"}},
    {"protocol": {"max_pulses_per_day": 601}},
    {"protocol": {"min_pause_between_sessions_s": 14_399}},
]


@pytest.mark.hazard("HZ-13")
@pytest.mark.parametrize("change", ONE_STEP_OVER, ids=str)
def test_theta_burst_one_step_over_its_row_is_not_cleared(change):
    dose = dose_of(ITBS)
    changed = {
        name: getattr(dose, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in change.items()
    }
    assert cleared_row(dose._replace(**changed), RULES.cleared) is None


@pytest.mark.parametrize(
    "change", [{"pattern": {"trains": 19}}, {"pattern": {"train_interval_s": 11.0}}, {"percent_rmt": 80.0}], ids=str
)
def test_less_than_the_row_is_cleared(change):
    dose = dose_of(ITBS)
    changed = {
        name: getattr(dose, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in change.items()
    }
    assert cleared_row(dose._replace(**changed), RULES.cleared) is not None
