"""NATS is killed during a session: it goes on, and everything is published in order when NATS is back."""

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.tellers import Teller, tell_everything
from tests.stimulation.two_nodes import CUT_AFTER_S, TRANSIENT, problem_of

from spoel_common.messaging import Consumer, Projection
from spoel_stimulation.node import Node

CLOCK = fast_clock(60)


@pytest.fixture
async def tellers(own_nats, connect, open_database, new_sqlite, background):
    """Return intake and planning, on a NATS that the test may kill."""
    made = []
    for service in ("intake", "planning"):
        teller = Teller(service, "local", await open_database(new_sqlite()), CLOCK)
        teller.start(await connect(f"{service}-main", own_nats.settings), background, every_s=0.2)
        made.append(teller)
    return made


@pytest.fixture
async def published(own_nats, connect, open_database, new_sqlite, background):
    """Return what the room's stream carries, in its order, also behind a restart of NATS."""
    envelopes = []

    async def apply(_conn, envelope, _decoded, _raw):
        envelopes.append(envelope)

    projection = Projection(name="heard", version=1, services=("stimulation",), catalogue=None, apply=apply)
    broker = await connect("listener", own_nats.settings)
    background(Consumer(projection, await open_database(new_sqlite()), broker, "local", discover_every_s=0.2).run())
    return envelopes


@pytest.mark.requirement("ST-03")
@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-3")
async def test_a_session_goes_on_while_nats_is_dead_and_nothing_of_it_is_lost(
    tmp_path, own_nats, connect, tellers, published, eventually
):
    settings = {
        "nats_url": own_nats.server.url,
        "nats_monitor_url": own_nats.server.monitor_url,
        "max_knowledge_age_s": CUT_AFTER_S,
        "stop_timeout_s": 2.0,
    }
    async with simulated(tmp_path, CLOCK, **settings) as clinic:
        clinic.make_node = lambda: Node(clinic.settings)
        async with clinic.opened():
            await clinic.ready()
            await clinic.check_rooms()
            session_id = await tell_everything(clinic, *tellers, await connect("strips", own_nats.settings))

            async def opens():
                answer = await clinic.open(session_id)
                assert answer.status_code == 201 or problem_of(answer) in TRANSIENT, answer.text
                return answer.status_code == 201

            await eventually(opens, 15.0)
            assert (await clinic.identify(session_id)).status_code == 200
            assert (await clinic.check_patient(session_id)).is_success
            assert (await clinic.present(session_id)).is_success
            assert (await clinic.arm(session_id)).json()["outcome"] == "done"
            assert (await clinic.ask(session_id, "start")).status_code == 200
            await clinic.until_event("train-delivered")
            own_nats.kill()
            before = len(await clinic.events("train-delivered"))
            await clinic.until(lambda: not clinic.runtime.broker.connected, "NATS gone")
            await clinic.until(
                lambda: all(known.age_s > CUT_AFTER_S for known in clinic.room.look().known), "old knowledge"
            )
            await clinic.until_event("train-delivered", before + 4)
            assert (await clinic.ask(session_id, "pause", reason="coil-check")).status_code == 200
            refused = await clinic.ask(session_id, "resume", ear_protection=True)
            assert problem_of(refused) == "stale-knowledge"
            resumed = await clinic.ask(session_id, "resume", ear_protection=True, consent_asked_again=True)
            assert resumed.status_code == 200, resumed.text
            done = len(await clinic.events("train-delivered"))
            await clinic.until_event("train-delivered", done + 1)
            assert (await clinic.ask(session_id, "stop", reason="other")).status_code == 200
            happened = await clinic.events()
            assert len(published) < len(happened)
            own_nats.start()
            await eventually(lambda: len(published) >= len(happened), 30.0)
            assert [each.id for each in published] == [each.id for each in happened]
            delivered = sum(each.data["pulses"] for each in happened if ".train-delivered." in each.type)
            assert delivered == clinic.simulator.total_pulses
