"""Blinded sessions: equipment and code are checked, and nothing that is stored or shown tells the condition (ST-09)."""

import json

import pytest
from tests.stimulation.story import (
    NOW,
    OPERATOR,
    PATTERN_ITBS,
    SAID,
    STRIP,
    Story,
    device,
    told,
    treatment_order,
)

from spoel_stimulation import commands as asked
from spoel_stimulation.domain import blinding, refusals, session
from spoel_stimulation.domain.state import Phase
from spoel_stimulation.events import (
    DeviceSettings,
    ParameterChanged,
    Realised,
    SessionArmed,
    SessionStarted,
    TrainAuthorised,
    TrainDelivered,
)
from spoel_stimulation.orders import Blinding

BLINDING = Blinding(trial_id="trial-1", method="device-code", blind_code="P-017")
SHAM_COIL = "Cool-B65 A/P"
IDS = {"session_id": "s", "case_id": "c", "patient_id": "p", "room_id": "r"}


def blinded_order(**changes):
    return treatment_order(PATTERN_ITBS, blinding=BLINDING.model_dump(), **{"coil_model": SHAM_COIL, **changes})


def with_coil(story, coil_model=SHAM_COIL, **changes):
    return story.facts(device=device(coil_model=coil_model, **changes))


def opened(order=None):
    story = Story(order=order or blinded_order())
    command = asked.OpenSession(session_id="session-1")
    return story.then(session.open_session(story.state, command, OPERATOR, with_coil(story)))


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
def test_a_blinded_session_is_refused_on_equipment_that_shows_the_condition():
    with pytest.raises(refusals.ShamNotPossible, match="Cool-B65"):
        Story(order=blinded_order(coil_model="Cool-B65")).opened()
    assert opened().state.blinded
    assert not Story().opened().state.blinded


@pytest.mark.requirement("ST-09")
@pytest.mark.parametrize("said", [None, "P-018", "p-017"])
def test_another_patients_code_is_refused(said):
    story = opened()
    story.then(session.confirm_identity(story.state, SAID, OPERATOR, with_coil(story), STRIP))
    with pytest.raises(refusals.BlindCodeMismatch):
        session.check_arm(story.state, asked.Arm(ear_protection=True, blind_code=said), OPERATOR, with_coil(story))
    session.check_arm(story.state, asked.Arm(ear_protection=True, blind_code="P-017"), OPERATOR, with_coil(story))


def test_outside_a_trial_a_code_is_a_mistake():
    story = Story().identified()
    with pytest.raises(refusals.BlindCodeMismatch, match="leave blind_code out"):
        session.check_arm(story.state, asked.Arm(ear_protection=True, blind_code="P-017"), OPERATOR, story.facts())


REVEALING = [
    SessionArmed(
        **IDS,
        ear_protection=True,
        settings=DeviceSettings(set={"percent_mso": 61}, read_back={"percent_mso": 61}),
        coil_model=SHAM_COIL,
        percent_mso=61,
    ),
    TrainAuthorised(
        **IDS,
        train_id="t",
        train_index=0,
        pulses=30,
        percent_mso=61,
        bursts=10,
        pulses_per_burst=3,
        burst_interval_s=0.2,
        pulse_interval_s=0.02,
        planned_onset_at=NOW,
        device_total_pulses_before=0,
        known=(),
    ),
    TrainDelivered(
        **IDS,
        train_id="t",
        train_index=0,
        outcome="complete",
        pulses=30,
        percent_mso=61,
        device_total_pulses_after=30,
        evidence="counter",
        ended_at=NOW,
        realised=Realised(quantity="didt_a_per_us", stimuli=10, lowest=61.0, mean=61.0, highest=61.0),
    ),
    ParameterChanged(
        **IDS,
        parameter="percent_rmt",
        from_value=120.0,
        to_value=110.0,
        from_percent_mso=61,
        to_percent_mso=61,
        reason="pain",
        from_train_index=1,
    ),
]


@pytest.mark.hazard("HZ-23")
@pytest.mark.parametrize("event", REVEALING, ids=lambda event: event.event_name)
def test_what_could_tell_the_condition_is_taken_out_and_sealed_and_pulses_stay(event):
    fields = blinding.revealing(event)
    veiled = blinding.veiled(event, "c2VhbGVk")
    assert "61" not in veiled.model_dump_json()
    assert "61" in blinding.text_of(fields)
    assert veiled.sealed_output == "c2VhbGVk"
    assert type(veiled).model_validate(json.loads(veiled.model_dump_json())) == veiled
    for name in ("pulses", "outcome", "train_id"):
        assert getattr(veiled, name, None) == getattr(event, name, None)


def test_other_events_tell_nothing_and_stay_as_they_are():
    assert blinding.revealing(SessionStarted(**IDS)) == {}


@pytest.mark.requirement("ST-12")
def test_a_blinded_session_goes_on_from_events_that_do_not_say_the_output():
    story = opened()
    events = [blinding.veiled(event, None) for event in REVEALING[1:2]]
    state = story.state.model_copy(update={"phase": Phase.RUNNING})
    after = told(state, events)
    assert (after.percent_mso, after.trains[0].percent_mso, after.trains[0].pulses) == (60, None, 30)
