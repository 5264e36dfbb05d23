"""What a node refuses to start or to work with: settings, keys, simulators and fast clocks where they do not belong."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError
from tests.stimulation.clinic import simulated
from tests.stimulation.guard.parts import Guard
from tests.stimulation.story import PATTERN_10HZ, treatment_order

from spoel_common.clock import ScaledClock
from spoel_common.runtime import Unavailable
from spoel_common.sealing import seal
from spoel_common.settings import CannotStart
from spoel_stimulation.domain.refusals import IdentityStripMissing
from spoel_stimulation.settings import RoomSetting, StimulationSettings
from spoel_stimulation.strips import Strips, room_key

ROOM = {"room_id": "room-1", "address": "socket://127.0.0.1:4001"}


@asynccontextmanager
async def guard_process(folder, clinic):
    """The guard of a clinic's rooms."""
    addresses = {room.room_id: room.address for room in clinic.settings.rooms}
    guard = await asyncio.to_thread(Guard, folder, addresses)
    try:
        yield guard
    finally:
        await asyncio.to_thread(guard.end)


@pytest.mark.invariant("INV-11")
def test_a_clinical_site_has_a_guard_for_its_rooms():
    with pytest.raises(ValidationError, match="SPOEL_GUARD_DIR"):
        StimulationSettings(clinical=True, rooms=[ROOM])


@pytest.mark.hazard("HZ-25")
async def test_a_clinical_site_takes_no_simulator(tmp_path):
    clock = ScaledClock.starting_now(1.0)
    async with (
        simulated(tmp_path, clock, clinical=True, guard_dir=tmp_path / "guard") as clinic,
        guard_process(tmp_path, clinic),
        clinic.opened(),
    ):
        await clinic.until(lambda: not clinic.room.link.accepted, "the refusal")
        view = await clinic.room_view()
        assert view["device"]["ready"] is False
        assert await clinic.names() == []
        assert not clinic.simulator.enabled
        await clinic.tell_people()
        await clinic.tell_case()
        await clinic.tell_prescription(treatment_order(PATTERN_10HZ))
        await clinic.check_rooms()
        answer = await clinic.open(await clinic.book())
        assert answer.json()["type"].endswith("device-not-accepted")
        assert "real devices" in answer.json()["detail"]


@pytest.mark.hazard("HZ-25")
def test_a_clinical_site_runs_in_real_time():
    with pytest.raises(ValidationError, match="SPOEL_CLOCK"):
        StimulationSettings(clinical=True, clock=ScaledClock.starting_now(2.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"database_url": "postgresql://spoel@db/stimulation"},
        {"rooms": [ROOM, ROOM]},
        {"rooms": [ROOM, ROOM | {"room_id": "room-2"}]},
        {"rooms": [ROOM | {"address": "somewhere"}]},
        {"rooms": [ROOM | {"room_id": "Room 1"}]},
        {"rooms": [ROOM | {"device": "toaster"}]},
        {"rooms": [ROOM | {"speed": 2}]},
        {"max_knowledge_age_s": 0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        StimulationSettings.model_validate(wrong)


def test_rooms_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("SPOEL_ROOMS", '[{"room_id":"room-1","device":"magpro","address":"/dev/ttyUSB0"}]')
    settings = StimulationSettings()
    assert settings.rooms == (RoomSetting(room_id="room-1", address="/dev/ttyUSB0"),)
    assert (settings.store, settings.port, settings.token_audience) == ("node-1", 8103, "stimulation")


@pytest.mark.invariant("INV-6")
def test_a_rooms_key_is_made_once_and_is_its_owners_alone(tmp_path):
    key = room_key(tmp_path / "node", "room-1")
    path = tmp_path / "node" / "room-1-strip.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert room_key(tmp_path / "node", "room-1") == key
    assert room_key(tmp_path / "node", "room-2") != key
    path.chmod(0o644)
    with pytest.raises(CannotStart, match="chmod 600"):
        room_key(tmp_path / "node", "room-1")
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(CannotStart, match="damaged"):
        room_key(tmp_path / "node", "room-1")


@pytest.mark.invariant("INV-6")
@pytest.mark.hazard("HZ-02")
async def test_a_strip_opens_only_in_its_room_and_for_its_session(tmp_path):
    keys = {room_id: room_key(tmp_path, room_id) for room_id in ("room-1", "room-2")}
    text = '{"given_name":"Zoë","family_name":"van den Berg","birth_date":"1980-02-29","more":1}'
    sealed = seal(text, keys["room-1"].public_key, "session-1", "identity-strip").encode()

    async def fetch(_key):
        return sealed

    assert (await Strips("room-1", keys["room-1"], fetch).of("session-1")).given_name == "Zoë"
    for room_id, session_id in (("room-2", "session-1"), ("room-1", "session-2")):
        with pytest.raises(IdentityStripMissing):
            await Strips(room_id, keys[room_id], fetch).of(session_id)


@pytest.mark.invariant("INV-6")
async def test_a_room_that_is_cut_off_opens_the_strip_that_it_had_and_keeps_it_sealed(tmp_path):
    key = room_key(tmp_path, "room-1")
    text = '{"given_name":"Zoë","family_name":"van den Berg","birth_date":"1980-02-29"}'
    bucket = {f"room-1.{name}": seal(text, key.public_key, name, "identity-strip").encode() for name in ("s1", "s2")}
    reached = True

    async def fetch(at):
        if not reached:
            raise Unavailable("NATS did not answer.")
        return bucket.get(at)

    strips = Strips("room-1", key, fetch)
    await strips.keep(["s1", "s2", "not-there-yet"], anew=False)
    assert all(b"van den Berg" not in sealed for sealed in strips._kept.values())
    reached = False
    assert (await strips.of("s1")).given_name == "Zoë"
    with pytest.raises(IdentityStripMissing):
        await strips.of("not-there-yet")
    reached = True
    await strips.keep(["s2"], anew=False)  # s1's day is over, or it was cancelled
    del bucket["room-1.s2"]
    reached = False
    with pytest.raises(IdentityStripMissing):
        await strips.of("s1")
    assert (await strips.of("s2")).given_name == "Zoë"
    reached = True
    await strips.keep(["s2"], anew=True)  # intake deleted it
    reached = False
    with pytest.raises(IdentityStripMissing):
        await strips.of("s2")


async def test_rooms_are_shown_to_those_who_work_in_them(clinic):
    rooms = (await clinic.get("/rooms")).json()["rooms"]
    assert [(room["room_id"], room["device"]["serial"], room["latch"]) for room in rooms] == [("room-1", "SIM-1", None)]
    (opened,) = await clinic.events("room-opened")
    assert opened["strip_public_key"] == rooms[0]["strip_public_key"]
    assert (opened["simulated"], opened["coil_model"]) == (True, "Cool-B65")
