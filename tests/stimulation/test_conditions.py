"""Start conditions: each one missing, in turn, refuses with its own kind of problem, and nothing is decided."""

from datetime import UTC, date, datetime, timedelta

import pytest
from tests.stimulation.story import (
    CLINICIAN,
    KEY,
    NOW,
    OPERATOR,
    PATTERN_CTBS,
    REGISTRATIONS,
    SESSION,
    SUPERVISOR,
    TECHNICIAN,
    TODAY,
    Story,
    booking,
    checked_room,
    device,
    facts,
    known,
    measurement_order,
    on_duty,
    treatment_order,
)

from spoel_common.errors import NotAllowed, RegistrationNotVerified
from spoel_common.people import Actor, Role
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import conduct, refusals, session
from spoel_stimulation.domain.facts import NEEDED_SERVICES, Given, OrderFacts
from spoel_stimulation.domain.room import Latch, RoomState
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.orders import ThresholdKey

OPEN = asked.OpenSession(session_id=SESSION)
LATCHED = RoomState(latch=Latch(reason="device-fault", detail="train incomplete"), checked=checked_room())
YESTERDAY = checked_room(TODAY - timedelta(days=1))


def opened(changed_facts, by=OPERATOR, command=OPEN):
    return session.open_session(SessionState(), command, by, changed_facts)


def with_order(**changes):
    return OrderFacts(**({"treatment": treatment_order(), "newest_version": 1} | changes))


@pytest.mark.requirement("ST-02")
def test_a_session_opens_when_every_condition_holds():
    (event,) = opened(facts())
    assert event.treatment_order == treatment_order()
    assert (event.operator_id, event.operator_role) == ("petra", "tms-professional")
    assert [item.source for item in event.known] == ["/spoel/local/intake/main", "/spoel/local/planning/main"]


MISSING = {
    "no booking": ({"booking": None}, refusals.BookingUnknown),
    "booking of another room": ({"booking": booking(room_id="room-2")}, refusals.WrongRoom),
    "cancelled booking": ({"booking": booking(cancelled=True)}, refusals.BookingCancelled),
    "no consent": ({"consent": None}, refusals.ConsentMissing),
    "consent withdrawn": ({"consent": "withdrawn"}, refusals.ConsentWithdrawn),
    "no indication": ({"indication": None}, refusals.IndicationMissing),
    "not indicated": ({"indication": "not-indicated"}, refusals.NotIndicated),
    "no signed order": ({"order": OrderFacts()}, refusals.OrderNotSigned),
    "booked version not signed": ({"order": with_order(treatment=None, newest_version=None)}, refusals.OrderNotSigned),
    "newer version signed": ({"order": with_order(newest_version=2)}, refusals.OrderSuperseded),
    "order withdrawn": ({"order": with_order(withdrawn=True)}, refusals.OrderWithdrawn),
    "no registration": ({"registrations": {}}, RegistrationNotVerified),
    "latched room": ({"room": LATCHED}, refusals.RoomLatchedRefusal),
    "room busy": ({"busy_with": "session-0"}, refusals.RoomBusy),
    "patient in another room": ({"patient_busy_in": "room-2"}, refusals.RoomBusy),
    "device away": ({"device": device(ready=False, problem="away")}, refusals.DeviceNotReady),
    "old device status": ({"device": device(status_age_s=2.1)}, refusals.StatusTooOld),
    "coil too hot": ({"device": device(coil_temperature_c=41.0)}, refusals.CoilTooHot),
    "room never checked": ({"room": RoomState()}, refusals.OpeningCheckMissing),
    "room checked yesterday": ({"room": RoomState(checked=YESTERDAY)}, refusals.OpeningCheckMissing),
    "first-aid things missing": (
        {"room": RoomState(checked=checked_room(**{"first-aid": False}))},
        refusals.OpeningCheckMissing,
    ),
    "lost consciousness": ({"adverse_event_ids": ("adverse-1",)}, refusals.PatientBlocked),
    "an answer of today": ({"no_session_today": True}, refusals.NoSessionToday),
    "enough for today": ({"given": Given(pulses_today=1)}, refusals.DailyMaximumReached),
    "too soon": (
        {"given": Given(last_at=NOW - timedelta(hours=4) + timedelta(seconds=1))},
        refusals.TooSoonAfterSession,
    ),
    "knows nothing": ({"known": ()}, refusals.StaleKnowledge),
    "never heard of planning": ({"known": known()[:1]}, refusals.StaleKnowledge),
    "old intake": ({"known": known(intake_s=60.1)}, refusals.StaleKnowledge),
    "old planning": ({"known": known(planning_s=1e9)}, refusals.StaleKnowledge),
}


@pytest.mark.invariant("INV-4")
@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_condition_refuses_to_open(missing):
    changes, refusal = MISSING[missing]
    with pytest.raises(refusal) as caught:
        opened(facts(**changes))
    assert caught.value.detail
    assert type(caught.value) is refusal


