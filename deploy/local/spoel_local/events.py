"""``spoel events``: looking after the events that a service could not take in, and publishing again.

Each command asks a running service over HTTP, as a person with a role: what is decided about an event is that
person's act. ``docs/events-operations.md`` says when to do what.
"""

import json
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, get_args

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from spoel_common.events import DiscardReason
from spoel_common.people import Role
from spoel_local.instance import read_instance
from spoel_local.processes import LauncherError
from spoel_local.tokens import fetch_tokens, person_with
from spoel_local.words import errors_in_words

_TIMEOUT_S = 30.0
_PAGE = 500
_COLUMNS = ("service", "number", "state", "event", "of", "version", "tries", "why")

app = typer.Typer(help="Look after events that a service could not take in; publish events again.")

Services = Annotated[list[str] | None, typer.Option("--service", help="Only this service; may be given repeatedly.")]
Service = Annotated[str, typer.Option("--service", help="The service that keeps the event aside.")]
Number = Annotated[int, typer.Argument(min=1, help="The event's number, as 'spoel events parked' shows it.")]
AsRole = Annotated[Role, typer.Option("--role", help="Ask as the invented person of this role.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="SPOEL_TOKEN", help="Ask as this token's person instead (OpenID Connect)."),
]
Url = Annotated[str | None, typer.Option("--url", help="Address of the service, where no instance runs here.")]
DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="SPOEL_DATA_DIR", help="Where the instance keeps everything.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
HERE = Path(".spoel")


class Refused(LauncherError):
    """A service does not do what it was asked."""


class Asking:
    """Asks services as one person.

    Args:
        data_dir: of the instance that runs here.
        role: whose development token is used where ``token`` is None.
        token: a bearer token of the site's issuer.
        url: of the one service that is asked, in place of the instance's.

    Raises:
        NoInstance, NoToken, Refused: there is nobody to ask, or nobody to ask as.
    """

    def __init__(self, data_dir: Path, role: Role, token: str | None, url: str | None) -> None:
        if url is not None and token is None:
            raise Refused("--url needs --token: only an instance on this machine has invented people.")
        self._url = url
        self._instance = None if url is not None else read_instance(data_dir)
        self._token = token
        if self._instance is not None and token is None:
            person = person_with(role)
            self._token = fetch_tokens([person], data_dir, self._instance.issuer)[person]

    def services(self) -> list[str]:
        """Return the names of all services of the instance."""
        return [] if self._instance is None else list(self._instance.services)

    def get(self, service: str, path: str, **params: str | int) -> dict[str, Any]:
        """Return what a service answers.

        Raises:
            Refused: it does not answer, or refuses.
        """
        return self._ask("GET", service, path, params=params)

    def post(self, service: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give a service a command of its own; return the answer.

        Raises:
            Refused: it does not answer, or refuses.
        """
        return self._ask("POST", service, path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})

    def _ask(self, method: str, service: str, path: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's own
        request["headers"] = {"Authorization": f"Bearer {self._token}"} | request.get("headers", {})
        try:
            with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = client.request(method, self._address(service) + path, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(f"{service} does not answer ({type(error).__name__}). See 'spoel status'.") from error
        if not answer.is_success:
            raise Refused(f"{service}: {_problem(answer)}")
        body: dict[str, Any] = answer.json()
        return body

    def _address(self, service: str) -> str:
        if self._url is not None or self._instance is None:
            return (self._url or "").rstrip("/")
        if service not in self._instance.services:
            raise Refused(f"There is no service {service!r} here, but {', '.join(self._instance.services)}.")
        return self._instance.services[service]


@app.command()
def parked(
    *,
    service: Services = None,
    role: AsRole = Role.SUPERVISOR,
    token: Token = None,
    url: Url = None,
    data_dir: DataDir = HERE,
    as_json: AsJson = False,
) -> None:
    """List the events that are kept aside: parked, tried again, or waiting for one that has not come."""
    with errors_in_words():
        asking = Asking(data_dir, role, token, url)
        chosen = service or asking.services() or [_unnamed()]
        found = [{"service": name, **line} for name in chosen for line in _all_held(asking, name)]
    if as_json:
        typer.echo(json.dumps({"held": found}, indent=1))
    elif found:
        _show_held(Console(), found)
    else:
        typer.echo(f"Nothing is kept aside at {', '.join(chosen)}.")


@app.command()
def inspect(
    number: Number,
    *,
    service: Service,
    role: AsRole = Role.SUPERVISOR,
    token: Token = None,
    url: Url = None,
    data_dir: DataDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Show one of them: what it says, why it could not be taken in, and what waits behind it."""
    with errors_in_words():
        found = Asking(data_dir, role, token, url).get(service, f"/operations/held/{number}")
    typer.echo(json.dumps(found, indent=1)) if as_json else _show_detail(Console(), service, found)


@app.command()
def replay(
    number: Number,
    *,
    service: Service,
    role: AsRole = Role.SUPERVISOR,
    token: Token = None,
    url: Url = None,
    data_dir: DataDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Have it and the events of its aggregate tried again, from the first."""
    with errors_in_words():
        done = Asking(data_dir, role, token, url).post(service, f"/operations/held/{number}/replay")
    said = f"{service} tries {_events(done['events'])} again. See what became of it: spoel events parked."
    typer.echo(json.dumps(done) if as_json else said)


@app.command()
def discard(  # noqa: PLR0913 - one parameter an option
    number: Number,
    *,
    service: Service,
    reason: Annotated[str, typer.Option("--reason", help=f"One of {', '.join(get_args(DiscardReason))}.")],
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="Where the reason is told at length, such as a ticket's number: one word."),
    ] = None,
    role: AsRole = Role.SUPERVISOR,
    token: Token = None,
    url: Url = None,
    data_dir: DataDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Give it up for good; the read model goes on as if it had said nothing. This is recorded as an event."""
    command = {"reason": reason} | ({} if reference is None else {"reference": reference})
    with errors_in_words():
        done = Asking(data_dir, role, token, url).post(service, f"/operations/held/{number}/discard", command)
    behind = f"{_events(done['events'])} behind it will be tried now"
    said = f"{service} gave up event {number}, recorded as {done['event_id']}; {behind}."
    typer.echo(json.dumps(done) if as_json else said)


@app.command()
def republish(
    *,
    position: Annotated[int, typer.Option("--from", min=1, help="Position in the service's store to begin at.")],
    service: Annotated[str, typer.Option("--service", help="The service whose events are published again.")],
    role: AsRole = Role.SUPERVISOR,
    token: Token = None,
    url: Url = None,
    data_dir: DataDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Publish a service's stored events again, with their original bytes; readers drop what they have already."""
    with errors_in_words():
        done = Asking(data_dir, role, token, url).post(service, "/operations/republish", {"from_position": position})
    said = f"{service} publishes again from position {done['from_position']} to {done['to_position']}."
    typer.echo(json.dumps(done) if as_json else said)


def _unnamed() -> str:
    raise Refused("--url needs --service: it names the service that is asked.")


def _all_held(asking: Asking, service: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = asking.get(service, "/operations/held", after=after, limit=_PAGE)
        found += page["items"]
        after = page["next"]
    return sorted(found, key=_line)


def _line(held: dict[str, Any]) -> tuple[Any, ...]:
    whose = (held["projection"], held["source"], held["aggregate_type"], held["aggregate_id"])
    return (*whose, held["version"] or 0, held["held_id"])


def _show_held(console: Console, found: list[dict[str, Any]]) -> None:
    table = Table(*(Column(name, overflow="fold") for name in _COLUMNS))
    for held in found:
        table.add_row(
            held["service"],
            str(held["held_id"]),
            held["state"],
            _name(held),
            f"{held['aggregate_type']} {held['aggregate_id']}",
            "-" if held["version"] is None else str(held["version"]),
            str(held["tries"]),
            escape(held["error"]),
        )
    console.print(table)
    parked_ones = sum(held["state"] == "parked" for held in found)
    console.print(f"{_events(len(found))} kept aside, {parked_ones} of them parked. Next: spoel events inspect NUMBER.")


def _show_detail(console: Console, service: str, held: dict[str, Any]) -> None:
    facts = Table.grid(padding=(0, 2))
    version = "" if held["version"] is None else f", version {held['version']}"
    for name, value in (
        ("event", f"{held['event_type'] or 'no event'} {held['event_id'] or ''}"),
        ("of", f"{held['aggregate_type']} {held['aggregate_id']}{version}"),
        ("from", f"{held['source']}, stream sequence {held['stream_sequence']}"),
        ("kept aside by", f"{service}, read model {held['projection']} v{held['projection_version']}"),
        ("state", f"{held['state']} since {held['held_at']}, {held['tries']} tries"),
        ("why", held["error"] or "not tried yet"),
        ("in line", _place(held)),
        ("bytes", f"{held['size_bytes']}, SHA-256 {held['bytes_sha256']}"),
    ):
        facts.add_row(name, escape(value))
    console.print(facts)
    if held["envelope"] is not None:
        console.print_json(data=held["envelope"])


def _place(held: dict[str, Any]) -> str:
    behind = f"{_events(held['waiting_behind'])} of its aggregate behind it"
    return f"first, {behind}" if held["first"] else f"not first, {behind}"


def _name(held: dict[str, Any]) -> str:
    return str(held["event_type"]).removeprefix("spoel.") if held["event_type"] else "no event"


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"


def _problem(answer: httpx.Response) -> str:
    """Return what a refusal says, whoever wrote it."""
    try:
        body = answer.json()
        return f"{body['title']}. {body['detail']}"
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"status {answer.status_code} {HTTPStatus(answer.status_code).phrase}"
