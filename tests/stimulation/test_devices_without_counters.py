"""A room whose stimulator runs no trains and counts no pulses: a DuoMAG, over HTTP, on its simulator over TCP."""

from contextlib import asynccontextmanager

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import Pattern, measurement_order, treatment_order

from spoel_common.clock import utc_now
from spoel_stimulation.devices.duomag.simulator import DuoMagSimulator
from spoel_stimulation.devices.simulation.faults import Fault
from spoel_stimulation.domain.facts import local_day

DEVICE = {"stimulator_model": "DuoMAG", "coil_model": "coil-1"}
ONE_HZ = Pattern(pulses_per_burst=1, bursts_per_train=20, burst_interval_s=1.0, trains=1, train_interval_s=30.0)
SPEED = 10.0


class FallsSilent(DuoMagSimulator):
    """Nothing that it says arrives from its third pulse on."""

    def _fire(self):
        if self.total_pulses == 2:
            self.faults.set(Fault.GO_SILENT)
        super()._fire()


@asynccontextmanager
async def room_with(folder, kind):
    async with simulated(folder, fast_clock(SPEED), kind=kind, device="duomag") as clinic, clinic.opened():
        await clinic.ready()
        yield clinic


@pytest.fixture
async def clinic(tmp_path):
    """A room node with a DuoMAG."""
    async with room_with(tmp_path, DuoMagSimulator) as clinic:
        yield clinic


@pytest.mark.requirement("ST-06")
@pytest.mark.requirement("ST-08")
@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-11")
async def test_a_session_at_one_hertz_is_delivered_and_recorded_without_a_counter(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(ONE_HZ, **DEVICE)))
    session = await clinic.until_state(session_id, "closed")
    assert (session["progress"]["pulses_delivered"], session["progress"]["pulses_unknown"]) == (20, 0)
    assert clinic.simulator.total_pulses == 20
    assert clinic.simulator.percent == 0
    authorised, delivered = await clinic.events("train-authorised"), await clinic.events("train-delivered")
    assert {event["device_total_pulses_before"] for event in authorised} == {None}
    assert {(event["evidence"], event["device_total_pulses_after"]) for event in delivered} == {("status", None)}


@pytest.mark.requirement("ST-02")
async def test_a_stimulus_is_delivered_under_a_measurement_order(clinic):
    order = measurement_order(valid_on=local_day(utc_now(clinic.clock)), min_interval_s=1.0, **DEVICE)
    session_id = await clinic.started(await clinic.prepare(order, "measurement"))
    answer = await clinic.ask(session_id, "stimuli", percent_mso=40)
    assert (answer.status_code, answer.json()["outcome"]) == (202, "done")
    assert clinic.simulator.total_pulses == 1


@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
async def test_a_pulse_that_was_not_seen_is_unknown_latches_the_room_and_is_not_sent_again(tmp_path):
    async with room_with(tmp_path, FallsSilent) as clinic:
        session_id = await clinic.started(await clinic.prepare(treatment_order(ONE_HZ, **DEVICE)))
        (unknown,) = await clinic.until_event("train-outcome-unknown")
        assert unknown["session_id"] == session_id
        await clinic.until_event("room-latched")
        await clinic.until(lambda: clinic.simulator.percent == 0, "disarmed")
        clinic.simulator.faults.clear(Fault.GO_SILENT)
        await clinic.ready()
        assert clinic.simulator.total_pulses == 3
        assert await clinic.events("train-delivered") == []


@pytest.mark.requirement("ST-08")
async def test_what_it_cannot_do_is_refused_when_the_session_is_taken_into_the_room(clinic):
    fast = ONE_HZ.model_copy(update={"burst_interval_s": 0.1})
    refused = await clinic.open(await clinic.prepare(treatment_order(fast, **DEVICE)))
    assert (refused.status_code, refused.json()["type"].rsplit(":", 1)[-1]) == (422, "beyond-device-capability")
    assert "at most one in 1 s" in refused.json()["detail"]
