"""Every kind of process killed in the middle of a session, started again, the session taken on, and nothing lost.

One session of 75 trains in one room goes through all the kills of a round; after each it is paused, and the equalities
of the demo are computed. Moments are drawn from a seed: the number of the round (``--crash-rounds``).
"""

import asyncio

import pytest
from tests.system.chair import OPERATOR, clinic_with_a_patient

from spoel_local.demo.checks import simulator_pulses

pytestmark = [pytest.mark.timeout(150), pytest.mark.invariant("INV-1"), pytest.mark.requirement("ST-06")]


def pytest_generate_tests(metafunc):
    if "clinic" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--crash-rounds", default=1)
        metafunc.parametrize("clinic", range(1, rounds + 1), indirect=True, scope="module", ids="round-{}".format)


@pytest.fixture(scope="module")
def clinic(request, tmp_path_factory):
    with clinic_with_a_patient(tmp_path_factory.mktemp("crash"), request.param) as clinic:
        yield clinic


@pytest.mark.requirement("SY-02")
@pytest.mark.parametrize("name", ["intake", "planning", "audit", "nats"])
def test_a_session_goes_on_while_another_process_is_gone_and_nothing_is_lost(clinic, name):
    async def kill_under_way(people):
        await clinic.resume(people)
        await clinic.more_trains(people, 1)
        await asyncio.sleep(clinic.chance.uniform(0.0, 0.25))
        clinic.kill(name)
        await clinic.more_trains(people, 2)
        await clinic.pause(people)

    clinic.do(kill_under_way)
    clinic.launcher.restart(name)
    assert clinic.do(clinic.failed_checks) == {}


@pytest.mark.invariant("INV-7")
@pytest.mark.hazard("HZ-09")
@pytest.mark.hazard("HZ-11")
def test_after_a_kill_of_stimulation_the_room_is_latched_fires_nothing_by_itself_and_the_record_is_whole(clinic):
    async def resume(people):
        await clinic.resume(people)
        await clinic.more_trains(people, 1)

    async def take_on(people):
        fired = simulator_pulses(clinic.simulator_log)
        await asyncio.sleep(1.0)
        assert simulator_pulses(clinic.simulator_log) == fired
        reason = await clinic.reset_and_arm(people, "device-checked")
        await clinic.resume(people)
        await clinic.more_trains(people, 2)
        await clinic.pause(people)
        return reason

    clinic.do(resume)
    clinic.in_the_middle_of_a_train()
    clinic.kill("stimulation")
    clinic.launcher.restart("stimulation")
    assert clinic.do(take_on) == "service-restart"
    assert clinic.do(clinic.failed_checks) == {}


@pytest.mark.requirement("ST-12")
def test_the_operator_ends_the_session_after_all_that_and_the_record_is_whole(clinic):
    async def finish(people):
        await clinic.resume(people)
        await clinic.more_trains(people, 2)
        await people.tell(OPERATOR, "stimulation", f"{clinic.session}/stop", {"reason": "time-over"}, "stop")
        return await people.ask(OPERATOR, "stimulation", clinic.session, "the closed session")

    closed = clinic.do(finish)
    assert closed["state"] == "closed"
    assert 0 < closed["progress"]["pulses_delivered"] < closed["progress"]["pulses_planned"]
    assert clinic.do(clinic.failed_checks) == {}
