"""The checks of the day: opening check, the patient's answers, presence; each leads where its list says."""

from datetime import timedelta

import pytest
from tests.stimulation.story import (
    ALL_IN_ORDER,
    CLINICIAN,
    GO,
    NOW,
    OPERATOR,
    PHYSICIAN,
    REGISTRATIONS,
    ROOM,
    SUPERVISOR,
    TECHNICIAN,
    TODAY,
    TRAINEE,
    Story,
    device,
    on_duty,
    told,
)

from spoel_common.errors import NotAllowed, RegistrationNotVerified
from spoel_common.people import Role
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import checks, conduct, refusals, roster, session
from spoel_stimulation.domain.conditions import check_presence
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.lists import daily_check, opening_check, rules
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.roster import RosterState
from spoel_stimulation.domain.start import Situation, missing

EVERY_ANSWER = [(question, answer) for question in daily_check().questions for answer in question.answers]
NAMES = [f"{question.id}: {answer.id}" for question, answer in EVERY_ANSWER]


def answered(**answers):
    story = Story(by=TECHNICIAN, supervisor_id="sanne", roster=on_duty()).identified()
    return story, *checks.answer_daily_check(story.state, asked.AnswerDailyCheck(answers=GO | answers), TODAY)


def arm(story):
    session.check_arm(story.state, asked.Arm(ear_protection=True), story.by, story.facts())


# --- the room's opening check


@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize("item", opening_check().items, ids=lambda item: item.id)
def test_every_item_of_the_opening_check_is_asked_for_and_holds_the_room(item):
    left_out = {name: ok for name, ok in ALL_IN_ORDER.items() if name != item.id}
    with pytest.raises(refusals.ListMismatch) as caught:
        checks.check_room(ROOM, asked.CheckRoom(items=left_out), TODAY)
    assert caught.value.facts["missing"] == [item.id]
    (failed,) = checks.check_room(ROOM, asked.CheckRoom(items=ALL_IN_ORDER | {item.id: False}), TODAY)
    with pytest.raises(refusals.OpeningCheckMissing, match=item.id) as caught:
        checks.check_opening(Story().facts().room.model_copy(update={"checked": failed}), TODAY)
    assert caught.value.facts["missing"] == [item.id]


def test_an_item_that_is_not_on_the_list_is_refused():
    with pytest.raises(refusals.ListMismatch):
        checks.check_room(ROOM, asked.CheckRoom(items=ALL_IN_ORDER | {"coffee": True}), TODAY)


# --- the patient's answers


def test_the_list_asks_what_the_clinic_has_to_know():
    assert [question.id for question in daily_check().questions] == [
        *("sleep", "alcohol", "drugs", "medication", "illness", "faint-or-seizure"),
        *("pregnancy", "metal-or-implant", "hearing", "mood-elevation", "suicidal-thoughts"),
    ]
    for question in daily_check().questions:
        assert {answer.outcome for answer in question.answers} > {"go"}


@pytest.mark.hazard("HZ-15")
@pytest.mark.hazard("HZ-20")
@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize(("question", "answer"), EVERY_ANSWER, ids=NAMES)
def test_each_answer_leads_to_its_outcome(question, answer):
    story, events, alarms = answered(**{question.id: answer.id})
    assert events[0].outcome == answer.outcome
    assert alarms == ({} if answer.alarm is None else {question.id: answer.alarm})
    story.then(events)
    if answer.outcome == "go":
        arm(story)
        return
    with pytest.raises(refusals.RoomRefusal) as caught:
        arm(story)
    if answer.outcome == "no-session-today":
        assert isinstance(caught.value, refusals.TransitionNotAllowed)
        assert story.state.phase is Phase.CLOSED
        assert (events[-1].outcome, events[-1].reason) == ("not-started", "daily-check")
    else:
        assert isinstance(caught.value, refusals.DailyCheckUndecided)
        assert caught.value.facts["missing"] == [question.id]
        assert story.state.checked.undecided == {question.id: answer.decider}


@pytest.mark.hazard("HZ-24")
def test_a_suicidal_answer_alarms_at_once_and_ends_the_session():
    _, events, alarms = answered(**{"suicidal-thoughts": "worse"})
    assert alarms == {"suicidal-thoughts": "act-now"}
    assert events[-1].reason == "daily-check"


