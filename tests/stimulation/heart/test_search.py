"""A heart-brain search over HTTP, with a simulated stimulator and a simulated belt on their wires (PL-11)."""

import pytest
from tests.stimulation.clinic import firing_frames
from tests.stimulation.heart.conftest import Searching, belted
from tests.stimulation.story import PATIENT, search_order

from spoel_common.clock import utc_now
from spoel_stimulation import patient_days
from spoel_stimulation.domain.facts import local_day


@pytest.mark.requirement("PL-11")
@pytest.mark.requirement("ST-02")
@pytest.mark.invariant("INV-1")
async def test_the_coupled_location_of_three_is_ranked_first(searching):
    clinic = searching.clinic
    session_id = await searching.started()
    for location, coupling_bpm in (("FC3", 0.0), ("F3", 9.0), ("F3+front", 1.0)):
        found = await searching.measured(session_id, location, coupling_bpm)
        assert found["reason"] is None, found
        assert (found["location"], found["trains"]) == (location, 8)
    view = await searching.coupling(session_id)
    assert (view["verdict"], view["best"], view["not_measured"]) == ("ranked", "F3", [])
    assert view["locations"][0]["coupled"] is True
    assert view["verified"] is False
    authorised, delivered = await clinic.events("train-authorised"), await clinic.events("train-delivered")
    assert [train["outcome"] for train in delivered] == ["complete"] * 24
    assert sum(train["pulses"] for train in delivered) == clinic.simulator.total_pulses == 24 * 50
    assert len(authorised) == len(firing_frames(clinic.folder)) == 24
    closed = await clinic.ask(session_id, "stop", reason="measurement-finished")
    (ranked,) = await clinic.events("locations-ranked")
    assert (ranked["verdict"], ranked["best"]) == ("ranked", "F3")
    assert {place["location"]: place["percent_mso"] for place in ranked["locations"]} == dict.fromkeys(
        ("F3", "F3+front", "FC3"), 50
    )
    assert closed.json()["progress"]["pulses_delivered"] == 1200
    async with clinic.runtime.database.read() as conn:
        today = local_day(utc_now(clinic.clock))
        assert (await patient_days.given_to(conn, PATIENT, "another", today)).pulses_today == 1200
    assert (await clinic.events("session-closed"))[0]["outcome"] == "completed"
    for language, word in (("nl", "gekoppeld"), ("en", "coupled")):
        plot = await clinic.get(f"/sessions/{session_id}/coupling.svg?language={language}")
        assert plot.headers["content-type"] == "image/svg+xml"
        assert word in plot.text


@pytest.mark.requirement("PL-11")
async def test_a_belt_lost_in_the_middle_gives_no_result_and_ends_the_run(searching):
    clinic = searching.clinic
    session_id = await searching.started()
    await searching.tell_belt(coupling_bpm=9.0)
    assert (await searching.run(session_id, "F3")).status_code == 200
    await clinic.until_event("train-delivered", 2)
    await searching.tell_belt(fault="gone")
    (found,) = await clinic.until_event("coupling-measured")
    assert (found["reason"], found["result"], found["beats"]) == ("belt-lost", None, 0)
    view = await searching.coupling(session_id)
    assert [(run["location"], run["state"], run["reason"]) for run in view["runs"]] == [
        ("F3", "no-result", "belt-lost")
    ]
    assert (view["verdict"], view["best"]) == ("too-few-locations", None)
    delivered = len(await clinic.events("train-delivered"))
    assert found["trains"] == delivered < 8, "no trains are given for nothing"
    assert clinic.simulator.total_pulses == delivered * 50
    refused = await searching.run(session_id, "F3")
    assert refused.json()["type"].endswith("heart-not-heard")
    plot = await clinic.get(f"/sessions/{session_id}/coupling.svg")
    assert plot.text.count("niet gemeten") == 3


