"""Planning over HTTP: one case's whole way, and every refusal on it."""

import pytest
from tests.planning.clinic import event_names
from tests.planning.story import KEY, deliver

from spoel_common.store import AggregateRef

CASE = "/cases/case-1"
HEAD = {"nasion_inion_cm": 36, "tragus_tragus_cm": 36, "circumference_cm": 56}
MEASUREMENT = {"site": "left-motor-cortex", **KEY}
HF = {"protocol_id": "hf-left-dlpfc-10hz-standard"}


@pytest.mark.requirement("PL-02")
@pytest.mark.requirement("PL-03")
@pytest.mark.requirement("PL-07")
@pytest.mark.requirement("PL-08")
@pytest.mark.requirement("PL-10")
async def test_a_case_goes_from_head_measures_to_a_booked_treatment(clinic_on_both):
    clinic = clinic_on_both
    targets = (await clinic.done(f"{CASE}/head-measures", HEAD))["targets"]
    assert [(each["site"], each["x_cm"], each["y_cm"]) for each in targets] == [
        ("left-dlpfc", 6.469, 9.5),
        ("right-dlpfc", 6.469, 9.5),
    ]
    threshold = await clinic.measure_threshold(50)
    assert threshold["threshold_percent_mso"] in {49, 50}
    prescription_id = await clinic.sign_prescription()
    body = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    booked = await clinic.done(f"{CASE}/bookings", body)
    assert booked["prescription_version"] == 1
    assert booked["course_id"]
    assert await event_names(clinic) == [
        "head-measured",
        "target-calculated",
        "target-calculated",
        "measurement-ordered",
        "measurement-order-signed",
        "session-booked",
        "threshold-estimated",
        "prescription-drafted",
        "prescription-signed",
        "session-booked",
    ]
    assert await event_names(clinic, "calendar", "room-1") == ["slot-taken", "slot-taken"]


async def test_the_plan_shows_everything_and_what_is_known_of_the_case(ready_clinic):
    prescription_id = await ready_clinic.sign_prescription()
    plan = (await ready_clinic.get(CASE, by="clin")).json()
    assert plan["case"] == {
        "case_id": "case-1",
        "patient_id": "patient-1",
        "indication": "depression",
        "decision": "indicated",
        "consent": "given",
    }
    assert {each["site"] for each in plan["targets"]} == {"left-dlpfc", "right-dlpfc"}
    (order,) = plan["measurement_orders"]
    assert (order["drafted_by"], order["signed_by"], order["self_signed"]) == ("pro", "sup", False)
    (threshold,) = plan["thresholds"]
    assert len(threshold["stimuli"]) > 20
    (prescription,) = plan["prescriptions"]
    assert prescription["prescription_id"] == prescription_id
    assert prescription["versions"][0]["signed_by"] == "sup"
    assert plan["bookings"][0]["booked"]["kind"] == "measurement"
    assert plan["known"] == []


@pytest.mark.requirement("PL-04")
async def test_the_catalogue_says_what_is_cleared_and_where_it_comes_from(quiet_clinic):
    protocols = (await quiet_clinic.get("/protocols", by="clin")).json()["protocols"]
    assert {each["id"]: each["cleared"] for each in protocols} == {
        "bilateral-1hz-right-10hz-left": True,
        "hf-left-dlpfc-10hz-standard": True,
        "itbs-600-left-dlpfc": True,
        "lf-right-dlpfc-1hz": True,
    }
    assert all(each["source"] and each["verified"] is False for each in protocols)
    assert protocols[1]["pattern"]["bursts_per_train"] == 40


async def test_rooms_are_those_whose_device_answered(quiet_clinic):
    assert (await quiet_clinic.get("/rooms")).json() == {"rooms": [], "known": []}
    await quiet_clinic.hear_room("room-2")
    await quiet_clinic.hear_room("room-1", coil_model="Cool-B35")
    await quiet_clinic.hear_room("room-1")
    rooms = (await quiet_clinic.get("/rooms")).json()["rooms"]
    assert [(each["room_id"], each["coil_model"]) for each in rooms] == [
        ("room-1", "Cool-B65"),
        ("room-2", "Cool-B65"),
    ]


@pytest.mark.parametrize("path", [CASE, f"{CASE}/threshold?session_id=s-1"])
async def test_a_case_that_was_not_heard_of_may_still_arrive(quiet_clinic, path):
    answer = await quiet_clinic.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:spoel:problem:case-unknown-here"
    assert "may still arrive" in answer.json()["detail"]


