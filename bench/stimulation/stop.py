"""From an emergency stop's request to the disarm frame at the device, under everything that may be broken at once.

Fifty rooms behind one guard (a clinic has one room a guard), their simulators in one other process at the device's own
pace. Each room is a real node: a process of its own with its journal, in which a session gives 10 Hz trains. At each
try one node stands still in a handler for five seconds, its journal is locked exclusively, NATS is away and there is no
token; eight are tried at once, while the others go on. Measured: before the connection to the guard is opened, to the
moment at which the simulator read the frame, by the clock that all processes share.
"""

import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoel_common.clock import NS_PER_S, ScaledClock
from spoel_local.bench import Result

ROOMS = 50
TRIES = 200
AT_ONCE = 8
P99_MS = 50.0
LONGEST_DELAY_S = 0.7
"""Between the room's standing still and the stop: the guard itself acts on the silence after a second."""

SEED = 20_261_125
ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
_DISARM = "0200"


def run() -> list[Result]:
    """Measure."""
    return measure(ROOMS, TRIES)


def measure(rooms: int, tries: int) -> list[Result]:
    """Try ``rooms`` rooms in turn, together ``tries`` times, and say how long the disarm frames took."""
    found, resident_mb = _measure(rooms, tries // rooms)
    found.sort()
    resident_mb.sort()
    what = (
        f"emergency stop request to disarm frame at the simulator, {rooms} rooms, each a node with a journal and a "
        "session in its trains; loop blocked, journal locked, no NATS, no token"
    )
    return [
        _result(f"{what}, p50 of {len(found)}", found, 50, None),
        _result(f"{what}, p99 of {len(found)}", found, 99, P99_MS),
        Result(
            what="resident memory of a room's node",
            value=statistics.median(resident_mb),
            unit="MB",
            spread=(resident_mb[0], resident_mb[-1]),
        ),
    ]


def _result(what: str, found: list[float], percentile: int, target: float | None) -> Result:
    value = found[min(len(found) - 1, len(found) * percentile // 100)]
    return Result(
        what=what,
        value=value,
        unit="ms",
        target=target,
        met=None if target is None else value <= target,
        spread=(found[0], found[-1]),
        at_most=True,
    )


def _measure(rooms: int, tries_a_room: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each try, and the resident megabytes of each node."""
    clock = ScaledClock.starting_now(1.0)
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)))
        simulators = stack.enter_context(_process(HERE / "stop_simulators.py", clock, str(rooms), str(place)))
        addresses: list[str] = _line(simulators)["addresses"]
        named = [{"room_id": f"room-{n}", "address": address} for n, address in enumerate(addresses, start=1)]
        settings = {
            "SPOEL_ROOMS": json.dumps(named),
            "SPOEL_GUARD_DIR": str(place / "guard"),
            "SPOEL_GUARD_PORT": "0",
        }
        guard = stack.enter_context(_process("spoel_stimulation.guard", clock, **settings))
        estop: str = _line(guard)["estop"]
        nodes = _running(rooms, place, clock, settings, stack)
        tried = [Tried(number, node, place, estop, clock) for number, node in enumerate(nodes, start=1)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = [ms for of_room in pool.map(lambda room: room.times(tries_a_room), tried) for ms in of_room]
        return found, [_resident_mb(node) for node in nodes]


def _running(
    rooms: int, place: Path, clock: ScaledClock, settings: dict[str, str], stack: ExitStack
) -> list[subprocess.Popen[bytes]]:
    """Start the nodes, a few at once, and return them when each has a session in a train."""
    nodes: list[subprocess.Popen[bytes]] = []
    for first in range(1, rooms + 1, AT_ONCE):
        begun = [
            stack.enter_context(_process(HERE / "stop_room.py", clock, str(n), str(place / f"node-{n}"), **settings))
            for n in range(first, min(first + AT_ONCE, rooms + 1))
        ]
        for node in begun:
            _say(node, "run")
        for node in begun:
            assert _line(node) == {"running": True}
        nodes += begun
    return nodes


@dataclass
class Tried:
    """A room that is stopped again and again."""

    number: int
    node: subprocess.Popen[bytes]
    place: Path
    estop: str
    clock: ScaledClock

    def times(self, tries: int) -> list[float]:
        """Return the milliseconds of each try."""
        chance = random.Random(SEED + self.number)
        return [self._try(chance.uniform(0.05, LONGEST_DELAY_S)) for _ in range(tries)]

    def _try(self, delay_s: float) -> float:
        log = self.place / f"sim-{self.number}.jsonl"
        _say(self.node, "run")
        assert _line(self.node) == {"running": True}
        with _locked(self.place / f"node-{self.number}" / "journal.db"):
            _say(self.node, "block")
            assert _line(self.node) == {"blocked": True}
            time.sleep(delay_s)
            size = log.stat().st_size
            began_ns = self.clock.utc_ns()
            request = urllib.request.Request(f"{self.estop}/room-{self.number}", method="POST", data=b"")
            with urllib.request.urlopen(request, timeout=10) as answer:
                outcome = json.load(answer)["outcome"]
            assert outcome == "confirmed", outcome
            took_ms = (_heard_ns(log, size) - began_ns) / NS_PER_S * 1_000
        assert _line(self.node) == {"latched": True}
        return took_ms


def _resident_mb(process: subprocess.Popen[bytes]) -> float:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _heard_ns(log: Path, size: int) -> int:
    """Return when the simulator read the first disarm behind ``size`` of its log."""
    with log.open("rb") as file:
        file.seek(size)
        for text in file.read().splitlines():
            entry = json.loads(text)
            if entry.get("dir") == "in" and entry["frame"][4:-4] == _DISARM:
                return int(entry["t_ns"])
    raise AssertionError("confirmed, and no disarm in the simulator's log")


@contextmanager
def _locked(journal: Path) -> Iterator[None]:
    locker = sqlite3.connect(journal, isolation_level=None, timeout=10)
    try:
        locker.execute("BEGIN EXCLUSIVE")
        yield
        locker.execute("ROLLBACK")
    finally:
        locker.close()


@contextmanager
def _process(what: Path | str, clock: ScaledClock, *arguments: str, **environment: str) -> Iterator[Any]:
    command = [sys.executable, str(what)] if isinstance(what, Path) else [sys.executable, "-m", what]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPOEL_")}
    process = subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=inherited | environment | {"SPOEL_CLOCK": clock.to_setting(), "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _say(process: subprocess.Popen[bytes], word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word.encode() + b"\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the next line of a process that is one JSON object."""
    assert process.stdout is not None
    while text := process.stdout.readline():
        if text.startswith(b"{"):
            found: dict[str, Any] = json.loads(text)
            return found
    raise AssertionError(f"a process ended: {process.args}")
