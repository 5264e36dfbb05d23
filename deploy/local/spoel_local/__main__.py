"""The command ``spoel``."""

import importlib.metadata
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from spoel_common.clock import utc_now
from spoel_common.people import Role
from spoel_local import developer, events, plot, projections, simulators
from spoel_local.demo import run as demo_run
from spoel_local.demo.world import morning_clock
from spoel_local.installation import Installation, initialise
from spoel_local.instance import Instance, read_instance
from spoel_local.launcher import Launcher, Options, Ports, running
from spoel_local.processes import Interrupted, LauncherError, ending_on_signals
from spoel_local.status import print_status, status_of
from spoel_local.tokens import fetch_tokens, person_with
from spoel_local.words import errors_in_words as _errors_in_words

app = typer.Typer(
    name="spoel",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Spoel on one machine: everything that is needed to try it. Not a certified medical device.",
)

_WATCH_S = 0.2
_PORTS = Ports()

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="SPOEL_DATA_DIR", help="Where the instance keeps everything.")
]
Site = Annotated[str, typer.Option("--site", envvar="SPOEL_SITE", help="Name of the site.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
HERE = Path(".spoel")


def _port(option: str, purpose: str) -> typer.models.OptionInfo:
    """Return the option for a port; its environment variable is ``SPOEL_`` and the option's name."""
    variable = "SPOEL_" + option.removeprefix("--").replace("-", "_").upper()
    found: typer.models.OptionInfo = typer.Option(
        option, envvar=variable, min=1, max=65_535, help=f"Port of {purpose}.", rich_help_panel="Ports"
    )
    return found


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Print the version, or the menu where no command is given."""
    if version:
        typer.echo(importlib.metadata.version("spoel-local"))
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def up(  # noqa: PLR0913 - one parameter an option
    *,
    data_dir: DataDir = HERE,
    rooms: Annotated[int, typer.Option("--rooms", help="Treatment rooms, each with a simulated stimulator.")] = 2,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            min=1.0,
            max=1_000.0,
            help="Seconds of clock time per second, from nine in the morning on; simulators only.",
        ),
    ] = 1.0,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", help="A PostgreSQL server; one database and role a service are made in it."),
    ] = None,
    site: Site = "local",
    bind: Annotated[str, typer.Option("--bind", envvar="SPOEL_BIND", help="Address of the services.")] = "127.0.0.1",
    otlp_endpoint: Annotated[
        str | None,
        typer.Option("--otlp-endpoint", envvar="SPOEL_OTLP_ENDPOINT", help="Collector of traces (OTLP/HTTP)."),
    ] = None,
    identity_port: Annotated[int, _port("--identity-port", "the identity provider")] = _PORTS.identity,
    intake_port: Annotated[int, _port("--intake-port", "intake")] = _PORTS.intake,
    planning_port: Annotated[int, _port("--planning-port", "planning")] = _PORTS.planning,
    stimulation_port: Annotated[int, _port("--stimulation-port", "stimulation")] = _PORTS.stimulation,
    audit_port: Annotated[int, _port("--audit-port", "audit")] = _PORTS.audit,
    guard_port: Annotated[int, _port("--guard-port", "the emergency stop")] = _PORTS.guard,
    nats_port: Annotated[int, _port("--nats-port", "NATS")] = _PORTS.nats,
    nats_monitor_port: Annotated[int, _port("--nats-monitor-port", "NATS's monitor")] = _PORTS.nats_monitor,
) -> None:
    """Start everything on this machine, in the foreground; Ctrl-C stops it.

    Should one process end by itself, the others are stopped too, and the exit status is 1; the rooms' guard is started
    again.
    """
    ports = Ports(
        identity=identity_port,
        intake=intake_port,
        planning=planning_port,
        stimulation=stimulation_port,
        audit=audit_port,
        guard=guard_port,
        nats=nats_port,
        nats_monitor=nats_monitor_port,
    )
    options = Options(
        data_dir=data_dir,
        site=site,
        rooms=rooms,
        clock=None if speed == 1 else morning_clock(speed),
        database_url=database_url,
        ports=ports,
        bind=bind,
        otlp_endpoint=otlp_endpoint,
    )
    console = Console(highlight=False)
    with _errors_in_words(), ending_on_signals():
        try:
            _up(console, options)
        except Interrupted:
            console.print("Stopped.")


def _up(console: Console, options: Options) -> None:
    try:
        with running(options, progress=lambda name: console.print(f"  {name} is ready")) as (launcher, instance):
            _greet(console, instance)
            _watch(launcher)
    except Interrupted:
        raise
    except LauncherError:
        console.print("Everything was stopped.")
        raise


def _watch(launcher: Launcher) -> NoReturn:
    while True:
        if launcher.supervisor.check():
            launcher.describe().write()
        time.sleep(_WATCH_S)


def _greet(console: Console, instance: Instance) -> None:
    spoel = _as_typed()
    option = "" if instance.data_dir == HERE.resolve() else f" --data-dir {instance.data_dir}"
    console.print(
        f"\nSpoel {instance.version} runs, site {instance.site}, speed {instance.speed:g}. Ctrl-C stops it.\n"
    )
    if instance.clock is not None:
        console.print(f"  {'clock':<12} {utc_now(instance.clock):%Y-%m-%d %H:%M} UTC, which is not the wall's time")
    for service, url in instance.services.items():
        console.print(f"  {service:<12} {url}/docs")
    console.print(f"  {'identity':<12} {instance.issuer}  (development only: invented people)")
    console.print(f"  {'NATS':<12} {instance.nats_url}, monitor {instance.nats_monitor_url}")
    for room in instance.rooms:
        console.print(f"  {room.room_id:<12} {room.address}  (simulated MagPro X100), emergency stop {room.estop}")
    token = f"{spoel} token --role supervisor{option}"
    protocols = f"{instance.services['planning']}/protocols"
    console.print(f"\nA token:      {token}", soft_wrap=True)
    console.print(f"              roles: {', '.join(sorted(Role))}", soft_wrap=True)
    console.print(f'A first call: curl -H "Authorization: Bearer $({token})" {protocols}', soft_wrap=True)
    console.print(f"What runs:    {spoel} status{option}", soft_wrap=True)
    console.print(f"Two patients: {spoel} demo --attach{option}\n", soft_wrap=True)


def _as_typed() -> str:
    """Return how the person at the terminal reaches this command: by its name, or by the path that was typed."""
    found = shutil.which("spoel")
    return "spoel" if found and Path(found).resolve() == Path(sys.argv[0]).resolve() else sys.argv[0]


@app.command()
def status(*, data_dir: DataDir = HERE, as_json: AsJson = False) -> None:
    """Show every process of the running instance, and how far behind every consumer is."""
    with _errors_in_words():
        found = status_of(read_instance(data_dir))
    if as_json:
        typer.echo(found.model_dump_json(indent=1))
    else:
        print_status(Console(), found)
    raise typer.Exit(0 if found.ok else 1)


@app.command()
def demo(
    *,
    as_json: AsJson = False,
    attach: Annotated[bool, typer.Option("--attach", help="Use the instance that runs on --data-dir.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep data and logs, and say where.")] = False,
    speed: Annotated[
        float, typer.Option("--speed", min=1.0, max=240.0, help="Seconds of clock time per second.")
    ] = demo_run.DEFAULT_SPEED,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the virtual patients.")] = None,
    data_dir: DataDir = HERE,
) -> None:
    """Take two patients from referral to the verified audit log; exit status 0 only if every check holds.

    Without --attach it runs on an instance of its own, with free ports and temporary data.
    """
    wishes = demo_run.Wishes(attach_to=data_dir if attach else None, keep=keep, speed=speed, seed=seed)
    with _errors_in_words(), ending_on_signals():
        ok = demo_run.demo(wishes, as_json=as_json)
    raise typer.Exit(0 if ok else 1)


@app.command()
def init(
    *,
    data_dir: DataDir = HERE,
    site: Site = "local",
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="UID:GID", help="Give the secrets to the services' user (as root).")
    ] = None,
) -> None:
    """Make every secret of an installation that is not there yet; nothing is overwritten, nothing is printed."""
    with _errors_in_words():
        made = initialise(data_dir, site, _owner(owner))
    place = Installation(data_dir)
    for path in made:
        typer.echo(f"made {path}")
    typer.echo(f"{place.secrets_dir}: {len(made)} new secrets; those that were there are as they were.")
    if os.getuid() == 0 and owner is None:
        typer.echo("The secrets are root's. For containers as an ordinary user: --owner UID:GID.")
    typer.echo(f"For containers: docker compose --env-file {place.compose_environment} up --build --wait")


def _owner(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    uid, _, gid = text.partition(":")
    if not uid.isdecimal() or not gid.isdecimal():
        raise LauncherError(f"--owner is {text!r}; give two numbers: UID:GID, for example 10001:10001.")
    return int(uid), int(gid)


@app.command()
def token(
    *,
    role: Annotated[Role, typer.Option("--role", help="The role of the invented person whose token it is.")],
    data_dir: DataDir = HERE,
) -> None:
    """Print a token of the running instance's development identity provider, good for an hour at every service."""
    with _errors_in_words():
        person = person_with(role)
        typer.echo(fetch_tokens([person], data_dir, read_instance(data_dir).issuer)[person])


app.add_typer(events.app, name="events")


app.add_typer(projections.app, name="projections")


app.command(name="simulator", context_settings=simulators.AS_TYPED)(simulators.simulator)


app.add_typer(plot.app, name="plot")


app.add_typer(developer.app)


def main() -> None:
    """Be the command."""
    app()


if __name__ == "__main__":
    main()