async def test_a_refused_command_succeeds_with_the_same_key_when_its_facts_have_arrived(quiet_clinic):
    refused = await quiet_clinic.post(f"{CASE}/head-measures", HEAD, key="head-1")
    assert refused.json()["type"] == "urn:spoel:problem:case-unknown-here"
    await quiet_clinic.hear_case("referral-received", indication="depression")
    done = await quiet_clinic.post(f"{CASE}/head-measures", HEAD, key="head-1")
    again = await quiet_clinic.post(f"{CASE}/head-measures", HEAD, key="head-1")
    assert (done.status_code, again.status_code) == (201, 201)
    assert done.content == again.content
    assert await event_names(quiet_clinic) == ["head-measured", "target-calculated", "target-calculated"]


BAD_BODIES = [
    ("head-measures", {**HEAD, "shoe_size": 44}),
    ("head-measures", {"nasion_inion_cm": 36}),
    ("head-measures", {**HEAD, "nasion_inion_cm": "wide"}),
    ("head-measures", {**HEAD, "nasion_inion_cm": -1}),
    ("head-measures", []),
    ("measurement-orders", {**MEASUREMENT, "waveform": "square"}),
    ("measurement-orders", {**MEASUREMENT, "muscle": "tongue"}),
    ("measurement-orders", {**MEASUREMENT, "ceiling_percent_mso": 80.5}),
    ("measurement-orders", {**MEASUREMENT, "valid_on": "tomorrow"}),
    ("threshold", {}),
    ("prescriptions", {**HF, "percent_rmt": 0}),
    ("prescriptions", {**HF, "pattern": {"pulses_per_burst": 1}}),
    ("prescriptions", {**HF, "override": {"reason_code": "because I say so"}}),
    ("prescriptions", {**HF, "percent_mso": 60}),
    ("bookings", {"room_id": "room-1", "kind": "treatment"}),
    ("bookings", {"room_id": "room-1", "kind": "party", "prescription_id": "p"}),
    ("bookings", {"room_id": "room 1", "kind": "treatment", "prescription_id": "p"}),
    ("bookings", {"room_id": "room-1", "kind": "treatment", "prescription_id": "p", "starts_at": "2026-11-22T10:00"}),
]


async def test_a_body_of_another_form_is_refused_field_by_field(clinic):
    for path, body in BAD_BODIES:
        problem = await clinic.refused("validation-failed", f"{CASE}/{path}", body)
        assert problem["errors"], (path, body)


async def test_an_impossible_id_is_refused(quiet_clinic):
    for path in ("/cases/case%201", "/cases/" + "x" * 65):
        assert (await quiet_clinic.get(path)).status_code == 422


@pytest.mark.requirement("PL-01")
async def test_implausible_head_measures_are_refused(clinic):
    problem = await clinic.refused(
        "head-measure-implausible", f"{CASE}/head-measures", {**HEAD, "circumference_cm": 36}
    )
    assert problem["field"] == "circumference_cm"
    await clinic.refused(
        "target-implausible", f"{CASE}/head-measures", {**HEAD, "nasion_inion_cm": 28, "tragus_tragus_cm": 44}
    )


ROLE_MATRIX = [
    ("head-measures", HEAD, {"pro", "tech"}),
    ("measurement-orders", MEASUREMENT, {"pro", "sup"}),
    ("measurement-orders/order-9/signature", {}, {"sup"}),
    ("threshold", {"session_id": "s-9"}, {"pro", "tech"}),
    ("prescriptions", HF, {"pro", "sup"}),
    ("prescriptions/prescription-9/versions", HF, {"pro", "sup"}),
    ("prescriptions/prescription-9/signature", {"version": 1}, {"sup"}),
    ("prescriptions/prescription-9/withdrawal", {"reason_code": "patient-wish"}, {"pro", "sup"}),
    (
        "bookings",
        {"room_id": "room-9", "kind": "treatment", "prescription_id": "p-9"},
        {"pro", "sup", "tech", "clin"},
    ),
    ("bookings/s-9/cancellation", {"reason_code": "patient-cancelled"}, {"pro", "sup", "tech", "clin"}),
]


@pytest.mark.invariant("INV-5")
async def test_each_act_is_for_its_roles_only(clinic):
    for path, body, allowed in ROLE_MATRIX:
        for person in ("pro", "sup", "tech", "doc", "clin", "aud", "nobody"):
            problem = (await clinic.post(f"{CASE}/{path}", body, by=person)).json()
            refused = problem.get("type") == "urn:spoel:problem:role-not-allowed"
            assert refused != (person in allowed), (path, person, problem)


async def test_plans_are_for_those_who_treat(clinic):
    for path in ("/protocols", "/rooms", CASE, f"{CASE}/threshold?session_id=s-1"):
        for person in ("aud", "nobody"):
            assert (await clinic.get(path, by=person)).json()["type"] == "urn:spoel:problem:role-not-allowed"
        assert (await clinic.http.get(path)).json()["type"] == "urn:spoel:problem:token-missing"
        assert (await clinic.get(path, by="stranger")).json()["type"] == "urn:spoel:problem:token-invalid"


