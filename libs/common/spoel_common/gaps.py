"""Recording of gaps in the service's own store."""

from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.clock import Clock, utc_now
from spoel_common.events import Catalogue, EventData, gap_detected
from spoel_common.ids import new_id
from spoel_common.messaging import Gap, RecordGap
from spoel_common.people import Actor
from spoel_common.store import EventStore
from spoel_common.work import Aggregate, Loaded, Work

GAP = "gap"
"""The kind of aggregate of these events, in every service."""


def gap_recorder(store: EventStore, clock: Clock) -> RecordGap:
    """Return a function that appends ``gap-detected`` to ``store``, each of an aggregate ``gap`` of its own."""
    service = store.name.service
    model = gap_detected(service)
    catalogue: Catalogue[EventData] = Catalogue([model])
    aggregate: Aggregate[None] = Aggregate(GAP, lambda: None, lambda _state, _event: None, catalogue)
    actor = Actor(person_id=f"service:{service}", roles=frozenset())

    async def record(conn: AsyncConnection, gap: Gap) -> None:
        projection, projection_version, source = gap.key
        event = model(
            projection=projection,
            projection_version=projection_version,
            source=source,
            aggregate_type=gap.aggregate.type,
            aggregate_id=gap.aggregate.id,
            last_version=gap.last_version,
            came_version=gap.came_version,
        )
        gap_id = new_id()
        work = Work(conn, store, actor, utc_now(clock), correlation_id=gap_id)
        await work.append(aggregate, gap_id, Loaded(None, 0), [event])

    return record
