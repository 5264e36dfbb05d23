"""A run: load, faults at their moments, and after every round the equalities."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.chaos.books import Reading
from tests.chaos.equalities import all_equalities
from tests.chaos.ledger import Callers, Ledger
from tests.chaos.load import PROFESSIONAL, ROOM, Load
from tests.chaos.models import MODELS, Anew
from tests.chaos.place import Place
from tests.chaos.plan import Fault, Round

from spoel_common.messaging import Broker
from spoel_local.demo import run as demo
from spoel_local.demo.patients import two_patients
from spoel_local.demo.people import People
from spoel_local.demo.report import Check, Silent
from spoel_local.demo.world import World
from spoel_local.tokens import fetch_tokens, read_people

SERVED_AGAIN = 3
"""A round goes on until every service has answered so many commands or reads after the last fault was mended."""

_SERVED_WITHIN_S = 150.0
_STILL_WITHIN_S = 150.0
_LOOK_EVERY_S = 0.01
_READ_EVERY_S = 0.2
_NEW_TOKENS_AFTER_S = 1_800.0


class NotServed(Exception):
    """A service answered too little in the time that it had."""


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        faults: how often each kind struck.
        checks: the equalities after the last round.
    """

    ledger: Ledger
    faults: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    checks: list[Check] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events were compared."""
        return next((check.values["events"] for check in self.checks if "events" in check.values), 0)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]


class Run:
    """One run at one place; an asynchronous context manager.

    Args:
        folder: for the read models built from zero.
        say: told of every round.
        pace: how many call each service at the same time, and their longest pause between two acts, in seconds.
    """

    def __init__(
        self, place: Place, seed: int, folder: Path, say: Callable[[str], None], pace: tuple[int, float]
    ) -> None:
        self.place = place
        self._pace = pace
        self.outcome = Outcome(Ledger())
        self._seed, self._folder, self._say = seed, folder, say
        self._since: dict[str, int] = {}
        self._tokens_s = 0.0

    async def __aenter__(self) -> Self:
        """Have a patient in the chair of room-1, their session begun, and the books opened."""
        instance = self.place.instance
        world = World(instance, self.place.launcher.clock, self.place.launcher)
        async with People(instance.services, self._fetch_tokens()) as people:
            patient, treatment = two_patients(self._seed)[0], demo.treatments([ROOM])[0]
            way = demo.Way(patient, treatment, people, Silent(), world.clock)
            await demo.prepare_clinic(people, world, Silent())
            await way.to_the_treatment_chair()
            await people.tell(PROFESSIONAL, "stimulation", f"/sessions/{way.session_id}/start", {}, "start")
        self._callers = Callers(self.place.addresses, self._fetch_tokens(), self.outcome.ledger)
        self._load = Load(self._callers, world.clock, self._seed, way.session_id, *self._pace, ready=[way.case_id])
        self._broker = await Broker.connect(self.place.nats_settings("audit"), "chaos")
        self._anew = {service: await Anew.open(service, self._folder) for service in MODELS}
        self._reading = Reading(instance, self._broker, self._anew)
        await self._load.shut()
        self.outcome.ledger.forget()
        await self._until_still()
        self._since = {source: len(events) for source, events in self._reading.books.stored.items()}
        self._flow = asyncio.create_task(self._load.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._flow.cancel()
        await asyncio.gather(self._flow, return_exceptions=True)
        await self._callers.close()
        await self._broker.close()
        for anew in self._anew.values():
            await anew.database.close()

    async def round(self, planned: Round) -> list[Check]:
        """Let the commands flow, strike, wait until all serve again, and check the books.

        Raises:
            NotServed, NotMended, NeverAnswered: a service did not come back.
            ProcessDied: a process ended that nobody had killed.
        """
        started_s = time.monotonic()
        struck_before = len(self.place.struck)
        if started_s - self._tokens_s > _NEW_TOKENS_AFTER_S:
            self._callers.tokens.update(self._fetch_tokens())
        before = self._answered()
        self._load.open()
        await self._beside_the_flow(asyncio.gather(*(self._strike(fault, before) for fault in planned.faults)))
        await self._beside_the_flow(self._served_again())
        await self._beside_the_flow(self._load.shut())
        self.place.launcher.supervisor.check()
        await self._until_still()
        await self._reading.compare()
        self.outcome.checks = all_equalities(self._reading.books, self.outcome.ledger, self._since)
        self.outcome.faults.update(fault.kind.label for fault in planned.faults)
        self.outcome.rounds += 1
        struck = ", ".join(self.place.struck[struck_before:])
        verdict = "all equal" if not self.outcome.failed else "; ".join(map(str, self.outcome.failed))
        self._say(f"round {planned.number}: {time.monotonic() - started_s:.1f} s; struck: {struck}; {verdict}")
        return self.outcome.failed

    def _answered(self) -> dict[str, int]:
        return {service: self.outcome.ledger.answered(service) for service in self.place.instance.services}

    async def _strike(self, fault: Fault, before: dict[str, int]) -> None:
        await self._until_answered({fault.service: before[fault.service] + fault.after})
        await asyncio.sleep(fault.lingers_s)
        await self.place.strike(fault)

    async def _served_again(self) -> None:
        await self._until_answered({service: count + SERVED_AGAIN for service, count in self._answered().items()})

    async def _until_answered(self, wanted: dict[str, int]) -> None:
        deadline_s = time.monotonic() + _SERVED_WITHIN_S
        while missing := [name for name, count in wanted.items() if self.outcome.ledger.answered(name) < count]:
            if time.monotonic() > deadline_s:
                raise NotServed(f"{missing} did not answer enough in {_SERVED_WITHIN_S:.0f} s: {self._answered()}")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _until_still(self) -> None:
        """Read the books until everything has arrived everywhere; the checks say what has not when the time is over."""
        deadline_s = time.monotonic() + _STILL_WITHIN_S
        while not (await self._reading.read()).still and time.monotonic() < deadline_s:
            await asyncio.sleep(_READ_EVERY_S)

    async def _beside_the_flow(self, work: Awaitable[object]) -> None:
        """Do something while the callers call; if one of them ends, so does this, with what ended it."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._flow}, return_when=asyncio.FIRST_COMPLETED)
            if self._flow.done():
                self._flow.result()
            await task
        finally:
            task.cancel()

    def _fetch_tokens(self) -> dict[str, str]:
        self._tokens_s = time.monotonic()
        instance = self.place.instance
        return fetch_tokens(read_people(), instance.data_dir, instance.issuer)
