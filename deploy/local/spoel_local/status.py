"""``spoel status``: every process of a running instance, and how far behind every consumer is."""

import json
from collections import defaultdict

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spoel_local.instance import Described, Instance

_TIMEOUT_S = 3.0

_LAG, _AGE, _WAITING = "spoel_feed_lag_events", "spoel_feed_age_seconds", "spoel_feed_waiting_events"


class ProcessStatus(BaseModel):
    """One process.

    Attributes:
        ready: what it says of itself; None where it has no readiness to ask for.
        detail: why it is not ready.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    pid: int
    address: str
    running: bool
    ready: bool | None
    detail: str | None


class ConsumerStatus(BaseModel):
    """One projection's place in one feed.

    Attributes:
        lag_events: published, not yet applied.
        age_s: seconds since the feed was last known to be complete.
        waiting: events that the projection holds back, over all its feeds: for an earlier one, or because they failed.
    """

    model_config = ConfigDict(frozen=True)

    service: str
    projection: str
    source: str
    lag_events: int
    age_s: float | None
    waiting: dict[str, int]


class Status(BaseModel):
    """A whole instance."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    version: str
    site: str
    data_dir: str
    speed: float
    processes: list[ProcessStatus]
    consumers: list[ConsumerStatus]


def status_of(instance: Instance) -> Status:
    """Ask every process of an instance how it is."""
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        processes = [_process_status(client, process) for process in instance.processes]
        consumers = [
            consumer for service, url in instance.services.items() for consumer in _consumers(client, service, url)
        ]
    ok = all(process.running and process.ready is not False for process in processes)
    return Status(
        ok=ok,
        version=instance.version,
        site=instance.site,
        data_dir=str(instance.data_dir),
        speed=instance.speed,
        processes=processes,
        consumers=consumers,
    )


def why_not_ready(client: httpx.Client, url: str) -> str | None:
    """Return None where the service at ``url`` says that it is ready, else what it says is missing."""
    try:
        answer = client.get(f"{url}/health/ready")
    except httpx.HTTPError as error:
        return f"no answer ({type(error).__name__})"
    return None if answer.status_code == httpx.codes.OK else _missing(answer)


def _missing(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except json.JSONDecodeError:
        return f"status {answer.status_code}"
    failed = [check for check in body.get("checks", ()) if not check.get("ok", True)]
    return (
        "; ".join(f"{check.get('name')}: {check.get('detail')}" for check in failed) or f"status {answer.status_code}"
    )


def _process_status(client: httpx.Client, process: Described) -> ProcessStatus:
    running, detail = process.runs, None
    asked = running and process.kind == "service"
    if asked:
        detail = why_not_ready(client, process.address)
    return ProcessStatus(
        name=process.name,
        kind=process.kind,
        pid=process.pid,
        address=process.address,
        running=running,
        ready=(detail is None) if asked else None,
        detail=detail,
    )


def _consumers(client: httpx.Client, service: str, url: str) -> list[ConsumerStatus]:
    try:
        answer = client.get(f"{url}/metrics").raise_for_status()
    except httpx.HTTPError:
        return []
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    ages = {_feed(sample): sample.value for sample in samples if sample.name == _AGE}
    waiting: dict[str, dict[str, int]] = defaultdict(dict)
    for sample in samples:
        if sample.name == _WAITING:
            waiting[sample.labels["projection"]][sample.labels["kind"]] = int(sample.value)
    return [
        ConsumerStatus(
            service=service,
            projection=sample.labels["projection"],
            source=sample.labels["source"],
            lag_events=int(sample.value),
            age_s=ages.get(_feed(sample)),
            waiting=waiting[sample.labels["projection"]],
        )
        for sample in sorted(samples, key=_feed)
        if sample.name == _LAG
    ]


def _feed(sample: Sample) -> tuple[str, str]:
    return sample.labels.get("projection", ""), sample.labels.get("source", "")


def print_status(console: Console, status: Status) -> None:
    """Print a status for people."""
    console.print(
        f"Spoel {status.version}, site {status.site}, speed {status.speed:g}, in {status.data_dir}", highlight=False
    )
    processes = Table()
    for heading in ("Process", "Pid", "Address", "State"):
        processes.add_column(heading)
    for process in status.processes:
        processes.add_row(process.name, str(process.pid), escape(process.address), _state(process))
    console.print(processes)
    consumers = Table()
    for heading in ("Service", "Projection", "Feed", "Behind", "Age", "Held back"):
        consumers.add_column(heading)
    for consumer in status.consumers:
        age = "-" if consumer.age_s is None else f"{consumer.age_s:.1f} s"
        held = ", ".join(f"{count} {kind}" for kind, count in sorted(consumer.waiting.items()) if count) or "0"
        place = consumer.service, consumer.projection, escape(consumer.source)
        consumers.add_row(*place, str(consumer.lag_events), age, held)
    console.print(consumers)


def _state(process: ProcessStatus) -> str:
    if not process.running:
        return "[red]gone[/red]"
    if process.ready is False:
        return f"[yellow]not ready[/yellow]: {escape(process.detail or '')}"
    return "[green]ready[/green]" if process.ready else "[green]runs[/green]"
