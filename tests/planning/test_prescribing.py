"""Prescriptions: dose, grade, override, versions and signatures."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.story import NOW, PROFESSIONAL, RULES, SUPERVISOR, Story, later, prescribe

from spoel_common.errors import BigNumberInvalid
from spoel_common.people import Role
from spoel_planning.commands import WithdrawPrescription
from spoel_planning.domain import prescribing
from spoel_planning.domain.catalogue import find_protocol
from spoel_planning.domain.dose import grade_order, treatment_order
from spoel_planning.domain.refusals.knowing import IndicationNotDecided, NotIndicated
from spoel_planning.domain.refusals.measuring import (
    BeyondDevice,
    TargetMissing,
    ThresholdMissing,
    ThresholdOfOtherSide,
    ThresholdOutdated,
)
from spoel_planning.domain.refusals.prescribing import (
    AboveHighestFrequency,
    AboveHighestPercent,
    BandImpossible,
    LimitsExceeded,
    OutsideProtocol,
    PatternImpossible,
    PatternNotCleared,
    PauseTooShort,
    PrescriptionAlreadyOpen,
    PrescriptionAlreadySigned,
    PrescriptionIsWithdrawn,
    PrescriptionSuperseded,
    PrescriptionUnknown,
    ProtocolNotForIndication,
    ProtocolUnknown,
)
from spoel_planning.events.orders import RampUp

HF, ITBS, LF = "hf-left-dlpfc-10hz-standard", "itbs-600-left-dlpfc", "lf-right-dlpfc-1hz"
TEN_HZ = {
    "pulses_per_burst": 1,
    "bursts_per_train": 40,
    "burst_interval_s": 0.1,
    "trains": 75,
    "train_interval_s": 30.0,
}
THETA = {
    "pulses_per_burst": 3,
    "pulse_interval_s": 0.02,
    "bursts_per_train": 10,
    "burst_interval_s": 0.2,
    "trains": 20,
    "train_interval_s": 10.0,
}


def threshold_of(percent_mso: int):
    story = Story()
    story.find_threshold(50)
    return story.plan.thresholds[-1].model_copy(update={"threshold_percent_mso": percent_mso})


THRESHOLD = threshold_of(50)


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(("protocol_id", "grade"), [(HF, "beyond-stricter-table"), (ITBS, "not-covered")])
def test_a_protocol_of_the_catalogue_is_graded_and_cleared(with_threshold, protocol_id, grade):
    (drafted,) = with_threshold.draft(protocol_id)
    assert drafted.grade == grade
    assert drafted.override is None
    assert {each.limit for each in drafted.findings} >= {"clinic-cleared-list", "threshold-method-margin"}
    assert drafted.drafted_by == PROFESSIONAL.person_id


@pytest.mark.requirement("PL-04")
def test_low_frequency_right_needs_and_takes_a_threshold_of_the_right_side(with_threshold):
    with pytest.raises(ThresholdOfOtherSide, match="right-motor-cortex"):
        with_threshold.draft(LF)
    with_threshold.find_threshold(52, number=2, site="right-motor-cortex", muscle="left-apb")
    (drafted,) = with_threshold.draft(LF)
    assert (drafted.order.site, drafted.order.threshold_id) == ("right-dlpfc", "threshold-2")
    assert drafted.grade == "beyond-stricter-table"


@pytest.mark.hazard("HZ-05")
def test_the_order_sets_whole_percents_rounded_down(with_threshold):
    (drafted,) = with_threshold.draft()
    order = drafted.order
    threshold = with_threshold.plan.thresholds[-1].threshold_percent_mso
    assert order.threshold_percent_mso == threshold
    assert order.percent_mso == threshold * 120 // 100
    assert order.floor_percent_mso == threshold * 80 // 100
    assert order.ceiling_percent_mso == order.percent_mso
    assert order.pulses == 3000


@pytest.mark.hazard("HZ-05")
@settings(deadline=None)
@given(
    st.integers(min_value=1, max_value=100),
    st.floats(min_value=1, max_value=130),
    st.floats(min_value=1, max_value=130),
)
def test_what_is_set_is_never_above_percent_times_threshold(percent_mso, one, other):
    low, high = sorted((one, other))
    command = prescribe(floor_percent_rmt=low, percent_rmt=high, ceiling_percent_rmt=high)
    try:
        order = treatment_order(find_protocol(RULES.protocols, HF), command, threshold_of_value(percent_mso), RULES)
    except BeyondDevice:
        assert high * percent_mso >= 101 * 100 - 1e-6
        return
    assert order.percent_mso <= high * percent_mso / 100 + 1e-9
    assert order.percent_mso > high * percent_mso / 100 - 1 - 1e-9
    assert order.floor_percent_mso <= order.percent_mso <= order.ceiling_percent_mso <= 100


@pytest.mark.hazard("HZ-05")
def test_a_dose_below_the_beginning_of_its_protocols_ramp_is_refused():
    ramp = RampUp(trains=3, from_percent_rmt=90.0)
    protocol = find_protocol(RULES.protocols, HF).model_copy(update={"ramp_up": ramp})
    weak, weakest = prescribe(HF, percent_rmt=89.0), prescribe(HF, percent_rmt=90.0)
    assert treatment_order(protocol, weakest, threshold_of_value(50), RULES).ramp_up == ramp
    with pytest.raises(BandImpossible, match="ramps up from 90"):
        treatment_order(protocol, weak, threshold_of_value(50), RULES)


def threshold_of_value(percent_mso: int):
    return THRESHOLD.model_copy(update={"threshold_percent_mso": percent_mso})


@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize("threshold", range(20, 84))
def test_rounding_down_keeps_the_standard_dose_in_its_column(threshold):
    protocol = find_protocol(RULES.protocols, HF)
    order = treatment_order(protocol, prescribe(HF), threshold_of_value(threshold), RULES)
    assert grade_order(order, protocol, RULES).grade == "beyond-stricter-table"


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
def test_the_grade_is_that_of_the_top_of_the_band(with_threshold):
    with pytest.raises(LimitsExceeded):
        with_threshold.draft(percent_rmt=100.0, ceiling_percent_rmt=130.0)


@pytest.mark.hazard("HZ-12")
@pytest.mark.requirement("PL-07")
@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"ceiling_percent_rmt": 131.0}, AboveHighestPercent),
        ({"percent_rmt": 140.0, "ceiling_percent_rmt": 140.0}, AboveHighestPercent),
        ({"percent_rmt": 125.0}, BandImpossible),
        ({"percent_rmt": 70.0}, BandImpossible),
        ({"pattern": {**TEN_HZ, "burst_interval_s": 0.03}}, AboveHighestFrequency),
        ({"pattern": {**TEN_HZ, "train_interval_s": 5.0}}, PauseTooShort),
        ({"pattern": {**TEN_HZ, "train_interval_s": 3.0}}, PatternImpossible),
        ({"pattern": {**TEN_HZ, "bursts_per_train": 50, "trains": 60}}, LimitsExceeded),
        ({"pattern": {**TEN_HZ, "train_interval_s": 11.0}}, LimitsExceeded),
        ({"pattern": {**TEN_HZ, "trains": 76}}, OutsideProtocol),
        ({"pattern": {**TEN_HZ, "burst_interval_s": 0.2}}, OutsideProtocol),
        ({"pattern": THETA}, OutsideProtocol),
        ({"pattern": {**THETA, "pulses_per_burst": 6}}, BeyondDevice),
        ({"pattern": {**THETA, "pulse_interval_s": 0.0004}}, BeyondDevice),
        ({"pattern": {**THETA, "burst_interval_s": 0.045, "pulse_interval_s": 0.01}}, BeyondDevice),
        ({"sessions": 61}, OutsideProtocol),
        ({"per_week": 6}, OutsideProtocol),
        ({"protocol_version": 7}, ProtocolUnknown),
        ({"threshold_id": "threshold-9"}, ThresholdMissing),
    ],
    ids=str,
)
def test_what_may_not_be_prescribed_is_refused_by_its_kind(with_threshold, fields, refusal):
    with pytest.raises(refusal):
        with_threshold.draft(**fields)


@pytest.mark.hazard("HZ-12")
def test_the_faulty_public_ten_hertz_protocol_is_refused(with_threshold):
    """A public library gives 30 trains of 100 pulses (10 s, limit 4.2 s) at 120 % as an approved protocol."""
    faulty = {**TEN_HZ, "bursts_per_train": 100, "trains": 30, "train_interval_s": 30.0}
    with pytest.raises(LimitsExceeded) as refusal:
        with_threshold.draft(pattern=faulty, percent_rmt=120.0)
    assert refusal.value.facts["grade"] == "beyond-limit"
    assert {each["limit"] for each in refusal.value.facts["findings"]} == {
        "train-duration",
        "train-duration-stricter",
    }


@pytest.mark.hazard("HZ-12")
@pytest.mark.hazard("HZ-13")
def test_the_faulty_public_theta_burst_is_refused(with_threshold):
    """The same library gives theta burst as 30 trains of 20 pulses over 9 minutes; bursts of 2 pulses, at 80 %."""
    faulty = {**THETA, "pulses_per_burst": 2, "trains": 30, "train_interval_s": 18.0}
    with pytest.raises(PatternNotCleared):
        with_threshold.draft(ITBS, pattern=faulty, percent_rmt=80.0)


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-13")
@pytest.mark.parametrize(
    "step_over", [{"trains": 21}, {"bursts_per_train": 11}, {"train_interval_s": 9.9}, {"pulse_interval_s": 0.018}]
)
def test_no_override_replaces_a_bursts_row_of_the_cleared_list(with_threshold, step_over):
    with pytest.raises((PatternNotCleared, OutsideProtocol)):
        with_threshold.by(SUPERVISOR).draft(
            ITBS, pattern={**THETA, **step_over}, override={"reason_code": "benefit-outweighs-risk"}
        )


@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize("train_length", [5.2, 8.2])
def test_a_weaker_copy_of_a_cleared_protocol_that_lasts_longer_is_not_cleared(with_threshold, train_length):
    longer = {**TEN_HZ, "bursts_per_train": round(train_length * 10), "trains": 30}
    with pytest.raises(LimitsExceeded):
        with_threshold.draft(pattern=longer, percent_rmt=100.0, ceiling_percent_rmt=100.0)


@pytest.mark.requirement("PL-07")
def test_an_override_is_recorded_with_who_and_why(with_threshold):
    longer = {**TEN_HZ, "bursts_per_train": 45, "trains": 60}
    (drafted,) = with_threshold.by(SUPERVISOR).draft(
        pattern=longer, override={"reason_code": "earlier-course-tolerated"}
    )
    assert drafted.grade == "beyond-limit"
    assert (drafted.override.by, drafted.override.reason_code) == ("sup", "earlier-course-tolerated")
    assert drafted.override.big_number == SUPERVISOR.big_number


def test_an_override_does_not_lift_what_nobody_may_prescribe(with_threshold):
    with pytest.raises(AboveHighestPercent):
        with_threshold.by(SUPERVISOR).draft(
            ceiling_percent_rmt=131.0, override={"reason_code": "benefit-outweighs-risk"}
        )


@pytest.mark.requirement("PL-07")
def test_a_dose_within_needs_neither_row_nor_override(with_threshold):
    short = {**TEN_HZ, "bursts_per_train": 30}
    (drafted,) = with_threshold.draft(pattern=short)
    assert (drafted.grade, drafted.override) == ("within", None)


@pytest.mark.hazard("HZ-12")
def test_more_than_the_device_has_is_refused(measured):
    measured.find_threshold(86)
    with pytest.raises(BeyondDevice, match="%MSO"):
        measured.draft()
    (drafted,) = measured.draft(percent_rmt=110.0, ceiling_percent_rmt=115.0)
    assert drafted.order.ceiling_percent_mso <= 100


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"decision": None}, IndicationNotDecided),
        ({"decision": "not-indicated"}, NotIndicated),
        ({"indication": "ocd"}, ProtocolNotForIndication),
        ({"indication": None}, ProtocolNotForIndication),
    ],
)
@pytest.mark.requirement("PL-05")
@pytest.mark.hazard("HZ-03")
def test_a_prescription_needs_an_indication_that_fits(with_threshold, changes, refusal):
    with pytest.raises(refusal):
        with_threshold.known(**changes).draft()


def test_a_prescription_needs_a_target(story):
    story.find_threshold()
    with pytest.raises(TargetMissing):
        story.draft()


def test_a_prescription_needs_a_threshold(measured):
    with pytest.raises(ThresholdMissing):
        measured.draft()


@pytest.mark.hazard("HZ-06")
def test_an_old_threshold_is_refused(with_threshold):
    with pytest.raises(ThresholdOutdated, match="14 days"):
        with_threshold.at(later(days=14, seconds=1)).draft()
    with_threshold.at(later(days=14)).draft()


@pytest.mark.hazard("HZ-03")
def test_the_low_frequency_side_does_not_get_the_high_frequency(with_threshold):
    """Site and rate are one row: what is graded mild at ten hertz is still not what the right side is for."""
    with_threshold.find_threshold(52, number=2, site="right-motor-cortex", muscle="left-apb")
    short = {**TEN_HZ, "bursts_per_train": 20, "trains": 50}
    with pytest.raises(OutsideProtocol, match="1 Hz"):
        with_threshold.by(SUPERVISOR).draft(LF, pattern=short, override={"reason_code": "benefit-outweighs-risk"})


@pytest.mark.hazard("HZ-14")
def test_no_override_makes_a_session_that_the_day_could_never_hold(with_threshold):
    more = {**TEN_HZ, "bursts_per_train": 30, "trains": 101}
    with pytest.raises(OutsideProtocol, match="3000"):
        with_threshold.by(SUPERVISOR).draft(pattern=more, override={"reason_code": "benefit-outweighs-risk"})


@pytest.mark.hazard("HZ-06")
def test_the_threshold_measured_last_counts_also_if_an_older_one_is_taken_after_it(measured):
    measured.find_threshold(55, number=1, measured_at=later(hours=2))
    measured.find_threshold(50, number=2, measured_at=later(hours=1))
    assert measured.draft()[0].order.threshold_id == "threshold-1"


@pytest.mark.hazard("HZ-06")
def test_a_threshold_that_was_measured_anew_is_refused(with_threshold):
    with_threshold.find_threshold(55, number=2)
    with pytest.raises(ThresholdOutdated, match="threshold-2"):
        with_threshold.draft(threshold_id="threshold-1")
    (drafted,) = with_threshold.draft()
    assert drafted.order.threshold_id == "threshold-2"


@pytest.mark.requirement("PL-10")
def test_a_signature_makes_the_course_and_says_by_whom(drafted):
    (signed,) = drafted.sign()
    assert (signed.version, signed.course_id, signed.signed_by) == (1, "course-1", "sup")
    assert signed.self_signed is False
    assert signed.order == drafted.plan.prescriptions["prescription-1"].current.order


@pytest.mark.requirement("PL-10")
def test_signing_ones_own_plan_is_marked(with_threshold):
    with_threshold.by(SUPERVISOR).draft()
    (signed,) = with_threshold.sign(by=SUPERVISOR)
    assert signed.self_signed is True


def test_nobody_signs_without_a_big_number(drafted):
    with pytest.raises(BigNumberInvalid):
        drafted.sign(by=SUPERVISOR.model_copy(update={"big_number": None, "roles": frozenset({Role.SUPERVISOR})}))


@pytest.mark.requirement("PL-10")
def test_a_change_is_a_new_version_that_supersedes(signed):
    signed.change(percent_rmt=110.0)
    with pytest.raises(PrescriptionSuperseded):
        signed.sign(1)
    (second,) = signed.sign(2, course_id="course-2")
    assert (second.version, second.course_id) == (2, "course-1")
    assert second.order.percent_rmt == 110.0


def test_a_version_is_signed_once(signed):
    with pytest.raises(PrescriptionAlreadySigned):
        signed.sign()


def test_a_version_that_does_not_exist_is_refused(drafted):
    with pytest.raises(PrescriptionUnknown):
        drafted.sign(2)


@pytest.mark.hazard("HZ-06")
def test_a_draft_on_a_threshold_measured_anew_is_not_signed(drafted):
    drafted.find_threshold(55, number=2)
    with pytest.raises(ThresholdOutdated):
        drafted.sign()


def test_a_case_that_is_no_longer_indicated_is_not_signed(drafted):
    with pytest.raises(NotIndicated):
        drafted.known(decision="not-indicated").sign()


def test_a_case_has_one_open_prescription(drafted):
    with pytest.raises(PrescriptionAlreadyOpen):
        drafted.draft(ITBS)


def test_a_withdrawn_prescription_allows_nothing_and_makes_room_for_another(signed):
    command = WithdrawPrescription(reason_code="side-effects")
    (withdrawn,) = signed.tell(prescribing.withdraw_prescription(signed.plan, signed.on, command, "prescription-1"))
    assert withdrawn.version == 1
    for act in (signed.change, signed.sign):
        with pytest.raises(PrescriptionIsWithdrawn, match="side-effects"):
            act()
    with pytest.raises(PrescriptionIsWithdrawn):
        prescribing.withdraw_prescription(signed.plan, signed.on, command, "prescription-1")
    command = prescribe(ITBS)
    prescribing.draft_prescription(signed.plan, signed.on, command, RULES, "prescription-2")


def test_an_unknown_prescription_is_refused(with_threshold):
    with pytest.raises(PrescriptionUnknown):
        with_threshold.change()


def test_the_story_is_told_at_a_fixed_moment(with_threshold):
    assert with_threshold.plan.thresholds[-1].estimated_at == NOW
