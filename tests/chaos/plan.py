"""The plan of a run: which faults strike what, and when, drawn from a seed alone.

A moment is counted in answered commands of the service that the fault is meant for, not in seconds: a slow machine
and a fast one are struck at the same place of their work. The same seed, rounds and menu give the same plan.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

SERVICES = ("intake", "planning", "stimulation", "audit")

KILL, STOP, DISK, CRASH, CUT = "kill", "stop", "disk-full", "crash", "cut"


class Kind(NamedTuple):
    """One kind of fault.

    Attributes:
        what: kill, stop (SIGSTOP), disk-full, crash (of PostgreSQL), cut (of a NATS node's links).
        target: a process; ``leader`` is the NATS node that leads the stream of the service whose commands are counted,
            ``nats-*`` every node at once, ``publisher`` the one of the service's processes whose relay publishes.
        how: of a cut: ``silent`` (nothing passes, nobody is told) or ``reset`` (connections end, new ones are refused).
    """

    what: str
    target: str
    how: str = ""

    @property
    def label(self) -> str:
        return " ".join(part for part in (self.what, self.target, self.how) if part)


class Fault(NamedTuple):
    """One fault of one round.

    Attributes:
        service: whose commands are counted.
        after: so many of them are answered in this round when it strikes.
        lingers_s: and so long after the last of these, so that it strikes in the middle of the next.
        lasts_s: from the strike until it is mended.
    """

    kind: Kind
    service: str
    after: int
    lingers_s: float
    lasts_s: float

    def __str__(self) -> str:
        when = f"{self.lingers_s * 1_000:.0f} ms after command {self.after} of {self.service}"
        return f"{self.kind.label}, {when}, for {self.lasts_s:.1f} s"


class Round(NamedTuple):
    number: int
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"round {self.number}: " + "; ".join(map(str, self.faults))


class Choice(NamedTuple):
    """A kind of fault that may be drawn for a service, how often relative to the others, and how long it may last."""

    kind: Kind
    weight: int
    lasts_s: tuple[float, float]


Menu = dict[str, Sequence[Choice]]


def draw(seed: int, rounds: int, menu: Menu, at_once: int) -> list[Round]:
    """Return the plan: in every round ``at_once`` services, in turn, are struck by one fault each.

    Every service gets its kinds as often as their weights say, in a shuffled order, so that a short run has them all.
    """
    chance = random.Random(f"spoel-chaos:{seed}")
    decks = {service: _deck(chance, choices) for service, choices in menu.items()}
    services = list(menu)
    plan = []
    for number in range(1, rounds + 1):
        first = (number - 1) * at_once
        struck = [services[(first + place) % len(services)] for place in range(at_once)]
        plan.append(Round(number, tuple(_fault(chance, service, next(decks[service])) for service in struck)))
    return plan


def embedded_menu() -> Menu:
    """Return what may strike SQLite, one nats-server and one process a service."""
    return {
        service: [
            Choice(Kind(KILL, service), 3, (0.0, 0.5)),
            Choice(Kind(KILL, "nats"), 1, (0.0, 1.0)),
            Choice(Kind(STOP, service), 3, (0.3, 1.5)),
            Choice(Kind(DISK, service), 3, (0.3, 1.0)),
        ]
        for service in SERVICES
    }


def hospital_menu() -> Menu:
    """Return what may strike PostgreSQL, three NATS nodes and two processes of intake and of planning."""
    everywhere = [
        Choice(Kind(KILL, "leader"), 2, (0.0, 5.0)),
        Choice(Kind(CUT, "leader", "silent"), 2, (8.0, 20.0)),
        Choice(Kind(CUT, "leader", "reset"), 1, (5.0, 15.0)),
    ]
    menu: Menu = {}
    for service in ("intake", "planning"):
        twins = (service, f"{service}-2")
        menu[service] = [
            *everywhere,
            Choice(Kind(KILL, "publisher"), 1, (0.0, 2.0)),
            Choice(Kind(STOP, "publisher"), 2, (15.0, 20.0)),
            *(Choice(Kind(KILL, twin), 1, (0.0, 2.0)) for twin in twins),
            Choice(Kind(STOP, f"{service}-2"), 1, (15.0, 20.0)),
            Choice(Kind(CRASH, "postgres"), 2, (0.0, 2.0)),
            Choice(Kind(KILL, "nats-*"), 1, (0.0, 3.0)),
            Choice(Kind(DISK, "leader"), 1, (2.0, 5.0)),
        ]
    menu["stimulation"] = [
        *everywhere,
        Choice(Kind(KILL, "stimulation"), 2, (0.0, 1.0)),
        Choice(Kind(STOP, "stimulation"), 1, (1.0, 4.0)),
        Choice(Kind(DISK, "stimulation"), 2, (1.0, 3.0)),
        Choice(Kind(STOP, "leader"), 1, (5.0, 12.0)),
    ]
    menu["audit"] = [
        Choice(Kind(KILL, "audit"), 3, (0.0, 2.0)),
        Choice(Kind(STOP, "audit"), 1, (2.0, 12.0)),
        Choice(Kind(CRASH, "postgres"), 2, (0.0, 2.0)),
        Choice(Kind(KILL, "nats-1"), 1, (0.0, 5.0)),
        Choice(Kind(KILL, "nats-2"), 1, (0.0, 5.0)),
    ]
    return menu


def _deck(chance: random.Random, choices: Sequence[Choice]):
    while True:
        cards = [choice for choice in choices for _ in range(choice.weight)]
        chance.shuffle(cards)
        yield from cards


def _fault(chance: random.Random, service: str, choice: Choice) -> Fault:
    return Fault(
        kind=choice.kind,
        service=service,
        after=chance.randint(2, 8),
        lingers_s=round(chance.uniform(0.0, 0.05), 3),
        lasts_s=round(chance.uniform(*choice.lasts_s), 1),
    )
