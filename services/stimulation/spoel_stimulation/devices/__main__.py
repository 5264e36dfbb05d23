"""A simulated stimulator as a process: ``python -m spoel_stimulation.devices magpro-x100 --tcp 0``."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from spoel_stimulation.devices.simulation.faults import Fault, Faults
from spoel_stimulation.devices.simulation.pace import PROMPT
from spoel_stimulation.devices.simulation.ports import LOOPBACK
from spoel_stimulation.devices.simulation.process import Doors, check_bind, clock_of, run_simulator
from spoel_stimulation.devices.simulators import SIMULATORS, Wanted, simulate

_DESCRIPTION = "Run one simulated stimulator; its first line of output is a JSON object that says its address."
_LAST_PORT = 65_535


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("name", choices=sorted(SIMULATORS), metavar="NAME", help=", ".join(sorted(SIMULATORS)))
    parser.add_argument("--tcp", type=_port, metavar="PORT", help="listen on a TCP port; 0 for any free one")
    parser.add_argument("--pty", action="store_true", help="offer a pseudo-terminal")
    parser.add_argument(
        "--bind",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="address to listen at; another than this machine's own only in a container",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append JSON lines of frames and pulses")
    parser.add_argument("--speed", type=float, metavar="X", help="seconds of clock time a second (1); see SPOEL_CLOCK")
    parser.add_argument(
        "--prompt",
        action="store_true",
        help="answer, and let settings hold, at once; without it in the device's own time, shortened by --speed",
    )
    parser.add_argument("--number", type=int, default=1, help="its serial number is SIM-NUMBER (1)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        choices=[fault.value for fault in Fault],
        metavar="NAME",
        help=f"a fault from the start, repeatable: {', '.join(Fault)}",
    )
    parser.add_argument(
        "--control", type=_port, metavar="PORT", help="take faults over TCP on loopback; 0 for any free"
    )
    parser.add_argument("--option", action=argparse.BooleanOptionalAction, help="MagPro: with MagOption (yes)")
    parser.add_argument("--version", metavar="V", help="Magstim Rapid²: version of its software")
    parser.add_argument(
        "--unlock-code",
        metavar="CODE|@FILE",
        help="Magstim Rapid²: gives control to this code only; @FILE (mode 0600) keeps it out of what ps shows",
    )
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "python -m spoel_stimulation.devices") -> None:
    """Run the simulator until it is told to stop."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if (options.tcp is None) is not options.pty:
        parser.error("Say where it is to be reached: --tcp PORT, or --pty; one of the two.")
    try:
        clock = clock_of(os.environ.get("SPOEL_CLOCK"), options.speed)
        check_bind(options.bind, clock.speed)
        wanted = Wanted(
            clock=clock,
            number=options.number,
            log_path=options.log,
            faults=Faults(map(Fault, options.fault)),
            pace=PROMPT if options.prompt else None,
            option=options.option,
            version=options.version,
            unlock_code=options.unlock_code,
        )
        make = partial(simulate, options.name, wanted)
        asyncio.run(run_simulator(make, Doors(options.tcp, options.bind, options.control)))
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 for any free one, or up to {_LAST_PORT}")
    return int(text)


if __name__ == "__main__":
    main()
