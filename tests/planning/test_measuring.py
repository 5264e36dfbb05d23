"""Head measures, measurement orders and the motor threshold."""

from datetime import UTC, date, datetime

import pytest
from tests.planning.story import NOW, RULES, SUPERVISOR, Story, answered, deliver, later

from spoel_planning.commands import EstimateThreshold
from spoel_planning.domain import measuring
from spoel_planning.domain.known import SeenSession
from spoel_planning.domain.refusals.knowing import IndicationNotDecided, NotIndicated
from spoel_planning.domain.refusals.measuring import (
    BeyondDevice,
    DeviceUnknown,
    MeasurementOrderAlreadySigned,
    MeasurementOrderNotSigned,
    MeasurementOrderOtherDay,
    MeasurementOrderOutOfBounds,
    MeasurementOrderUnknown,
    MuscleOfOtherSide,
    SessionOfAnotherCase,
    SessionUnknownHere,
    ThresholdAlreadyTaken,
    ThresholdNotFinished,
    ThresholdNotFound,
)
from spoel_planning.domain.staircase import Next


@pytest.mark.requirement("PL-01")
def test_measuring_again_replaces_measures_and_targets(measured):
    measured.measure_head(circumference_cm=58.0)
    assert measured.plan.head.circumference_cm == 58.0
    assert measured.plan.targets["left-dlpfc"].x_cm == pytest.approx(6.7, abs=0.01)
    assert set(measured.plan.targets) == {"left-dlpfc", "right-dlpfc"}


@pytest.mark.requirement("ST-02")
def test_an_order_that_says_nothing_gets_the_clinics_limits(story):
    (order,) = story.order()
    assert (order.ceiling_percent_mso, order.max_stimuli, order.min_interval_s) == (90, 75, 5.0)
    assert order.valid_on == date(2026, 11, 22)
    assert order.drafted_by == "pro"


@pytest.mark.requirement("PL-10")
def test_an_order_is_signed_as_it_was_drafted(story):
    story.order(ceiling_percent_mso=80)
    (signed,) = story.sign_order()
    assert signed.order.ceiling_percent_mso == 80
    assert (signed.signed_by, signed.big_number, signed.self_signed) == ("sup", SUPERVISOR.big_number, False)


@pytest.mark.requirement("PL-10")
def test_signing_ones_own_order_is_marked(story):
    story.by(SUPERVISOR).order()
    (signed,) = story.sign_order(by=SUPERVISOR)
    assert signed.self_signed is True


def test_an_order_is_signed_once(story):
    story.order()
    story.sign_order()
    with pytest.raises(MeasurementOrderAlreadySigned):
        story.sign_order()


def test_an_unknown_order_is_refused(story):
    with pytest.raises(MeasurementOrderUnknown):
        story.sign_order("order-9")


@pytest.mark.requirement("ST-02")
def test_an_order_is_not_signed_after_its_day(story):
    story.order()
    story.at(later(days=1))
    with pytest.raises(MeasurementOrderOtherDay, match="2026-11-22"):
        story.sign_order()


@pytest.mark.hazard("HZ-22")
def test_the_day_is_the_local_one(story):
    story.at(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    (order,) = story.order()
    assert order.valid_on == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ceiling_percent_mso": 29}, "ceiling_percent_mso"),
        ({"ceiling_percent_mso": 101}, "ceiling_percent_mso"),
        ({"max_stimuli": 0}, "max_stimuli"),
        ({"max_stimuli": 20}, "max_stimuli"),
        ({"max_stimuli": 121}, "max_stimuli"),
        ({"min_interval_s": 2.9}, "min_interval_s"),
        ({"valid_on": "2026-11-21"}, "valid_on"),
        ({"valid_on": "2026-12-07"}, "valid_on"),
    ],
)
def test_an_order_outside_the_clinics_bounds_is_refused_by_name(story, changes, field):
    with pytest.raises(MeasurementOrderOutOfBounds) as refusal:
        story.order(**changes)
    assert refusal.value.facts["field"] == field


@pytest.mark.hazard("HZ-04")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"stimulator_model": "Zapper 3"}, DeviceUnknown),
        ({"coil_model": "C-B99"}, DeviceUnknown),
        ({"site": "right-motor-cortex"}, MuscleOfOtherSide),
        ({"muscle": "left-fdi"}, MuscleOfOtherSide),
    ],
)
def test_an_order_names_a_known_device_and_a_muscle_of_its_side(story, changes, refusal):
    with pytest.raises(refusal):
        story.order(**changes)


def test_a_waveform_that_the_device_lacks_is_refused(story):
    device = RULES.devices[0].model_copy(update={"waveforms": ("monophasic",)})
    rules = RULES.model_copy(update={"devices": (device,)})
    story.order()
    with pytest.raises(BeyondDevice, match="biphasic"):
        measuring.check_device(story.plan.measurement_orders["order-1"].order, rules.devices, 50)


@pytest.mark.parametrize(("decision", "refusal"), [(None, IndicationNotDecided), ("not-indicated", NotIndicated)])
def test_nothing_is_ordered_or_signed_without_an_indication(story, decision, refusal):
    story.order()
    story.known(decision=decision)
    with pytest.raises(refusal):
        story.order("order-2")
    with pytest.raises(refusal):
        story.sign_order()


