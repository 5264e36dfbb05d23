"""Bad input: each kind has a problem type of its own that says what to do; nothing is stored, nothing fired."""

import pytest
from tests.stimulation.clinic import IDENTITY, frames_in
from tests.stimulation.story import (
    CLINICIAN,
    OPERATOR,
    PATTERN_10HZ,
    PATTERN_CTBS,
    PATTERN_ITBS,
    SUPERVISOR,
    TECHNICIAN,
    treatment_order,
)

from spoel_common.ids import new_id
from spoel_stimulation import foreign_events as told

SHORT = PATTERN_ITBS.model_copy(update={"trains": 3})


async def refused(clinic, answer, slug, status=None):
    """Assert a refusal, and that it left no trace in the journal or at the device."""
    problem = answer.json()
    assert problem["type"] == f"urn:spoel:problem:{slug}", problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert status is None or answer.status_code == status
    assert len(problem["detail"]) > 20
    return problem


@pytest.fixture
async def untouched(clinic):
    """Return a function that asserts that nothing was stored or sent since it was made (by ``mark``)."""

    class Marks:
        async def mark(self):
            self.events, self.frames = await clinic.names(), len(frames_in(clinic.folder))

        async def check(self):
            assert await clinic.names() == self.events
            sent = {frame[:2] for frame in frames_in(clinic.folder)[self.frames :]}
            assert sent <= {"00", "05", "0c"}, sent

    marks = Marks()
    await marks.mark()
    return marks


WRONG_BODIES = [
    ("rooms/room-1/sessions", {}, "session_id"),
    ("rooms/room-1/sessions", {"session_id": "s", "force": True}, "force"),
    ("rooms/room-1/sessions", {"session_id": "../x"}, "session_id"),
    ("rooms/room-1/sessions", {"session_id": 7}, "session_id"),
    ("rooms/room-1/reset", {"reason": "because I say so"}, "reason"),
    ("supervision", {"until": "tomorrow"}, "until"),
    ("supervision", {"until": "2026-11-22T10:00:00"}, "until"),
    ("sessions/ID/confirm-identity", IDENTITY, "side_or_site"),
    ("sessions/ID/confirm-identity", IDENTITY | {"side_or_site": "up"}, "side_or_site"),
    ("sessions/ID/confirm-identity", IDENTITY | {"side_or_site": "left", "birth_date": "29-2-1980"}, "birth_date"),
    ("sessions/ID/confirm-identity", IDENTITY | {"side_or_site": "left", "birth_date": "1981-02-29"}, "birth_date"),
    ("sessions/ID/confirm-identity", IDENTITY | {"side_or_site": "left", "given_name": ""}, "given_name"),
    ("sessions/ID/arm", {"ear_protection": "yes"}, "ear_protection"),
    ("sessions/ID/arm", {"ear_protection": 1}, "ear_protection"),
    ("sessions/ID/start", {"now": True}, "now"),
    ("sessions/ID/pause", {}, "reason"),
    ("sessions/ID/resume", {"ear_protection": None}, "ear_protection"),
    ("sessions/ID/stop", {"reason": 1}, "reason"),
    ("sessions/ID/parameters", {"parameter": "frequency", "value": 20, "reason": "other"}, "parameter"),
    ("sessions/ID/parameters", {"parameter": "percent_rmt", "value": "110", "reason": "other"}, "value"),
    ("sessions/ID/parameters", {"parameter": "percent_rmt", "value": -1, "reason": "other"}, "value"),
    ("sessions/ID/parameters", {"parameter": "percent_rmt", "value": 1e6, "reason": "other"}, "value"),
    ("sessions/ID/parameters", {"parameter": "trains", "value": 2.5, "reason": "other"}, "value"),
    ("sessions/ID/parameters", {"parameter": "trains", "value": 0, "reason": "other"}, "value"),
    ("sessions/ID/resume", {"ear_protection": True, "side_or_site": "middle"}, "side_or_site"),
    ("sessions/ID/start", {"side_or_site": "middle"}, "side_or_site"),
    ("sessions/ID/stop", {"reason": "other", "patient_state": "fine"}, "patient_state"),
    ("sessions/ID/after", {"patient_state": "fine"}, "patient_state"),
    ("sessions/ID/presence", {}, "awake"),
    ("sessions/ID/presence", {"awake": "yes"}, "awake"),
    ("sessions/ID/daily-check", {"answers": {"sleep": 1}}, "answers"),
    ("sessions/ID/daily-check", {"answers": {}, "remark": "slept badly"}, "remark"),
    ("sessions/ID/daily-check/decision", {"question": "sleep", "decision": "perhaps"}, "decision"),
    ("sessions/ID/side-effects", {"effect": "hiccups", "severity": "mild"}, "effect"),
    ("sessions/ID/side-effects", {"effect": "headache", "severity": "bad"}, "severity"),
    ("rooms/room-1/opening-check", {"items": {"coil": "yes"}}, "items"),
    ("patients/patient-1/release", {"reason": "all-is-well"}, "reason"),
    ("sessions/ID/stimuli", {"percent_mso": 0}, "percent_mso"),
    ("sessions/ID/stimuli", {"percent_mso": 101}, "percent_mso"),
    ("sessions/ID/stimuli", {"percent_mso": 40.5}, "percent_mso"),
    ("sessions/ID/stimuli", {"percent_mso": "40"}, "percent_mso"),
    ("sessions/ID/stimuli", {"percent_mso": True}, "percent_mso"),
    ("sessions/ID/stimuli/T/answer", {"response": "maybe"}, "response"),
]


