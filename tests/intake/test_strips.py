"""Identity strips: the right ones in the right room, sealed to it, in whatever order the events come."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.intake.service import running_intake

from spoel_common.clock import ScaledClock
from spoel_common.events import Catalogue, EventData, UtcTime
from spoel_common.messaging import Bucket, Relay
from spoel_common.people import Actor, Role
from spoel_common.sealing import CannotOpen, generate_key_pair, open_sealed
from spoel_common.store import Database, EventStore, StoreName, migrate
from spoel_common.work import Aggregate, UnitsOfWork
from spoel_intake.foreign_events import RoomOpened, SessionBooked, SessionBookingCancelled, SessionClosed
from spoel_intake.projections import strips_projection, visible_window
from spoel_intake.strips import IDENTITY_STRIP, STRIP_TTL_S, _due, _end_expired, _note_pushed, bucket_name

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
STARTS = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MORNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
ROOM, OTHER_ROOM = generate_key_pair(), generate_key_pair()


def booked(session="s-1", room="room-1", starts_at=STARTS):
    return SessionBooked(
        session_id=session,
        patient_id="patient-1",
        room_id=room,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=40),
    )


def opened(room="room-1", keys=ROOM):
    return RoomOpened(room_id=room, strip_public_key=keys.public_key)


async def tell(database, *events):
    projection = strips_projection(AMSTERDAM, lambda: None)
    for event in events:
        async with database.write() as conn:
            await projection.apply(conn, None, event, b"")


async def carry_out(database, bucket, now=MORNING):
    """Do what the loop does, with a dictionary for a bucket."""
    await _end_expired(database, now)
    for strip in await _due(database, now):
        if strip.public_key is None:
            bucket.pop(strip.key, None)
        else:
            bucket[strip.key] = strip.public_key
        await _note_pushed(database, strip)


@pytest.mark.requirement("ST-10")
@pytest.mark.invariant("INV-6")
@pytest.mark.parametrize(
    ("starts_at", "visible_from", "visible_until"),
    [
        (STARTS, "2026-11-22T22:00", "2026-11-23T23:00"),
        (datetime(2026, 11, 23, 22, 50, tzinfo=UTC), "2026-11-22T22:00", "2026-11-24T23:00"),
        (datetime(2026, 3, 29, 9, 0, tzinfo=UTC), "2026-03-28T22:00", "2026-03-29T22:00"),
        (datetime(2026, 10, 25, 9, 0, tzinfo=UTC), "2026-10-24T21:00", "2026-10-25T23:00"),
    ],
)
def test_a_strip_is_in_its_room_on_the_local_day_of_the_session(starts_at, visible_from, visible_until):
    window = visible_window(starts_at, starts_at + timedelta(minutes=40), AMSTERDAM)
    assert [moment.astimezone(UTC).isoformat()[:16] for moment in window] == [visible_from, visible_until]


@pytest.mark.invariant("INV-6")
async def test_the_same_strips_whatever_the_order_of_the_events(tables):
    for number in range(6):
        session, other_session, room, other_room = (f"{name}-{number}" for name in ("s", "t", "room", "other-room"))
        events = [booked(session, room), opened(room), booked(other_session, other_room)]
        order = list(itertools.permutations(events))[number]
        bucket = {}
        for event in order:
            await tell(tables, event)
            await carry_out(tables, bucket)
        assert bucket == {f"{room}.{session}": ROOM.public_key}, order
        await tell(tables, opened(other_room, OTHER_ROOM))
        await carry_out(tables, bucket)
        other = {f"{other_room}.{other_session}": OTHER_ROOM.public_key}
        assert bucket == {f"{room}.{session}": ROOM.public_key, **other}, order


@pytest.mark.invariant("INV-6")
@pytest.mark.parametrize("end", [SessionBookingCancelled, SessionClosed])
@pytest.mark.parametrize("carried_out", ["each", "at the end"])
async def test_no_strip_stays_after_the_end_of_its_session_whatever_the_order(tables, end, carried_out):
    for number in range(6):
        session, room = f"s-{number}", f"room-{number}"
        events = [booked(session, room), opened(room), end(session_id=session)]
        order = list(itertools.permutations(events))[number]
        bucket = {}
        for event in order:
            await tell(tables, event)
            if carried_out == "each":
                await carry_out(tables, bucket)
        await carry_out(tables, bucket)
        assert bucket == {}, order


@pytest.mark.invariant("INV-6")
async def test_a_strip_waits_for_its_day_and_goes_at_closing_time(tables):
    bucket = {}
    await tell(tables, booked(), opened())
    await carry_out(tables, bucket, STARTS - timedelta(days=1))
    assert bucket == {}
    await carry_out(tables, bucket, STARTS)
    assert list(bucket) == ["room-1.s-1"]
    await carry_out(tables, bucket, STARTS + timedelta(days=1))
    assert bucket == {}


async def test_a_room_with_a_new_key_gets_its_strips_again(tables):
    bucket = {}
    await tell(tables, booked(), opened())
    await carry_out(tables, bucket)
    await tell(tables, opened(), opened(keys=OTHER_ROOM))
    await carry_out(tables, bucket)
    assert bucket == {"room-1.s-1": OTHER_ROOM.public_key}


@pytest.mark.invariant("INV-6")
async def test_a_strip_that_is_put_late_behind_a_deletion_is_deleted_again(tables):
    await tell(tables, booked(), opened())
    (slow,) = await _due(tables, MORNING)
    await tell(tables, SessionClosed(session_id="s-1"))
    bucket = {}
    await carry_out(tables, bucket)  # another process deletes
    bucket[slow.key] = "late"  # and only now the put of the first one lands
    await _note_pushed(tables, slow)
    await carry_out(tables, bucket)
    assert bucket == {}


async def test_what_was_carried_out_is_not_done_again(tables):
    await tell(tables, booked(), opened())
    await carry_out(tables, {})
    assert await _due(tables, MORNING) == []


# --- with a real broker


class BookedHere(EventData):
    """What planning publishes of a booking, as far as intake reads it."""

    service = "planning"
    event_name = "session-booked"

    session_id: str
    case_id: str
    patient_id: str
    room_id: str
    kind: str
    starts_at: UtcTime
    ends_at: UtcTime


class CancelledHere(EventData):
    service = "planning"
    event_name = "session-booking-cancelled"

    session_id: str


class OpenedHere(EventData):
    service = "stimulation"
    event_name = "room-opened"

    room_id: str
    strip_public_key: str


ANYTHING = Aggregate("thing", dict, lambda state, _event: state, Catalogue([BookedHere, CancelledHere, OpenedHere]))
SYSTEM = Actor(person_id="test", roles=frozenset({Role.ROOM}))


class OtherService:
    """Another service's store and relay."""

    def __init__(self, database, store, clock):
        self.units = UnitsOfWork(database, store, clock)

    async def publish(self, aggregate_id, event):
        async with self.units.begin(SYSTEM, "test") as work:
            await work.append(ANYTHING, aggregate_id, await work.load(ANYTHING, aggregate_id), [event])


