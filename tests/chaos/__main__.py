"""``make chaos``: a long run of a hospital's size and one of one machine's, and their result as JSON.

The seed gives the plan, which is printed before anything is struck. Exit status 0 only where everything holds.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.place import Place, embedded, hospital
from tests.chaos.plan import Menu, Round, draw, embedded_menu, hospital_menu
from tests.chaos.run import Outcome, Run
from tests.postgres_server import memory_disk

from spoel_common.logging import configure_logging
from spoel_local.demo.world import morning_clock
from spoel_local.launcher import Options, Ports


class Part(NamedTuple):
    """One part of the whole: where it takes place, and with what faults.

    Attributes:
        rounds: where nothing else is asked for.
        at_once: services that are struck in one round.
        speed: seconds of clock time a second.
        pace: of the load, see ``Run``.
    """

    name: str
    place: Callable[[Options], AbstractContextManager[Place]]
    menu: Menu
    rounds: int
    at_once: int
    speed: float
    pace: tuple[int, float]


PARTS = (
    Part("hospital", hospital, hospital_menu(), 32, 2, 10.0, (2, 0.1)),
    Part("one machine", embedded, embedded_menu(), 20, 4, 60.0, (2, 0.1)),
)


def main() -> int:
    """Run what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same plan")
    parser.add_argument("--rounds", type=int, help="of each part; 32 and 20 if left out")
    parser.add_argument("--only", choices=[part.name for part in PARTS], help="one of the parts")
    parser.add_argument("--plan", action="store_true", help="print the plan and strike nothing")
    parser.add_argument("--out", type=Path, help="write the result there")
    asked = parser.parse_args()
    configure_logging("chaos")
    started_s = time.monotonic()
    parts = []
    for part in PARTS:
        if asked.only in {None, part.name}:
            plan = draw(asked.seed, asked.rounds or part.rounds, part.menu, part.at_once)
            _say(f"{part.name}, seed {asked.seed}, {len(plan)} rounds:\n" + "\n".join(f"  {each}" for each in plan))
            if not asked.plan:
                parts.append(_run(part, asked.seed, plan))
    if asked.plan:
        return 0
    report = {
        "machine": _machine(),
        "version": importlib.metadata.version("spoel-local"),
        "seed": asked.seed,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_s": round(time.monotonic() - started_s),
        "ok": all(part["ok"] for part in parts),
        "parts": parts,
    }
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if report["ok"] else 1


def _run(part: Part, seed: int, plan: list[Round]) -> dict[str, Any]:
    """Run one part; the data and logs of a run in which something did not hold are left."""
    folder = Path(tempfile.mkdtemp(prefix="spoel-chaos-", dir=memory_disk()))
    (folder / "anew").mkdir()
    options = Options(data_dir=folder / "data", rooms=1, clock=morning_clock(part.speed), ports=Ports.any_free())
    started_s = time.monotonic()
    with part.place(options) as place:
        try:
            outcome, trouble = asyncio.run(_rounds(part, place, seed, plan, folder / "anew"))
        except asyncio.CancelledError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    report = {
        "place": part.name,
        "ok": trouble is None and not outcome.failed and outcome.rounds == len(plan),
        "trouble": trouble,
        "duration_s": round(time.monotonic() - started_s),
        "rounds": outcome.rounds,
        "faults": dict(sorted(outcome.faults.items())),
        "commands": outcome.ledger.counts(),
        "events": outcome.events,
        "equalities": [check.model_dump(mode="json") for check in outcome.checks],
    }
    _say(f"{part.name}: {outcome.rounds} rounds in {report['duration_s']} s, faults {report['faults']}")
    _say(f"  commands {report['commands']}")
    for check in outcome.checks:
        _say(f"  {'holds' if check.ok else 'FAILS'}: {check.name}: {check.detail}")
    if report["ok"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _say(f"  {trouble or 'something does not hold'}; data and logs are in {folder}")
    return report


async def _rounds(part: Part, place: Place, seed: int, plan: list[Round], folder: Path) -> tuple[Outcome, str | None]:
    """Go through a plan, and end early at the first round after which something does not hold."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    async with Run(place, seed, folder, _say, part.pace) as run:
        for planned in plan:
            try:
                if await run.round(planned):
                    break
            except Exception as error:  # noqa: BLE001 - whatever ended the run is its result
                return run.outcome, f"in round {planned.number}: {type(error).__name__}: {error}"
        return run.outcome, None


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except asyncio.CancelledError:  # a signal asked for the end; everything was stopped
        sys.exit(130)
