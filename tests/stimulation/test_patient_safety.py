"""Checks, presence, side effects and loss of consciousness in a room: over HTTP, with journal and simulator."""

import sqlite3
from datetime import timedelta

import pytest
from tests.stimulation.clinic import fast_clock, firing_frames, simulated
from tests.stimulation.story import (
    ALL_IN_ORDER,
    CLINICIAN,
    OPERATOR,
    PATTERN_10HZ,
    PATTERN_ITBS,
    PHYSICIAN,
    SUPERVISOR,
    TECHNICIAN,
    TRAINEE,
    treatment_order,
)

from spoel_common.clock import utc_now
from spoel_common.ids import new_id
from spoel_stimulation.devices.simulation.faults import Fault

SHORT = PATTERN_ITBS.model_copy(update={"trains": 3})
AGAIN = {"ear_protection": True, "side_or_site": "left"}


def slug(answer):
    return answer.json()["type"].rpartition(":")[2]


async def in_a_train(clinic, order=None):
    session_id = await clinic.started(await clinic.prepare(order or treatment_order(PATTERN_10HZ)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    return session_id


async def shown(clinic, session_id):
    answer = await clinic.get(f"/sessions/{session_id}/conditions")
    assert answer.status_code == 200, answer.text
    view = answer.json()
    return {each["name"]: each for each in view["conditions"]}, view["allowed"]


# --- start conditions, all at once


@pytest.mark.requirement("ST-02")
@pytest.mark.requirement("ST-10")
async def test_everything_that_is_missing_is_shown_at_once_and_is_what_the_acts_refuse(clinic):
    session_id = await clinic.book()
    conditions, allowed = await shown(clinic, session_id)
    missing = {name for name, each in conditions.items() if not each["holds"]}
    assert missing >= {"order", "consent", "indication", "people", "opening-check", "identity", "daily-check"}
    assert conditions["opening-check"]["problem"] == "urn:spoel:problem:opening-check-missing"
    assert conditions["consent"]["title"]["nl"] == "De patiënt heeft toestemming gegeven"
    assert allowed == {"open": False, "arm": False, "start": False}
    assert (await clinic.open(session_id)).json()["type"] == conditions["order"]["problem"]
    await clinic.prepare(treatment_order(SHORT))
    assert (await shown(clinic, session_id))[1] == {"open": True, "arm": False, "start": False}
    await clinic.open(session_id)
    await clinic.identify(session_id)
    conditions, _ = await shown(clinic, session_id)
    assert {name for name, each in conditions.items() if not each["holds"]} == {"daily-check", "armed", "presence"}
    assert (await clinic.arm(session_id)).json()["type"] == conditions["daily-check"]["problem"]
    await clinic.check_patient(session_id)
    assert (await shown(clinic, session_id))[1]["arm"]
    await clinic.arm(session_id)
    conditions, _ = await shown(clinic, session_id)
    assert (await clinic.ask(session_id, "start")).json()["type"] == conditions["presence"]["problem"]
    await clinic.present(session_id)
    conditions, allowed = await shown(clinic, session_id)
    assert all(each["holds"] for each in conditions.values()), conditions
    assert allowed == {"open": True, "arm": True, "start": True}
    assert (await clinic.ask(session_id, "start")).status_code == 200


@pytest.mark.requirement("ST-02")
async def test_a_room_is_used_only_after_todays_check_in_which_all_was_in_order(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    path = "/rooms/room-1/opening-check"
    failed = await clinic.post(path, {"items": ALL_IN_ORDER | {"first-aid": False}}, TECHNICIAN)
    assert (failed.status_code, failed.json()["failed"]) == (201, ["first-aid"])
    refused = await clinic.open(session_id)
    assert (slug(refused), refused.json()["missing"]) == ("opening-check-missing", ["first-aid"])
    view = (await clinic.get(path)).json()
    assert view["done"]["items"]["first-aid"] is False
    assert view["list"]["items"][0]["text"]["en"].startswith("The device")
    assert slug(await clinic.post(path, {"items": {}})) == "list-mismatch"
    assert (await clinic.post(path, {"items": ALL_IN_ORDER}, CLINICIAN)).status_code == 403
    assert (await clinic.post(path, {"items": ALL_IN_ORDER})).json()["in_order"]
    assert (await clinic.open(session_id)).status_code == 201


# --- the patient's answers


@pytest.mark.hazard("HZ-15")
@pytest.mark.hazard("HZ-24")
async def test_an_answer_that_rules_out_today_closes_alarms_and_holds_for_every_session_of_the_day(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.open(session_id)
    await clinic.identify(session_id)
    answer = await clinic.check_patient(session_id, **{"suicidal-thoughts": "worse"})
    assert (answer.json()["outcome"], answer.json()["state"]) == ("no-session-today", "closed")
    (closed,) = await clinic.events("session-closed")
    assert (closed["outcome"], closed["reason"]) == ("not-started", "daily-check")
    (alert,) = await clinic.events("alert-raised")
    assert (alert["alarm_class"], alert["kind"], alert["owner_id"]) == ("act-now", "suicidal-thoughts", "petra")
    assert slug(await clinic.open(await clinic.book())) == "no-session-today"
    assert firing_frames(clinic.folder) == []


@pytest.mark.hazard("HZ-20")
async def test_a_medical_answer_waits_for_a_physician(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.open(session_id)
    await clinic.identify(session_id)
    asked = await clinic.check_patient(session_id, pregnancy="possibly")
    assert asked.json()["undecided"] == {"pregnancy": "physician"}
    assert slug(await clinic.arm(session_id)) == "daily-check-undecided"
    decision = {"question": "pregnancy", "decision": "go"}
    for by in (OPERATOR, SUPERVISOR):
        assert slug(await clinic.ask(session_id, "daily-check/decision", by, **decision)) == "role-not-allowed"
    assert (await clinic.get(f"/sessions/{session_id}/daily-check")).json()["undecided"] == {"pregnancy": "physician"}
    decided = await clinic.ask(session_id, "daily-check/decision", PHYSICIAN, **decision)
    assert (decided.status_code, decided.json()["undecided"]) == (201, {})
    (event,) = await clinic.events("daily-check-decided")
    assert event["decided_as"] == "physician"
    assert (await clinic.arm(session_id)).json()["outcome"] == "done"


async def test_only_the_operator_asks_the_questions(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.open(session_id)
    await clinic.identify(session_id)
    assert slug(await clinic.check_patient(session_id, TECHNICIAN)) == "not-the-operator"


# --- presence


@pytest.fixture
async def watchful_clinic(tmp_path):
    """A room in which presence is asked for every second and a half."""
    async with simulated(tmp_path, fast_clock(), max_presence_age_s=1.5) as clinic, clinic.opened():
        await clinic.ready()
        yield clinic


@pytest.mark.hazard("HZ-17")
@pytest.mark.requirement("ST-11")
@pytest.mark.invariant("INV-7")
async def test_a_missed_act_of_presence_pauses_and_only_a_person_goes_on(watchful_clinic):
    clinic = watchful_clinic
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    session = await clinic.until_state(session_id, "interrupted")
    assert session["reason"] == "presence-missed"
    assert not clinic.simulator.enabled
    assert (await clinic.room_view())["latch"] is None
    assert (await clinic.arm(session_id)).json()["outcome"] == "done"
    assert slug(await clinic.ask(session_id, "resume", **AGAIN)) == "presence-missing"
    await clinic.present(session_id, TECHNICIAN)
    assert (await clinic.ask(session_id, "resume", **AGAIN)).json()["state"] == "running"
    await clinic.present(session_id)
    assert [event["awake"] for event in await clinic.events("presence-confirmed")] == [True, True, True]


@pytest.mark.requirement("ST-01")
@pytest.mark.requirement("ST-11")
@pytest.mark.hazard("HZ-17")
async def test_a_trainees_session_starts_when_a_professional_says_to_be_there(clinic):
    session_id = await clinic.prepare(treatment_order(PATTERN_10HZ))
    until = utc_now(clinic.clock) + timedelta(hours=8)
    assert (await clinic.post("/supervision", {"until": until.isoformat()}, SUPERVISOR)).is_success
    assert (await clinic.open(session_id, TRAINEE, supervisor_id="sanne")).is_success
    for answer in (await clinic.identify(session_id, TRAINEE), await clinic.check_patient(session_id, TRAINEE)):
        assert answer.is_success, answer.text
    assert (await clinic.arm(session_id, TRAINEE)).json()["outcome"] == "done"
    for by in (TRAINEE, TECHNICIAN):
        assert (await clinic.present(session_id, by)).status_code == 403
    assert slug(await clinic.ask(session_id, "start", TRAINEE)) == "presence-missing"
    assert (await clinic.present(session_id, OPERATOR)).is_success
    assert (await clinic.ask(session_id, "start", TRAINEE)).is_success
    assert (await clinic.ask(session_id, "stop", TRAINEE, reason="other")).is_success


@pytest.mark.requirement("ST-11")
@pytest.mark.parametrize("by", [OPERATOR, TRAINEE], ids=["operator", "trainee"])
async def test_a_patient_who_fell_asleep_is_not_stimulated(slow_clinic, by):
    clinic = slow_clinic
    session_id = await in_a_train(clinic)
    answer = await clinic.present(session_id, by, awake=False)
    assert (answer.json()["state"], answer.json()["reason"]) == ("interrupted", "patient-not-awake")
    assert not clinic.simulator.enabled
    await clinic.arm(session_id)
    assert slug(await clinic.ask(session_id, "resume", **AGAIN)) == "presence-missing"


# --- the coil


@pytest.mark.hazard("HZ-19")
async def test_a_hot_coil_pauses_between_trains_without_latching_the_room(clinic):
    session_id = await in_a_train(clinic)
    await clinic.until_event("train-delivered")
    clinic.room.link.max_coil_temperature_c = 20.0  # below what the simulated coil has when it is cold
    session = await clinic.until_state(session_id, "interrupted")
    assert session["reason"] == "coil-temperature"
    assert not clinic.simulator.enabled
    assert (await clinic.room_view())["latch"] is None
    assert slug(await clinic.arm(session_id)) == "coil-too-hot"


@pytest.mark.hazard("HZ-19")
@pytest.mark.hazard("HZ-03")
async def test_a_coil_that_was_unplugged_stops_and_the_side_is_chosen_again(clinic):
    session_id = await in_a_train(clinic)
    await clinic.until_event("train-delivered")
    clinic.simulator.panel_set_coil(0)
    session = await clinic.until_state(session_id, "interrupted")
    assert session["reason"] in {"unasked-change", "coil-changed"}
    assert not clinic.simulator.enabled
    await clinic.until_latched("unasked-change")
    await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"})
    assert slug(await clinic.arm(session_id)) in {"threshold-key-mismatch", "device-not-staged"}
    clinic.simulator.panel_set_coil(60)
    await clinic.until(lambda: clinic.room.device.status.coil_model == "Cool-B65", "the coil")
    assert (await clinic.arm(session_id)).json()["outcome"] == "done"
    await clinic.present(session_id)
    assert slug(await clinic.ask(session_id, "resume", ear_protection=True)) == "site-confirmation-missing"
    wrong = AGAIN | {"side_or_site": "right"}
    assert slug(await clinic.ask(session_id, "resume", **wrong)) == "site-mismatch"
    assert (await clinic.ask(session_id, "resume", **AGAIN)).json()["state"] == "running"


# --- side effects


@pytest.mark.requirement("ST-07")
@pytest.mark.parametrize("effect", ["hand-movement", "arm-movement", "leg-movement"])
async def test_a_moving_limb_disarms_in_mid_train_and_pauses(slow_clinic, effect):
    clinic = slow_clinic
    session_id = await in_a_train(clinic)
    answer = await clinic.ask(session_id, "side-effects", effect=effect, severity="mild")
    assert answer.json() | {"side_effect_id": ""} == {
        "side_effect_id": "",
        "session_id": session_id,
        "state": "interrupted",
        "paused": True,
    }
    assert not clinic.simulator.enabled
    (delivered,) = await clinic.events("train-delivered")
    assert (delivered["outcome"], delivered["pulses"]) == ("partial", clinic.simulator.total_pulses)
    assert (await clinic.events("session-paused"))[0]["reason"] == "limb-movement"
    assert (await clinic.events("side-effect-reported"))[0]["effect"] == effect


@pytest.mark.invariant("INV-8")
async def test_a_report_that_is_sent_again_after_resuming_stops_again_and_says_so(clinic):
    session_id = await in_a_train(clinic)
    report = {"key": "report", "effect": "arm-movement", "severity": "mild"}
    first = await clinic.ask(session_id, "side-effects", **report)
    assert (await clinic.arm(session_id)).json()["outcome"] == "done"
    assert (await clinic.ask(session_id, "resume", **AGAIN)).json()["state"] == "running"
    again = await clinic.ask(session_id, "side-effects", **report)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (await clinic.session(session_id))["state"] == "interrupted"
    assert not clinic.simulator.enabled
    assert [event["reason"] for event in await clinic.events("session-paused")] == ["limb-movement"] * 2
    assert len(await clinic.events("side-effect-reported")) == 1
    assert (await clinic.room_view())["latch"] is None


@pytest.mark.hazard("HZ-10")
async def test_a_report_that_is_refused_stops_all_the_same_and_says_that_the_disarm_was_not_confirmed(clinic):
    session_id = await in_a_train(clinic)
    report = {"key": "report", "severity": "mild"}
    assert (await clinic.ask(session_id, "side-effects", effect="headache", **report)).status_code == 201
    clinic.simulator.faults.set(Fault.DISABLE_IGNORED)
    refused = await clinic.ask(session_id, "side-effects", effect="hand-movement", **report)
    assert refused.status_code == 422, refused.text
    assert (await clinic.session(session_id))["state"] == "interrupted"
    faults = [event["kind"] for event in await clinic.events("device-fault")]
    assert "disarm-not-confirmed" in faults


@pytest.mark.requirement("ST-07")
@pytest.mark.requirement("ST-12")
async def test_side_effects_and_the_patients_state_are_recorded_after_the_session_too(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
    assert slug(await clinic.ask(session_id, "after", patient_state="well")) == "transition-not-allowed"
    listed = (await clinic.get("/side-effects")).json()["effects"]
    assert {"headache", "suicidal-thoughts", "hand-movement"} < {row["id"] for row in listed}
    answer = await clinic.ask(session_id, "side-effects", effect="headache", severity="mild")
    assert (answer.status_code, answer.json()["paused"]) == (201, False)
    await clinic.until_state(session_id, "closed")
    late = await clinic.ask(session_id, "side-effects", CLINICIAN, effect="mania", severity="moderate")
    assert (late.status_code, late.json()["state"]) == (201, "closed")
    assert [event["alarm_class"] for event in await clinic.events("alert-raised")] == ["supervisor-today"]
    assert (await clinic.ask(session_id, "after", patient_state="mild-complaints")).status_code == 201
    assert slug(await clinic.ask(session_id, "after", patient_state="well")) == "patient-state-known"
    assert (await clinic.session(session_id))["patient_state"] == "mild-complaints"


async def test_the_state_said_at_the_stop_is_the_sessions(clinic):
    session_id = await in_a_train(clinic)
    await clinic.ask(session_id, "stop", reason="patient-asked", patient_state="with-supervisor")
    assert (await clinic.session(session_id))["patient_state"] == "with-supervisor"
    assert slug(await clinic.ask(session_id, "after", patient_state="well")) == "patient-state-known"


# --- loss of consciousness


@pytest.mark.hazard("HZ-16")
@pytest.mark.requirement("ST-07")
@pytest.mark.invariant("INV-8")
async def test_one_button_stops_latches_blocks_alarms_and_shows_the_card(tmp_path):
    async with simulated(tmp_path, fast_clock(8), (1, 2)) as clinic, clinic.opened():
        session_id = await in_a_train(clinic)
        answer = (await clinic.client.post(f"/sessions/{session_id}/loss-of-consciousness")).json()
        assert answer["outcome"] == "confirmed"
        assert any("112" in step["nl"] for step in answer["first_aid"]["steps"])
        assert (await clinic.get("/first-aid")).json() == answer["first_aid"]
        assert not clinic.simulator.enabled
        await clinic.until_latched("emergency-stop")
        session = await clinic.session(session_id)
        assert (session["state"], session["reason"]) == ("closed", "loss-of-consciousness")
        (reported,) = await clinic.until_event("adverse-event-reported")
        assert (reported["person"], reported["stop"]) == ("unverified", "confirmed")
        assert (await clinic.events("alert-raised"))[0]["alarm_class"] == "act-now"
        await clinic.ready("room-2")
        other = await clinic.book(room_id="room-2")
        assert slug(await clinic.open(other, room_id="room-2")) == "patient-blocked"
        release = {"reason": "faint-explained"}
        refused = await clinic.post("/patients/patient-1/release", release, SUPERVISOR)
        assert slug(refused) == "role-not-allowed"
        released = await clinic.post("/patients/patient-1/release", release, PHYSICIAN)
        assert released.json()["adverse_event_ids"] == [reported["adverse_event_id"]]
        assert slug(await clinic.post("/patients/patient-1/release", release, PHYSICIAN)) == "patient-not-blocked"
        assert slug(await clinic.open(other, room_id="room-2")) != "patient-blocked"


@pytest.mark.hazard("HZ-16")
@pytest.mark.invariant("INV-8")
async def test_a_locked_journal_does_not_hold_the_button_up(slow_clinic):
    clinic = slow_clinic
    session_id = await in_a_train(clinic)
    locker = sqlite3.connect(clinic.folder / "journal.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    answer = await clinic.client.post(f"/sessions/{session_id}/loss-of-consciousness")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "confirmed")
    assert not clinic.simulator.enabled
    locker.execute("ROLLBACK")
    locker.close()
    assert await clinic.until_event("adverse-event-reported")


@pytest.mark.hazard("HZ-16")
@pytest.mark.invariant("INV-8")
async def test_a_node_with_one_room_asks_no_journal_which_room_the_button_stops(clinic, monkeypatch):
    async def asked(*_args):
        raise AssertionError("the journal was asked before the device was disarmed")

    monkeypatch.setattr("spoel_stimulation.node.Node.room_of", asked)
    await clinic.ready()
    answer = await clinic.client.post(f"/sessions/{new_id()}/loss-of-consciousness")
    assert (answer.json()["room_id"], answer.json()["outcome"]) == ("room-1", "confirmed")


@pytest.mark.invariant("INV-8")
async def test_the_button_of_a_session_that_is_not_here_stops_every_room_and_blocks_nobody(slow_clinic):
    clinic = slow_clinic
    session_id = await in_a_train(clinic)
    answer = await clinic.client.post(f"/sessions/{new_id()}/loss-of-consciousness")
    assert (answer.status_code, answer.json()["outcome"]) == (200, "confirmed")
    assert not clinic.simulator.enabled
    assert (await clinic.until_state(session_id, "closed"))["reason"] == "emergency-stop"
    assert await clinic.events("adverse-event-reported") == []


@pytest.mark.hazard("HZ-16")
@pytest.mark.invariant("INV-8")
async def test_a_stop_for_a_session_that_is_not_here_is_recorded_all_the_same(slow_clinic):
    """As when the journal did not say in time whose session it is, and every room was stopped."""
    clinic = slow_clinic
    await in_a_train(clinic)
    await clinic.room.stops.emergency(nobody, lost=new_id())
    await clinic.until_latched("emergency-stop")
    assert len(await clinic.until_event("emergency-stopped")) == 1
    assert await clinic.events("adverse-event-reported") == []


async def nobody():
    return "unverified"
