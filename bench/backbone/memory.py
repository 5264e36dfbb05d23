"""Memory of a service after a million events passed through it, against that after a hundred thousand.

A process of its own appends to its store (SQLite), relays, and consumes what it published into a read model, as a
service does that listens to itself. It is asked for its proportional set size (PSS) when its read model has as many
events; the baseline is its own size after the first tenth.
"""

import statistics
import subprocess
import sys
from pathlib import Path

from spoel_local.bench import Result

from . import stage

COUNTS = (100_000, 1_000_000)
TARGET = 1.2
_TIMEOUT_S = 900.0


def run() -> list[Result]:
    """Measure once: it takes minutes; the spread is that of the sizes on the way from the first to the last count."""
    with stage.nats() as server, stage.folder() as place:
        script = Path(__file__).with_name("whole_service.py")
        command = [sys.executable, script, server.url, f"sqlite:///{place}/service.db", *map(str, COUNTS)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=_TIMEOUT_S, text=True)
    sizes_mb = {int(count): int(size) / 1e6 for count, size in (line.split() for line in done.stdout.splitlines())}
    first, last = (sizes_mb[count] for count in COUNTS)
    ratios = [size / first for size in sizes_mb.values()]
    return [
        Result(
            what=f"PSS of a service after {COUNTS[1]} events against after {COUNTS[0]} ({last:.0f} / {first:.0f} MB)",
            value=last / first,
            unit="times",
            baseline=1.0,
            ratio=statistics.median(ratios),
            target=TARGET,
            met=last / first <= TARGET,
            spread=(min(ratios), max(ratios)),
            at_most=True,
        )
    ]
