"""Ten rounds a service of faults while commands flow, and after each round every equality (``make chaos``: more).

In every round each of the four services is struck by a fault of its own, at a moment of its own: killed, stopped for a
while, its disk full, or NATS killed under it. The seed is ``--chaos-seed``.
"""

import asyncio
import sys
from collections import Counter

import pytest
from tests.chaos.place import embedded
from tests.chaos.plan import SERVICES, draw, embedded_menu
from tests.chaos.run import Run

from spoel_local.demo.world import morning_clock
from spoel_local.launcher import Options, Ports

ROUNDS = 10


def say(text) -> None:
    sys.stdout.write(f"{text}\n")  # shown where the test fails


@pytest.mark.timeout(900)
@pytest.mark.invariant("INV-3")
@pytest.mark.requirement("SY-02")
def test_ten_rounds_of_faults_a_service_lose_nothing_double_nothing_and_leave_every_read_model_right(
    request, fast_folder
):
    seed = request.config.getoption("--chaos-seed", default=1)
    plan = draw(seed, ROUNDS, embedded_menu(), at_once=len(SERVICES))
    struck = Counter(fault.service for planned in plan for fault in planned.faults)
    assert struck == dict.fromkeys(SERVICES, ROUNDS)
    folder = fast_folder / "chaos"
    (folder / "anew").mkdir(parents=True)
    options = Options(data_dir=folder / "data", rooms=1, clock=morning_clock(60), ports=Ports.any_free())

    async def rounds(place):
        async with Run(place, seed, folder / "anew", say, pace=(1, 0.5)) as run:
            for planned in plan:
                say(f"seed {seed}, {planned}")
                assert await run.round(planned) == []
            return run.outcome

    with embedded(options) as place:
        outcome = asyncio.run(rounds(place))
    say(f"{outcome.ledger.counts()}, {outcome.events} events")
    assert outcome.ledger.acknowledged.keys() == {"intake", "planning", "stimulation"}
    assert outcome.ledger.counts()["unknown_at_first"] > 0
