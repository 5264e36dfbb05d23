"""The emergency stop: needs nothing, disarms first, whatever else is broken, and is recorded afterwards."""

import asyncio
import sqlite3
import time

import pytest
from tests.stimulation.clinic import Clinic, fast_clock, frames_in, simulated
from tests.stimulation.devices.rooms import cable_to
from tests.stimulation.story import PATTERN_10HZ, treatment_order

from spoel_common.ids import new_id
from spoel_common.store.database import BUSY_TIMEOUT_S

STOP = "/rooms/room-1/emergency-stop"

pytestmark = [pytest.mark.invariant("INV-8"), pytest.mark.requirement("ST-04"), pytest.mark.hazard("HZ-10")]


async def in_a_train(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    return session_id


async def test_it_disarms_in_mid_train_without_token_body_or_key(slow_clinic):
    clinic = slow_clinic
    session_id = await in_a_train(clinic)
    answer = await clinic.client.post(STOP)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "confirmed")
    assert not clinic.simulator.enabled
    assert not clinic.simulator.running
    await clinic.until_latched("emergency-stop")
    session = await clinic.session(session_id)
    assert (session["state"], session["reason"]) == ("closed", "emergency-stop")
    (stopped,) = await clinic.events("emergency-stopped")
    assert (stopped["person"], stopped["outcome"], stopped["session_id"]) == ("unverified", "confirmed", session_id)
    (delivered,) = await clinic.events("train-delivered")
    assert delivered["pulses"] == clinic.simulator.total_pulses
    assert delivered["outcome"] == "partial"


async def test_whoever_is_signed_in_is_named(clinic):
    await clinic.client.post(STOP, headers={"Authorization": "Bearer petra"})
    (stopped,) = await clinic.until_event("emergency-stopped")
    assert stopped["person"] == "petra"


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b"\xff{not json", "headers": {"Content-Type": "application/json"}},
        {"content": b"x" * 2_000_000, "headers": {"Content-Type": "text/plain", "Authorization": "Bearer forged"}},
        {"headers": {"Accept": "image/png", "Idempotency-Key": ""}},
    ],
)
async def test_nothing_in_the_request_keeps_it_from_stopping(clinic, request_):
    answer = await clinic.client.post(STOP, **request_)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "confirmed")
    assert (await clinic.until_event("emergency-stopped"))[0]["person"] == "unverified"


async def test_a_locked_database_does_not_hold_it_up_and_it_is_recorded_later(clinic):
    session_id = await in_a_train(clinic)
    locker = sqlite3.connect(clinic.folder / "journal.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    began_s = time.monotonic()
    answer = await clinic.client.post(STOP)
    took_s = time.monotonic() - began_s
    assert answer.json()["outcome"] == "confirmed"
    assert not clinic.simulator.enabled
    assert took_s < BUSY_TIMEOUT_S - 2, "it waited for the database"
    assert await clinic.events("emergency-stopped") == []
    locker.execute("ROLLBACK")
    locker.close()
    await clinic.until_latched("emergency-stop")
    assert (await clinic.session(session_id))["state"] == "closed"
    (delivered,) = await clinic.events("train-delivered")
    assert delivered["pulses"] == clinic.simulator.total_pulses


async def test_no_train_follows_it_while_it_is_not_yet_recorded(clinic):
    await in_a_train(clinic)
    locker = sqlite3.connect(clinic.folder / "journal.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    await clinic.client.post(STOP)
    before = clinic.simulator.total_pulses
    clinic.room.wake()
    await clinic.until(lambda: not clinic.simulator.running, "the end of the train")
    locker.execute("ROLLBACK")
    locker.close()
    await clinic.until_latched("emergency-stop")
    assert clinic.simulator.total_pulses == before
    assert len(await clinic.events("train-authorised")) == 1


async def test_it_works_without_a_session_and_latches(clinic):
    assert (await clinic.client.post(STOP)).json()["outcome"] == "confirmed"
    await clinic.until_latched("emergency-stop")
    refused = await clinic.open(await clinic.prepare())
    assert refused.json()["type"].endswith("room-latched")


@pytest.mark.hazard("HZ-16")
async def test_a_loss_of_consciousness_stops_every_room_where_the_journal_does_not_say_which_and_each_stop_is_recorded(
    two_rooms, monkeypatch
):
    clinic = two_rooms
    monkeypatch.setattr("spoel_stimulation.api_day.FIND_ROOM_TIMEOUT_S", 0)  # as with a journal that stands still
    answer = await clinic.client.post(f"/sessions/{new_id()}/loss-of-consciousness")
    assert answer.json()["outcome"] == "confirmed"
    await clinic.until_latched("emergency-stop")
    stopped = await clinic.until_event("emergency-stopped", 2)
    assert {event["room_id"] for event in stopped} == {"room-1", "room-2"}


async def test_pressed_twice_it_is_recorded_twice(clinic):
    await clinic.client.post(STOP)
    await clinic.client.post(STOP)
    await clinic.until_event("emergency-stopped", 2)


async def test_a_stop_that_fails_by_a_fault_of_the_adapter_is_recorded_as_not_confirmed(clinic, monkeypatch):
    async def faulty():
        raise RuntimeError("a fault of the adapter")

    await clinic.ready()
    with monkeypatch.context() as patched:
        patched.setattr(clinic.room.device, "disarm", faulty)
        assert (await clinic.client.post(STOP)).json()["outcome"] == "not-confirmed"
    (stopped,) = await clinic.until_event("emergency-stopped")
    assert stopped["outcome"] == "not-confirmed"
    await clinic.until(lambda: not clinic.room.holds, "the record is known to be there")


async def test_a_device_that_does_not_answer_is_shown_as_not_confirmed(tmp_path):
    async with simulated(tmp_path, fast_clock()) as plain, cable_to(plain.settings.rooms[0].address) as cable:
        clinic = Clinic(tmp_path, plain.clock, {"room-1": cable.address})
        async with clinic.opened():
            await clinic.ready()
            cable.deaf = True
            answer = (await clinic.client.post(STOP)).json()
            cable.deaf = False
    assert answer["outcome"] == "not-confirmed"
    assert "Til de spoel op" in answer["instruction"]["nl"]
    assert "Lift the coil" in answer["instruction"]["en"]


async def test_a_device_that_goes_on_though_it_says_it_is_disabled_is_shown_as_not_confirmed(clinic):
    disabled_before = frames_in(clinic.folder).count("0200")

    async def pulse_afterwards():
        await clinic.until(lambda: frames_in(clinic.folder).count("0200") > disabled_before, "the stop")
        for _ in range(3):
            await asyncio.sleep(0.1)
            clinic.simulator._stimulate(clinic.clock.utc_ns())

    after = asyncio.create_task(pulse_afterwards())
    answer = (await clinic.client.post(STOP)).json()
    await after
    assert answer["outcome"] == "not-confirmed"
    await clinic.until_event("unauthorised-pulse-observed")


async def test_another_room_goes_on(two_rooms):
    session_id = await two_rooms.started(await two_rooms.prepare(treatment_order(PATTERN_10HZ)))
    assert (await two_rooms.client.post("/rooms/room-2/emergency-stop")).json()["outcome"] == "confirmed"
    await two_rooms.until_event("train-delivered", 2)
    assert (await two_rooms.session(session_id))["state"] == "running"


async def test_a_room_that_is_not_here_is_named(clinic):
    answer = await clinic.client.post("/rooms/room-9/emergency-stop")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