@pytest.mark.requirement("PL-10")
@pytest.mark.invariant("INV-5")
async def test_a_signature_needs_a_registration_that_holds_today(clinic):
    drafted = await clinic.done(f"{CASE}/measurement-orders", MEASUREMENT)
    path = f"{CASE}/measurement-orders/{drafted['order_id']}/signature"
    await clinic.hear_registration("sup", valid_until="2026-11-21")
    await clinic.refused("registration-not-verified", path, by="sup")
    await clinic.hear_registration("sup", profession="verpleegkundige")
    await clinic.refused("profession-not-allowed", path, by="sup")
    await clinic.hear_registration("sup")
    ended = {"person_id": "sup", "big_number": "19000000025", "ended_on": "2026-11-22", "reason": "left"}
    await clinic.hear("spoel.intake.registration-ended.v1", "sup", ended)
    await clinic.refused("registration-not-verified", path, by="sup")
    await clinic.hear_registration("sup")
    await clinic.done(path, by="sup")


async def test_a_registration_of_which_nothing_arrived_supports_nobody(quiet_clinic):
    await quiet_clinic.hear_treatable("case-1", "patient-1")
    await quiet_clinic.refused("registration-not-verified", f"{CASE}/measurement-orders", MEASUREMENT)


@pytest.mark.requirement("ST-01")
@pytest.mark.hazard("HZ-17")
async def test_a_technician_measures_under_a_named_and_registered_supervisor(clinic):
    path = f"{CASE}/head-measures"
    for named in ({}, {"supervisor_id": "tech"}, {"supervisor_id": "stranger"}, {"supervisor_id": "clin"}):
        await clinic.refused("supervisor-missing", path, {**HEAD, **named}, by="tech")
    await clinic.done(path, {**HEAD, "supervisor_id": "sup"}, by="tech")
    async with clinic.runtime.database.read() as conn:
        events = await clinic.runtime.store.load(conn, AggregateRef("plan", "case-1"))
    assert {(event.actorid, event.supervisorid) for event in events} == {("tech", "sup")}


async def test_every_event_says_who_did_it_with_role_and_number(clinic):
    await clinic.sign_measurement()
    async with clinic.runtime.database.read() as conn:
        drafted, signed = await clinic.runtime.store.load(conn, AggregateRef("plan", "case-1"))
    assert (drafted.actorid, drafted.actorroles, drafted.actorbig) == ("pro", "tms-professional", "19000000030")
    assert (signed.actorid, signed.actorroles, signed.actorbig) == ("sup", "supervisor", "19000000025")


async def test_an_indication_decides_whether_anything_is_ordered(clinic):
    await clinic.hear_case("indication-decided", decision="not-indicated")
    await clinic.refused("not-indicated", f"{CASE}/measurement-orders", MEASUREMENT)
    await clinic.hear_case("referral-received", "case-2", "patient-2", indication="depression")
    problem = await clinic.refused("indication-not-decided", "/cases/case-2/measurement-orders", MEASUREMENT)
    assert "may still arrive" in problem["detail"]


@pytest.mark.requirement("PL-03")
async def test_the_staircase_follows_the_stimuli_that_arrive(clinic):
    order_id, session_id = await clinic.book_measurement()
    state = await clinic.threshold_state(session_id)
    assert (state["state"], state["next_percent_mso"], state["stimuli_seen"]) == ("next", 30, 0)
    await clinic.hear_stimuli(session_id, order_id, (30, "no"))
    state = await clinic.threshold_state(session_id)
    assert (state["next_percent_mso"], state["stimuli_seen"], state["finished"]) == (35, 1, False)
    problem = await clinic.refused("threshold-not-finished", f"{CASE}/threshold", {"session_id": session_id})
    assert problem["next_percent_mso"] == 35
    await clinic.hear_stimuli(session_id, order_id, *((each.percent_mso, each.response) for each in deliver(50)[1:]))
    state = await clinic.threshold_state(session_id)
    assert (state["state"], state["next_percent_mso"], state["finished"]) == ("finished", None, True)
    taken = await clinic.done(f"{CASE}/threshold", {"session_id": session_id})
    assert taken["threshold_percent_mso"] == state["estimate_percent_mso"]
    assert taken["stimuli"] == state["stimuli_seen"]


