"""Two room nodes of one site with a real NATS between them; the first one's link can be cut."""

import socket
from contextlib import AsyncExitStack, asynccontextmanager

from tests.chaos.links import Link
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.tellers import Teller, book, tell_patient, tell_prescription

from spoel_stimulation.node import Node

CUT_AFTER_S, FRESH_S = 2.0, 4.0
"""Oldest knowledge for an online start in the first and in the second node: so that a test need not wait a minute.

What the second knows of the first comes with a node's own watermarks, one every two seconds.
"""

TRANSIENT = {
    "booking-unknown",
    "stale-knowledge",
    "order-not-signed",
    "consent-missing",
    "indication-missing",
    "registration-not-verified",
    "leased-elsewhere",
    "room-busy",
}
"""Refusals of what is still on its way."""


class TwoNodes:
    """A site: ``first`` has room-1, ``second`` room-2; intake and planning are told by the test."""

    def __init__(self, first, second, intake, planning, broker, link):
        self.first, self.second = first, second
        self.intake, self.planning, self.broker, self.link = intake, planning, broker, link

    async def book(self, clinic, room_id):
        return await book(clinic, self.planning, self.broker, room_id)

    async def cut(self, how="reset"):
        """Cut the first node off, and wait until it knows too little for an online start."""
        self._refusing = how == "reset"
        if self._refusing:
            self.link._server.close()  # before the connections end: who comes again is refused, not let in and dropped
        await self.link.cut(how)
        await self.first.until(
            lambda: max(known.age_s for known in self.first.room.look().known) > CUT_AFTER_S, "the first node cut off"
        )

    async def mend(self):
        await self.link.mend()
        if self._refusing:
            await self.link.listen()

    async def heard_both(self):
        """Wait until each node knows the other's stream, and the first has the strips of its day."""
        for here, there in ((self.first, self.second), (self.second, self.first)):
            source = there.runtime.store.name.source
            await here.until(lambda here=here, source=source: here.runtime.known_of(source).age_s < FRESH_S, source)

    async def opens(self, clinic, session_id, room_id, **said):
        """Open a session as soon as all that is on its way has come."""

        async def opened():
            answer = await clinic.open(session_id, room_id=room_id, **said)
            assert answer.status_code == 201 or problem_of(answer) in TRANSIENT, answer.text
            return answer.status_code == 201

        await clinic.until(opened, f"{session_id} opened in {room_id}")


def problem_of(answer):
    return answer.json()["type"].rpartition(":")[2]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@asynccontextmanager
async def two_nodes(folder, site, connect, server, new_database, background, speed=8):
    """Open both nodes, and tell them a patient."""
    clock = fast_clock(speed)
    link = Link(free_port(), server.port)
    await link.listen()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(link.close)
        nodes = []
        for number, port, fresh_s in ((1, link.port, CUT_AFTER_S), (2, server.port, FRESH_S)):
            place = folder / f"node-{number}"
            place.mkdir()
            settings = {
                "site": site,
                "store": f"node-{number}",
                "nats_url": f"nats://127.0.0.1:{port}",
                "nats_monitor_url": server.monitor_url,
                "max_knowledge_age_s": fresh_s,
                "presence_every_s": 0.5,
                "presence_ttl_s": 2.0,
                "stop_timeout_s": 2.0,
            }
            clinic = await stack.enter_async_context(simulated(place, clock, (number,), **settings))
            clinic.make_node = lambda clinic=clinic: Node(clinic.settings)
            await stack.enter_async_context(clinic.opened())
            await clinic.ready(f"room-{number}")
            await clinic.check_rooms()
            nodes.append(clinic)
        tellers = []
        for service in ("intake", "planning"):
            teller = Teller(service, site, await new_database(), clock)
            teller.start(await connect(f"{service}-main"), background, every_s=0.2)
            tellers.append(teller)
        site_of_two = TwoNodes(*nodes, *tellers, await connect("test-broker"), link)
        await tell_patient(site_of_two.first, site_of_two.intake)
        await tell_prescription(site_of_two.planning)
        await site_of_two.heard_both()
        yield site_of_two
