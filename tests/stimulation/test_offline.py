"""Rooms cut off: two nodes of a site, a real NATS, and a link between that is cut and mended."""

import pytest
from tests.stimulation.clinic import firing_frames
from tests.stimulation.tellers import cancel
from tests.stimulation.two_nodes import FRESH_S, problem_of, two_nodes

pytestmark = pytest.mark.requirement("ST-03")


@pytest.fixture
async def nodes(tmp_path, site, connect, nats_server, open_database, new_sqlite, background):
    async def new_database():
        return await open_database(new_sqlite())

    async with two_nodes(tmp_path, site, connect, nats_server, new_database, background) as both:
        yield both


async def strip_kept(clinic, session_id, room_id="room-1"):
    await clinic.until(lambda: session_id in clinic.node.strips[room_id]._kept, "the strip")


@pytest.mark.hazard("HZ-02")
@pytest.mark.hazard("HZ-14")
async def test_two_rooms_one_cut_off_never_both_begin_with_a_patient_whose_booking_was_moved(nodes, heard):
    first, second = nodes.first, nodes.second
    before = await nodes.book(first, "room-1")
    await strip_kept(first, before)
    await nodes.cut("silent")
    await cancel(nodes.planning, before)
    after = await nodes.book(second, "room-2")

    async def known_to_be_leased():
        answer = await second.open(after, room_id="room-2")
        assert answer.status_code != 201, "both rooms could begin"
        return problem_of(answer) == "leased-elsewhere"

    await second.until(known_to_be_leased, "the lease of the first room")
    refused = await first.open(before)
    assert problem_of(refused) == "stale-knowledge"
    assert refused.json()["missing"] == ["consent-asked-again"]
    assert (await first.open(before, consent_asked_again=True)).status_code == 201  # it holds the lease
    assert (await first.identify(before)).status_code == 200  # by the strip that it had
    assert (await first.check_patient(before)).is_success
    assert (await first.present(before)).is_success
    assert (await first.arm(before)).json()["outcome"] == "done"
    assert (await first.ask(before, "start")).status_code == 200
    await first.until_event("train-delivered")
    assert problem_of(await second.open(after, room_id="room-2")) == "leased-elsewhere"

    await nodes.mend()

    async def known_to_be_busy():
        return problem_of(await second.open(after, room_id="room-2")) == "room-busy"

    await second.until(known_to_be_busy, "the first room's session")
    (opened,) = await first.events("session-opened")
    assert (opened["offline"], opened["consent_asked_again"]) == (True, True)
    await first.ask(before, "stop", reason="other")
    await nodes.opens(second, after, "room-2")
    names = [each.type.split(".")[2] for each in heard if each.source.endswith("node-1")]
    assert names == await first.names()
    assert names.index("session-opened") < names.index("train-authorised") < names.index("session-closed")
    assert "lease-released" not in names  # it was used


@pytest.mark.hazard("HZ-02")
async def test_a_room_that_hears_of_a_move_gives_the_booking_back_and_never_opens_it(nodes, heard):
    first, second = nodes.first, nodes.second
    before = await nodes.book(first, "room-1")
    await cancel(nodes.planning, before)
    after = await nodes.book(second, "room-2")
    await nodes.opens(second, after, "room-2")
    (released,) = await first.events("lease-released")
    assert (released["session_id"], released["room_id"]) == (before, "room-1")
    assert problem_of(await first.open(before)) == "booking-cancelled"
    order = [(each.type.split(".")[2], each.source.rpartition("/")[2]) for each in heard]
    assert order.index(("lease-released", "node-1")) < order.index(("session-opened", "node-2"))


@pytest.mark.hazard("HZ-14")
async def test_a_patient_in_a_session_elsewhere_is_not_taken_into_another_room(nodes):
    first, second = nodes.first, nodes.second
    here, there = await nodes.book(first, "room-1"), await nodes.book(second, "room-2")
    await nodes.opens(first, here, "room-1")

    async def seen():
        rooms = (await second.get("/site/rooms")).json()["rooms"]
        return [room["session_id"] for room in rooms if room["known_age_s"] and not room["here"]] == [here]

    await second.until(seen, "the session in the first room")

    async def busy():
        refused = await second.open(there, room_id="room-2")
        assert problem_of(refused) in {"room-busy", "booking-unknown"}
        return problem_of(refused) == "room-busy" and "room-1" in refused.json()["detail"]

    await second.until(busy, "the refusal for the session in the first room")
    await first.ask(here, "stop", reason="other")
    await nodes.opens(second, there, "room-2")


