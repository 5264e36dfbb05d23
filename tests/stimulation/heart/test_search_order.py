"""The order of a heart-brain search in a session: pure."""

from datetime import timedelta

import pytest
from tests.stimulation.story import OPERATOR, PATTERN_SEARCH, Story, device, measurement_order, search_order

from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conduct, session
from spoel_stimulation.domain.refusals import (
    BeyondHardLimits,
    HeartNotHeard,
    NotThisMeasurement,
    OrderInconsistent,
    RunUnderWay,
    StimuliUsedUp,
    TrainBeyondLimits,
)
from spoel_stimulation.domain.search import upcoming_train
from spoel_stimulation.events.searches import CouplingResult
from spoel_stimulation.foreign_events.planning import SignedMeasurementOrder
from spoel_stimulation.orders import MeasurementOrder

pytestmark = pytest.mark.requirement("PL-11")

SAID = asked.SearchLocation(location="F3", side_or_site="left", percent_mso=50, ear_protection=True)
RESULT = CouplingResult(
    cycle_hz=0.0625, mean_bpm=64, power_bpm2=4, noise_bpm2=0.1, p_value=1e-6, amplitude_bpm=2.8, trough_s=4, slows=True
)

MEASURED = asked.RecordCoupling(result=RESULT, beats=100)


def searching(**changes):
    return Story("measurement", order=search_order(**changes)).running()


def started(story, said=SAID, problem=None):
    return story.then(session.search_location(story.state, said, OPERATOR, story.armed_facts(), problem))


def trained(story, used=0):
    """Authorise the run's next train, half a minute on, and record its end."""
    story.now += timedelta(seconds=30)
    around = story.armed_facts(device=device(enabled=True, total_pulses=1000 + story.state.pulses_delivered))
    around = around.model_copy(update={"order": around.order.model_copy(update={"stimuli_used": used})})
    command = asked.AuthoriseTrain(train_id=f"t-{len(story.state.trains)}", percent_mso=50)
    return story.then(conduct.authorise_train(story.state, command, around)).ended()


def told(story, command):
    """Record what the heart did in the run that is under way."""
    return story.then(conduct.record_coupling(story.state, command, story.state.run.run))


@pytest.mark.hazard("HZ-05")
@pytest.mark.parametrize(
    "order",
    [
        search_order(ceiling_percent_mso=81),
        search_order(min_interval_s=16.1),
        search_order(names=("F3", "F3")),
        search_order(search=None),
        measurement_order(search=search_order().search.model_dump()),
    ],
    ids=["ceiling", "interval", "names", "no search", "a threshold's"],
)
def test_an_order_that_contradicts_itself_is_refused(order):
    with pytest.raises(OrderInconsistent):
        Story("measurement", order=order).opened()


@pytest.mark.invariant("INV-11")
@pytest.mark.parametrize(
    "changes",
    [
        {"bursts_per_train": 102, "train_interval_s": 20.0},
        {"burst_interval_s": 1.0, "bursts_per_train": 12},
        {"burst_interval_s": 0.4},
    ],
    ids=["longer than a device may run alone", "would be split", "overlaps"],
)
def test_trains_that_cannot_be_started_one_by_one_are_refused(changes):
    with pytest.raises(TrainBeyondLimits):
        searching(pattern=PATTERN_SEARCH.model_copy(update=changes))


@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-12")
@pytest.mark.parametrize(
    "changes",
    [
        {"pattern": PATTERN_SEARCH.model_copy(update={"bursts_per_train": 55})},
        {"pattern": PATTERN_SEARCH.model_copy(update={"burst_interval_s": 0.05})},
        {"pattern": PATTERN_SEARCH.model_copy(update={"train_interval_s": 9.0}), "min_interval_s": 9.0},
        {"pattern": PATTERN_SEARCH.model_copy(update={"pulses_per_burst": 3, "pulse_interval_s": 0.02})},
    ],
    ids=["longer", "faster", "shorter pause", "bursts"],
)
def test_the_room_refuses_a_search_that_is_not_within_the_limits_whoever_signed_it(changes):
    with pytest.raises(BeyondHardLimits):
        searching(**changes)


