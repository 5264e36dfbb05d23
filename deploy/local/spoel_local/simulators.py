"""``spoel simulator``: a simulated stimulator in a process of its own, on the maker's wire protocol."""

import asyncio
import os
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from spoel_common.clock import ScaledClock
from spoel_local.processes import LauncherError
from spoel_stimulation.devices.magpro.simulator_ports import LOOPBACK, run_simulator
from spoel_stimulation.devices.magpro.values import Model
from spoel_stimulation.heart.__main__ import main as heart_belt_main

app = typer.Typer(no_args_is_help=True, help="Run one simulated stimulator; its first line of output says its address.")


@app.callback()
def simulator() -> None:
    """Run one simulated stimulator; its first line of output says its address."""


@app.command(name="magpro-x100")
def magpro_x100(
    *,
    tcp: Annotated[
        int | None, typer.Option("--tcp", min=0, max=65_535, metavar="PORT", help="0 for any free port.")
    ] = None,
    pty: Annotated[bool, typer.Option("--pty", help="Offer a pseudo-terminal.")] = False,
    bind: Annotated[
        str, typer.Option("--bind", help="Address to listen at; another than this machine's own only in a container.")
    ] = LOOPBACK,
    log: Annotated[Path | None, typer.Option("--log", help="Append JSON lines of frames and pulses.")] = None,
    speed: Annotated[float | None, typer.Option("--speed", min=1.0, max=1_000.0)] = None,
    number: Annotated[int, typer.Option("--number", min=1, help="Its serial number is SIM-NUMBER.")] = 1,
) -> None:
    """A MagVenture MagPro X100 with MagOption."""
    try:
        clock = _clock(speed)
        _check_one_door(tcp, pty=pty)
        _check_bind(bind, clock)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from None
    asyncio.run(run_simulator(clock, model=Model.X100_OPTION, number=number, log_path=log, tcp_port=tcp, host=bind))


@app.command(
    name="heart-belt",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def heart_belt(context: typer.Context) -> None:
    """A chest belt on a heart that slows with a simulated stimulator's pulses; ``--help`` shows its options."""
    heart_belt_main(context.args, prog="spoel simulator heart-belt")


def _check_one_door(tcp: int | None, *, pty: bool) -> None:
    if (tcp is None) is not pty:
        raise LauncherError("Say where it is to be reached: --tcp PORT, or --pty; one of the two.")


def _check_bind(bind: str, clock: ScaledClock) -> None:
    """Refuse a fast clock where others could reach the simulator (HZ-25)."""
    try:
        loopback = ip_address(bind).is_loopback
    except ValueError:
        raise LauncherError(f"--bind is {bind!r}; give an IP address, such as 127.0.0.1.") from None
    if not loopback and clock.speed != 1:
        raise LauncherError(f"--bind is {bind}, and the clock's speed {clock.speed:g}: a fast clock stays on loopback.")


def _clock(speed: float | None) -> ScaledClock:
    setting = os.environ.get("SPOEL_CLOCK")
    if not setting:
        return ScaledClock.starting_now(speed or 1.0)
    try:
        clock = ScaledClock.model_validate_json(setting)
    except ValidationError as error:
        raise LauncherError(f"SPOEL_CLOCK is not a clock: {error.error_count()} fields are wrong.") from error
    if speed is not None and speed != clock.speed:
        raise LauncherError(f"--speed {speed:g} differs from the speed {clock.speed:g} of SPOEL_CLOCK. Leave one out.")
    return clock
