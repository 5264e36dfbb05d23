"""A unit of work: load, decide, append; what its envelopes carry."""

from datetime import UTC, datetime

import pytest
from tests.common.shop import ACTOR, COUNTER, Counted

from spoel_common.clock import SteppedClock
from spoel_common.errors import VersionConflict
from spoel_common.events import Catalogue, Envelope
from spoel_common.people import Actor, Role
from spoel_common.store import START
from spoel_common.work import Aggregate, Loaded, UnitsOfWork, UnknownOwnEvent


async def newest(shop) -> Envelope:
    return Envelope.from_bytes((await shop.store.read_after(START, 100))[-1].raw)


async def test_an_aggregate_that_does_not_exist_is_at_version_0(shop):
    assert await shop.units.load(COUNTER, "a") == Loaded(0, 0)


async def test_what_is_appended_is_loaded_again_within_the_unit_and_after_it(shop):
    async with shop.units.begin(ACTOR, "c-1") as work:
        loaded = await work.load(COUNTER, "a")
        loaded = await work.append(COUNTER, "a", loaded, [Counted(number=2), Counted(number=3)])
        assert loaded == Loaded(5, 2)
        loaded = await work.append(COUNTER, "a", loaded, [Counted(number=4)])
        assert await work.load(COUNTER, "a") == loaded == Loaded(9, 3)
        assert await work.append(COUNTER, "a", loaded, []) == loaded
    assert await shop.units.load(COUNTER, "a") == Loaded(9, 3)


async def test_a_unit_that_fails_leaves_nothing(shop):
    async def append_and_fail() -> None:
        async with shop.units.begin(ACTOR, "c-1") as work:
            await work.append(COUNTER, "a", await work.load(COUNTER, "a"), [Counted(number=1)])
            raise RuntimeError("refused")

    with pytest.raises(RuntimeError, match="refused"):
        await append_and_fail()
    assert await shop.units.load(COUNTER, "a") == Loaded(0, 0)


@pytest.mark.invariant("INV-3")
async def test_a_decision_on_an_old_version_is_refused(shop):
    stale = await shop.units.load(COUNTER, "a")
    await shop.count("a", 1)
    with pytest.raises(VersionConflict):
        async with shop.units.begin(ACTOR, "c-1") as work:
            await work.append(COUNTER, "a", stale, [Counted(number=1)])


@pytest.mark.invariant("INV-5")
async def test_an_envelope_says_who_did_what_when_where_and_why(shop):
    technician = Actor(
        person_id="tech-1",
        roles=frozenset({Role.TMS_TECHNICIAN, Role.CLINICIAN}),
        big_number="12345678901",
        supervisor_id="sup-1",
    )
    clock = SteppedClock()
    units = UnitsOfWork(shop.database, shop.store, clock)
    async with units.begin(technician, "corr", causation_id="cause", traceparent="00-trace") as work:
        event_id = work.new_event_id()
        await work.append(
            COUNTER,
            "room-1",
            await work.load(COUNTER, "room-1"),
            [Counted(number=7)],
            event_ids=[event_id],
            room="room-1",
            simulated=True,
        )
        now = work.now

    envelope = await newest(shop)

    assert envelope == Envelope(
        id=event_id,
        source=shop.name.source,
        type="spoel.intake.counted.v1",
        subject="room-1",
        time=now,
        aggregatetype="counter",
        aggregateversion=1,
        correlationid="corr",
        causationid="cause",
        traceparent="00-trace",
        actorid="tech-1",
        actorroles="clinician,tms-technician",
        actorbig="12345678901",
        onbehalfof="sup-1",
        supervisorid="sup-1",
        site=shop.name.site,
        room="room-1",
        simulated=True,
        data={"number": 7},
    )
    assert now == datetime(2026, 1, 1, tzinfo=UTC)


async def test_every_event_needs_its_own_id(shop):
    two = [Counted(number=1), Counted(number=2)]
    with pytest.raises(ValueError, match="zip"):
        async with shop.units.begin(ACTOR, "c-1") as work:
            await work.append(COUNTER, "a", await work.load(COUNTER, "a"), two, event_ids=["only-one"])


async def test_an_own_event_that_no_catalogue_knows_is_an_error_and_not_skipped(shop):
    await shop.count("a", 1)
    forgetful: Aggregate[int] = Aggregate("counter", lambda: 0, lambda state, _: state, Catalogue([]))
    with pytest.raises(UnknownOwnEvent, match=r"spoel\.intake\.counted\.v1"):
        await shop.units.load(forgetful, "a")