@pytest.mark.requirement("PL-11")
@pytest.mark.invariant("INV-2")
@pytest.mark.hazard("HZ-03")
async def test_what_the_order_does_not_allow_is_refused_and_no_train_leaves(searching):
    clinic = searching.clinic
    session_id = await searching.started()
    for changes, slug in (
        ({"percent_mso": 81}, "beyond-signed-band"),
        ({"location": "Cz"}, "location-unknown"),
        ({"side_or_site": "right"}, "site-mismatch"),
        ({"side_or_site": "right-dlpfc"}, "site-mismatch"),
        ({"ear_protection": False}, "ear-protection-missing"),
    ):
        response = await searching.run(session_id, **({"location": "F3"} | changes))
        assert response.json()["type"].endswith(slug), response.text
    stimulus = await clinic.ask(session_id, "stimuli", percent_mso=40)
    assert stimulus.json()["type"].endswith("not-this-measurement")
    assert await clinic.events("search-run-started") == []
    assert firing_frames(clinic.folder) == []


@pytest.mark.requirement("ST-02")
async def test_a_run_that_the_order_has_no_trains_left_for_is_refused(searching):
    session_id = await searching.started(max_stimuli=7)
    assert (await searching.run(session_id, "F3")).json()["type"].endswith("stimuli-used-up")


@pytest.mark.invariant("INV-7")
async def test_a_paused_run_is_broken_off_and_not_gone_on_with(searching):
    clinic = searching.clinic
    session_id = await searching.started()
    await searching.run(session_id, "F3")
    second = await searching.run(session_id, "FC3")
    assert second.json()["type"].endswith("run-under-way")
    await clinic.until_event("train-delivered")
    await clinic.ask(session_id, "pause", reason="patient-asked")
    assert (await clinic.ask(session_id, "resume", ear_protection=True)).status_code == 200
    view = await searching.coupling(session_id)
    assert [(run["location"], run["state"]) for run in view["runs"]] == [("F3", "broken-off")]
    await clinic.until(lambda: clinic.room.heart.recorder.state.beats == 0, "the recording dropped")
    given = (await clinic.session(session_id))["progress"]["trains_done"]
    clinic.room.wake()
    await clinic.ask(session_id, "stop", reason="patient-asked")
    assert len(await clinic.events("train-authorised")) == given
    assert await clinic.events("coupling-measured") == []


async def test_a_room_without_a_belt_searches_nothing(clinic):
    today = local_day(utc_now(clinic.clock))
    session_id = await clinic.started(await clinic.prepare(search_order(valid_on=today), "measurement"))
    said = {"location": "F3", "side_or_site": "left", "percent_mso": 50, "ear_protection": True}
    refused = await clinic.ask(session_id, "search", **said)
    assert refused.json()["type"].endswith("heart-not-heard")
    assert "heart_address" in refused.json()["detail"]
    assert (await clinic.get(f"/sessions/{session_id}/coupling")).json()["belt"]["serial"] is None


async def test_a_threshold_session_has_no_coupling(clinic):
    session_id = await clinic.started(await clinic.prepare(kind="measurement"))
    said = {"location": "F3", "side_or_site": "left", "percent_mso": 50, "ear_protection": True}
    for response in (
        await clinic.ask(session_id, "search", **said),
        await clinic.get(f"/sessions/{session_id}/coupling"),
        await clinic.get(f"/sessions/{session_id}/coupling.svg"),
    ):
        assert response.json()["type"].endswith("not-this-measurement")


@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-7")
async def test_after_a_restart_in_a_run_the_room_is_latched_and_no_train_follows(tmp_path):
    async with belted(tmp_path) as (clinic, control):
        async with clinic.opened():
            searching = Searching(clinic, control)
            session_id = await searching.started()
            await searching.run(session_id, "F3")
            await clinic.until_event("train-delivered", 2)
        fired = len(firing_frames(clinic.folder))
        async with clinic.opened():
            await clinic.ready()
            await clinic.until_latched("service-restart")
            (run,) = (await searching.coupling(session_id))["runs"]
            assert (run["state"], run["result"]) == ("broken-off", None)
            delivered = await clinic.events("train-delivered")
            assert sum(train["pulses"] for train in delivered) == clinic.simulator.total_pulses
            assert len(firing_frames(clinic.folder)) == fired