@pytest.mark.hazard("HZ-15")
def test_without_the_questions_nothing_is_armed():
    with pytest.raises(refusals.DailyCheckMissing) as caught:
        arm(Story().identified())
    assert len(caught.value.facts["missing"]) == len(daily_check().questions)


@pytest.mark.hazard("HZ-15")
@pytest.mark.hazard("HZ-22")
@pytest.mark.parametrize(("hour", "minute", "held"), [(22, 59, True), (23, 0, False)])
def test_the_patients_answers_hold_for_their_own_local_day(hour, minute, held):
    story = Story().checked()
    later = NOW.replace(hour=hour, minute=minute)
    its = Situation(story.state, "session-1", story.by, None, story.facts(now=later))
    refusal = missing(its)["daily-check"]
    assert (refusal is None) is held
    assert held or isinstance(refusal, refusals.DailyCheckMissing)


@pytest.mark.parametrize(
    "answers",
    [
        {name: answer for name, answer in GO.items() if name != "sleep"},
        GO | {"weather": "fine"},
        GO | {"sleep": "like a log"},
    ],
)
def test_answers_outside_the_list_are_refused(answers):
    with pytest.raises(refusals.ListMismatch):
        checks.answer_daily_check(Story().identified().state, asked.AnswerDailyCheck(answers=answers), TODAY)


def test_questions_are_answered_once():
    with pytest.raises(refusals.DailyCheckAnsweredAlready):
        checks.answer_daily_check(Story().checked(sleep="short").state, asked.AnswerDailyCheck(answers=GO), TODAY)


def decide(story, by, question="sleep", decision="go", **changes):
    command = asked.DecideDailyCheck(question=question, decision=decision)
    return checks.decide_daily_check(story.state, command, by, story.facts(**changes))


@pytest.mark.hazard("HZ-15")
def test_the_sessions_supervisor_decides_and_the_session_goes_on():
    story, events, _ = answered(sleep="short", alcohol="more")
    story.then(events)
    story.then(decide(story, SUPERVISOR))
    with pytest.raises(refusals.DailyCheckUndecided):
        arm(story)
    story.then(decide(story, SUPERVISOR, "alcohol"))
    arm(story)


def test_a_decision_against_closes_as_not_started():
    story, events, _ = answered(sleep="short")
    story.then(events)
    decided, closed = decide(story, SUPERVISOR, decision="no-session-today")
    assert (decided.decided_as, closed.outcome, closed.reason) == ("supervisor", "not-started", "daily-check")


@pytest.mark.hazard("HZ-20")
@pytest.mark.parametrize(("question", "answer"), EVERY_ANSWER, ids=NAMES)
@pytest.mark.parametrize("by", [OPERATOR, TECHNICIAN, SUPERVISOR, PHYSICIAN, CLINICIAN], ids=lambda by: by.person_id)
def test_only_the_supervisor_and_for_medical_answers_only_a_physician_decides(question, answer, by):
    story, events, _ = answered(**{question.id: answer.id})
    story.then(events)
    if answer.outcome != "ask-supervisor":
        with pytest.raises((refusals.NothingToDecide, refusals.TransitionNotAllowed)):
            decide(story, by, question.id)
        return
    if by is PHYSICIAN or (by is SUPERVISOR and answer.decider == "supervisor"):
        (event,) = decide(story, by, question.id)
        assert event.decided_as == ("physician" if by is PHYSICIAN else "supervisor")
        return
    with pytest.raises(NotAllowed):
        decide(story, by, question.id)


def test_a_supervisor_who_is_neither_the_sessions_nor_on_duty_does_not_decide():
    story = Story().checked(sleep="short")
    with pytest.raises(refusals.SupervisionMissing):
        decide(story, SUPERVISOR)
    assert decide(story, SUPERVISOR, roster=on_duty())


# --- presence


