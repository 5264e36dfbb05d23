"""Trains longer than ten seconds: only on a unit of which somebody saw a disarm end one under way (INV-11)."""

from datetime import date

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import PATTERN_10HZ, PATTERN_CTBS, Story, treatment_order

from spoel_stimulation.devices.record import LONGEST_VERIFIED_S, StopVerified
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.live import next_in_s

CLEARED = """
[[row]]
protocol_id = "ctbs-600"
protocol_version = 1
site = "left-dlpfc"
pulses_per_burst = 3
pulse_interval_s = 0.02
bursts_per_train = 200
burst_interval_s = 0.2
max_trains = 1
min_train_interval_s = 60.0
max_percent_rmt = 120.0
max_pulses_per_session = 600
max_pulses_per_day = 600
min_pause_between_sessions_s = 14400
reason = "a row of this test"
cleared_by = "nobody"
cleared_on = 2026-11-25
source = "a row of this test"
verified = false
"""


def of_unit(serial):
    return {"stop_verified": StopVerified(serial=serial, verified_by="physicist", verified_on=date(2026, 11, 1))}


async def opened(folder, **of_room):
    """Open a session of continuous theta burst; return the answer, the pulses given once it is over, and limits."""
    cleared = folder / "cleared.toml"
    cleared.write_text(CLEARED)
    order = treatment_order(PATTERN_CTBS, protocol_id="ctbs-600", percent=70.0, floor=60.0, ceiling=80.0)
    async with simulated(folder, fast_clock(), of_room=of_room, cleared_list_file=cleared) as clinic, clinic.opened():
        await clinic.ready()
        session_id = await clinic.prepare(order)
        answer = await clinic.open(session_id)
        if answer.is_success:
            await clinic.identify(session_id, protocol_id="ctbs-600")
            await clinic.check_patient(session_id)
            await clinic.present(session_id)
            assert (await clinic.arm(session_id)).json()["outcome"] == "done"
            assert (await clinic.ask(session_id, "start")).is_success
            await clinic.until_state(session_id, "closed")
        return answer, clinic.simulator.total_pulses, clinic.room.limits


@pytest.mark.invariant("INV-11")
@pytest.mark.hazard("HZ-09")
async def test_a_unit_whose_stop_was_verified_gives_a_train_of_forty_seconds(tmp_path):
    answer, pulses, limits = await opened(tmp_path, **of_unit("SIM-1"))
    assert (answer.status_code, pulses) == (201, 600)
    assert limits.max_autonomous_s == LONGEST_VERIFIED_S


@pytest.mark.invariant("INV-11")
@pytest.mark.hazard("HZ-09")
@pytest.mark.parametrize("of_room", [{}, of_unit("SIM-2")])
async def test_any_other_unit_refuses_it(tmp_path, of_room):
    answer, pulses, limits = await opened(tmp_path, **of_room)
    assert (answer.json()["type"].rsplit(":", 1)[-1], pulses) == ("train-beyond-limits", 0)
    assert limits.max_autonomous_s == 10.0


@pytest.mark.invariant("INV-11")
async def test_a_unit_that_may_not_run_so_long_any_more_pauses_the_session_and_the_room_goes_on(tmp_path):
    pattern = PATTERN_10HZ.model_copy(update={"bursts_per_train": 110, "trains": 3, "train_interval_s": 600.0})
    order = treatment_order(pattern, percent=70.0, floor=60.0, ceiling=80.0)
    async with simulated(tmp_path, fast_clock(), of_room=of_unit("SIM-1")) as clinic, clinic.opened():
        await clinic.ready()
        session_id = await clinic.started(await clinic.prepare(order))
        await clinic.until_event("train-delivered")
        clinic.room.link.longest_alone_s = None  # as after another unit answered
        clinic.room.wake()
        (paused,) = await clinic.until_event("session-paused")
        assert (paused["by"], paused["reason"]) == ("interlock", "train-beyond-limits")
        assert clinic.simulator.total_pulses == 110
        assert not clinic.simulator.enabled
        assert (await clinic.session(session_id))["state"] == "interrupted"
        stopped = await clinic.ask(session_id, "stop", reason="technical")
        assert (stopped.status_code, stopped.json()["state"]) == (200, "closed")


@pytest.mark.invariant("INV-11")
def test_what_is_watched_live_goes_on_where_the_next_train_may_not_be_run():
    running = Story(order=treatment_order(PATTERN_10HZ)).running().state
    assert next_in_s(running, fast_clock(), Limits()) == 0.0
    assert next_in_s(running, fast_clock(), Limits(max_autonomous_s=3.0)) is None
