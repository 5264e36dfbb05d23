"""What a patient may be given in a day, over all rooms; parameters within the signed plan; side effects and after."""

from datetime import timedelta

import pytest
from tests.stimulation.story import NOW, OPERATOR, PATTERN_1HZ, PATTERN_ITBS, Story, device, told, treatment_order

from spoel_stimulation import commands as asked
from spoel_stimulation.domain import adverse, conduct, refusals, session
from spoel_stimulation.domain.day import check_day
from spoel_stimulation.domain.facts import Given
from spoel_stimulation.domain.lists import first_aid, maximum_of, side_effects
from spoel_stimulation.domain.trains import device_pattern, next_train

# --- maxima


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-12")
def test_what_other_rooms_gave_today_counts_against_the_days_maximum():
    itbs = treatment_order(PATTERN_ITBS)
    check_day(Story().facts(given=Given(pulses_today=2400)), itbs)
    with pytest.raises(refusals.DailyMaximumReached) as caught:
        check_day(Story().facts(given=Given(pulses_today=2401)), itbs)
    assert caught.value.facts["pulses_today"] == 2401


@pytest.mark.hazard("HZ-14")
def test_an_orders_own_limits_go_before_those_of_the_list():
    listed = maximum_of(treatment_order(protocol_id="itbs-600-left-dlpfc"))
    assert (listed.max_pulses_per_day, listed.min_pause_between_sessions_s) == (600, 14_400.0)
    own = maximum_of(treatment_order(max_pulses_per_day=18_000, min_pause_between_sessions_s=3_000.0))
    assert (own.max_pulses_per_day, own.min_pause_between_sessions_s) == (18_000, 3_000.0)


@pytest.mark.hazard("HZ-14")
@pytest.mark.parametrize(("since", "refused"), [(timedelta(hours=4), False), (timedelta(hours=3, minutes=59), True)])
def test_the_pause_between_two_sessions_is_kept_whatever_the_room(since, refused):
    facts = Story().facts(given=Given(last_at=NOW - since))
    if not refused:
        check_day(facts, treatment_order())
        return
    with pytest.raises(refusals.TooSoonAfterSession):
        check_day(facts, treatment_order())


@pytest.mark.hazard("HZ-14")
@pytest.mark.parametrize("outcome", ["complete", "unknown"])
def test_trains_that_become_known_meanwhile_stop_a_session_before_its_next_train(outcome):
    story = Story().running()
    story.train("a") if outcome == "complete" else unknown(story)
    story.now += timedelta(seconds=30)
    at_limit = story.armed_facts(given=Given(pulses_today=3000 - 80))
    assert story.authorise("b", at_limit)
    with pytest.raises(refusals.DailyMaximumReached) as caught:
        story.authorise("b", story.armed_facts(given=Given(pulses_today=3000 - 79)))
    assert caught.value.interlock == "daily-maximum"


@pytest.mark.hazard("HZ-14")
@pytest.mark.hazard("HZ-08")
def test_pulses_that_no_train_accounts_for_take_their_place_in_the_day_and_stop_no_resuming():
    story = Story().running().train("a")
    story.now += timedelta(seconds=30)
    assert story.authorise("b", story.armed_facts(given=Given(unauthorised_here=3000 - 80)))
    with pytest.raises(refusals.DailyMaximumReached):
        story.authorise("b", story.armed_facts(given=Given(unauthorised_here=3000 - 79)))
    check_day(story.armed_facts(given=Given(unauthorised_here=1)), story.state.order)


def unknown(story):
    story.then(story.authorise("a"))
    command = asked.RecordTrainUnknown(reason="link-lost")
    story.then(conduct.record_train_unknown(story.state, command))


# --- parameters


def change(story, parameter, value, reason="other"):
    command = asked.ChangeParameter(parameter=parameter, value=value, reason=reason)
    return session.change_parameter(story.state, command, OPERATOR, story.facts())


@pytest.mark.requirement("ST-05")
def test_fewer_trains_end_the_session_earlier_and_say_what_was_signed():
    story = Story().running().train("a").train("b")
    (event,) = change(story, "trains", 3)
    assert (event.from_value, event.to_value, event.from_train_index) == (75, 3, 2)
    story.then([event]).train("c")
    pattern = device_pattern(story.state.block, 10.0)
    assert next_train(story.state, pattern) is None
    (closed,) = conduct.close(story.state, asked.Close(reason="last-train-ended"))
    assert (closed.outcome, closed.pulses_delivered, closed.pulses_planned) == ("partial", 120, 3000)


@pytest.mark.requirement("ST-05")
@pytest.mark.invariant("INV-2")
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("trains", 76),
        ("trains", 1),
        ("coil_shift_mm", 10.1),
        ("coil_shift_mm", -0.1),
        ("coil_turn_deg", 15.1),
        ("coil_turn_deg", -15.1),
        ("train_interval_s", 29.9),
        ("percent_rmt", 120.1),
    ],
)
def test_what_goes_beyond_the_signed_plan_needs_a_new_version(parameter, value):
    story = Story().running().train("a").train("b")
    with pytest.raises(refusals.BeyondSignedBand):
        change(story, parameter, value)