async def test_a_threshold_is_taken_once_and_of_the_cases_own_session(ready_clinic):
    await ready_clinic.hear_treatable("case-2", "patient-2")
    (booking,) = (await ready_clinic.get(CASE)).json()["bookings"]
    session_id = booking["booked"]["session_id"]
    body = {"session_id": session_id}
    await ready_clinic.refused("threshold-already-taken", f"{CASE}/threshold", body)
    await ready_clinic.refused("session-of-another-case", "/cases/case-2/threshold", body)
    await ready_clinic.refused("session-unknown-here", f"{CASE}/threshold", {"session_id": "s-9"})
    state = await ready_clinic.threshold_state(session_id, "case-2")
    assert state["type"] == "urn:spoel:problem:session-of-another-case"


async def test_a_search_without_a_threshold_says_so(clinic):
    order_id, session_id = await clinic.book_measurement(ceiling_percent_mso=35)
    await clinic.hear_stimuli(session_id, order_id, (30, "no"), (35, "no"))
    state = await clinic.threshold_state(session_id)
    assert (state["state"], state["next_percent_mso"]) == ("not-found", None)
    assert "ceiling" in state["reason"]
    await clinic.refused("threshold-not-found", f"{CASE}/threshold", {"session_id": session_id})


@pytest.mark.requirement("PL-07")
async def test_a_prescription_shows_its_grade_and_findings(ready_clinic):
    drafted = await ready_clinic.done(f"{CASE}/prescriptions", HF)
    assert drafted["grade"] == "beyond-stricter-table"
    by_limit = {each["limit"]: each for each in drafted["findings"]}
    assert by_limit["train-duration"]["grade"] == "within"
    assert by_limit["train-duration-stricter"]["grade"] == "beyond-stricter-table"
    assert by_limit["clinic-cleared-list"]["grade"] == "within"
    assert by_limit["threshold-method-margin"]["advisory"] is True
    assert all(each["source"] and each["explanation"] for each in drafted["findings"])


TEN_SECONDS = {
    "pulses_per_burst": 1,
    "bursts_per_train": 100,
    "burst_interval_s": 0.1,
    "trains": 30,
    "train_interval_s": 30.0,
}


@pytest.mark.requirement("PL-07")
@pytest.mark.hazard("HZ-12")
async def test_a_train_beyond_the_limits_needs_an_override_by_somebody_who_may(ready_clinic):
    body = {**HF, "pattern": TEN_SECONDS}
    problem = await ready_clinic.refused("limits-exceeded", f"{CASE}/prescriptions", body)
    assert problem["grade"] == "beyond-limit"
    override = {**body, "override": {"reason_code": "benefit-outweighs-risk"}}
    await ready_clinic.refused("role-not-allowed", f"{CASE}/prescriptions", override)
    await ready_clinic.hear_registration("sup", profession="arts")
    await ready_clinic.refused("profession-not-allowed", f"{CASE}/prescriptions", override, by="sup")
    await ready_clinic.hear_registration("sup")
    drafted = await ready_clinic.done(f"{CASE}/prescriptions", override, by="sup")
    assert drafted["override"] == {
        "by": "sup",
        "big_number": "19000000025",
        "reason_code": "benefit-outweighs-risk",
    }


@pytest.mark.requirement("PL-10")
async def test_unsigned_superseded_and_withdrawn_prescriptions_are_not_booked(ready_clinic):
    drafted = await ready_clinic.done(f"{CASE}/prescriptions", HF)
    prescription_id = drafted["prescription_id"]
    path = f"{CASE}/prescriptions/{prescription_id}"
    book = {"room_id": "room-1", "kind": "treatment", "prescription_id": prescription_id}
    await ready_clinic.refused("prescription-not-signed", f"{CASE}/bookings", book)
    signed = await ready_clinic.done(f"{path}/signature", {"version": 1}, by="sup")
    await ready_clinic.refused("prescription-already-signed", f"{path}/signature", {"version": 1}, by="sup")
    await ready_clinic.done(f"{path}/versions", {**HF, "percent_rmt": 110})
    await ready_clinic.refused("prescription-not-signed", f"{CASE}/bookings", book)
    await ready_clinic.refused("prescription-superseded", f"{path}/signature", {"version": 1}, by="sup")
    second = await ready_clinic.done(f"{path}/signature", {"version": 2}, by="sup")
    assert second["course_id"] == signed["course_id"]
    await ready_clinic.done(f"{path}/withdrawal", {"reason_code": "side-effects"})
    await ready_clinic.refused("prescription-withdrawn", f"{CASE}/bookings", book)
    await ready_clinic.refused("prescription-withdrawn", f"{path}/versions", HF)


async def test_no_event_holds_a_name_or_free_text(ready_clinic):
    await ready_clinic.sign_prescription()
    async with ready_clinic.runtime.database.read() as conn:
        events = await ready_clinic.runtime.store.load(conn, AggregateRef("plan", "case-1"))
    for event in events:
        assert "name" not in event.data
        assert event.data["patient_id"] == "patient-1"
