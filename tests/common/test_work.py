"""A unit of work: load, decide, append; what its envelopes carry."""

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel
from tests.common.shop import ACTOR, COUNTER, Counted

from spoel_common.clock import SteppedClock
from spoel_common.errors import VersionConflict
from spoel_common.events import Catalogue, Envelope
from spoel_common.people import Actor, Role
from spoel_common.store import START, AggregateArchived, AggregateRef, snapshots
from spoel_common.work import Aggregate, Loaded, Snapshots, UnitsOfWork, UnknownOwnEvent

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


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


async def test_what_is_only_recorded_is_durable_with_its_envelope_and_refused_where_it_is_there(shop):
    await shop.units.record(COUNTER, "a", [Counted(number=2), Counted(number=3)], ACTOR, "c-7")

    assert await shop.units.load(COUNTER, "a") == Loaded(5, 2)
    envelope = await newest(shop)
    assert (envelope.aggregateversion, envelope.correlationid, envelope.actorbig) == (2, "c-7", ACTOR.big_number)
    with pytest.raises(VersionConflict):
        await shop.units.record(COUNTER, "a", [Counted(number=1)], ACTOR, "c-8")


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


class Tally(BaseModel):
    """A state with snapshots: the numbers that were counted, closed by a zero."""

    numbers: tuple[int, ...] = ()

    @property
    def closed(self) -> bool:
        return self.numbers[-1:] == (0,)


def add(state: Tally, event: Counted) -> Tally:
    return state.model_copy(update={"numbers": (*state.numbers, event.number)})


def tally(form: int = 1, every: int = 10, evolve=add, model: type[BaseModel] = Tally) -> Aggregate:
    how = Snapshots(model, form=form, every=every)
    return Aggregate("tally", model, evolve, Catalogue([Counted]), how, lambda state: state.closed)


async def count_tally(shop, aggregate, *numbers):
    async with shop.units.begin(ACTOR, "c-1") as work:
        loaded = await work.load(aggregate, "a")
        return await work.append(aggregate, "a", loaded, [Counted(number=number) for number in numbers])


async def snapshot_of(shop):
    async with shop.database.read() as conn:
        return await snapshots.find(conn, AggregateRef("tally", "a"))


def only_from(version: int):
    """Return an ``evolve`` that cannot take the events up to ``version``: they must come from the snapshot."""

    def evolve(state: Tally, event: Counted) -> Tally:
        assert event.number > version or event.number == 0
        return add(state, event)

    return evolve


async def test_a_long_aggregate_is_loaded_from_its_snapshot_and_the_events_behind_it(shop):
    await count_tally(shop, tally(), *range(1, 10))
    assert await snapshot_of(shop) is None
    await count_tally(shop, tally(), 10, 11)
    assert (await snapshot_of(shop)).version == 11
    await count_tally(shop, tally(), 12)

    loaded = await shop.units.load(tally(evolve=only_from(11)), "a")
    assert loaded == Loaded(Tally(numbers=tuple(range(1, 13))), 12)


async def test_a_snapshot_is_rolled_back_with_its_events(shop):
    async def count_and_fail() -> None:
        async with shop.units.begin(ACTOR, "c-1") as work:
            await work.append(tally(), "a", Loaded(Tally(), 0), [Counted(number=number) for number in range(1, 13)])
            raise RuntimeError("refused")

    with pytest.raises(RuntimeError, match="refused"):
        await count_and_fail()
    assert await snapshot_of(shop) is None
    assert await shop.units.load(tally(), "a") == Loaded(Tally(), 0)


class OtherTally(Tally):
    """The same, but of another shape."""

    highest: int = 0


@pytest.mark.parametrize("newer", [tally(form=2), tally(model=OtherTally)], ids=["another form", "another shape"])
async def test_a_snapshot_of_another_form_is_not_read_and_the_next_one_replaces_it(shop, newer):
    await count_tally(shop, tally(), *range(1, 12))
    before = await snapshot_of(shop)

    assert (await shop.units.load(newer, "a")).version == 11
    await count_tally(shop, newer, *range(12, 24))
    assert (await snapshot_of(shop)).form != before.form
    assert (await shop.units.load(newer, "a")).version == 23


async def test_a_snapshot_that_cannot_be_read_is_passed_over_for_the_events(shop):
    await count_tally(shop, tally(), *range(1, 12))
    found = await snapshot_of(shop)
    async with shop.database.write() as conn:
        await snapshots.keep(conn, AggregateRef("tally", "a"), found._replace(state=b'{"numbers":"?"}'), NOW)
    assert (await shop.units.load(tally(), "a")).state.numbers == tuple(range(1, 12))


async def test_a_closed_aggregate_is_archived_with_its_final_snapshot_and_takes_nothing_more(shop):
    await count_tally(shop, tally(), 1, 2)
    closed = await count_tally(shop, tally(), 0)

    assert (await snapshot_of(shop)).version == 3
    async with shop.database.read() as conn:
        assert await snapshots.archived_at(conn, AggregateRef("tally", "a")) is not None
    assert await shop.units.load(tally(evolve=only_from(2)), "a") == closed
    with pytest.raises(AggregateArchived):
        await count_tally(shop, tally(), 4)
    assert await shop.store.count() == 3, "its events stay where they are"


def test_what_is_archived_needs_snapshots():
    with pytest.raises(ValueError, match="snapshots"):
        Aggregate("tally", Tally, add, Catalogue([Counted]), is_closed=lambda state: state.closed)
