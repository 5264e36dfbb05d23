"""Many doses at once have the grades that they have one by one, and those that planning gave them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoel_common.errors import SpoelError as Refused
from spoel_planning.domain import grading as planning
from spoel_planning.domain.rules import clinic_rules
from spoel_planning.events.orders import Pattern as PlannedPattern
from spoel_stimulation.engine import Pattern
from spoel_stimulation.engine.envelope import GRADES, Dose, grade_dose
from spoel_stimulation.engine.envelope_arrays import DoseArrays, grade_doses
from spoel_stimulation.engine.limits import example_cleared_list, published_limits

LIMITS, CLEARED = published_limits(), example_cleared_list()
SITES = ("left-dlpfc", "right-dlpfc", "left-motor-cortex")

edges_s = st.sampled_from([0.999998, 1.0, 1.000002, 1.1, 4.999, 5.0, 7.999998, 8.0, 26.0])


@st.composite
def patterns(draw):
    """Patterns around the edges of tables and rows."""
    per_burst = draw(st.sampled_from([1, 1, 1, 3, 2, 4]))
    bursts = draw(st.sampled_from([1, 5, 7, 8, 10, 11, 32, 33, 40, 42, 43, 50, 51, 180, 181]))
    interval_s = draw(st.sampled_from([0.2, 0.2, 0.1, 0.05, 0.04, 0.0399, 0.0999999, 1 / 18, 1.0, 0.999, 2.0]))
    pause_s = draw(st.one_of(edges_s, st.floats(0.1, 60)))
    pulse_interval_s = draw(st.sampled_from([0.02, 0.02, 0.020001, 0.005]))
    if (per_burst - 1) * pulse_interval_s >= interval_s:
        per_burst = 1
    return Pattern(
        pulses_per_burst=per_burst,
        pulse_interval_s=None if per_burst == 1 else pulse_interval_s,
        bursts_per_train=bursts,
        burst_interval_s=interval_s,
        trains=draw(st.sampled_from([1, 2, 19, 20, 21])),
        train_interval_s=bursts * interval_s + pause_s,
    )


doses = st.builds(
    Dose,
    patterns(),
    st.integers(1, 100),
    st.sampled_from([30, 47, 50, 60, 77, 100]),
    st.sampled_from(SITES[:2]),
    st.sampled_from([0, 0, 1, 600]),
    st.sampled_from([None, None, 14_399.0, 14_400.0]),
)


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
@pytest.mark.hazard("HZ-13")
@settings(deadline=None, max_examples=60)
@given(st.lists(doses, min_size=1, max_size=20))
def test_the_arrays_give_exactly_the_grades_of_the_readable_form(many):
    found = grade_doses(DoseArrays.of(many, SITES), LIMITS, CLEARED, SITES)
    assert found.dtype == np.int8
    assert [GRADES[index] for index in found] == [grade_dose(each, LIMITS, CLEARED).grade for each in many]


def test_every_grade_occurs_among_the_doses_that_are_compared():
    rng = np.random.default_rng(7)
    many = [
        Dose(
            Pattern(
                pulses_per_burst=1,
                bursts_per_train=int(rng.integers(1, 58)),
                burst_interval_s=float(rng.choice([0.1, 0.05, 0.2])),
                trains=20,
                train_interval_s=float(rng.choice([12.0, 20.0])),
            ),
            int(rng.integers(30, 75)),
            50,
        )
        for _ in range(500)
    ]
    found = grade_doses(DoseArrays.of([each._replace(site=SITES[0]) for each in many], SITES), LIMITS, CLEARED, SITES)
    assert {GRADES[index] for index in found} == set(GRADES)


@pytest.mark.requirement("PL-07")
def test_the_numbers_are_those_of_planning():
    theirs, ours = clinic_rules(), LIMITS.model_dump()
    margin = theirs.threshold.margin.model_dump(exclude={"note"})
    assert ours == theirs.limits.model_dump(exclude={"course"}) | {"margin": margin}
    assert [row.model_dump() for row in CLEARED] == [row.model_dump() for row in theirs.cleared]


@pytest.mark.requirement("PL-07")
@settings(deadline=None, max_examples=60)
@given(doses.filter(lambda dose: not dose.is_patterned))
def test_a_dose_of_single_pulses_is_graded_as_planning_graded_it(dose):
    planned = PlannedPattern.model_validate(dose.pattern.model_dump())
    limits = clinic_rules().limits
    try:
        planning.check_hard_limits(planned, dose.percent_rmt, limits.hard)
        expected = planning.worst_grade(planning.grade_dose(planned, dose.percent_rmt, limits))
    except Refused:
        expected = "refused"
    assert grade_dose(dose, LIMITS, CLEARED).grade == expected
