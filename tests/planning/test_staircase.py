"""The search for the motor threshold on virtual patients."""

import random
from math import erf, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.story import RULES, answered, deliver

from spoel_planning.domain.staircase import Finished, Next, NotFound, next_stimulus

STAIRCASE = RULES.threshold.staircase


def step_after(stimuli, ceiling=90, most=75):
    return next_stimulus(stimuli, ceiling, most, STAIRCASE)


@pytest.mark.requirement("PL-03")
@settings(deadline=None)
@given(st.floats(min_value=25, max_value=85))
def test_it_converges_on_any_threshold(threshold):
    stimuli = deliver(threshold)
    step = step_after(stimuli)
    assert isinstance(step, Finished)
    assert abs(step.estimate_percent_mso - threshold) <= 1.5
    assert len(stimuli) <= 35


@pytest.mark.requirement("ST-02")
@pytest.mark.hazard("HZ-12")
@settings(deadline=None)
@given(st.floats(min_value=1, max_value=100), st.integers(min_value=30, max_value=100))
def test_it_never_asks_for_more_than_the_ceiling(threshold, ceiling):
    stimuli = deliver(threshold, ceiling)
    assert all(each.percent_mso <= ceiling for each in stimuli)
    if threshold > ceiling:
        assert step_after(stimuli, ceiling) == NotFound("no-response-at-ceiling")


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=35, max_value=80))
def test_a_patient_who_answers_by_chance_is_found_within_a_tenth(seed, threshold):
    draw = random.Random(seed)
    spread = 0.03 * threshold

    def moves(percent_mso: int) -> bool:
        return draw.random() < 0.5 * (1 + erf((percent_mso - threshold) / spread / sqrt(2)))

    step = step_after(deliver(threshold, 100, noise=moves), 100)
    assert isinstance(step, Finished)
    assert step.estimate_percent_mso == pytest.approx(threshold, rel=0.1)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["yes", "no", "repeat"]), max_size=80), st.integers(min_value=30, max_value=100))
def test_whatever_is_answered_it_ends_within_the_order(answers, ceiling):
    stimuli = []
    for answer in answers:
        step = step_after(stimuli, ceiling, 60)
        if not isinstance(step, Next):
            break
        assert 1 <= step.percent_mso <= ceiling
        stimuli.append(answered(step.percent_mso, answer))
    assert len(stimuli) <= 60
    end = step_after(stimuli, ceiling, 60)
    assert not isinstance(end, Finished) or end.estimate_percent_mso <= ceiling


@pytest.mark.requirement("PL-03")
def test_it_starts_weak_and_steps_up_until_the_first_movement():
    assert step_after([]) == Next(30)
    assert step_after([answered(30, "no")]) == Next(35)
    assert step_after([answered(30, "no"), answered(35, "no")]) == Next(40)


def test_after_the_first_movement_it_goes_against_every_answer_with_smaller_steps():
    up = [answered(30, "no"), answered(35, "no"), answered(40, "yes")]
    assert step_after(up) == Next(36)
    assert step_after([*up, answered(36, "no")]) == Next(38)
    assert step_after([*up, answered(36, "no"), answered(38, "yes")]) == Next(37)


@pytest.mark.hazard("HZ-06")
def test_a_last_step_past_the_ceiling_stays_at_it():
    """Sums of thirds end at 33.500000000000014: rounded, that would be a threshold above the ceiling of 33."""
    stimuli = []
    for answer in "yyyynnnnnnnyynnnnnnnn":
        step = step_after(stimuli, ceiling=33)
        stimuli.append(answered(step.percent_mso, "yes" if answer == "y" else "no"))
    assert step_after(stimuli, ceiling=33) == Finished(33)


def test_a_repeat_asks_for_the_same_again():
    assert step_after([answered(30, "no"), answered(35, "repeat")]) == Next(35)


def test_a_stimulus_at_another_intensity_answers_nothing():
    assert step_after([answered(30, "no"), answered(60, "yes")]) == Next(35)


def test_repeats_count_against_the_most_stimuli():
    stimuli = [answered(30, "repeat")] * 10
    assert step_after(stimuli, most=10) == NotFound("too-many-stimuli")


def test_no_movement_at_the_ceiling_is_not_a_threshold():
    assert step_after([answered(30, "no"), answered(32, "no")], ceiling=32) == NotFound("no-response-at-ceiling")


def test_a_start_above_the_ceiling_is_lowered_to_it():
    assert step_after([], ceiling=25) == Next(25)


def test_movement_at_the_lowest_intensity_is_not_a_threshold():
    assert step_after(deliver(1)) == NotFound("response-at-lowest")


def test_stimuli_after_the_end_change_nothing():
    stimuli = deliver(47)
    assert step_after([*stimuli, answered(90, "no"), answered(20, "yes")]) == step_after(stimuli)


@pytest.mark.hazard("HZ-06")
def test_a_half_is_rounded_down():
    assert all(step_after(deliver(threshold)).estimate_percent_mso <= threshold for threshold in range(25, 86))
