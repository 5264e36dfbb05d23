"""What is kept of a long session or room is the same as what its events lead to."""

from functools import reduce

import pytest
from pydantic import BaseModel
from tests.stimulation.story import PATTERN_ITBS, Story, measurement_order, treatment_order

from spoel_common.store import AggregateRef, snapshots
from spoel_stimulation.aggregates import ROOM, SESSION

pytestmark = pytest.mark.invariant("INV-3")


def restored(state: BaseModel) -> BaseModel:
    return type(state).model_validate_json(state.model_dump_json())


@pytest.mark.parametrize("order", [treatment_order(), treatment_order(PATTERN_ITBS)], ids=["10 Hz", "iTBS"])
def test_a_session_restored_from_its_bytes_is_the_same_in_every_phase(order):
    story = Story(order=order)
    running = Story(order=order).running().train("a", "partial", 1).train("b").state
    for state in (story.state, story.opened().state, Story(order=order).armed().state, running):
        assert restored(state) == state


def test_a_measurement_restored_from_its_bytes_is_the_same():
    state = Story("measurement", measurement_order()).armed().state
    assert restored(state) == state


async def of_events(clinic, aggregate, aggregate_id):
    """Return the state that all events of an aggregate lead to, without any snapshot."""
    async with clinic.runtime.database.read() as conn:
        envelopes = await clinic.runtime.store.load(conn, AggregateRef(aggregate.name, aggregate_id))
    return reduce(aggregate.evolve, map(aggregate.catalogue.decode, envelopes), aggregate.initial())


async def test_a_closed_session_is_archived_and_is_the_same_from_its_final_snapshot(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_ITBS)))
    await clinic.until_event("train-delivered")
    assert (await clinic.ask(session_id, "stop", reason="patient-asked")).is_success
    await clinic.until_state(session_id, "closed")

    ref = AggregateRef(SESSION.name, session_id)
    async with clinic.runtime.database.read() as conn:
        assert await snapshots.archived_at(conn, ref) is not None
    loaded = await clinic.runtime.units.load(SESSION, session_id)
    assert loaded.state.ended
    assert loaded.state == await of_events(clinic, SESSION, session_id)
    assert (await clinic.session(session_id))["state"] == "closed"


async def test_a_room_restored_from_its_bytes_is_the_same(clinic):
    await clinic.client.post("/rooms/room-1/emergency-stop")
    await clinic.until_latched("emergency-stop")
    state = await of_events(clinic, ROOM, "room-1")
    assert state.latch is not None
    assert restored(state) == state
