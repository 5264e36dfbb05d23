"""A measurement: single stimuli under a measurement order, each with its record, none delivered twice."""

import pytest
from tests.stimulation.clinic import firing_frames
from tests.stimulation.story import measurement_order

from spoel_common.clock import utc_now
from spoel_common.ids import new_id
from spoel_stimulation.domain.facts import local_day


def order(clinic, **changes):
    return measurement_order(valid_on=local_day(utc_now(clinic.clock)), **({"min_interval_s": 1.0} | changes))


async def measuring(clinic, **changes):
    return await clinic.started(await clinic.prepare(order(clinic, **changes), "measurement"))


async def stimulated(clinic, session_id, percent_mso=40, key=None):
    return await clinic.ask(session_id, "stimuli", percent_mso=percent_mso, key=key)


@pytest.mark.requirement("ST-02")
@pytest.mark.requirement("PL-03")
@pytest.mark.invariant("INV-1")
async def test_a_stimulus_is_delivered_recorded_and_answered(clinic):
    session_id = await measuring(clinic)
    for percent_mso, response in ((40, "no"), (55, "yes")):
        answer = await stimulated(clinic, session_id, percent_mso)
        assert (answer.status_code, answer.json()["outcome"]) == (202, "done")
        train_id = answer.json()["train_id"]
        path = f"/sessions/{session_id}/stimuli/{train_id}/answer"
        assert (await clinic.post(path, {"response": response})).status_code == 201
        train = (await clinic.get(f"/sessions/{session_id}/trains/{train_id}")).json()
        assert (train["pulses_delivered"], train["percent_mso"], train["response"]) == (1, percent_mso, response)
        assert clinic.simulator.settings.amplitude_a == percent_mso
    assert clinic.simulator.total_pulses == 2
    answered = await clinic.events("stimulus-answered")
    assert [(event["percent_mso"], event["response"]) for event in answered] == [(40, "no"), (55, "yes")]
    closed = await clinic.ask(session_id, "stop", reason="measurement-finished")
    assert closed.json()["state"] == "closed"
    assert (await clinic.events("session-closed"))[0]["outcome"] == "completed"


@pytest.mark.requirement("PL-03")
async def test_a_stimulus_to_be_repeated_is_a_stimulus_of_its_own_and_the_next_may_be_as_strong(clinic):
    session_id = await measuring(clinic, max_stimuli=2)
    for response in ("repeat", "yes"):
        train_id = (await stimulated(clinic, session_id, 50)).json()["train_id"]
        path = f"/sessions/{session_id}/stimuli/{train_id}/answer"
        assert (await clinic.post(path, {"response": response})).status_code == 201
        again = await clinic.post(path, {"response": "no"})
        assert again.json()["type"].endswith("stimulus-already-answered")
    answered = await clinic.events("stimulus-answered")
    assert [(event["percent_mso"], event["response"]) for event in answered] == [(50, "repeat"), (50, "yes")]
    assert (await stimulated(clinic, session_id, 50)).json()["type"].endswith("stimuli-used-up")


@pytest.mark.invariant("INV-9")
@pytest.mark.hazard("HZ-11")
async def test_a_repeated_request_tells_the_outcome_and_never_fires_again(clinic):
    session_id = await measuring(clinic)
    key = new_id()
    answers = [(await stimulated(clinic, session_id, key=key)).json() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert clinic.simulator.total_pulses == len(firing_frames(clinic.folder)) == 1
    other = await stimulated(clinic, session_id, 41, key=key)
    assert other.json()["type"].endswith("idempotency-key-reused")


@pytest.mark.requirement("ST-02")
@pytest.mark.invariant("INV-2")
async def test_what_the_order_does_not_allow_is_not_delivered(clinic):
    session_id = await measuring(clinic, min_interval_s=600.0)
    assert (await stimulated(clinic, session_id, 81)).json()["type"].endswith("beyond-signed-band")
    assert (await stimulated(clinic, session_id, 80)).json()["outcome"] == "done"
    refused = (await stimulated(clinic, session_id, 80)).json()
    assert refused["type"].endswith("stimulus-too-soon")
    assert refused["wait_s"] > 100
    assert clinic.simulator.total_pulses == 1


@pytest.mark.requirement("ST-02")
@pytest.mark.invariant("INV-2")
async def test_the_orders_number_holds_over_all_its_sessions(clinic):
    session_id = await measuring(clinic, max_stimuli=2)
    await stimulated(clinic, session_id)
    await clinic.ask(session_id, "stop", reason="time-over")
    again = await clinic.started(await clinic.book("measurement"))
    assert (await stimulated(clinic, again)).json()["outcome"] == "done"
    assert (await stimulated(clinic, again)).json()["type"].endswith("stimuli-used-up")
    assert clinic.simulator.total_pulses == 2


@pytest.mark.requirement("ST-02")
@pytest.mark.invariant("INV-2")
async def test_the_orders_shortest_interval_holds_over_its_sessions(clinic):
    session_id = await measuring(clinic, min_interval_s=600.0)
    assert (await stimulated(clinic, session_id)).json()["outcome"] == "done"
    await clinic.ask(session_id, "stop", reason="time-over")
    again = await clinic.started(await clinic.book("measurement"))
    refused = (await stimulated(clinic, again)).json()
    assert refused["type"].endswith("stimulus-too-soon")
    assert refused["wait_s"] > 100
    assert clinic.simulator.total_pulses == 1


async def test_a_paused_measurement_takes_no_stimulus(clinic):
    session_id = await measuring(clinic)
    await clinic.ask(session_id, "pause", reason="patient-asked")
    assert (await stimulated(clinic, session_id)).json()["type"].endswith("transition-not-allowed")
    assert (await clinic.ask(session_id, "resume", ear_protection=True)).json()["state"] == "running"
    assert (await stimulated(clinic, session_id)).json()["outcome"] == "done"


@pytest.mark.invariant("INV-1")
@pytest.mark.hazard("HZ-08")
async def test_a_pulse_from_the_panel_before_a_stimulus_latches_instead(clinic):
    session_id = await measuring(clinic)
    clinic.simulator.panel_fire()
    refused = await stimulated(clinic, session_id)
    assert refused.status_code == 409
    await clinic.until_latched("unauthorised-pulse")
    assert firing_frames(clinic.folder) == []


@pytest.mark.hazard("HZ-22")
async def test_an_order_of_yesterday_is_refused(clinic):
    yesterday = order(clinic).model_copy(update={"valid_on": local_day(utc_now(clinic.clock)).replace(year=2020)})
    session_id = await clinic.prepare(yesterday, "measurement")
    assert (await clinic.open(session_id)).json()["type"].endswith("measurement-order-expired")


async def test_a_train_that_is_not_there_is_not_found(clinic):
    session_id = await measuring(clinic)
    assert (await clinic.get(f"/sessions/{session_id}/trains/{new_id()}")).status_code == 404
    assert (await clinic.get(f"/sessions/{new_id()}/trains/{new_id()}")).status_code == 404
