"""The list of all rooms of the site, and who is there."""

import pytest
from tests.stimulation.story import CLINICIAN
from tests.stimulation.two_nodes import problem_of, two_nodes

pytestmark = pytest.mark.requirement("ST-03")


@pytest.fixture
async def nodes(tmp_path, site, connect, nats_server, open_database, new_sqlite, background):
    async def new_database():
        return await open_database(new_sqlite())

    async with two_nodes(tmp_path, site, connect, nats_server, new_database, background) as both:
        yield both


async def rooms_of(clinic):
    answer = await clinic.get("/site/rooms")
    assert answer.status_code == 200, answer.text
    return {room["room_id"]: room for room in answer.json()["rooms"]}


@pytest.mark.invariant("INV-6")
async def test_every_node_lists_all_rooms_and_sees_who_is_there_and_who_is_not_any_more(nodes):
    first, second = nodes.first, nodes.second

    async def both_present():
        seen = [await rooms_of(clinic) for clinic in (first, second)]
        return all(
            set(rooms) == {"room-1", "room-2"} and {room["presence"] for room in rooms.values()} == {"present"}
            for rooms in seen
        )

    await second.until(both_present, "both rooms present")
    rooms = await rooms_of(second)
    assert [(room["node"], room["here"]) for room in rooms.values()] == [("node-2", True), ("node-1", False)]
    assert rooms["room-1"]["state"] == "free"
    assert rooms["room-1"]["device_ready"]
    assert rooms["room-1"]["stimulator_model"] == "MagPro X100+Option"
    assert rooms["room-1"]["said_age_s"] < 2.0

    await first.post("/rooms/room-1/emergency-stop")

    async def latched():
        room = (await rooms_of(second))["room-1"]
        return (room["state"], room["latch_reason"]) == ("latched", "emergency-stop")

    await second.until(latched, "the latch")
    bucket = await nodes.second.node.presences._open(second.runtime)
    said = (await bucket.get("room-1")).decode()
    assert not any(secret in said for secret in ("Zoë", "petra", "1980"))

    await nodes.cut()

    async def absent():
        room = (await rooms_of(second))["room-1"]
        return room["presence"] == "absent" and room["said_age_s"] is None

    await second.until(absent, "the first room absent")
    here = await rooms_of(first)
    assert {room["presence"] for room in here.values()} == {"unknown"}
    assert here["room-1"]["state"] == "latched"  # of its own rooms it knows everything
    await nodes.mend()
    await second.until(both_present, "both rooms present again")


async def test_the_list_of_rooms_is_for_those_who_work_there(clinic):
    assert (await clinic.get("/site/rooms", by=CLINICIAN)).status_code == 200
    answer = await clinic.client.get("/site/rooms")
    assert problem_of(answer) == "token-missing"
    rooms = (await clinic.get("/site/rooms")).json()
    assert (rooms["nats_connected"], [room["presence"] for room in rooms["rooms"]]) == (False, ["unknown"])
