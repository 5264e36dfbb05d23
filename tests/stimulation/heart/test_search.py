"""A heart-brain search over HTTP, with a simulated stimulator and a simulated belt on their wires (PL-11)."""

import pytest
from tests.stimulation.clinic import firing_frames
from tests.stimulation.story import PATTERN_SEARCH


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
    assert closed.json()["progress"]["pulses_delivered"] == 1200
    assert (await clinic.events("session-closed"))[0]["outcome"] == "completed"
    for language, word in (("nl", "gekoppeld"), ("en", "coupled")):
        plot = await clinic.get(f"/sessions/{session_id}/coupling.svg?language={language}")
        assert plot.headers["content-type"] == "image/svg+xml"
        assert word in plot.text
