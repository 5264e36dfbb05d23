"""A small service with one aggregate, on a store of its own, for tests of the store and of messaging."""

from spoel_common.clock import SteppedClock
from spoel_common.events import Catalogue, Envelope, EventData
from spoel_common.ids import new_id
from spoel_common.people import Actor, Role
from spoel_common.store import AggregateRef, EventStore, StoreName
from spoel_common.work import Aggregate, UnitsOfWork


class Counted(EventData):
    service = "intake"
    event_name = "counted"
    number: int


COUNTER: Aggregate[int] = Aggregate(
    "counter", lambda: 0, lambda state, event: state + event.number, Catalogue([Counted])
)
ACTOR = Actor(person_id="person-1", roles=frozenset({Role.CLINICIAN, Role.SUPERVISOR}), big_number="12345678901")


class Shop:
    """A store and the means to write to it in one line."""

    def __init__(self, database, name: StoreName) -> None:
        self.database = database
        self.name = name
        self.store = EventStore(database, name)
        self.units = UnitsOfWork(database, self.store, SteppedClock())

    def envelope(self, aggregate_id: str, version: int, number: int = 1, **changes: object) -> Envelope:
        attributes = {
            "id": new_id(),
            "source": self.name.source,
            "type": Counted.event_type(),
            "subject": aggregate_id,
            "time": "2026-11-22T10:00:00Z",
            "aggregatetype": "counter",
            "aggregateversion": version,
            "correlationid": "c-1",
            "actorid": "person-1",
            "site": self.name.site,
            "data": {"number": number},
        }
        return Envelope.model_validate(attributes | changes)

    async def append(self, aggregate_id: str, expected_version: int, *envelopes: Envelope) -> None:
        async with self.database.write() as conn:
            await self.store.append(conn, AggregateRef("counter", aggregate_id), expected_version, envelopes)

    async def count(self, aggregate_id: str, *numbers: int) -> int:
        """Append one event a number behind the aggregate's newest; return its version then."""
        async with self.units.begin(ACTOR, "c-1") as work:
            loaded = await work.load(COUNTER, aggregate_id)
            loaded = await work.append(COUNTER, aggregate_id, loaded, [Counted(number=number) for number in numbers])
            return loaded.version
