"""Consent withdrawn in a room that is cut off, end to end: the room, intake, and the room again."""

import json

import pytest
from tests.chaos.links import Link
from tests.intake.service import decision_body, running_intake
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import OPERATOR
from tests.stimulation.tellers import Teller, book, tell_prescription
from tests.stimulation.two_nodes import CUT_AFTER_S, TRANSIENT, TwoNodes, free_port, problem_of

from spoel_common.events import Envelope
from spoel_stimulation import projections
from spoel_stimulation.node import Node

CLOCK = fast_clock(8)


@pytest.fixture
async def planning(site, connect, open_database, new_sqlite, background):
    teller = Teller("planning", site, await open_database(new_sqlite()), CLOCK)
    teller.start(await connect("planning-main"), background, every_s=0.2)
    return teller


@pytest.fixture
async def link(nats_server):
    """The room's way to NATS."""
    link = Link(free_port(), nats_server.port)
    await link.listen()
    yield link
    await link.close()


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
@pytest.mark.requirement("ST-03")
async def test_a_withdrawal_in_a_room_without_network_ends_in_its_case_and_a_new_consent_follows_it(
    tmp_path, site, nats_server, connect, planning, link, eventually
):
    clock = CLOCK
    usual = {"site": site, "nats_monitor_url": nats_server.monitor_url, "stop_timeout_s": 2.0, "clock": clock}
    here = {name: value for name, value in usual.items() if name != "clock"}
    room = {**here, "nats_url": f"nats://127.0.0.1:{link.port}", "max_knowledge_age_s": CUT_AFTER_S}
    async with (
        running_intake(tmp_path, nats_url=nats_server.url, **usual) as intake,
        simulated(tmp_path, clock, **room) as clinic,
    ):
        clinic.make_node = lambda: Node(clinic.settings)
        async with clinic.opened():
            await clinic.ready()
            await clinic.check_rooms()
            site_of_one = TwoNodes(clinic, None, intake, planning, await connect("strips"), link)
            ids = await consented(intake)
            await tell_prescription(planning, ids)

            async def next_booking():
                return await book(clinic, planning, site_of_one.broker, ids=ids)

            session_id, later = await next_booking(), await next_booking()
            await site_of_one.opens(clinic, session_id, "room-1")

            async def later_known():
                async with clinic.runtime.database.read() as conn:
                    return await projections.booking_of(conn, later)

            await eventually(later_known)
            await site_of_one.cut()
            answer = await clinic.ask(session_id, "withdraw-consent")
            assert (answer.status_code, answer.json()["state"]) == (200, "closed")
            again = await clinic.open(later, consent_asked_again=True)  # also without network, and asked again
            assert problem_of(again) == "consent-withdrawn"
            assert (await case_of(intake, ids))["status"] != "consent-withdrawn"
            await site_of_one.mend()

            async def ended():
                return (await case_of(intake, ids))["status"] == "consent-withdrawn"

            await eventually(ended, 20.0)
            (withdrawn,) = [each for each in await envelopes(intake) if ".consent-withdrawn." in each.type]
            (entered,) = [each for each in await clinic.events() if ".consent-withdrawn-in-room." in each.type]
            assert withdrawn.data["room_event_id"] == withdrawn.causationid == entered.id
            assert (withdrawn.actorid, withdrawn.actorroles) == (OPERATOR.person_id, "tms-professional")
            assert withdrawn.data["withdrawn_at"] == entered.data["withdrawn_at"]

            afterwards = await next_booking()

            async def refused():
                answer = await clinic.open(afterwards)
                assert answer.status_code != 201
                assert problem_of(answer) in TRANSIENT | {"consent-withdrawn"}
                return problem_of(answer) == "consent-withdrawn"

            await eventually(refused, 15.0)
            path = f"/cases/{ids['case_id']}/consent"
            given = await intake.post(path, {"form_version": "2", "given_by": "patient"}, "nurse")
            assert given.status_code == 201, given.text

            async def opened():
                return (await clinic.open(afterwards)).status_code == 201

            await eventually(opened, 15.0)


async def consented(intake):
    """Lead a patient to consent, with the room's operator in the staff register; return the ids."""
    await intake.verify_staff("nurse", "physician", "professional")
    registration = {
        "name": "Petra",
        "big_number": OPERATOR.big_number,
        "profession": "verpleegkundige",
        "verified_on": "2026-11-01",
        "evidence": "bigregister.nl print-out 2026-11-01",
    }
    answer = await intake.post("/staff/petra/registration", registration, "supervisor")
    assert answer.status_code == 201, answer.text
    ids = await intake.refer()
    await intake.screen(ids["case_id"])
    for path, body in (
        ("indication", decision_body()),
        ("consent", {"form_version": "1", "given_by": "patient"}),
    ):
        who = "professional" if path == "indication" else "nurse"
        answer = await intake.post(f"/cases/{ids['case_id']}/{path}", body, who)
        assert answer.status_code == 201, answer.text
    return ids


async def case_of(intake, ids):
    answer = await intake.get(f"/cases/{ids['case_id']}", "nurse")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def envelopes(intake):
    return [Envelope.model_validate(json.loads(row["raw"])) for row in await intake.rows("events")]