@pytest.mark.hazard("HZ-14")
@pytest.mark.requirement("ST-12")
@pytest.mark.parametrize("starts_at", ["2026-11-21T22:59:00Z", "2026-11-22T23:00:00Z"])
def test_a_session_of_another_local_day_is_not_opened(starts_at):
    with pytest.raises(refusals.BookedForAnotherDay):
        opened(facts(booking=booking(starts_at=starts_at)))


@pytest.mark.parametrize("starts_at", ["2026-11-21T23:00:00Z", "2026-11-22T22:59:00Z"])
def test_a_session_of_this_local_day_is_opened_before_or_after_its_time(starts_at):
    assert opened(facts(booking=booking(starts_at=starts_at)))


@pytest.mark.invariant("INV-4")
@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("act", ["arm", "start", "resume"])
def test_a_missing_condition_refuses_to_arm_start_and_resume(act, missing):
    changes, refusal = MISSING[missing]
    story = {"arm": Story().checked, "start": Story().armed, "resume": Story().paused}[act]()
    changed = {"device": device(enabled=act != "arm")} | changes
    if missing in ("old device status", "coil too hot"):
        changed["device"] = changes["device"].model_copy(update={"enabled": True})
    with pytest.raises(refusal):
        do(act, story, facts(**changed))


def do(act, story, around):
    if act == "arm":
        session.check_arm(story.state, asked.Arm(ear_protection=True), OPERATOR, around)
    elif act == "start":
        session.start(story.state, asked.Start(), OPERATOR, around)
    else:
        session.resume(story.state, asked.Resume(ear_protection=True), OPERATOR, around)


@pytest.mark.parametrize("act", ["start", "resume"])
def test_a_device_that_is_not_armed_is_not_started(act):
    story = {"start": Story().armed, "resume": Story().paused}[act]()
    with pytest.raises(refusals.DeviceNotReady):
        do(act, story, facts())


@pytest.mark.hazard("HZ-18")
@pytest.mark.requirement("ST-11")
def test_arming_and_resuming_without_ear_protection_is_refused():
    with pytest.raises(refusals.EarProtectionMissing):
        session.check_arm(Story().checked().state, asked.Arm(), OPERATOR, facts())
    with pytest.raises(refusals.EarProtectionMissing):
        session.resume(
            Story().paused().state, asked.Resume(ear_protection=False), OPERATOR, facts(device=device(enabled=True))
        )


@pytest.mark.requirement("ST-01")
@pytest.mark.hazard("HZ-17")
@pytest.mark.parametrize(
    ("supervisor_id", "roster"),
    [
        (None, on_duty()),
        ("nobody", on_duty()),
        ("sanne", on_duty(until=NOW)),
        ("sanne", None),
        ("tom", on_duty(TECHNICIAN)),
    ],
)
def test_a_technician_without_a_named_supervisor_on_duty_is_refused(supervisor_id, roster):
    command = asked.OpenSession(session_id=SESSION, supervisor_id=supervisor_id)
    around = facts(**({"roster": roster} if roster else {}))
    with pytest.raises(refusals.SupervisionMissing):
        opened(around, TECHNICIAN, command)


@pytest.mark.requirement("ST-01")
def test_a_technician_works_under_a_supervisor_on_duty():
    command = asked.OpenSession(session_id=SESSION, supervisor_id="sanne")
    (event,) = opened(facts(roster=on_duty()), TECHNICIAN, command)
    assert (event.operator_role, event.supervisor_id) == ("tms-technician", "sanne")


@pytest.mark.requirement("ST-01")
def test_a_supervisor_without_a_registration_supervises_nobody():
    command = asked.OpenSession(session_id=SESSION, supervisor_id="sanne")
    with pytest.raises(refusals.SupervisionMissing):
        opened(facts(roster=on_duty(), registrations={}), TECHNICIAN, command)


@pytest.mark.parametrize("by", [CLINICIAN, SUPERVISOR, Actor(person_id="x", roles=frozenset({Role.AUDITOR}))])
def test_other_roles_do_not_run_sessions(by):
    with pytest.raises(NotAllowed):
        opened(facts(registrations=REGISTRATIONS), by)


def test_another_person_does_not_go_on_with_somebodys_session():
    colleague = OPERATOR.model_copy(update={"person_id": "paul"})
    with pytest.raises(refusals.NotTheOperator):
        session.start(Story().armed().state, asked.Start(), colleague, facts(device=device(enabled=True)))


@pytest.mark.hazard("HZ-04")
@pytest.mark.parametrize("field", KEY)
def test_every_field_of_the_thresholds_key_changed_in_turn_is_refused(field):
    other = "monophasic" if field == "waveform" else "reverse" if field == "current_direction" else "another"
    measured = ThresholdKey.model_validate(KEY | {field: other})
    with pytest.raises(refusals.ThresholdKeyMismatch) as caught:
        opened(facts(order=with_order(threshold_keys={"threshold-1": measured})))
    assert caught.value.facts["fields"] == [field]


@pytest.mark.hazard("HZ-04")
@pytest.mark.parametrize(("field", "there"), [("model", "MagPro R30"), ("coil_model", "MCF-B65")])
def test_another_stimulator_or_coil_in_the_room_is_refused(field, there):
    with pytest.raises(refusals.ThresholdKeyMismatch):
        opened(facts(device=device(**{field: there})))
    with pytest.raises(refusals.ThresholdKeyMismatch):
        do("start", Story().armed(), facts(device=device(enabled=True, **{field: there})))


