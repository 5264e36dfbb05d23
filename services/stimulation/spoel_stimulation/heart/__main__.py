"""The simulated belt as a process: ``python -m spoel_stimulation.heart --tcp 0``."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from spoel_stimulation.devices.simulation.process import check_bind, clock_of, die_with_parent
from spoel_stimulation.heart.belt import LOOPBACK, BeltSimulator, run_belt
from spoel_stimulation.heart.model import HeartSetting

_DESCRIPTION = "Run a simulated chest belt; its first line of output is a JSON object that says its addresses."


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("--tcp", type=int, default=0, metavar="PORT", help="listen on a TCP port; 0 for any free one (0)")
    add("--bind", default=LOOPBACK, metavar="ADDRESS", help="address to listen at")
    add("--follow", type=Path, metavar="FILE", help="log of the simulated stimulator whose pulses the heart feels")
    add("--coupling", type=float, default=0.0, metavar="BPM", help="by how much heart rate falls in a long train (0)")
    add("--base", type=float, default=66.0, metavar="BPM", help="mean heart rate (66)")
    add("--ectopic", type=float, default=0.0, metavar="SHARE", help="share of beats that come too early (0)")
    add("--seed", type=int, default=1, help="the same seed gives the same heart (1)")
    add("--number", type=int, default=1, help="its serial number is SIM-BELT-NUMBER (1)")
    add("--log", type=Path, metavar="FILE", help="append a JSON line for each beat")
    add("--speed", type=float, metavar="X", help="seconds of clock time a second (1); see SPOEL_CLOCK")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m spoel_stimulation.heart") -> None:
    """Run the belt until it is told to stop."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    try:
        clock = clock_of(os.environ.get("SPOEL_CLOCK"), options.speed)
        check_bind(options.bind, clock.speed)
        setting = HeartSetting(base_bpm=options.base, coupling_bpm=options.coupling, ectopic_fraction=options.ectopic)
        belt = BeltSimulator(
            clock,
            setting,
            number=options.number,
            seed=options.seed,
            follow=options.follow,
            log_path=options.log,
        )
    except ValueError as error:
        parser.error(str(error))
    if os.environ.get("SPOEL_DIE_WITH_PARENT") == "1":
        die_with_parent()
    asyncio.run(run_belt(belt, options.tcp, options.bind))


if __name__ == "__main__":
    main()