@pytest.mark.invariant("INV-2")
def test_a_run_gives_its_trains_as_ordered_and_then_none():
    story = started(searching())
    first = upcoming_train(story.state, 10.0)
    assert (first.pulses, first.bursts, first.burst_interval_s, first.percent_mso) == (50, 50, 0.1, 50)
    assert first.due_at is None
    for _train in range(8):
        trained(story)
    assert upcoming_train(story.state, 10.0) is None
    assert story.state.pulses_delivered == 400
    assert story.state.pulses_planned == 60 * 50


def test_the_next_train_waits_for_the_cycle_and_the_next_run_for_the_orders_interval():
    story = trained(started(searching()))
    onset_at = story.state.trains[0].onset_at
    assert upcoming_train(story.state, 10.0).due_at == onset_at + timedelta(seconds=16)
    told(story, asked.RecordCoupling(reason="belt-lost"))
    story.now += timedelta(seconds=15)
    started(story, SAID.model_copy(update={"location": "FC3"}))
    assert upcoming_train(story.state, 10.0).due_at == onset_at + timedelta(seconds=14)


@pytest.mark.invariant("INV-2")
def test_no_train_goes_beyond_the_orders_number():
    story = started(searching())
    with pytest.raises(StimuliUsedUp):
        trained(story, used=60)


def test_one_run_at_a_time_and_none_without_heartbeats():
    story = searching()
    with pytest.raises(HeartNotHeard, match="wet"):
        started(story, problem="The belt is silent: wet its electrodes.")
    started(story)
    with pytest.raises(RunUnderWay):
        started(story)


@pytest.mark.invariant("INV-7")
def test_a_run_that_was_broken_off_takes_no_result():
    story = trained(started(searching()))
    story.then(session.pause(story.state, asked.Pause(reason="coil-check"), OPERATOR, story.now))
    assert story.state.run is None
    assert conduct.record_coupling(story.state, MEASURED, 1) == []
    assert upcoming_train(story.state, 10.0) is None


@pytest.mark.invariant("INV-7")
def test_the_result_of_a_run_that_was_broken_off_is_not_the_next_ones():
    story = trained(started(searching()))
    first = story.state.run.run
    story.then(session.pause(story.state, asked.Pause(reason="coil-check"), OPERATOR, story.now))
    story.now += timedelta(seconds=30)
    story.then(session.resume(story.state, asked.Resume(ear_protection=True), OPERATOR, story.armed_facts()))
    trained(started(story, SAID.model_copy(update={"location": "FC3"})))
    assert story.state.run.location == "FC3"
    assert conduct.record_coupling(story.state, MEASURED, first) == []
    assert len(conduct.record_coupling(story.state, MEASURED, story.state.run.run)) == 1


def test_the_last_result_of_a_location_counts_and_the_ranking_closes_the_session():
    story = searching()
    for location, result in (("F3", RESULT), ("FC3", RESULT), ("FC3", RESULT.model_copy(update={"slows": False}))):
        story.now += timedelta(seconds=30)
        trained(started(story, SAID.model_copy(update={"location": location})))
        told(story, asked.RecordCoupling(result=result, beats=100))
    events = session.stop(story.state, asked.Stop(reason="measurement-finished"), OPERATOR)
    ranked, closed = events
    assert (ranked.verdict, ranked.best) == ("ranked", "F3")
    assert [(place.location, place.fall_bpm) for place in ranked.locations] == [("F3", 2.8), ("FC3", -2.8)]
    assert closed.outcome == "completed"


def test_trains_of_a_search_are_not_answered_by_people():
    story = trained(started(searching()))
    with pytest.raises(NotThisMeasurement):
        session.answer_stimulus(story.state, "t-0", asked.AnswerStimulus(response="yes"), OPERATOR, story.armed_facts())


def test_an_order_of_the_first_version_is_one_for_a_threshold():
    old = measurement_order().model_dump(mode="json", exclude={"search"})
    assert SignedMeasurementOrder.model_validate(old).search is None
    assert MeasurementOrder.model_validate(old) == measurement_order()
