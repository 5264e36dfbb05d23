"""A room whose stimulator is set by hand and fired through a trigger box, over HTTP."""

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import CLINICIAN, Pattern, treatment_order

from spoel_stimulation.devices.manual.simulator import TriggerBoxSimulator

DEVICE = {"stimulator_model": "set by hand", "coil_model": "MCF-B65"}
ONE_HZ = Pattern(pulses_per_burst=1, bursts_per_train=20, burst_interval_s=1.0, trains=1, train_interval_s=30.0)
SHOWN = {"percent_mso": 60, "waveform": "biphasic", "coil_model": "MCF-B65"}


@pytest.fixture
async def clinic(tmp_path):
    """A room node with a trigger box."""
    async with (
        simulated(tmp_path, fast_clock(10.0), kind=TriggerBoxSimulator, device="manual") as clinic,
        clinic.opened(),
    ):
        await clinic.ready()
        yield clinic


async def confirm(clinic, **changes):
    return await clinic.post("/rooms/room-1/device-shown", SHOWN | changes)


async def booked(clinic):
    return await clinic.prepare(treatment_order(ONE_HZ, **DEVICE))


@pytest.mark.requirement("ST-06")
@pytest.mark.requirement("ST-08")
@pytest.mark.invariant("INV-2")
async def test_a_session_goes_from_word_to_word_of_the_operator(clinic):
    session_id = await booked(clinic)
    answer = await confirm(clinic, pulse_counter=500)
    assert (answer.status_code, answer.json()["read_by"]) == (200, "petra")
    await clinic.started(session_id)
    for block in (1, 2):
        await clinic.until(lambda block=block: clinic.simulator.total_pulses == 10 * block, "triggers")
        assert (await confirm(clinic, pulse_counter=500 + 10 * block)).is_success
        await clinic.until_event("train-delivered", block)
    session = await clinic.until_state(session_id, "closed")
    assert (session["progress"]["pulses_delivered"], session["progress"]["pulses_unknown"]) == (20, 0)
    assert {event["evidence"] for event in await clinic.events("train-delivered")} == {"operator"}
    (armed,) = await clinic.events("session-armed")
    assert "'read_by': 'operator'" in str(armed)


@pytest.mark.invariant("INV-4")
@pytest.mark.hazard("HZ-04")
async def test_nothing_begins_without_the_operator_s_word_or_with_another_coil(clinic):
    session_id = await booked(clinic)
    refused = await clinic.open(session_id)
    assert refused.status_code == 409
    await confirm(clinic, coil_model="D-B80")
    refused = await clinic.open(session_id)
    assert (refused.status_code, "D-B80" in refused.text) == (409, True)
    await confirm(clinic)
    assert (await clinic.open(session_id)).is_success
    assert clinic.simulator.total_pulses == 0


@pytest.mark.invariant("INV-8")
@pytest.mark.hazard("HZ-10")
async def test_an_emergency_stop_is_sent_and_never_called_confirmed(clinic):
    session_id = await booked(clinic)
    await confirm(clinic, pulse_counter=0)
    await clinic.started(session_id)
    await clinic.until(lambda: clinic.simulator.total_pulses >= 2, "two triggers")
    answer = (await clinic.post("/rooms/room-1/emergency-stop")).json()
    assert answer["outcome"] == "sent"
    assert "Lift the coil" in answer["instruction"]["en"]
    assert clinic.simulator.total_pulses < 10


@pytest.mark.invariant("INV-5")
async def test_who_may_say_it_and_what_is_refused(clinic):
    assert (await clinic.post("/rooms/room-1/device-shown", SHOWN, CLINICIAN)).status_code == 403
    train = await confirm(clinic, stimuli_per_trigger=10)
    assert (train.status_code, "Set it to one" in train.text) == (422, True)
    assert (await confirm(clinic, percent_mso=101)).status_code == 422
    assert (await confirm(clinic, unknown=1)).status_code == 422


async def test_a_device_that_says_what_it_shows_is_not_to_be_confirmed(tmp_path):
    async with simulated(tmp_path, fast_clock()) as clinic, clinic.opened():
        await clinic.ready()
        refused = await confirm(clinic)
        assert (refused.status_code, "says itself" in refused.text) == (422, True)
