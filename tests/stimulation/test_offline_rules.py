"""What may begin while a room, or another room, is cut off; and how long a grant lasts. Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.stimulation.story import NOW, OPERATOR, SESSION, TECHNICIAN, Story, booking, device, facts, known

from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conduct, grant, offline, refusals, session
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.reach import OtherBooking, Reach, lease_ends_at
from spoel_stimulation.domain.state import SessionState

CUT = {"known": known(intake_s=61.0, planning_s=61.0), "reach": Reach(connected=False)}
TOO_LONG = {"known": known(intake_s=3_601.0), "reach": Reach(connected=False)}


def opened(around, **said):
    command = asked.OpenSession(session_id=SESSION, **said)
    (event,) = session.open_session(SessionState(), command, OPERATOR, around)
    return event


def other(**changes):
    described = {
        "session_id": "session-2",
        "room_id": "room-2",
        "kind": "treatment",
        "starts_at": NOW,
        "ends_at": NOW + timedelta(hours=1),
        "cancelled": False,
        "released": False,
        "closed": False,
        "age_s": 1.0,
    }
    return OtherBooking.model_validate(described | changes)


# --- a start without network


@pytest.mark.invariant("INV-4")
@pytest.mark.hazard("HZ-21")
def test_a_room_that_is_cut_off_starts_only_after_consent_was_asked_again_and_records_both():
    online = opened(facts())
    assert (online.offline, online.consent_asked_again) == (False, False)
    with pytest.raises(refusals.StaleKnowledge, match="consent_asked_again") as refused:
        opened(facts(**CUT))
    assert refused.value.facts["missing"] == ["consent-asked-again"]
    assert "cut off from NATS" in refused.value.detail
    begun = opened(facts(**CUT), consent_asked_again=True)
    assert (begun.offline, begun.consent_asked_again) == (True, True)
    assert [each.age_s for each in begun.known] == [61.0, 61.0]


@pytest.mark.invariant("INV-4")
@pytest.mark.hazard("HZ-21")
def test_asking_again_stands_for_no_consent_that_was_never_heard_of_or_was_withdrawn():
    for consent, refusal in ((None, refusals.ConsentMissing), ("withdrawn", refusals.ConsentWithdrawn)):
        with pytest.raises(refusal):
            opened(facts(**CUT, consent=consent), consent_asked_again=True)
    story = Story().armed()
    for consent, refusal in ((None, refusals.ConsentMissing), ("withdrawn", refusals.ConsentWithdrawn)):
        around = story.armed_facts(**CUT, consent=consent)
        with pytest.raises(refusal):
            session.start(story.state, asked.Start(consent_asked_again=True), OPERATOR, around)


@pytest.mark.invariant("INV-4")
@pytest.mark.parametrize(
    ("around", "missing"),
    [
        (TOO_LONG, "network"),
        ({"known": (), "reach": Reach(connected=False)}, "network"),
        ({"known": known(), "limits": Limits(max_knowledge_age_s=0.5, max_offline_age_s=0.9)}, "network"),
        (CUT | {"reach": Reach(aside=("/spoel/local/intake/main",))}, "events-aside"),
    ],
)
def test_asking_again_does_not_help_where_too_much_may_be_missing(around, missing):
    with pytest.raises(refusals.StaleKnowledge) as refused:
        opened(facts(**around), consent_asked_again=True)
    assert refused.value.facts["missing"] == [missing]


def test_a_stopped_service_is_told_apart_from_a_cut_link():
    with pytest.raises(refusals.StaleKnowledge, match="connected, but that service is not heard"):
        opened(facts(**CUT | {"reach": Reach(connected=True)}))


@pytest.mark.hazard("HZ-14")
def test_no_accelerated_day_begins_without_network():
    opened(facts(other_treatments_that_day=9))
    with pytest.raises(refusals.AcceleratedDayOffline, match="10 treatments"):
        opened(facts(**CUT, other_treatments_that_day=9), consent_asked_again=True)
    measurement = facts("measurement", **CUT, other_treatments_that_day=1)
    assert opened(measurement, consent_asked_again=True).offline


@pytest.mark.hazard("HZ-21")
@pytest.mark.parametrize("act", ["arm", "start", "resume"])
def test_a_session_that_was_opened_online_asks_too_before_it_goes_on_cut_off(act):
    story = {"arm": Story().checked, "start": Story().armed, "resume": Story().paused}[act]()

    def go_on(**said):
        around = story.facts(**CUT, device=device(enabled=act != "arm"))
        if act == "arm":
            return session.check_arm(story.state, asked.Arm(ear_protection=True, **said), OPERATOR, around)
        if act == "start":
            again = said.get("consent_asked_again", False)
            return session.start(story.state, asked.Start(consent_asked_again=again), OPERATOR, around)
        return session.resume(story.state, asked.Resume(ear_protection=True, **said), OPERATOR, around)

    with pytest.raises(refusals.StaleKnowledge):
        go_on()
    events = go_on(consent_asked_again=True)
    if events:
        assert events[0].consent_asked_again
        story.then(events)
        assert story.state.consent_asked_again


@pytest.mark.requirement("ST-03")
def test_a_session_that_has_begun_goes_on_cut_off_train_by_train_and_after_a_pause():
    story = Story().running().train()
    story.now += timedelta(seconds=30)
    around = story.armed_facts(**TOO_LONG)
    (authorised,) = story.authorise("train-2", around)
    assert authorised.known[0].age_s == 3_601.0
    story.then(session.pause(story.state, asked.Pause(reason="coil-check"), OPERATOR, story.now))
    cut = story.armed_facts(**CUT, other_treatments_that_day=9)
    resume = asked.Resume(ear_protection=True, consent_asked_again=True)
    story.then(session.resume(story.state, resume, OPERATOR, cut))
    story.then(session.pause(story.state, asked.Pause(reason="coil-check"), OPERATOR, story.now))
    story.then(session.resume(story.state, asked.Resume(ear_protection=True), OPERATOR, cut))  # asked once a session
    assert story.state.phase is Phase.RUNNING


# --- leases


@pytest.mark.hazard("HZ-02")
@pytest.mark.hazard("HZ-14")
@pytest.mark.parametrize(
    ("elsewhere", "free"),
    [
        (other(), True),
        (other(age_s=60.1), False),
        (other(age_s=1e9), False),
        (other(cancelled=True), False),
        (other(cancelled=True, age_s=1e9), False),
        (other(cancelled=True, released=True, age_s=1e9), True),
        (other(closed=True, age_s=1e9), True),
        (other(cancelled=True, closed=True), True),
    ],
)
@pytest.mark.parametrize("cut", [{}, CUT])
def test_a_patient_whom_another_room_may_be_treating_is_not_begun_with(elsewhere, free, cut):
    around = facts(**cut, elsewhere=(elsewhere,))
    if free:
        opened(around, consent_asked_again=True)
        return
    with pytest.raises(refusals.LeasedElsewhere, match="room-2") as refused:
        opened(around, consent_asked_again=True)
    assert refused.value.facts["lease_ends_at"] == "2026-11-23T00:00:00+01:00"


@pytest.mark.hazard("HZ-02")
def test_a_room_never_opens_what_it_gave_back():
    with pytest.raises(refusals.LeaseReleasedHere):
        opened(facts(released=True))


@pytest.mark.hazard("HZ-22")
@pytest.mark.parametrize(
    ("starts_at", "ends"),
    [
        (datetime(2026, 10, 24, 23, 0, tzinfo=UTC), datetime(2026, 10, 25, 23, 0, tzinfo=UTC)),  # a day of 25 hours
        (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), datetime(2026, 3, 29, 22, 0, tzinfo=UTC)),  # a day of 23 hours
        (datetime(2026, 7, 1, 21, 30, tzinfo=UTC), datetime(2026, 7, 1, 22, 30, tzinfo=UTC)),  # ends after midnight
    ],
)
def test_a_lease_lasts_for_the_local_day_of_its_booking(starts_at, ends):
    assert lease_ends_at(starts_at, starts_at + timedelta(hours=1)) == ends


# --- grants


def test_a_grant_has_an_end():
    assert opened(facts()).grant_until == NOW + timedelta(hours=4)
    assert opened(facts(limits=Limits(grant_s=60))).grant_until == NOW + timedelta(minutes=1)


@pytest.mark.invariant("INV-4")
@pytest.mark.parametrize("how", ["over", "revoked"])
def test_a_grant_that_ended_stops_the_session_and_its_operator(how):
    story = Story().running()
    if how == "over":
        around = story.armed_facts(now=NOW + timedelta(hours=4))
    else:
        around = story.armed_facts()
        story.then(grant.revoke(story.state, asked.RevokeGrant(reason="access-withdrawn")))
    for act in (
        lambda: conduct.check_going_on(story.state, around),
        lambda: story.authorise("t", around),
        lambda: session.change_parameter(
            story.state, asked.ChangeParameter(parameter="percent_rmt", value=100.0, reason="pain"), OPERATOR, around
        ),
    ):
        with pytest.raises(refusals.GrantEnded) as refused:
            act()
        assert refused.value.interlock == "grant-ended"
    story.then(conduct.interrupt(story.state, asked.Interrupt(reason="grant-ended"), story.now))
    with pytest.raises(refusals.GrantEnded):
        session.check_arm(story.state, asked.Arm(ear_protection=True), OPERATOR, story.facts(now=around.now))
    story.then(session.stop(story.state, asked.Stop(reason="other"), TECHNICIAN))
    assert story.state.ended


def test_a_grant_is_revoked_once_and_only_of_an_open_session():
    revoke = asked.RevokeGrant(reason="not-in-the-room")
    story = Story().opened().then(grant.revoke(Story().opened().state, revoke))
    with pytest.raises(refusals.GrantEnded):
        grant.revoke(story.state, revoke)
    for over in (SessionState(), Story().closed().state):
        with pytest.raises(refusals.TransitionNotAllowed):
            grant.revoke(over, revoke)


def test_a_grant_covers_its_own_person_while_it_lasts():
    running = Story().running().state
    assert grant.covers(running, OPERATOR.person_id, NOW)
    assert not grant.covers(running, TECHNICIAN.person_id, NOW)
    assert not grant.covers(running, OPERATOR.person_id, NOW + timedelta(hours=4))
    assert not grant.covers(SessionState(), OPERATOR.person_id, NOW)
    assert not grant.covers(Story().closed().state, OPERATOR.person_id, NOW)
    revoked = Story().running()
    revoked.then(grant.revoke(revoked.state, asked.RevokeGrant(reason="other")))
    assert not grant.covers(revoked.state, OPERATOR.person_id, NOW)


def test_a_session_of_before_grants_had_an_end_has_none():
    event = opened(facts()).model_copy(update={"grant_until": None})
    story = Story().then([event])
    conduct.check_grant(story.state, facts(now=NOW + timedelta(days=1)))
    assert not grant.covers(story.state, OPERATOR.person_id, NOW)


def test_offline_is_a_matter_of_the_oldest_service():
    with pytest.raises(refusals.StaleKnowledge) as refused:
        offline.check_reach(facts(known=known(planning_s=90.0)), booking(), asked_again=False)
    assert refused.value.facts["service"] == "planning"
