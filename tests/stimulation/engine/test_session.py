"""The levels above a pattern, and that they can say every public protocol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.stimulation.engine import protocols

from spoel_stimulation.engine import Course, Part, Ramp, Session, expand


@pytest.mark.requirement("PL-04")
@pytest.mark.parametrize(
    ("pattern", "pulses", "highest_hz"),
    [
        (protocols.HF_STANDARD, 3000, 10),
        (protocols.DASH, 3000, 10),
        (protocols.FIVE_SECONDS, 3000, 10),
        (protocols.DEEP_H1, 1980, 18),
        (protocols.DEEP_H7, 2000, 20),
        (protocols.SACHDEV, 1500, 10),
        (protocols.LOW_1800, 1800, 1),
        (protocols.ITBS_600, 600, 50),
        (protocols.ITBS_1200, 1200, 50),
        (protocols.SNT, 1800, 50),
        (protocols.CTBS_300, 300, 50),
        (protocols.CTBS_600, 600, 50),
        (protocols.CTBS_1800, 1800, 50),
        (protocols.QPS_5, 1440, 200),
    ],
)
def test_every_public_pattern_can_be_said(pattern, pulses, highest_hz):
    assert len(expand(Session.of(pattern, 50))) == pattern.pulses == pulses
    assert pattern.highest_rate_hz == pytest.approx(highest_hz)


def test_a_bilateral_session_has_two_parts_with_their_own_site_and_intensity():
    session = protocols.BILATERAL
    pulses = expand(session)
    assert session.pulses == len(pulses) == 2100
    assert [part.site for part in session.parts] == ["right-dlpfc", "left-dlpfc"]
    assert (pulses.onset_ns[600] - pulses.onset_ns[599]) == 120_000_000_000
    assert set(pulses.percent_mso[:600].tolist()) == {60}
    assert set(pulses.percent_mso[600:].tolist()) == {62}
    assert pulses.train[[0, 599, 600, 2099]].tolist() == [0, 0, 1, 30]
    assert session.duration_ns == pulses.onset_ns[-1]


def test_a_day_of_ten_sessions_ends_nine_hours_and_ten_minutes_after_it_began():
    day = protocols.SNT_DAY
    assert day.pulses == 18_000
    last_ns = list(day.session_starts_ns)[-1] + day.session.duration_ns
    assert last_ns / 60e9 == pytest.approx(549.9, abs=0.1)


def test_a_course_of_fifty_sessions_has_ninety_thousand_pulses():
    assert protocols.SNT_COURSE.pulses == protocols.STANDARD_COURSE.pulses == 90_000
    assert protocols.SNT_COURSE.sessions == 50


def test_the_second_pulse_of_a_pair_has_its_own_intensity():
    pulses = expand(Session(parts=(Part(pattern=protocols.PAIRED, percent_mso=40.9, second_percent_mso=60),)))
    assert pulses.percent_mso[:4].tolist() == [40, 60, 40, 60]
    assert pulses.onset_ns[:3].tolist() == [0, 3_000_000, 5_000_000_000]
    assert pulses.burst[:4].tolist() == [0, 0, 1, 1]


def test_a_ramp_makes_the_first_trains_weaker():
    ramp = Ramp(from_percent=80, trains=4)
    pulses = expand(Session(parts=(Part(pattern=protocols.ITBS_600, percent_mso=60, ramp=ramp),)))
    assert pulses.percent_mso.reshape(20, 30)[:6, 0].tolist() == [48, 51, 54, 57, 60, 60]
    assert (np.ptp(pulses.percent_mso.reshape(20, 30), axis=1) == 0).all()


@pytest.mark.hazard("HZ-05")
@settings(deadline=None)
@given(st.floats(0, 100), st.floats(1, 100), st.integers(1, 19))
def test_a_ramp_never_asks_for_more_than_the_intensity(percent, from_percent, trains):
    ramp = Ramp(from_percent=from_percent, trains=trains)
    part = Part(pattern=protocols.ITBS_600, percent_mso=percent, ramp=ramp)
    sets = [part.set_percents_mso(train)[0] for train in range(20)]
    assert sets == sorted(sets)
    assert sets[0] <= percent * from_percent / 100
    assert sets[-1] <= percent < sets[-1] + 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"second_percent_mso": 50}, "pair"),
        ({"ramp": {"from_percent": 80, "trains": 75}}, "ramp of 75 trains"),
        ({"percent_mso": 100.1}, "less than or equal to 100"),
        ({"percent_mso": -1}, "greater than or equal to 0"),
        ({"percent_mso": float("nan")}, "finite"),
        ({"channel": 128}, "channel"),
        ({"intensity": 1}, "intensity"),
    ],
)
@pytest.mark.hazard("HZ-05")
def test_a_part_that_contradicts_itself_is_refused(change, word):
    described = {"pattern": protocols.HF_STANDARD.model_dump(), "percent_mso": 60}
    with pytest.raises(ValidationError, match=word):
        Part.model_validate(described | change)


def test_parts_that_overlap_are_refused():
    part = Part(pattern=protocols.HF_STANDARD, percent_mso=60)
    with pytest.raises(ValidationError, match=r"part 0 lasts 2223\.9 s"):
        Session(parts=(part.model_copy(update={"interval_s": 2000.0}), part))
    with pytest.raises(ValidationError, match="part 0"):
        Session(parts=(part, part))
    with pytest.raises(ValidationError, match="nothing follows"):
        Session(parts=(part.model_copy(update={"interval_s": 3000.0}),))


def test_sessions_and_days_that_overlap_are_refused():
    session = Session.of(protocols.SNT, 45)
    with pytest.raises(ValidationError, match="session_interval_s"):
        Course(session=session, sessions_per_day=10, session_interval_s=500)
    with pytest.raises(ValidationError, match="day_interval_s"):
        Course(session=session, sessions_per_day=10, session_interval_s=3600, days=2, day_interval_s=30_000)


def test_a_course_survives_json():
    assert Course.model_validate_json(protocols.SNT_COURSE.model_dump_json()) == protocols.SNT_COURSE
    assert Session.model_validate_json(protocols.BILATERAL.model_dump_json()) == protocols.BILATERAL
