"""The command ``spoel``."""

import importlib.metadata
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spoel_common.clock import ScaledClock
from spoel_common.people import Role
from spoel_local.installation import Installation, initialise
from spoel_local.instance import Instance, read_instance
from spoel_local.launcher import Options, Ports, running
from spoel_local.processes import Interrupted, LauncherError, Supervisor, ending_on_signals
from spoel_local.status import print_status, status_of
from spoel_local.tokens import fetch_token, person_with

app = typer.Typer(
    name="spoel",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Spoel on one machine: everything that is needed to try it. Not a certified medical device.",
)

_WATCH_S = 0.2

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="SPOEL_DATA_DIR", help="Where the instance keeps everything.")
]
Site = Annotated[str, typer.Option("--site", envvar="SPOEL_SITE", help="Name of the site.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Speed = Annotated[
    float, typer.Option("--speed", min=1.0, max=1_000.0, help="Seconds of clock time per second; simulators only.")
]
HERE = Path(".spoel")


def _port(option: str, purpose: str) -> typer.models.OptionInfo:
    """Return the option for a port; its environment variable is ``SPOEL_`` and the option's name."""
    variable = "SPOEL_" + option.removeprefix("--").replace("-", "_").upper()
    found: typer.models.OptionInfo = typer.Option(
        option, envvar=variable, min=1, max=65_535, help=f"Port of {purpose}.", rich_help_panel="Ports on 127.0.0.1"
    )
    return found


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Print the version where asked to."""
    if version:
        typer.echo(importlib.metadata.version("spoel-local"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit
