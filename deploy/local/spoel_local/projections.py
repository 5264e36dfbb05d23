"""``spoel projections``: which version of each read model serves, how old it is, and having one built anew.

Asks the running services over HTTP, as an invented person of the instance's development identity provider.
"""

import json
import uuid
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spoel_common.people import Role
from spoel_local.instance import Instance, read_instance
from spoel_local.processes import LauncherError
from spoel_local.tokens import fetch_tokens, person_with
from spoel_local.words import errors_in_words

_TIMEOUT_S = 30.0
_HEADINGS = ("Service", "Read model", "Version", "Since", "As of", "Age", "Behind", "Rebuild")

app = typer.Typer(help="Read models that are built from events: list them, have one built anew.")

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="SPOEL_DATA_DIR", help="Where the instance keeps everything.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Service = Annotated[str, typer.Option("--service", help="The service whose read model it is.")]
Name = Annotated[str, typer.Argument(help="The read model, as 'spoel projections' names it.")]
HERE = Path(".spoel")


class Refused(LauncherError):
    """A service does not do what it was asked."""


@app.callback(invoke_without_command=True)
def show(context: typer.Context, *, data_dir: DataDir = HERE, as_json: AsJson = False) -> None:
    """List every read model: which version serves, how old it is, and how far a rebuild is."""
    if context.invoked_subcommand is not None:
        return
    with errors_in_words():
        instance = read_instance(data_dir)
        token = _token(instance, data_dir)
        lines = [line for service in instance.services for line in _lines(instance, token, service)]
    if as_json:
        typer.echo(json.dumps({"projections": lines}, indent=1))
    else:
        _print(lines)


@app.command()
def rebuild(name: Name, *, service: Service, data_dir: DataDir = HERE) -> None:
    """Have a read model built anew from the first event, beside the one that serves; then it takes its place."""
    asked = _command(data_dir, service, name, "rebuild")
    typer.echo(f"{service} builds {asked['projection']} anew; asked for at {asked['asked_at']}. See: spoel projections")


@app.command()
def cancel(name: Name, *, service: Service, data_dir: DataDir = HERE) -> None:
    """Give up a rebuild; the read model that serves goes on."""
    told = _command(data_dir, service, name, "rebuild/cancellation")
    typer.echo(f"The rebuild of {name} is given up." if told["cancelled"] else f"{name} was not being rebuilt.")


def _lines(instance: Instance, token: str, service: str) -> list[dict[str, Any]]:
    kept = _ask(instance, token, service, "GET", "/operations/projections")["projections"]
    return [{"service": service, **projection} for projection in kept]


def _command(data_dir: Path, service: str, name: str, act: str) -> dict[str, Any]:
    with errors_in_words():
        instance = read_instance(data_dir)
        return _ask(instance, _token(instance, data_dir), service, "POST", f"/operations/projections/{name}/{act}")


def _token(instance: Instance, data_dir: Path) -> str:
    person = person_with(Role.SUPERVISOR)
    return fetch_tokens([person], data_dir, instance.issuer)[person]


def _ask(instance: Instance, token: str, service: str, method: str, path: str) -> dict[str, Any]:
    if service not in instance.services:
        raise Refused(f"There is no service {service!r} here, but {', '.join(instance.services)}.")
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
    try:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.request(method, instance.services[service] + path, headers=headers)
        body: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError) as error:
        raise Refused(f"{service} does not answer ({type(error).__name__}). See 'spoel status'.") from error
    if not answer.is_success:
        raise Refused(f"{service}: {body.get('detail', answer.status_code)}")
    return body


def _print(lines: list[dict[str, Any]]) -> None:
    table = Table(*_HEADINGS, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column, key in zip(table.columns, ("service", "name"), strict=False):
        column.min_width = max((len(line[key]) for line in lines), default=0)  # names are typed again: none is cut
    for line in lines:
        as_of, age = _oldest(line["feeds"])
        table.add_row(
            line["service"],
            line["name"],
            str(line["version"]),
            line["since"][:10],
            as_of[11:19] or as_of,
            age,
            str(sum(line["behind"].values())),
            escape(_rebuild(line["rebuild"])),
        )
    Console().print(table)


def _oldest(feeds: list[dict[str, Any]]) -> tuple[str, str]:
    """Return as of when the feed is known of which least is known, and how old that is."""
    oldest = max(feeds, key=lambda feed: feed["age_s"], default={"as_of": None})
    return ("never", "-") if oldest["as_of"] is None else (oldest["as_of"], f"{oldest['age_s']:.1f} s")


def _rebuild(rebuild: dict[str, Any] | None) -> str:
    if rebuild is None:
        return "-"
    behind = ", ".join(f"{count} behind in {source}" for source, count in rebuild["behind"].items() if count)
    return f"to version {rebuild['version']}: {rebuild['problem'] or behind or 'under way'}"
