"""A room node with a real NATS: it learns from intake and planning, fetches strips, and publishes what happened."""

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import CASE, PATIENT
from tests.stimulation.tellers import Teller, tell_everything

from spoel_common.clock import utc_now
from spoel_stimulation.node import Node


@pytest.fixture
async def tellers(site, connect, open_database, new_sqlite, background):
    """Return intake and planning as tellers, publishing to the real server."""
    clock = fast_clock()
    made = []
    for service in ("intake", "planning"):
        teller = Teller(service, site, await open_database(new_sqlite()), clock)
        teller.start(await connect(f"{service}-main"), background)
        made.append(teller)
    return made


@pytest.mark.requirement("ST-03")
@pytest.mark.requirement("SY-02")
@pytest.mark.invariant("INV-4")
async def test_a_session_on_what_others_published_until_consent_is_withdrawn(
    tmp_path, site, tellers, heard, broker, nats_server, eventually
):
    intake, planning = tellers
    settings = {"site": site, "nats_url": nats_server.url, "nats_monitor_url": nats_server.monitor_url}
    async with simulated(tmp_path, fast_clock(8), **settings) as clinic:
        clinic.make_node = lambda: Node(clinic.settings)
        async with clinic.opened():
            await clinic.ready()
            session_id = await tell_everything(clinic, intake, planning, broker)
            await clinic.check_rooms()

            async def opens():
                answer = await clinic.open(session_id)
                assert answer.status_code == 201 or answer.json()["type"].rpartition(":")[2] in {
                    "booking-unknown",
                    "stale-knowledge",
                    "order-not-signed",
                    "consent-missing",
                    "indication-missing",
                    "registration-not-verified",
                }, answer.text
                return answer.status_code == 201

            await eventually(opens, 15.0)
            assert (await clinic.identify(session_id)).status_code == 200
            assert (await clinic.check_patient(session_id)).status_code == 201
            assert (await clinic.present(session_id)).status_code == 201
            assert (await clinic.arm(session_id)).json()["outcome"] == "done"
            await clinic.ask(session_id, "start")
            await clinic.until_event("train-authorised")
            (opened,) = await clinic.events("session-opened")
            assert [known["source"] for known in opened["known"]] == [
                f"/spoel/{site}/intake/main",
                f"/spoel/{site}/planning/main",
            ]
            assert all(known["as_of"] and known["age_s"] < 60 for known in opened["known"])
            moment = utc_now(clinic.clock).isoformat()
            ids = {"case_id": CASE, "patient_id": PATIENT}
            await intake.tell(("case", CASE), "consent-withdrawn", **ids, withdrawn_at=moment, sealed_reason=None)
            assert (await clinic.until_state(session_id, "closed"))["reason"] == "consent-withdrawn"
            assert not clinic.simulator.enabled
            published = await clinic.events()
            await eventually(lambda: len(heard) == len(published))
            assert {each.id for each in heard} == {each.id for each in published}
            assert {each.source for each in heard} == {f"/spoel/{site}/stimulation/node-1"}
