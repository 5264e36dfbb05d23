"""What people do with the events that a projection keeps aside: look at them, have them tried again, discard them.

Each function works in the caller's transaction. ``locked`` takes the feed's lock first, as the running consumer does,
so that the two never work on one aggregate at once. The consumer notices by itself: while anything of a feed is aside
it looks several times a second for what is due.
"""

from datetime import UTC, datetime

from sqlalchemy import and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.errors import NotFound, SpoelError
from spoel_common.messaging.aside import Aside, HeldEvent, State, of_aggregate, read_event
from spoel_common.messaging.heads import FeedKey, Heads
from spoel_common.store import AggregateRef
from spoel_common.store.schema import feeds, held


class NotNextInLine(SpoelError):
    """A held event cannot be tried again or discarded as it is: it waits for another one."""

    slug = "held-event-not-next"
    status = 409
    title = "This event is not the next one of its aggregate"


async def read_held(
    conn: AsyncConnection, *, after_id: int = 0, limit: int, projection: str | None = None, state: State | None = None
) -> list[HeldEvent]:
    """Return up to ``limit`` events that are aside, in the order in which they came, above ``after_id``."""
    query = select(held).where(held.c.held_id > after_id).order_by(held.c.held_id).limit(limit)
    if projection is not None:
        query = query.where(held.c.projection == projection)
    if state is not None:
        query = query.where(held.c.state == state.value)
    return [read_event(row) for row in await conn.execute(query)]


async def find_held(conn: AsyncConnection, held_id: int) -> HeldEvent:
    """Return one event that is aside.

    Raises:
        NotFound: there is none of this number: it never was, or was applied or discarded.
    """
    row = (await conn.execute(select(held).where(held.c.held_id == held_id))).one_or_none()
    if row is None:
        raise NotFound(f"No event {held_id} is kept aside here. It may have been applied since: list them again.")
    return read_event(row)


async def locked(conn: AsyncConnection, held_id: int) -> HeldEvent:
    """Return one event that is aside, and keep the consumer off its feed until the transaction ends.

    Raises:
        NotFound: see ``find_held``.
    """
    projection, projection_version, source = (await find_held(conn, held_id)).key
    feed = and_(
        feeds.c.projection == projection, feeds.c.projection_version == projection_version, feeds.c.source == source
    )
    await conn.execute(select(feeds.c.source).where(feed).with_for_update())
    return await find_held(conn, held_id)


async def count_behind(conn: AsyncConnection, event: HeldEvent) -> int:
    """Return how many later events of the same aggregate are aside."""
    if event.version is None:
        return 0
    query = select(func.count()).select_from(held).where(of_aggregate(event.key, event.aggregate))
    return (await conn.execute(query.where(held.c.version > event.version))).scalar_one()


async def is_first(conn: AsyncConnection, event: HeldEvent) -> bool:
    """Tell whether no earlier event of the same aggregate is aside; bytes that are no event stand in no line."""
    first = await Aside(conn, event.key).lowest(event.aggregate)
    return event.version is None or (first is not None and first.held_id == event.held_id)


async def replay(conn: AsyncConnection, event: HeldEvent) -> int:
    """Let the running consumer try the events of ``event``'s aggregate again, from the first; return how many.

    Raises:
        NotNextInLine: the bytes are no event, or they wait for one that has not come.
    """
    if event.version is None:
        raise NotNextInLine(
            f"Held event {event.held_id} is no event that could be applied. Discard it when its reason is understood."
        )
    if event.state is State.GAP:
        raise _waits_for_another(event)
    return await release(conn, event.key, event.aggregate)


async def release(conn: AsyncConnection, key: FeedKey, ref: AggregateRef) -> int:
    """Make all events of an aggregate that are aside due again, the first now; return how many there are."""
    line = and_(of_aggregate(key, ref), held.c.version.is_not(None))
    first = select(func.min(held.c.version)).where(line).scalar_subquery()
    behind = await conn.execute(update(held).where(line).values(state=State.BEHIND.value, tries=0, try_at=None))
    due = {"state": State.RETRY.value, "try_at": datetime.now(UTC)}
    await conn.execute(update(held).where(line).where(held.c.version == first).values(due))
    return behind.rowcount


async def discard(conn: AsyncConnection, event: HeldEvent) -> int:
    """Forget a parked event and let the projection go on behind it; return how many of its aggregate are due then.

    Raises:
        NotNextInLine: it is not parked, or an earlier one of its aggregate has to be decided first.
    """
    if event.state is not State.PARKED:
        raise _waits_for_another(event) if event.state is State.GAP else _is_being_tried(event)
    aside = Aside(conn, event.key)
    if event.version is None:
        await aside.remove(event)
        return 0
    first = await aside.lowest(event.aggregate)
    if first is not None and first.held_id != event.held_id:
        raise NotNextInLine(
            f"Held event {event.held_id} waits behind {first.held_id}, version {first.version} of the same aggregate. "
            "Replay or discard that one first.",
            first=first.held_id,
        )
    await _pass_over(conn, event, event.version)
    await aside.remove(event)
    return await release(conn, event.key, event.aggregate)


async def _pass_over(conn: AsyncConnection, event: HeldEvent, version: int) -> None:
    heads = Heads(conn, event.key)
    await heads.load([event.aggregate])
    if version > heads.version(event.aggregate) + 1:
        raise _waits_for_another(event)
    if version == heads.version(event.aggregate) + 1:
        heads.advance(event.aggregate, event.hash)
        await heads.store()


def _waits_for_another(event: HeldEvent) -> NotNextInLine:
    return NotNextInLine(
        f"Held event {event.held_id} waits for an earlier version of {event.aggregate.type} {event.aggregate.id} that "
        f"has not come from {event.source}. Have that store's service publish it again (spoel events republish)."
    )


def _is_being_tried(event: HeldEvent) -> NotNextInLine:
    return NotNextInLine(
        f"Held event {event.held_id} is still being tried by the service itself (state {event.state}). "
        "Only what is parked can be discarded: look again in a minute."
    )