def booked_measurement(story: Story) -> Story:
    story.order(max_stimuli=40)
    story.sign_order()
    story.book("measured-1", kind="measurement", measurement_order_id="order-1")
    return story


def session(stimuli, **changes) -> SeenSession:
    facts = {"session_id": "measured-1", "case_id": "case-1", "measurement_order_id": "order-1", **changes}
    return SeenSession(stimuli=tuple(stimuli), **facts)


def take(story: Story, seen: SeenSession | None, session_id: str = "measured-1"):
    command = EstimateThreshold(session_id=session_id)
    return story.tell(measuring.estimate_threshold(story.plan, story.on, command, seen, RULES.threshold, "threshold-1"))


@pytest.mark.requirement("PL-03")
def test_the_threshold_keeps_every_stimulus_behind_it(story):
    stimuli = deliver(50)
    stimuli.insert(2, answered(stimuli[2].percent_mso, "repeat"))
    (estimated,) = take(booked_measurement(story), session(stimuli))
    assert estimated.threshold_percent_mso in {49, 50}
    assert [each.model_dump() for each in estimated.stimuli] == [
        each.model_dump(exclude={"answered_at"}) for each in stimuli
    ]
    assert estimated.estimated_at == NOW
    assert (estimated.order_id, estimated.session_id) == ("order-1", "measured-1")


@pytest.mark.hazard("HZ-06")
def test_the_age_of_a_threshold_counts_from_its_last_stimulus_not_from_when_it_was_taken(story):
    booked_measurement(story).at(later(days=10))
    (estimated,) = take(story, session(deliver(50, at=NOW)))
    assert estimated.estimated_at == NOW


@pytest.mark.requirement("PL-03")
@pytest.mark.hazard("HZ-04")
def test_the_threshold_holds_for_the_combination_of_its_order(story):
    (estimated,) = take(booked_measurement(story), session(deliver(50)))
    order = story.plan.measurement_orders["order-1"].order
    for name in ("stimulator_model", "coil_model", "waveform", "current_direction", "muscle", "site"):
        assert getattr(estimated, name) == getattr(order, name)


@pytest.mark.hazard("HZ-06")
def test_the_margin_of_the_visible_method_stands_beside_the_threshold(story):
    (estimated,) = take(booked_measurement(story), session(deliver(50)))
    assert "11.3 %" in estimated.margin_note


def test_an_unfinished_search_is_refused_and_says_what_is_wanted(story):
    with pytest.raises(ThresholdNotFinished) as refusal:
        take(booked_measurement(story), session(deliver(50)[:5]))
    assert refusal.value.facts == {"next_percent_mso": 46, "stimuli_seen": 5}


def test_a_session_of_which_nothing_arrived_is_unfinished(story):
    with pytest.raises(ThresholdNotFinished, match="may still arrive"):
        take(booked_measurement(story), None)


@pytest.mark.parametrize(
    ("stimuli", "reason"),
    [
        (deliver(95), "no-response-at-ceiling"),
        (deliver(5), "response-at-lowest"),
        ([answered(30, "repeat")] * 40, "too-many-stimuli"),
    ],
)
def test_a_search_that_ends_without_a_threshold_is_refused_with_its_reason(story, stimuli, reason):
    with pytest.raises(ThresholdNotFound) as refusal:
        take(booked_measurement(story), session(stimuli))
    assert refusal.value.facts["reason"] == reason
    assert not story.plan.thresholds


@pytest.mark.requirement("ST-02")
def test_stimuli_of_other_sessions_under_the_order_count_against_its_most(story):
    with pytest.raises(ThresholdNotFound):
        take(booked_measurement(story), session(deliver(50)[:10], stimuli_elsewhere=30))


@pytest.mark.hazard("HZ-01")
def test_a_session_of_another_case_gives_no_threshold(story):
    with pytest.raises(SessionOfAnotherCase):
        take(booked_measurement(story), session(deliver(50), case_id="case-2"))


def test_a_session_under_another_order_gives_no_threshold(story):
    with pytest.raises(SessionOfAnotherCase, match="order-7"):
        take(booked_measurement(story), session(deliver(50), measurement_order_id="order-7"))


def test_a_session_that_was_not_booked_gives_no_threshold(story):
    with pytest.raises(SessionUnknownHere):
        take(booked_measurement(story), session(deliver(50), session_id="measured-9"), "measured-9")


def test_a_treatment_gives_no_threshold(signed):
    signed.book("treated-1", kind="treatment", prescription_id="prescription-1")
    with pytest.raises(SessionUnknownHere):
        take(signed, None, "treated-1")


def test_a_threshold_is_taken_once(with_threshold):
    with pytest.raises(ThresholdAlreadyTaken):
        take(with_threshold, session(deliver(50)))


def test_an_unsigned_order_wants_no_stimulus(story):
    booked_measurement(story)
    unsigned = story.plan.measurement_orders["order-1"].model_copy(update={"signed_by": None})
    plan = story.plan.model_copy(update={"measurement_orders": {"order-1": unsigned}})
    with pytest.raises(MeasurementOrderNotSigned):
        measuring.threshold_step(plan, "case-1", None, "measured-1", RULES.threshold)


def test_the_first_wanted_stimulus_is_the_weak_start(story):
    booked_measurement(story)
    assert measuring.threshold_step(story.plan, "case-1", None, "measured-1", RULES.threshold) == Next(30)