async def test_wrong_bodies_are_refused_by_field(clinic, untouched):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.open(session_id)
    await untouched.mark()
    for path, body, field in WRONG_BODIES:
        answer = await clinic.post("/" + path.replace("ID", session_id), body)
        problem = await refused(clinic, answer, "validation-failed", 422)
        assert any(field in error["loc"] for error in problem["errors"]), (path, body, problem)
        assert "Zo" not in answer.text
    await untouched.check()


async def test_tokens_and_keys(clinic, untouched):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await untouched.mark()
    path, body = "/rooms/room-1/sessions", {"session_id": session_id}
    key = {"Idempotency-Key": new_id()}
    token = {"Authorization": "Bearer petra"}
    await refused(clinic, await clinic.client.post(path, json=body, headers=key), "token-missing", 401)
    forged = {"Authorization": "Bearer forged", **key}
    await refused(clinic, await clinic.client.post(path, json=body, headers=forged), "token-invalid", 401)
    await refused(clinic, await clinic.client.post(path, json=body, headers=token), "idempotency-key-missing", 400)
    large = await clinic.client.post(path, content=b"{" + b" " * 1_100_000, headers=token | key)
    await refused(clinic, large, "body-too-large", 413)
    broken = {"Content-Type": "application/json", **token, **key}
    await refused(clinic, await clinic.client.post(path, content=b"{", headers=broken), "malformed-json", 400)
    await refused(clinic, await clinic.client.get("/rooms"), "token-missing", 401)
    await untouched.check()


@pytest.mark.requirement("ST-01")
async def test_roles(clinic, untouched):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await untouched.mark()
    await refused(clinic, await clinic.open(session_id, CLINICIAN), "role-not-allowed", 403)
    await refused(clinic, await clinic.open(session_id, SUPERVISOR), "role-not-allowed", 403)
    await refused(clinic, await clinic.open(session_id, TECHNICIAN), "supervision-missing", 403)
    await refused(clinic, await clinic.open(session_id, TECHNICIAN, supervisor_id="sanne"), "supervision-missing", 403)
    until = {"until": "2099-01-01T00:00:00Z"}
    await refused(clinic, await clinic.post("/supervision", until, TECHNICIAN), "role-not-allowed", 403)
    await refused(clinic, await clinic.post("/supervision", until, SUPERVISOR), "supervision-end-invalid", 422)
    await refused(clinic, await clinic.post("/supervision/end", {}, SUPERVISOR), "not-on-duty", 409)
    await untouched.check()


@pytest.mark.requirement("ST-02")
@pytest.mark.hazard("HZ-02")
async def test_orders_bookings_and_rooms(two_rooms):
    clinic = two_rooms
    session_id = await clinic.prepare(treatment_order(SHORT))
    unsigned = await clinic.book(prescription_id="prescription-9")
    foreign = await clinic.book(case_id="case-9")
    cancelled = await clinic.book()
    await clinic.tell(told.SessionBookingCancelled(session_id=cancelled))
    await clinic.tell_prescription(treatment_order(PATTERN_CTBS), prescription_id="prescription-3")
    too_long = await clinic.book(prescription_id="prescription-3")
    await clinic.tell_prescription(treatment_order(SHORT, coil_model="MCF-B65"), prescription_id="prescription-4")
    other_coil = await clinic.book(prescription_id="prescription-4")
    odd = PATTERN_10HZ.model_copy(update={"burst_interval_s": 0.08})
    await clinic.tell_prescription(treatment_order(odd), prescription_id="prescription-5")
    no_such_rate = await clinic.book(prescription_id="prescription-5")
    fast = SHORT.model_copy(update={"burst_interval_s": 0.04, "pulse_interval_s": 0.01})
    await clinic.tell_prescription(treatment_order(fast), prescription_id="prescription-6")
    not_cleared = await clinic.book(prescription_id="prescription-6")
    before = await clinic.names()
    await refused(clinic, await clinic.open(new_id()), "booking-unknown", 404)
    await refused(clinic, await clinic.open(session_id, room_id="room-2"), "wrong-room", 409)
    await refused(clinic, await clinic.open(session_id, room_id="room-3"), "not-found", 404)
    await refused(clinic, await clinic.open(unsigned), "order-not-signed", 409)
    await refused(clinic, await clinic.open(foreign), "order-not-signed", 409)
    await refused(clinic, await clinic.open(cancelled), "booking-cancelled", 409)
    await refused(clinic, await clinic.open(too_long), "train-beyond-limits", 422)
    await refused(clinic, await clinic.open(other_coil), "threshold-key-mismatch", 409)
    await refused(clinic, await clinic.open(no_such_rate), "beyond-device-capability", 422)
    await refused(clinic, await clinic.open(not_cleared), "not-on-cleared-list", 422)
    await clinic.tell_prescription(treatment_order(SHORT, percent=110.0), version=2)
    await refused(clinic, await clinic.open(session_id), "order-superseded", 409)
    await clinic.tell(told.PrescriptionWithdrawn(prescription_id="prescription-1"))
    await refused(clinic, await clinic.open(session_id), "order-withdrawn", 409)
    await clinic.withdraw_consent()
    await refused(clinic, await clinic.open(session_id), "consent-withdrawn", 409)
    assert await clinic.names() == before
    for number in (1, 2):
        assert {frame[:2] for frame in frames_in(clinic.folder, number)} <= {"00", "02", "05", "0c"}
        assert "0201" not in frames_in(clinic.folder, number)