@pytest.mark.hazard("HZ-17")
@pytest.mark.requirement("ST-11")
def test_nothing_starts_goes_on_or_resumes_without_presence():
    limit_s = rules().presence.every_s
    late = {"presence_age_s": limit_s + 0.001}
    with pytest.raises(refusals.PresenceMissing):
        session.start(Story().armed().state, asked.Start(), OPERATOR, Story().armed_facts(**late))
    go_on = asked.Resume(ear_protection=True)
    with pytest.raises(refusals.PresenceMissing):
        session.resume(Story().paused().state, go_on, OPERATOR, Story().armed_facts(**late))
    with pytest.raises(refusals.PresenceMissing) as caught:
        Story().running().authorise("t", Story().armed_facts(**late))
    assert caught.value.interlock == "presence-missed"
    with pytest.raises(refusals.PresenceMissing):
        conduct.check_going_on(Story().running().state, Story().armed_facts(**late))
    conduct.check_going_on(Story().paused().state, Story().armed_facts(**late))
    assert Story().running().authorise("t", Story().armed_facts(presence_age_s=limit_s))


def test_a_node_may_ask_for_presence_more_often():
    with pytest.raises(refusals.PresenceMissing):
        check_presence(Story().facts(presence_age_s=61.0, limits=Limits(max_presence_age_s=60.0)))


@pytest.mark.requirement("ST-11")
@pytest.mark.parametrize("phase", ["armed", "running", "paused"])
def test_a_patient_who_is_not_awake_is_not_stimulated(phase):
    story = getattr(Story(), phase)()
    command = asked.ConfirmPresence(awake=False)
    events = checks.confirm_presence(story.state, command, TECHNICIAN, None, NOW)
    assert [event.event_name for event in events] == ["presence-confirmed", "session-paused"]
    assert events[1].reason == "patient-not-awake"
    assert told(story.state, events).phase in (Phase.INTERRUPTED, Phase.IDENTIFIED)


def also_a_trainee(person):
    return person.model_copy(update={"roles": person.roles | {Role.TRAINEE}})


def present(story, by, *, awake=True):
    registration = REGISTRATIONS.get(by.person_id)
    return checks.confirm_presence(story.state, asked.ConfirmPresence(awake=awake), by, registration, NOW)


@pytest.mark.requirement("ST-01")
@pytest.mark.requirement("ST-11")
@pytest.mark.hazard("HZ-17")
@pytest.mark.parametrize(
    "by",
    [TRAINEE, CLINICIAN, *map(also_a_trainee, (OPERATOR, TECHNICIAN, SUPERVISOR))],
    ids=lambda by: "+".join(sorted(by.roles)),
)
def test_a_trainee_alone_is_nobody(by):
    with pytest.raises(NotAllowed):
        present(Story().running(), by)


@pytest.mark.requirement("ST-01")
@pytest.mark.hazard("HZ-17")
def test_in_a_session_that_a_trainee_runs_a_registered_professional_is_in_the_room():
    story = Story(by=TRAINEE, supervisor_id="sanne", roster=on_duty()).running()
    for by in (TRAINEE, TECHNICIAN):
        with pytest.raises(NotAllowed):
            present(story, by)
    with pytest.raises(RegistrationNotVerified):
        checks.confirm_presence(story.state, asked.ConfirmPresence(awake=True), OPERATOR, None, NOW)
    for by in (OPERATOR, SUPERVISOR, PHYSICIAN):
        assert [event.event_name for event in present(story, by)] == ["presence-confirmed"]


@pytest.mark.requirement("ST-01")
def test_who_is_also_a_trainee_runs_sessions_as_one_and_supervises_nobody():
    (opened,) = session.open_session(
        Story().state,
        asked.OpenSession(session_id="session-1", supervisor_id="sanne"),
        also_a_trainee(OPERATOR),
        Story().facts(roster=on_duty()),
    )
    assert opened.operator_role == "trainee"
    with pytest.raises(refusals.SupervisionMissing):
        session.open_session(
            Story().state, asked.OpenSession(session_id="session-1"), also_a_trainee(OPERATOR), Story().facts()
        )
    until = NOW + timedelta(hours=8)
    with pytest.raises(NotAllowed):
        roster.decide(RosterState(), asked.StartSupervision(until=until), also_a_trainee(SUPERVISOR), NOW)
    with pytest.raises(NotAllowed):
        decide(
            Story(by=TECHNICIAN, supervisor_id="sanne", roster=on_duty()).checked(sleep="short"),
            also_a_trainee(SUPERVISOR),
        )


