"""Every pulse of a session or a course, in arrays."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stimulation.engine import protocols

from spoel_common.units import set_percent_mso
from spoel_stimulation.engine import MAX_CHUNK_PULSES, Course, Part, Pattern, Ramp, Session, chunks, expand
from spoel_stimulation.engine.expansion import BYTES_PER_PULSE

FIELDS = ("onset_ns", "train", "burst", "percent_mso", "channel")
TEN_HZ = protocols.HF_STANDARD

patterns = st.builds(
    lambda burst, pulses, trains, gap_ms: Pattern(
        pulses_per_burst=pulses,
        pulse_interval_s=None if pulses == 1 else 0.02,
        bursts_per_train=burst,
        burst_interval_s=0.2,
        trains=trains,
        train_interval_s=burst * 0.2 + gap_ms / 1000,
    ),
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(0, 5000),
)


@st.composite
def parts(draw):
    pattern = draw(patterns)
    ramp = None
    if pattern.trains > 1 and draw(st.booleans()):
        ramp = Ramp(from_percent=draw(st.floats(10, 100)), trains=draw(st.integers(1, pattern.trains - 1)))
    second = draw(st.floats(0, 100)) if pattern.pulses_per_burst == 2 and draw(st.booleans()) else None
    return Part(
        pattern=pattern,
        percent_mso=draw(st.floats(0, 100)),
        second_percent_mso=second,
        ramp=ramp,
        channel=draw(st.integers(0, 4)),
    )


sessions = st.builds(Session.in_sequence, st.lists(parts(), min_size=1, max_size=3), st.floats(0.5, 200))
courses = st.builds(
    lambda session, per_day, days: Course(
        session=session, sessions_per_day=per_day, session_interval_s=3600, days=days
    ),
    sessions,
    st.integers(1, 4),
    st.integers(1, 4),
)


def by_hand(course):
    """All pulses by nested loops: (onset, train, burst, percent, channel)."""
    pulses, train_number = [], 0
    for session_ns in course.session_starts_ns:
        for part, part_ns in zip(course.session.parts, course.session.part_starts_ns, strict=True):
            pattern = part.pattern
            for train in range(pattern.trains):
                percents = part.set_percents_mso(train)
                for burst in range(pattern.bursts_per_train):
                    for pulse in range(pattern.pulses_per_burst):
                        onset = session_ns + part_ns + train * pattern.train_interval_ns
                        onset += burst * pattern.burst_interval_ns + pulse * pattern.pulse_interval_ns
                        pulses.append((onset, train_number, burst, percents[pulse % len(percents)], part.channel))
                train_number += 1
    return pulses


def rows(arrays):
    return list(zip(*(getattr(arrays, field).tolist() for field in FIELDS), strict=True))


@settings(deadline=None, max_examples=40)
@given(courses, st.integers(64, 2000))
def test_chunks_of_a_course_are_its_pulses_one_by_one(course, max_pulses):
    made = list(chunks(course, max_pulses))
    assert [row for chunk in made for row in rows(chunk)] == by_hand(course)
    assert all(len(chunk) <= max_pulses for chunk in made)


@settings(deadline=None, max_examples=40)
@given(sessions)
def test_a_session_is_expanded_as_nested_loops_do(session):
    arrays = expand(session)
    assert rows(arrays) == by_hand(Course(session=session))
    assert np.all(np.diff(arrays.onset_ns) > 0)


def test_arrays_have_the_promised_types():
    arrays = expand(Session.of(TEN_HZ, 61))
    types = [getattr(arrays, field).dtype for field in FIELDS]
    assert types == [np.int64, np.int32, np.int32, np.int16, np.int8]
    assert sum(each.itemsize for each in types) == BYTES_PER_PULSE
    assert arrays.onset_ns[-1] == 74 * 30_000_000_000 + 3_900_000_000


def test_theta_burst_onsets_are_exact_to_the_nanosecond():
    onsets = expand(Session.of(protocols.ITBS_600, 50)).onset_ns
    assert onsets[:4].tolist() == [0, 20_000_000, 40_000_000, 200_000_000]
    assert onsets[-1] == 19 * 10_000_000_000 + 9 * 200_000_000 + 40_000_000


def test_a_day_and_a_course_begin_where_they_should():
    onsets = np.concatenate([chunk.onset_ns for chunk in chunks(protocols.SNT_COURSE)])
    assert len(onsets) == 90_000
    assert onsets[1800] == 3_600_000_000_000
    assert onsets[18_000] == 86_400_000_000_000


@pytest.mark.parametrize(
    "plan",
    [
        protocols.SNT_COURSE,
        protocols.STANDARD_COURSE,
        Session.of(TEN_HZ.model_copy(update={"trains": 2250}), 60),
        Session.of(
            Pattern(
                pulses_per_burst=10,
                pulse_interval_s=0.01,
                bursts_per_train=10_000,
                burst_interval_s=0.2,
                trains=1,
                train_interval_s=3000.0,
            ),
            60,
        ),
        Course(session=protocols.BILATERAL, sessions_per_day=5, session_interval_s=7200, days=40),
    ],
    ids=["SNT", "30 x 10 Hz", "one long session", "one long train", "bilateral"],
)
def test_memory_stays_below_two_chunks_however_long_the_course(plan):
    assert plan.pulses >= 90_000
    tracemalloc.start()
    try:
        counted = sum(len(chunk) for chunk in chunks(plan))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted == plan.pulses
    assert peak <= 2 * MAX_CHUNK_PULSES * BYTES_PER_PULSE


@pytest.mark.hazard("HZ-05")
@settings(deadline=None)
@given(st.floats(1, 130), st.integers(1, 76))
def test_the_set_intensity_is_never_more_than_the_percentage_of_the_threshold(percent, threshold):
    wanted = set_percent_mso(percent, threshold)
    assert set(expand(Session.of(TEN_HZ, wanted)).percent_mso.tolist()) == {wanted}
    assert wanted <= percent * threshold / 100 + 1e-9


@pytest.mark.hazard("HZ-05")
@pytest.mark.parametrize(("asked", "set_to"), [(54.999, 54), (55, 55), (0.9, 0), (100, 100)])
def test_a_fraction_of_a_percent_is_rounded_down(asked, set_to):
    assert set(expand(Session.of(TEN_HZ, asked)).percent_mso.tolist()) == {set_to}


def test_a_chunk_that_could_not_hold_a_burst_is_refused():
    with pytest.raises(ValueError, match="max_pulses is 63"):
        next(chunks(protocols.SNT_COURSE, 63))