@pytest.mark.requirement("ST-10")
@pytest.mark.hazard("HZ-01")
@pytest.mark.invariant("INV-6")
async def test_identities(clinic, untouched):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.open(session_id)
    await untouched.mark()
    await refused(clinic, await clinic.identify(session_id, family_name="Jansen"), "identity-mismatch", 409)
    await refused(clinic, await clinic.identify(session_id, side_or_site="right"), "site-mismatch", 409)
    await refused(clinic, await clinic.identify(session_id, protocol_id="itbs"), "site-mismatch", 409)
    await refused(clinic, await clinic.arm(session_id), "transition-not-allowed", 409)
    sealed = clinic.strips.pop(f"room-1.{session_id}")
    await refused(clinic, await clinic.identify(session_id), "identity-strip-missing", 409)
    clinic.strips[f"room-1.{session_id}"] = b"AAAA"
    await refused(clinic, await clinic.identify(session_id), "identity-strip-missing", 409)
    await untouched.check()
    clinic.strips[f"room-1.{session_id}"] = sealed
    assert (await clinic.identify(session_id)).status_code == 200


@pytest.mark.hazard("HZ-18")
async def test_arming_and_starting_out_of_order(clinic, untouched):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.open(session_id)
    await clinic.identify(session_id)
    await untouched.mark()
    await refused(clinic, await clinic.ask(session_id, "arm"), "ear-protection-missing", 422)
    await refused(clinic, await clinic.ask(session_id, "arm", ear_protection=False), "ear-protection-missing", 422)
    await refused(clinic, await clinic.ask(session_id, "start"), "transition-not-allowed", 409)
    await refused(clinic, await clinic.ask(session_id, "stimuli", percent_mso=10), "transition-not-allowed", 409)
    await refused(clinic, await clinic.ask(session_id, "resume", ear_protection=True), "transition-not-allowed", 409)
    await refused(clinic, await clinic.open(await clinic.book()), "room-busy", 409)
    colleague = await clinic.ask(session_id, "stop", CLINICIAN, reason="other")
    await refused(clinic, colleague, "role-not-allowed", 403)
    await refused(clinic, await clinic.ask(new_id(), "stop", reason="other"), "not-found", 404)
    await untouched.check()


@pytest.mark.invariant("INV-4")
async def test_old_knowledge_refuses_a_start(clinic, untouched):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await untouched.mark()
    clinic.knowledge_age_s = 61.0
    problem = await refused(clinic, await clinic.open(session_id), "stale-knowledge", 409)
    assert problem["service"] == "intake"
    await untouched.check()


@pytest.mark.invariant("INV-2")
async def test_parameters_beyond_the_signed_band(clinic, untouched):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))
    await clinic.ask(session_id, "start")
    await clinic.ask(session_id, "pause", reason="other")
    await clinic.until(lambda: not clinic.simulator.running, "the pause")
    await clinic.room.delivery.idle(5)
    await untouched.mark()
    for parameter, value in (("percent_rmt", 120.5), ("percent_rmt", 79.0), ("train_interval_s", 9.0)):
        answer = await clinic.ask(session_id, "parameters", parameter=parameter, value=value, reason="other")
        await refused(clinic, answer, "beyond-signed-band", 422)
    await untouched.check()


async def test_a_refused_key_may_be_used_again(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    clinic.knowledge_age_s = 61.0
    key = new_id()
    path, body = "/rooms/room-1/sessions", {"session_id": session_id}
    assert (await clinic.post(path, body, OPERATOR, key)).status_code == 409
    clinic.knowledge_age_s = 1.0
    assert (await clinic.post(path, body, OPERATOR, key)).status_code == 201