@pytest.mark.hazard("HZ-14")
async def test_of_several_treatments_a_day_in_two_rooms_none_begins_while_one_room_is_cut_off(nodes):
    first, second = nodes.first, nodes.second
    morning, there = await nodes.book(first, "room-1"), await nodes.book(second, "room-2")
    await strip_kept(first, morning)

    async def both_known():
        answer = await first.open(there)
        return problem_of(answer) == "wrong-room"

    await first.until(both_known, "both bookings")
    await nodes.cut()
    assert problem_of(await first.open(morning, consent_asked_again=True)) == "accelerated-day-offline"
    source = first.runtime.store.name.source
    await second.until(lambda: second.runtime.known_of(source).age_s > FRESH_S, "the first node not heard")
    refused = await second.open(there, room_id="room-2")
    assert problem_of(refused) == "leased-elsewhere"
    assert refused.json()["room_id"] == "room-1"
    await nodes.mend()
    await nodes.opens(second, there, "room-2")


@pytest.mark.hazard("HZ-21")
@pytest.mark.requirement("IN-11")
async def test_the_other_rooms_hear_of_a_withdrawal_from_the_room_itself(nodes):
    first, second = nodes.first, nodes.second
    session_id = await nodes.book(first, "room-1")
    await nodes.opens(first, session_id, "room-1")
    await first.identify(session_id)
    await first.check_patient(session_id)
    await first.present(session_id)
    await first.arm(session_id)
    await first.ask(session_id, "start")
    await first.until_event("train-authorised")
    answer = await first.ask(session_id, "withdraw-consent", key="once")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["device_disarmed"]) == ("closed", True)
    assert not first.simulator.enabled
    fired = len(firing_frames(first.folder))
    (closed,) = await first.events("session-closed")
    assert closed["reason"] == "consent-withdrawn"
    assert (await first.ask(session_id, "withdraw-consent", key="once")).headers["Idempotency-Replayed"] == "true"
    assert (await first.ask(session_id, "withdraw-consent")).json()["state"] == "closed"
    assert len(await first.events("consent-withdrawn-in-room")) == 1
    there = await nodes.book(second, "room-2")

    async def withdrawn():
        answer = await second.open(there, room_id="room-2")
        assert answer.status_code != 201
        return problem_of(answer) == "consent-withdrawn"

    await second.until(withdrawn, "the withdrawal in the other room")  # of which intake has not said a word
    assert len(firing_frames(first.folder)) == fired


@pytest.mark.hazard("HZ-21")
async def test_a_withdrawal_before_the_session_was_opened_bars_it(clinic):
    session_id = await clinic.prepare()
    answer = await clinic.ask(session_id, "withdraw-consent")
    assert (answer.status_code, answer.json()["state"]) == (200, "none")
    assert problem_of(await clinic.open(session_id)) == "consent-withdrawn"


async def test_a_withdrawal_by_whoever_may_not_or_of_no_booking_here_is_refused(two_rooms):
    session_id = await two_rooms.prepare()
    assert (await two_rooms.ask("nowhere", "withdraw-consent")).status_code == 404
    assert (await two_rooms.ask(session_id, "withdraw-consent", by_room=True)).status_code == 422
    assert await two_rooms.events("consent-withdrawn-in-room") == []


@pytest.mark.hazard("HZ-21")
async def test_a_withdrawal_of_another_booking_does_not_stop_whoever_is_being_treated(clinic):
    running = await clinic.started(await clinic.prepare())
    await clinic.tell_case("case-2", "patient-2")
    other = await clinic.book(case_id="case-2", patient_id="patient-2")
    assert (await clinic.ask(other, "withdraw-consent")).status_code == 200
    assert (await clinic.session(running))["state"] == "running"
    assert clinic.simulator.enabled


@pytest.mark.hazard("HZ-21")
@pytest.mark.invariant("INV-4")
async def test_a_withdrawal_stops_the_patients_session_in_another_room_of_the_node_too(two_rooms):
    clinic = two_rooms
    running = await clinic.started(await clinic.prepare())
    elsewhere = await clinic.book(room_id="room-2")
    assert (await clinic.ask(elsewhere, "withdraw-consent")).status_code == 200
    assert (await clinic.until_state(running, "closed"))["reason"] == "consent-withdrawn"
    assert not clinic.simulators[0].enabled
