"""From an emergency stop's request to the disarm frame at the device, under everything that may be broken at once.

Fifty rooms run behind one guard (a clinic has one room a guard), their simulators in one other process. At each try one
room's own process stands still in a handler for five seconds, its journal is locked exclusively, NATS is away, and
there is no token. Each of those rooms is a real node of its own with a session in a train; the others run 10 Hz trains
through the real adapter without a journal. Measured: before the connection to the guard is opened, to the moment at
which the simulator read the frame, by the clock that all processes share.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from spoel_common.clock import NS_PER_S, ScaledClock
from spoel_local.bench import Result

ROOMS, TRIED = 50, 8
TRIES = 200
P99_MS = 50.0
LONGEST_DELAY_S = 0.7
"""Between the room's standing still and the stop: the guard itself acts on the silence after a second."""

SEED = 20_261_125
ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
_DISARM = "0200"


def run() -> list[Result]:
    """Measure."""
    found = _measure(TRIES)
    found.sort()
    what = f"emergency stop request to disarm frame at the simulator, {ROOMS} rooms, loop blocked, journal locked"
    return [
        _result(f"{what}, p50 of {len(found)}", found, 50, None),
        _result(f"{what}, p99 of {len(found)}", found, 99, P99_MS),
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


def _measure(tries: int) -> list[float]:
    clock = ScaledClock.starting_now(1.0)
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)))
        simulators = stack.enter_context(_process(HERE / "stop_simulators.py", clock, str(ROOMS), str(place)))
        addresses: list[str] = _line(simulators)["addresses"]
        rooms = [{"room_id": f"room-{n}", "address": address} for n, address in enumerate(addresses, start=1)]
        settings = {
            "SPOEL_ROOMS": json.dumps(rooms),
            "SPOEL_GUARD_DIR": str(place / "guard"),
            "SPOEL_GUARD_PORT": "0",
        }
        guard = stack.enter_context(_process("spoel_stimulation.guard", clock, **settings))
        estop: str = _line(guard)["estop"]
        others = stack.enter_context(_process(HERE / "stop_rooms.py", clock, str(TRIED + 1), **settings))
        tried = [
            stack.enter_context(_process(HERE / "stop_room.py", clock, str(n), str(place / f"node-{n}"), **settings))
            for n in range(1, TRIED + 1)
        ]
        assert _line(others) == {"running": ROOMS - TRIED}
        found: list[float] = []
        trying = [
            threading.Thread(target=_try_room, args=(n, node, tries // TRIED, place, estop, clock, found))
            for n, node in enumerate(tried, start=1)
        ]
        for one in trying:
            one.start()
        for one in trying:
            one.join()
        assert len(found) == tries, "a try failed; see above"
        return found


def _try_room(
    number: int,
    node: subprocess.Popen[bytes],
    tries: int,
    place: Path,
    estop: str,
    clock: ScaledClock,
    found: list[float],
) -> None:
    chance = random.Random(SEED + number)
    log = place / f"sim-{number}.jsonl"
    for _ in range(tries):
        _say(node, "run")
        assert _line(node) == {"running": True}
        with _locked(place / f"node-{number}" / "journal.db"):
            _say(node, "block")
            assert _line(node) == {"blocked": True}
            time.sleep(chance.uniform(0.05, LONGEST_DELAY_S))
            size = log.stat().st_size
            began_ns = clock.utc_ns()
            request = urllib.request.Request(f"{estop}/room-{number}", method="POST", data=b"")
            with urllib.request.urlopen(request, timeout=10) as answer:
                outcome = json.load(answer)["outcome"]
            assert outcome == "confirmed", outcome
            found.append((_heard_ns(log, size) - began_ns) / NS_PER_S * 1_000)
        assert _line(node) == {"latched": True}


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