@pytest.mark.requirement("ST-05")
@pytest.mark.parametrize(("parameter", "value"), [("coil_shift_mm", 10.0), ("coil_turn_deg", -15.0)])
def test_the_coil_may_be_moved_within_limits_and_back(parameter, value):
    story = Story().running()
    (there,) = change(story, parameter, value, "patient-discomfort")
    assert (there.from_value, there.to_value, there.reason) == (0.0, value, "patient-discomfort")
    (back,) = change(story.then([there]), parameter, 0.0)
    assert (back.from_value, back.to_value) == (value, 0.0)


@pytest.mark.parametrize(("parameter", "value"), [("trains", 2.5), ("trains", 0), ("percent_rmt", -1.0)])
def test_values_that_no_parameter_has_are_no_command(parameter, value):
    with pytest.raises(ValueError, match="must be"):
        asked.ChangeParameter(parameter=parameter, value=value, reason="other")


def test_fewer_trains_of_a_slow_protocol_are_counted_as_the_device_gets_them():
    story = Story(order=treatment_order(PATTERN_1HZ)).running()
    (event,) = change(story, "trains", 2)
    assert (event.from_value, event.to_value) == (3, 2)


# --- side effects, loss of consciousness, afterwards


@pytest.mark.requirement("ST-07")
@pytest.mark.parametrize("row", side_effects().effects, ids=lambda row: row.id)
def test_every_side_effect_is_recorded_with_its_consequence_and_alarm(row):
    story = Story().running()
    command = asked.ReportSideEffect(effect=row.id, severity="moderate")
    event = adverse.report_side_effect(story.state, command, "side-effect-1")
    assert (event.effect, event.severity, event.patient_id) == (row.id, "moderate", "patient-1")
    assert adverse.pauses(command) == row.id.endswith("-movement")
    assert adverse.alarms_of(command) == ({} if row.alarm is None else {row.id: row.alarm})


@pytest.mark.hazard("HZ-24")
def test_suicidal_thoughts_alarm_the_supervisor_at_once():
    story = Story(supervisor_id=None).running()
    assert adverse.alarms_of(asked.ReportSideEffect(effect="suicidal-thoughts", severity="mild")) == {
        "suicidal-thoughts": "act-now"
    }
    alert = adverse.alert(story.state, "alert-1", "act-now", "suicidal-thoughts")
    assert (alert.owner_id, alert.alarm_class, alert.session_id) == ("petra", "act-now", "session-1")


@pytest.mark.hazard("HZ-16")
@pytest.mark.parametrize("phase", ["armed", "running", "paused"])
def test_a_session_of_a_blocked_patient_stops(phase):
    story = getattr(Story(), phase)()
    with pytest.raises(refusals.PatientBlocked) as caught:
        conduct.check_going_on(story.state, story.armed_facts(adverse_event_ids=("adverse-1",)))
    assert caught.value.interlock == "patient-blocked"


@pytest.mark.hazard("HZ-16")
def test_a_blocked_patient_is_neither_armed_nor_given_another_train():
    around = Story().armed_facts(adverse_event_ids=("adverse-1",))
    with pytest.raises(refusals.PatientBlocked):
        session.check_arm(Story().checked().state, asked.Arm(ear_protection=True), OPERATOR, around)
    with pytest.raises(refusals.PatientBlocked):
        Story().running().authorise("t", around)


@pytest.mark.hazard("HZ-16")
def test_a_physician_releases_what_blocks_and_nothing_else():
    event = adverse.release("patient-1", asked.ReleasePatient(reason="faint-explained"), "release-1", ("a", "b"))
    assert event.adverse_event_ids == ("a", "b")
    with pytest.raises(refusals.PatientNotBlocked):
        adverse.release("patient-1", asked.ReleasePatient(reason="faint-explained"), "release-1", ())


def test_the_first_aid_card_is_there_in_both_languages():
    steps = first_aid().steps
    assert any("112" in step.nl and "112" in step.en for step in steps)
    assert len(steps) >= 5


@pytest.mark.requirement("ST-12")
def test_the_patients_state_is_said_once_at_the_stop_or_afterwards():
    story = Story().running()
    command = asked.RecordPatientState(patient_state="well")
    with pytest.raises(refusals.TransitionNotAllowed):
        adverse.record_patient_state(story.state, command, None)
    said = told(story.state, session.stop(story.state, asked.Stop(reason="other", patient_state="well"), OPERATOR))
    assert said.patient_state == "well"
    with pytest.raises(refusals.PatientStateKnown):
        adverse.record_patient_state(said, command, said.patient_state)
    silent = told(story.state, session.stop(story.state, asked.Stop(reason="other"), OPERATOR))
    assert silent.patient_state is None
    assert adverse.record_patient_state(silent, command, None).patient_state == "well"


@pytest.mark.hazard("HZ-19")
def test_a_hot_coil_refuses_to_start():
    hot = Story().facts(device=device(enabled=True, coil_temperature_c=43.0))
    with pytest.raises(refusals.CoilTooHot):
        session.start(Story().armed().state, asked.Start(), OPERATOR, hot)


@pytest.mark.hazard("HZ-15")
@pytest.mark.invariant("INV-4")
def test_a_session_that_runs_ends_when_another_room_learns_that_there_is_to_be_none_today():
    story = Story().running()
    learnt = story.armed_facts(no_session_today=True)
    with pytest.raises(refusals.NoSessionToday) as refusal:
        story.authorise("train-1", learnt)
    assert refusal.value.interlock == "no-session-today"
    with pytest.raises(refusals.NoSessionToday):
        conduct.check_going_on(story.state, learnt)
