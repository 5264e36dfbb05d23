"""A room with a belt: the real application, a simulated stimulator, and a heart that feels its pulses."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import search_order

from spoel_common.clock import utc_now
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.heart.belt import BeltSimulator, on_tcp
from spoel_stimulation.heart.model import HeartSetting


class Searching:
    """A search in a room, as an operator does it; ``truth`` is what the heart does at each location."""

    def __init__(self, clinic, control):
        self.clinic = clinic
        self._control = control

    async def tell_belt(self, **told):
        reader, writer = await asyncio.open_connection(*self._control)
        writer.write(json.dumps(told).encode() + b"\n")
        assert await reader.readline() == b"ok\n"
        writer.close()

    async def started(self, **changes):
        today = local_day(utc_now(self.clinic.clock))
        order = search_order(valid_on=today, **changes)
        await self.clinic.until(lambda: self.clinic.room.heart.problem is None, "belt heard")
        return await self.clinic.started(await self.clinic.prepare(order, "measurement"))

    async def run(self, session_id, location, percent_mso=50, **changes):
        said = {"location": location, "side_or_site": "left", "percent_mso": percent_mso, "ear_protection": True}
        return await self.clinic.ask(session_id, "search", **(said | changes))

    async def measured(self, session_id, location, coupling_bpm):
        """Let the heart be coupled so much, give the location's trains, and wait for what comes of it."""
        await self.tell_belt(coupling_bpm=coupling_bpm)
        before = len(await self.clinic.events("coupling-measured"))
        response = await self.run(session_id, location)
        assert response.status_code == 200, response.text
        return (await self.clinic.until_event("coupling-measured", before + 1))[-1]

    async def coupling(self, session_id):
        response = await self.clinic.get(f"/sessions/{session_id}/coupling")
        assert response.status_code == 200, response.text
        return response.json()


def place_of(address):
    place = urlsplit(address)
    return place.hostname, place.port


@asynccontextmanager
async def belted(folder, speed=24.0, **heart):
    """Yield a clinic that is to be opened, and where its belt's control port is."""
    clock = fast_clock(speed)
    async with AsyncExitStack() as stack:
        clinic = await stack.enter_async_context(simulated(folder, clock))
        belt = BeltSimulator(clock, HeartSetting(**heart), seed=7, follow=folder / "sim-1.jsonl")
        ports = await stack.enter_async_context(on_tcp(belt))
        rooms = [room.model_copy(update={"heart_address": ports.address}) for room in clinic.settings.rooms]
        clinic.settings = clinic.settings.model_copy(update={"rooms": tuple(rooms)})
        yield clinic, place_of(ports.control)


@pytest.fixture
async def searching(tmp_path):
    async with belted(tmp_path) as (clinic, control), clinic.opened():
        yield Searching(clinic, control)
