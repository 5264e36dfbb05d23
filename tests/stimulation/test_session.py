"""A session: its trains, its parameters, its measurement, its end."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stimulation.acts import ASKED_OF_PEOPLE, ask
from tests.stimulation.story import (
    CLINICIAN,
    NOW,
    OPERATOR,
    PATTERN_1HZ,
    PATTERN_ITBS,
    SUPERVISOR,
    Story,
    booking,
    device,
    facts,
    measurement_order,
    told,
    treatment_order,
)

from spoel_common.errors import NotAllowed, SpoelError
from spoel_common.units import set_percent_mso
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conduct, refusals, session
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import device_pattern, next_train, train_interval_s
from spoel_stimulation.events.sessions import SessionClosed
from spoel_stimulation.events.trains import TrainAuthorised, TrainOutcomeUnknown

# --- trains


@pytest.mark.requirement("ST-06")
def test_trains_follow_one_another_at_the_signed_interval():
    story = Story().running().train()
    pattern = device_pattern(story.state.order, 10.0)
    due = next_train(story.state, pattern)
    assert (due.index, due.pulses, due.percent_mso) == (1, 40, 60)
    assert due.due_at == NOW + timedelta(seconds=30)
    early = story.armed_facts(now=NOW + timedelta(seconds=29, microseconds=999_999))
    with pytest.raises(refusals.TransitionNotAllowed):
        story.authorise("t", early)


def test_slow_trains_go_in_blocks_of_ten_without_a_moved_onset():
    order = treatment_order(PATTERN_1HZ)
    state = Story(order=order).running().state
    pattern = device_pattern(order, 10.0)
    assert (pattern.trains, pattern.pulses_per_train, train_interval_s(state, pattern)) == (3, 10, 10.0)


@pytest.mark.invariant("INV-7")
def test_an_interrupted_train_is_neither_repeated_nor_completed():
    story = Story().running().train("a", "partial", 13).train("b", "none", 0).train("c")
    assert [train.index for train in story.state.trains] == [0, 1, 2]
    assert next_train(story.state, device_pattern(story.state.order, 10.0)).index == 3
    assert (story.state.pulses_delivered, story.state.trains_delivered) == (53, 2)


def test_no_train_is_authorised_while_one_is_open():
    story = Story().running()
    story.then(story.authorise("a"))
    with pytest.raises(refusals.TrainUnderWay):
        story.authorise("a", story.armed_facts(now=NOW + timedelta(seconds=60)))


def test_no_train_is_authorised_without_the_devices_counter():
    story = Story().running()
    around = story.armed_facts(device=device(enabled=True, total_pulses=None))
    with pytest.raises(refusals.DeviceNotReady):
        story.authorise("a", around)


def closing(events):
    return next(event for event in events if isinstance(event, SessionClosed))


@pytest.mark.requirement("ST-12")
def test_a_session_with_all_pulses_is_closed_as_completed():
    order = treatment_order(PATTERN_1HZ)
    story = Story(order=order).running()
    for train_id in "abc":
        story.train(train_id)
    closed = closing(conduct.close(story.state, asked.Close(reason="last-train-ended")))
    assert (closed.outcome, closed.pulses_planned, closed.pulses_delivered, closed.trains_delivered) == (
        "completed",
        30,
        30,
        3,
    )


@pytest.mark.requirement("ST-12")
def test_a_session_with_a_partial_train_is_closed_as_partial():
    story = Story(order=treatment_order(PATTERN_1HZ)).running().train("a").train("b", "partial", 4).train("c")
    closed = closing(conduct.close(story.state, asked.Close(reason="last-train-ended")))
    assert (closed.outcome, closed.pulses_delivered) == ("partial", 24)


@pytest.mark.requirement("ST-12")
def test_a_stopped_session_is_partial_or_not_started():
    assert (
        closing(session.stop(Story().armed().state, asked.Stop(reason="technical"), OPERATOR)).outcome == "not-started"
    )
    story = Story().running().train()
    assert closing(session.stop(story.state, asked.Stop(reason="time-over"), SUPERVISOR)).outcome == "partial"


@pytest.mark.requirement("ST-12")
@pytest.mark.invariant("INV-9")
def test_a_train_without_an_end_counts_as_unknown_when_the_session_is_closed():
    story = Story().running().train()
    story.now += timedelta(seconds=30)
    story.then(story.authorise("b", story.armed_facts()))
    events = session.stop(story.state, asked.Stop(reason="technical"), OPERATOR)
    assert isinstance(events[0], TrainOutcomeUnknown)
    assert events[0].pulses_at_most == 40
    assert (closing(events).pulses_delivered, closing(events).pulses_unknown) == (40, 40)


def test_an_auditor_or_clinician_does_not_pause_or_stop():
    with pytest.raises(NotAllowed):
        session.pause(Story().running().state, asked.Pause(reason="other"), CLINICIAN, NOW)
    with pytest.raises(NotAllowed):
        session.stop(Story().running().state, asked.Stop(reason="other"), CLINICIAN)


# --- parameters


@pytest.mark.requirement("ST-05")
@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize("value", [79.9, 120.1, 0.1, 9_999.0])
def test_an_intensity_outside_the_signed_band_is_refused(value):
    command = asked.ChangeParameter(parameter="percent_rmt", value=value, reason="pain")
    with pytest.raises(refusals.BeyondSignedBand):
        session.change_parameter(Story().running().state, command, OPERATOR, facts())


@pytest.mark.requirement("ST-05")
def test_a_change_says_from_what_to_what_and_from_which_train():
    story = Story().running().train()
    command = asked.ChangeParameter(parameter="percent_rmt", value=101.0, reason="pain")
    (event,) = session.change_parameter(story.state, command, OPERATOR, facts())
    assert (event.from_value, event.to_value, event.from_percent_mso, event.to_percent_mso) == (120.0, 101.0, 60, 50)
    assert event.from_train_index == 1
    assert told(story.state, [event]).percent_mso == 50


@pytest.mark.requirement("ST-05")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(("value", "allowed"), [(29.9, False), (30.0, True), (300.0, True), (300.1, False)])
def test_more_pause_is_allowed_and_less_is_not(value, allowed):
    story = Story().running().train()
    command = asked.ChangeParameter(parameter="train_interval_s", value=value, reason="other")
    if not allowed:
        with pytest.raises(refusals.BeyondSignedBand):
            session.change_parameter(story.state, command, OPERATOR, facts())
        return
    state = told(story.state, session.change_parameter(story.state, command, OPERATOR, facts()))
    assert next_train(state, device_pattern(state.order, 10.0)).due_at == NOW + timedelta(seconds=value)


def test_a_train_without_pauses_has_none_to_make_longer():
    command = asked.ChangeParameter(parameter="train_interval_s", value=60.0, reason="other")
    with pytest.raises(refusals.BeyondSignedBand):
        session.change_parameter(Story(order=treatment_order(PATTERN_1HZ)).running().state, command, OPERATOR, facts())


# --- measurement


def stimulated(story, percent=40, train_id="t", used=0):
    around = story.armed_facts()
    around = around.model_copy(update={"order": around.order.model_copy(update={"stimuli_used": used})})
    return session.stimulate(story.state, asked.Stimulate(percent_mso=percent), train_id, OPERATOR, around)


@pytest.mark.requirement("ST-02")
@pytest.mark.invariant("INV-2")
def test_a_stimulus_above_the_ceiling_is_refused():
    story = Story("measurement").running()
    with pytest.raises(refusals.BeyondSignedBand):
        stimulated(story, 81)
    (event,) = stimulated(story, 80)
    assert (event.pulses, event.percent_mso) == (1, 80)


@pytest.mark.requirement("ST-02")
def test_a_stimulus_too_soon_is_refused_and_says_how_long_to_wait():
    story = Story("measurement").running()
    story.then(stimulated(story)).ended()
    story.now += timedelta(seconds=3)
    with pytest.raises(refusals.StimulusTooSoon) as caught:
        stimulated(story)
    assert caught.value.facts["wait_s"] == 1.0
    story.now += timedelta(seconds=1)
    assert stimulated(story)


@pytest.mark.requirement("ST-02")
def test_stimuli_beyond_the_orders_number_are_refused():
    story = Story("measurement").running()
    with pytest.raises(refusals.StimuliUsedUp):
        stimulated(story, used=5)


def test_stimuli_belong_to_measurements_and_trains_to_treatments():
    with pytest.raises(refusals.TransitionNotAllowed):
        stimulated(Story().running())
    with pytest.raises(refusals.TransitionNotAllowed):
        ask(Act.AUTHORISE_TRAIN, Story("measurement").running())


def test_a_stimulus_is_answered_once_and_only_when_it_was_delivered():
    story = Story("measurement").running()
    story.then(stimulated(story))
    answer = asked.AnswerStimulus(response="no")
    with pytest.raises(refusals.StimulusNotDelivered):
        session.answer_stimulus(story.state, "t", answer, OPERATOR, facts("measurement"))
    story.ended()
    (event,) = session.answer_stimulus(story.state, "t", answer, OPERATOR, facts("measurement"))
    assert (event.measurement_order_id, event.percent_mso, event.response) == ("order-1", 40, "no")
    story.then([event])
    with pytest.raises(refusals.StimulusAlreadyAnswered):
        session.answer_stimulus(story.state, "t", answer, OPERATOR, facts("measurement"))


def test_a_finished_measurement_is_completed():
    story = Story("measurement").running()
    assert (
        closing(session.stop(story.state, asked.Stop(reason="measurement-finished"), OPERATOR)).outcome == "not-started"
    )
    story.then(stimulated(story)).ended()
    assert (
        closing(session.stop(story.state, asked.Stop(reason="measurement-finished"), OPERATOR)).outcome == "completed"
    )


# --- whatever is asked, in whatever order


CHANGES = st.builds(
    asked.ChangeParameter,
    parameter=st.sampled_from(["percent_rmt", "train_interval_s"]),
    value=st.floats(min_value=0.1, max_value=500),
    reason=st.just("other"),
)
STEPS = st.one_of(
    st.sampled_from([*ASKED_OF_PEOPLE, Act.AUTHORISE_TRAIN, Act.INTERRUPT, Act.CLOSE]),
    CHANGES,
    st.builds(asked.Stimulate, percent_mso=st.integers(min_value=1, max_value=100)),
    st.sampled_from(["complete", "partial", "none", "unknown"]),
)


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-05")
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["treatment", "measurement"]),
    st.integers(min_value=20, max_value=80),
    st.sampled_from([None, PATTERN_ITBS, PATTERN_1HZ]),
    st.lists(STEPS, max_size=40),
)
def test_no_sequence_of_commands_authorises_beyond_the_signed_limits(kind, threshold, pattern, steps):
    order = (
        treatment_order(pattern or PATTERN_ITBS, threshold=threshold) if kind == "treatment" else measurement_order()
    )
    story = Story(kind, order).running()
    authorised = []
    for number, step in enumerate(steps):
        try:
            events = taken(step, story, f"t{number}")
        except SpoelError:
            continue
        authorised += [event for event in events if isinstance(event, TrainAuthorised)]
        story.then(events)
    ceiling = order.ceiling_percent_mso
    assert all(event.percent_mso <= ceiling for event in authorised)
    assert len({event.train_index for event in authorised}) == len(authorised)
    if kind == "treatment":
        assert ceiling == set_percent_mso(order.ceiling_percent_rmt, threshold)
        assert sum(event.pulses for event in authorised) <= order.pulses
        assert all(event.percent_mso >= order.floor_percent_mso for event in authorised)
        moments = [event.planned_onset_at for event in authorised]
        pause = timedelta(seconds=device_pattern(order, 10.0).train_interval_s)
        assert all(later - earlier >= pause for earlier, later in pairwise(moments))


def taken(step, story, train_id):
    story.now += timedelta(seconds=7)
    if isinstance(step, asked.ChangeParameter):
        return session.change_parameter(story.state, step, OPERATOR, story.facts())
    if isinstance(step, asked.Stimulate):
        used = sum(train.counts_for_maxima for train in story.state.trains)
        return stimulated(story, step.percent_mso, train_id, used)
    if step is Act.AUTHORISE_TRAIN:
        return conduct.authorise_train(
            story.state,
            asked.AuthoriseTrain(train_id=train_id, percent_mso=story.state.percent_mso),
            story.armed_facts(),
        )
    return ask(step, story) if isinstance(step, Act) else ended(step, story)


def ended(outcome, story):
    train = story.state.open_train
    if train is None or not story.state.may(Act.RECORD_TRAIN):
        return []
    if outcome == "unknown":
        return conduct.record_train_unknown(story.state, asked.RecordTrainUnknown(reason="evidence-incomplete"))
    delivered = {"complete": train.pulses, "partial": train.pulses // 2, "none": 0}[outcome]
    command = asked.RecordTrain(
        outcome=outcome,
        pulses=delivered,
        device_total_pulses_after=train.device_total_pulses_before + delivered,
        evidence="counter",
        ended_at=story.now,
    )
    return conduct.record_train(story.state, command)


def test_a_state_before_its_opening_says_what_to_do():
    with pytest.raises(refusals.TransitionNotAllowed):
        _ = SessionState().session
    assert booking().kind == "treatment"


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-07")
@pytest.mark.parametrize("on_the_device", [59, 61])
def test_no_train_is_authorised_at_another_intensity_than_the_device_is_set_to(on_the_device):
    story = Story().running()
    with pytest.raises(refusals.TransitionNotAllowed):
        conduct.authorise_train(
            story.state, asked.AuthoriseTrain(train_id="t", percent_mso=on_the_device), story.armed_facts()
        )