@pytest.mark.hazard("HZ-05")
@pytest.mark.parametrize(
    "wrong",
    [
        {"percent_mso": 61},
        {"ceiling_percent_mso": 61},
        {"floor_percent_mso": 41},
        {"pulses": 2999},
        {"percent_rmt": 121.0},
    ],
)
def test_an_order_whose_figures_contradict_each_other_is_refused(wrong):
    with pytest.raises(refusals.OrderInconsistent):
        opened(facts(signed=treatment_order(**wrong)))


@pytest.mark.invariant("INV-11")
def test_a_train_too_long_for_one_start_command_is_refused():
    with pytest.raises(refusals.TrainBeyondLimits):
        opened(facts(signed=treatment_order(PATTERN_CTBS)))


@pytest.mark.hazard("HZ-22")
@pytest.mark.parametrize(
    ("now", "holds"),
    [
        (datetime(2026, 11, 21, 22, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 21, 23, 0, tzinfo=UTC), True),
        (datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), False),
    ],
)
def test_a_measurement_order_holds_on_its_local_day(now, holds):
    around = facts("measurement", now=now, booking=booking("measurement", starts_at=now))
    if holds:
        assert opened(around)[0].measurement_order == measurement_order()
        return
    with pytest.raises(refusals.MeasurementOrderExpired):
        opened(around)


def test_summer_time_moves_the_local_day():
    order = measurement_order(valid_on=date(2026, 7, 1))
    now = datetime(2026, 6, 30, 22, 0, tzinfo=UTC)
    assert opened(facts("measurement", order, now=now, booking=booking("measurement", starts_at=now)))


@pytest.mark.invariant("INV-4")
def test_knowledge_at_the_limit_is_still_good_and_its_age_is_recorded():
    (event,) = opened(facts(known=known(60.0, 59.9994)))
    assert [item.age_s for item in event.known] == [60.0, 59.999]
    assert NEEDED_SERVICES == ("intake", "planning")


GOING_ON = {
    "consent withdrawn": ({"consent": "withdrawn"}, "consent-withdrawn"),
    "not indicated any more": ({"indication": "not-indicated"}, "indication-ended"),
    "newer version": ({"order": with_order(newest_version=2)}, "order-superseded"),
    "order withdrawn": ({"order": with_order(withdrawn=True)}, "order-withdrawn"),
    "registration ended": ({"registrations": {}}, "registration-ended"),
}


@pytest.mark.invariant("INV-4")
@pytest.mark.parametrize("known_end", GOING_ON)
@pytest.mark.parametrize("phase", ["armed", "running", "paused"])
def test_a_known_end_stops_an_armed_session_at_once(known_end, phase):
    changes, interlock = GOING_ON[known_end]
    state = getattr(Story(), phase)().state
    with pytest.raises(refusals.RoomRefusal) as caught:
        conduct.check_going_on(state, facts(**changes))
    assert caught.value.interlock == interlock


UNKNOWN = {
    "consent": ({"consent": None}, "consent-missing"),
    "indication": ({"indication": None}, "indication-missing"),
    "order": ({"order": OrderFacts()}, "order-missing"),
}


@pytest.mark.invariant("INV-4")
@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_what_is_not_known_any_more_lets_no_next_train_begin(unknown):
    changes, interlock = UNKNOWN[unknown]
    story, measured = Story().running(), Story("measurement", measurement_order()).running()
    stimulus = asked.Stimulate(percent_mso=40)
    asks = [
        lambda: story.authorise("t", story.armed_facts(**changes)),
        lambda: session.stimulate(measured.state, stimulus, "t", OPERATOR, measured.armed_facts(**changes)),
    ]
    for ask in asks:
        with pytest.raises(refusals.RoomRefusal) as caught:
            ask()
        assert caught.value.interlock == interlock
    conduct.check_going_on(story.state, facts(**changes))  # only a known end stops the train that is under way


@pytest.mark.invariant("INV-4")
@pytest.mark.hazard("HZ-17")
def test_the_end_of_supervision_stops_a_technicians_session():
    story = Story(by=TECHNICIAN, supervisor_id="sanne", roster=on_duty()).running()
    with pytest.raises(refusals.SupervisionMissing) as caught:
        conduct.check_going_on(story.state, facts(roster=on_duty(until=NOW - timedelta(seconds=1))))
    assert caught.value.interlock == "supervision-ended"


def test_old_knowledge_does_not_stop_a_running_session():
    conduct.check_going_on(Story().running().state, facts(known=known(3_600, 3_600)))
    story = Story().running()
    assert conduct.authorise_train(
        story.state,
        asked.AuthoriseTrain(train_id="t", percent_mso=story.state.percent_mso),
        facts(device=device(enabled=True), known=known(900, 900)),
    )


def test_what_is_not_armed_has_nothing_to_stop():
    conduct.check_going_on(Story().identified().state, facts(consent="withdrawn"))
