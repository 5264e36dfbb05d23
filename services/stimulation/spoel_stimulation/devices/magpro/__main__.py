"""The MagPro simulator as a process: ``python -m spoel_stimulation.devices.magpro --tcp 0``."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.magpro.simulator_ports import run_simulator
from spoel_stimulation.devices.magpro.values import MODEL_NAMES

_CLI_NAMES = {name.lower().replace(" ", "-"): model for model, name in MODEL_NAMES.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="magpro-simulator", description=__doc__)
    port = parser.add_mutually_exclusive_group(required=True)
    port.add_argument("--tcp", type=int, metavar="PORT", help="listen on 127.0.0.1:PORT; 0 takes any free port")
    port.add_argument("--pty", action="store_true", help="offer a pseudo-terminal")
    parser.add_argument("--model", choices=sorted(_CLI_NAMES), default="magpro-x100+option")
    parser.add_argument("--number", type=int, default=1, help="serial number SIM-NUMBER (default 1)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append JSON lines of frames and pulses")
    parser.add_argument(
        "--speed", type=float, help="seconds of clock time per second (default 1); not with SPOEL_CLOCK"
    )
    return parser


def clock_of(setting: str | None, speed: float | None) -> ScaledClock:
    """Return the clock of ``SPOEL_CLOCK``, or one that starts now at ``speed``.

    Raises:
        ValueError: both are given and differ.
    """
    if setting is None:
        return ScaledClock.starting_now(1.0 if speed is None else speed)
    clock = ScaledClock.model_validate_json(setting)
    if speed is not None and speed != clock.speed:
        raise ValueError(f"--speed {speed} differs from the speed {clock.speed} of SPOEL_CLOCK; leave one of them out")
    return clock


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the simulator until it is told to stop."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        clock = clock_of(os.environ.get("SPOEL_CLOCK"), options.speed)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(
        run_simulator(
            clock, model=_CLI_NAMES[options.model], number=options.number, log_path=options.log, tcp_port=options.tcp
        )
    )


if __name__ == "__main__":
    main()
