"""Leases of bookings: a booking is its room's alone until it was used, the room gives it back, or its day is over.

The lease is granted by planning's booking, which names the room. A booking that planning takes back is still the
room's until the room itself says that it has heard of that (``lease-released``): cut off, it may have begun on it.
"""

import asyncio
from contextlib import suppress

from spoel_common.errors import VersionConflict
from spoel_common.people import Actor, Role
from spoel_common.runtime import Runtime
from spoel_common.work import Aggregate, Work
from spoel_stimulation import site
from spoel_stimulation.aggregates import SESSION
from spoel_stimulation.domain.facts import Booking
from spoel_stimulation.events import LEASE_EVENTS
from spoel_stimulation.events.sessions import LeaseReleased

LOOK_EVERY_S = 5.0

LEASE = Aggregate("lease", lambda: False, lambda _state, _event: True, LEASE_EVENTS)


class Leases:
    """Gives cancelled bookings of a node's rooms back.

    Args:
        own_rooms: of the node.
    """

    def __init__(self, own_rooms: frozenset[str]) -> None:
        self._own_rooms = own_rooms
        self._look = asyncio.Event()

    def look_again(self) -> None:
        """Look at once: bookings have changed."""
        self._look.set()

    async def run(self, runtime: Runtime) -> None:
        """Release what is cancelled, for ever; raises where the journal fails, to be started again."""
        while True:
            self._look.clear()
            async with runtime.database.read() as conn:
                due = await site.bookings_to_release(conn, self._own_rooms)
            for booking in due:
                by = Actor(person_id=f"room:{booking.room_id}", roles=frozenset({Role.ROOM}))
                with suppress(VersionConflict):
                    async with runtime.units.begin(by, booking.session_id) as work:
                        await release(work, booking)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look.wait()


async def release(work: Work, booking: Booking) -> None:
    """Give a cancelled booking back, unless its session was opened: how that ends settles the lease."""
    opened = (await work.load(SESSION, booking.session_id)).state.opened
    loaded = await work.load(LEASE, booking.session_id)
    if opened is None and not loaded.state:
        released = LeaseReleased.model_validate(booking.model_dump(include=set(LeaseReleased.model_fields)))
        await work.append(LEASE, booking.session_id, loaded, [released], room=booking.room_id)
    await site.keep_release(work.conn, booking.session_id)