@pytest.mark.requirement("ST-11")
@pytest.mark.invariant("INV-8")
def test_that_the_patient_is_not_awake_is_taken_from_a_trainee_too():
    story = Story().running()
    events = present(story, TRAINEE, awake=False)
    assert story.then(events).state.phase is Phase.INTERRUPTED


# --- ears, site and side again


def resume(story, after_s, **said):
    facts = story.armed_facts(now=story.now + timedelta(seconds=after_s))
    return session.resume(story.state, asked.Resume(ear_protection=True, **said), OPERATOR, facts)


@pytest.mark.hazard("HZ-03")
@pytest.mark.hazard("HZ-19")
@pytest.mark.requirement("ST-11")
def test_after_five_minutes_of_pause_the_side_is_chosen_again():
    assert not resume(Story().paused(), 299)[0].site_confirmed
    with pytest.raises(refusals.SiteConfirmationMissing):
        resume(Story().paused(), 300)
    with pytest.raises(refusals.SiteMismatch):
        resume(Story().paused(), 300, side_or_site="right")
    assert resume(Story().paused(), 300, side_or_site="left")[0].site_confirmed
    with pytest.raises(refusals.EarProtectionMissing):
        session.resume(Story().paused().state, asked.Resume(side_or_site="left"), OPERATOR, Story().armed_facts())


@pytest.mark.hazard("HZ-19")
@pytest.mark.parametrize("reason", ["coil-changed", "unasked-change", "link-lost", "service-restart"])
def test_where_the_coil_may_have_moved_the_side_is_chosen_again(reason):
    story = Story().running()
    story.then(conduct.interrupt(story.state, asked.Interrupt(reason=reason), story.now))
    story.then(armed_again(story))
    with pytest.raises(refusals.SiteConfirmationMissing):
        resume(story, 1)
    assert resume(story, 1, side_or_site="left-dlpfc")
    before = Story().armed()
    before.then(conduct.interrupt(before.state, asked.Interrupt(reason=reason), before.now))
    before.then(armed_again(before))
    with pytest.raises(refusals.SiteConfirmationMissing):
        session.start(before.state, asked.Start(), OPERATOR, before.armed_facts())
    assert session.start(before.state, asked.Start(side_or_site="left"), OPERATOR, before.armed_facts())


def armed_again(story):
    command = asked.RecordArmed(settings={"set": {}, "read_back": {}}, coil_model="Cool-B65", percent_mso=60)
    return session.record_armed(story.state, command)


def test_a_pause_within_a_pause_began_when_the_first_did():
    story = Story().paused()
    later = story.now + timedelta(seconds=200)
    story.then(conduct.interrupt(story.state, asked.Interrupt(reason="presence-missed"), later))
    assert story.state.paused_at == story.now


# --- interlocks that are looked at


@pytest.mark.hazard("HZ-19")
@pytest.mark.invariant("INV-4")
@pytest.mark.parametrize("phase", ["armed", "running", "paused"])
@pytest.mark.parametrize(
    ("seen", "interlock"),
    [
        ({"coil_temperature_c": 41.0}, "coil-temperature"),
        ({"coil_temperature_c": 40.0, "max_coil_temperature_c": 40.0}, "coil-temperature"),
        ({"coil_model": "none"}, "coil-changed"),
        ({"coil_model": "MCF-B65"}, "coil-changed"),
        ({"status_age_s": 2.1}, "status-too-old"),
    ],
)
def test_what_the_device_shows_stops_an_armed_session(phase, seen, interlock):
    story = getattr(Story(), phase)()
    with pytest.raises(refusals.RoomRefusal) as caught:
        conduct.check_going_on(story.state, story.facts(device=device(enabled=True, **seen)))
    assert caught.value.interlock == interlock


def test_a_coil_below_its_limit_goes_on():
    story = Story().running()
    conduct.check_going_on(story.state, story.armed_facts(device=device(enabled=True, coil_temperature_c=40.9)))


def test_registrations_of_the_story_are_those_of_its_people():
    assert set(REGISTRATIONS) == {OPERATOR.person_id, SUPERVISOR.person_id, PHYSICIAN.person_id}
