"""What stops a session by itself: a known withdrawal, a newer plan, the end of supervision, hands at the device."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.stimulation.clinic import firing_frames
from tests.stimulation.story import OPERATOR, PATTERN_10HZ, PATTERN_ITBS, SUPERVISOR, TECHNICIAN, treatment_order

from spoel_common.clock import utc_now
from spoel_stimulation import foreign_events as told
from spoel_stimulation import projections
from spoel_stimulation.devices.magpro.values import Page, Wave

SHORT = PATTERN_ITBS.model_copy(update={"trains": 3})


async def under_way(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    return session_id


async def withdraw_prescription(clinic):
    await clinic.tell(told.PrescriptionWithdrawn(prescription_id="prescription-1"))


async def sign_newer_version(clinic):
    await clinic.tell_prescription(treatment_order(percent=110.0), version=2)


async def end_indication(clinic):
    await clinic.tell(told.IndicationDecided(case_id="case-1", patient_id="patient-1", decision="not-indicated"))


ENDS = {
    "consent-withdrawn": lambda clinic: clinic.withdraw_consent(),
    "order-withdrawn": withdraw_prescription,
    "order-superseded": sign_newer_version,
    "indication-ended": end_indication,
}


@pytest.mark.invariant("INV-4")
@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
@pytest.mark.parametrize("reason", ENDS)
async def test_a_known_end_stops_in_mid_train_and_closes(slow_clinic, reason):
    clinic = slow_clinic
    session_id = await under_way(clinic)
    await ENDS[reason](clinic)
    session = await clinic.until_state(session_id, "closed")
    assert session["reason"] == reason
    assert not clinic.simulator.enabled
    (delivered,) = await clinic.events("train-delivered")
    assert delivered["outcome"] == "partial"
    assert delivered["pulses"] == clinic.simulator.total_pulses
    (closed,) = await clinic.events("session-closed")
    assert closed["outcome"] == "partial"


@pytest.mark.invariant("INV-4")
@pytest.mark.requirement("ST-02")
async def test_a_consent_of_which_nothing_is_known_any_more_lets_the_train_end_and_no_other_begin(slow_clinic):
    clinic = slow_clinic
    session_id = await under_way(clinic)
    async with clinic.runtime.database.write() as conn:
        await conn.execute(sa.delete(projections.cases))
    clinic.node.look_again()
    session = await clinic.until_state(session_id, "interrupted")
    assert session["reason"] == "consent-missing"
    assert not clinic.simulator.enabled
    (delivered,) = await clinic.events("train-delivered")
    assert (delivered["outcome"], delivered["pulses"]) == ("complete", 40)
    assert (await clinic.arm(session_id)).json()["type"].endswith("consent-missing")


@pytest.mark.invariant("INV-4")
async def test_an_ended_registration_interrupts(clinic):
    session_id = await under_way(clinic)
    ended_on = utc_now(clinic.clock).date()
    await clinic.tell(told.RegistrationEnded(person_id="petra", big_number=OPERATOR.big_number, ended_on=ended_on))
    assert (await clinic.until_state(session_id, "interrupted"))["reason"] == "registration-ended"
    assert not clinic.simulator.enabled
    assert (await clinic.arm(session_id)).json()["type"].endswith("registration-not-verified")


async def on_duty(clinic, hours=8):
    await clinic.tell_people()
    until = utc_now(clinic.clock) + timedelta(hours=hours)
    answer = await clinic.post("/supervision", {"until": until.isoformat()}, SUPERVISOR)
    assert answer.status_code == 201, answer.text


@pytest.mark.requirement("ST-01")
@pytest.mark.hazard("HZ-17")
@pytest.mark.invariant("INV-4")
async def test_the_supervisor_going_off_duty_interrupts_a_technicians_session(clinic):
    await on_duty(clinic)
    session_id = await clinic.prepare(treatment_order(PATTERN_10HZ))
    await clinic.started(session_id, TECHNICIAN, supervisor_id="sanne")
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    assert (await clinic.post("/supervision/end", {}, SUPERVISOR)).json()["on_duty_until"] is None
    assert (await clinic.until_state(session_id, "interrupted"))["reason"] == "supervision-ended"
    assert not clinic.simulator.enabled
    trains = [envelope for envelope in await clinic.events() if "train-delivered" in envelope.type]
    assert {(each.actorid, each.supervisorid, each.onbehalfof) for each in trains} == {("tom", "sanne", "sanne")}
    await on_duty(clinic)
    assert (await clinic.arm(session_id, TECHNICIAN)).json()["outcome"] == "done"
    assert (await clinic.ask(session_id, "resume", TECHNICIAN, ear_protection=True)).json()["state"] == "running"
    await clinic.ask(session_id, "stop", SUPERVISOR, reason="technical")


@pytest.mark.hazard("HZ-17")
async def test_the_end_of_duty_by_the_clock_stops_before_the_next_train(clinic):
    await on_duty(clinic, hours=0.03)
    session_id = await clinic.prepare(treatment_order(PATTERN_10HZ))
    await clinic.started(session_id, TECHNICIAN, supervisor_id="sanne")
    assert (await clinic.until_state(session_id, "interrupted"))["reason"] == "supervision-ended"
    assert {event["outcome"] for event in await clinic.events("train-delivered")} <= {"complete"}


# --- hands at the device


async def turn_the_wheel(simulator):
    simulator.panel_set_amplitude(75)


async def choose_another_page(simulator):
    simulator.panel_set_page(Page.MAIN)


async def choose_another_waveform(simulator):
    simulator.panel_set_mode(wave=Wave.MONOPHASIC)


async def disable(simulator):
    simulator.panel_enable(enabled=False)


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-7")
@pytest.mark.parametrize("touch", [turn_the_wheel, choose_another_page, choose_another_waveform, disable])
async def test_a_change_at_the_front_panel_disarms_and_latches(clinic, touch):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until_event("train-delivered")
    await touch(clinic.simulator)
    await clinic.until_latched("unasked-change")
    session = await clinic.until_state(session_id, "interrupted")
    assert session["reason"] == "unasked-change"
    assert not clinic.simulator.enabled
    delivered = await clinic.events("train-delivered")
    assert sum(event["pulses"] for event in delivered) == clinic.simulator.total_pulses
    assert (await clinic.events("device-fault"))[0]["kind"] == "unasked-change"


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_pulse_from_the_front_panel_is_recorded_and_latches(clinic):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))
    clinic.simulator.panel_fire()
    await clinic.until_latched("unauthorised-pulse")
    (observed,) = await clinic.events("unauthorised-pulse-observed")
    assert (observed["pulses"], observed["session_id"]) == (3, session_id)
    assert observed["device_total_pulses"] == clinic.simulator.total_pulses
    assert not clinic.simulator.enabled
    assert (await clinic.session(session_id))["state"] == "identified"
    assert (await clinic.ask(session_id, "start")).json()["type"].endswith("transition-not-allowed")
    assert len(firing_frames(clinic.folder)) == 0


@pytest.mark.hazard("HZ-08")
@pytest.mark.invariant("INV-1")
async def test_a_pulse_from_the_front_panel_between_trains_is_not_counted_as_the_trains(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until_event("train-delivered")
    await clinic.until(lambda: not clinic.simulator.running, "the pause")
    clinic.simulator.panel_fire()
    await clinic.until_latched("unauthorised-pulse")
    await clinic.until_state(session_id, "interrupted")
    observed = sum(event["pulses"] for event in await clinic.events("unauthorised-pulse-observed"))
    delivered = sum(event["pulses"] for event in await clinic.events("train-delivered"))
    assert (observed, observed + delivered) == (1, clinic.simulator.total_pulses)


@pytest.mark.hazard("HZ-07")
@pytest.mark.invariant("INV-2")
async def test_what_was_left_on_the_device_does_not_change_the_dose(clinic):
    simulator = clinic.simulator
    simulator.panel_set_amplitude(99)
    simulator.panel_set_page(Page.MAIN)
    simulator.panel_set_mode(wave=Wave.MONOPHASIC)
    session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
    await clinic.until_state(session_id, "closed")
    assert (simulator.total_pulses, simulator.settings.amplitude_a) == (90, 60)


@pytest.mark.invariant("INV-7")
async def test_only_a_registered_person_resets_a_room_and_says_why(clinic):
    await clinic.tell_people()
    await clinic.client.post("/rooms/room-1/emergency-stop")
    await clinic.until_latched("emergency-stop")
    assert (await clinic.post("/rooms/room-1/reset", {"reason": "false-alarm"}, TECHNICIAN)).status_code == 403
    assert (await clinic.post("/rooms/room-1/reset", {"reason": "because"})).status_code == 422
    assert (await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"})).json() == {
        "room_id": "room-1",
        "latched": False,
    }
    assert (
        (await clinic.post("/rooms/room-1/reset", {"reason": "device-checked"}))
        .json()["type"]
        .endswith("room-not-latched")
    )