@pytest.fixture
async def others(site, broker, tmp_path):
    """Planning and stimulation, each with a store of its own that is published."""
    services, databases, relays = {}, [], []
    for name in ("planning", "stimulation"):
        database = await Database.open(f"sqlite:///{tmp_path}/{name}.db")
        await migrate(database, "spoel_intake")  # the backbone's tables are the same in every service
        store = EventStore(database, StoreName(site=site, service=name))
        relays.append(asyncio.create_task(Relay(store, broker).run()))
        databases.append(database)
        services[name] = OtherService(database, store, ScaledClock.starting_now())
    yield services
    for relay in relays:
        relay.cancel()
    await asyncio.gather(*relays, return_exceptions=True)
    for database in databases:
        await database.close()


@pytest.mark.requirement("ST-10")
@pytest.mark.invariant("INV-6")
@pytest.mark.hazard("HZ-01")
async def test_a_strip_reaches_its_room_and_nobody_else_can_read_it(
    tmp_path, nats_url, site, broker, others, eventually
):
    async with running_intake(tmp_path, nats_url=nats_url, site=site) as intake:
        ids = await intake.refer()
        now = datetime.now(UTC)
        booking = BookedHere(
            session_id="session-1",
            case_id=ids["case_id"],
            patient_id=ids["patient_id"],
            room_id="room-1",
            kind="treatment",
            starts_at=now,
            ends_at=now + timedelta(minutes=40),
        )
        await others["planning"].publish("plan-1", booking)
        await others["stimulation"].publish("room-1", OpenedHere(room_id="room-1", strip_public_key=ROOM.public_key))

        bucket = await Bucket.open(broker, bucket_name(site), STRIP_TTL_S)

        async def is_there():
            return await bucket.get("room-1.session-1") is not None

        async def is_gone():
            return not await is_there()

        await eventually(is_there, 20)
        sealed = (await bucket.get("room-1.session-1")).decode()
        opened_strip = json.loads(open_sealed(sealed, ROOM.private_key, "session-1", IDENTITY_STRIP))
        assert opened_strip == {"given_name": "Wilhelmina", "family_name": "Aardappel", "birth_date": "1971-03-14"}
        assert "Aardappel" not in sealed
        for key, session in ((OTHER_ROOM.private_key, "session-1"), (ROOM.private_key, "session-2")):
            with pytest.raises(CannotOpen):
                open_sealed(sealed, key, session, IDENTITY_STRIP)

        await others["planning"].publish("plan-1", CancelledHere(session_id="session-1"))
        await eventually(is_gone, 20)


async def test_a_strip_that_came_while_the_broker_was_away_is_put_when_it_is_back(
    tmp_path, own_nats, site, connect, eventually
):
    url = own_nats.server.url
    own_nats.stop()
    async with running_intake(tmp_path, nats_url=url, site=site) as intake:
        ids = await intake.refer()
        now = datetime.now(UTC)
        booking = booked(starts_at=now).model_copy(update={"patient_id": ids["patient_id"]})
        await tell(intake.runtime.database, booking, opened())
        await asyncio.sleep(1.5)  # the loop has found nobody to give it to
        own_nats.start()
        bucket = await Bucket.open(await connect("room", own_nats.settings), bucket_name(site), STRIP_TTL_S)

        async def is_there():
            return await bucket.get("room-1.s-1") is not None

        await eventually(is_there, 20)
