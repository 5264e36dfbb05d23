"""What the demo shows: a readable timeline with progress bars for people, or one JSON object for programs."""

import time
from types import TracebackType
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

_ID_ENDING = 6


class Step(BaseModel):
    """One line of the timeline.

    Attributes:
        wall_s: seconds since the demo began.
        clock: time of day on the instance's clock, UTC.
        who: the patient, or the clinic.
        what: what happened.
    """

    model_config = ConfigDict(frozen=True)

    wall_s: float
    clock: str
    who: str
    what: str


class Check(BaseModel):
    """One equality at the end.

    Attributes:
        name: what must hold.
        ok: whether it does.
        detail: the figures that were compared, for people.
        values: the same for programs.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool
    detail: str
    values: dict[str, Any]


class PatientReport(BaseModel):
    """How one patient's way ended.

    Attributes:
        closed_for: why the session ended, ``last-train-ended`` where all of it was delivered.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    case_id: str
    room: str
    protocol: str
    threshold_percent_mso: int
    true_threshold_percent_mso: float
    measurement_session_id: str
    session_id: str
    closed_for: str
    pulses_planned: int
    pulses_delivered: int
    trains_delivered: int


class Failure(BaseModel):
    """What went wrong: the step, and the request that was refused if there was one."""

    model_config = ConfigDict(frozen=True)

    step: str
    message: str
    request: str | None = None
    status: int | None = None
    problem: dict[str, Any] | None = None


class DemoReport(BaseModel):
    """The demo's outcome; what ``--json`` prints."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    speed: float
    seed: int
    attached: bool
    set_up_s: float
    duration_s: float
    patients: list[PatientReport]
    checks: list[Check]
    timeline: list[Step]
    kept: str | None
    error: Failure | None


def ending(identifier: str) -> str:
    """Return the last characters of an id, enough for a person to tell two apart."""
    return f"…{identifier[-_ID_ENDING:]}"


class Reporter(Protocol):
    """Where the demo tells what happens."""

    timeline: list[Step]

    def step(self, who: str, what: str, clock: str) -> None:
        """Add a line to the timeline."""

    def pulses(self, who: str, delivered: int, planned: int) -> None:
        """Show how far a patient's session is."""


class Silent:
    """Keeps the timeline and prints nothing."""

    def __init__(self) -> None:
        self.timeline: list[Step] = []
        self._start_s = time.monotonic()

    def step(self, who: str, what: str, clock: str) -> None:
        """Add a line to the timeline."""
        wall_s = round(time.monotonic() - self._start_s, 2)
        self.timeline.append(Step(wall_s=wall_s, clock=clock, who=who, what=what))

    def pulses(self, who: str, delivered: int, planned: int) -> None:
        """Nothing is shown."""


class Terminal(Silent):
    """Prints the timeline as it grows, with one progress bar a session below it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("pulses"),
            console=console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, who: str, what: str, clock: str) -> None:
        """Add a line to the timeline and print it above the bars."""
        super().step(who, what, clock)
        line = self.timeline[-1]
        self._progress.console.print(
            f"[dim]{line.wall_s:6.1f} s  {clock:<8}[/dim]  [bold]{who:<10}[/bold] {escape(what)}",
            highlight=False,
            soft_wrap=True,
        )

    def pulses(self, who: str, delivered: int, planned: int) -> None:
        """Move a patient's bar; it appears with the first call."""
        if who not in self._bars:
            self._bars[who] = self._progress.add_task(who, total=planned)
        self._progress.update(self._bars[who], completed=delivered, total=planned)


def print_report(console: Console, report: DemoReport) -> None:
    """Print the checks, and how it ended."""
    table = Table(title="Checks", title_justify="left", show_lines=False)
    table.add_column("")
    table.add_column("What must hold")
    table.add_column("Found")
    for check in report.checks:
        table.add_row("[green]✓[/green]" if check.ok else "[red]✗[/red]", check.name, escape(check.detail))
    if report.checks:
        console.print(table)
    if report.error is not None:
        console.print(f"[red]Failed[/red] at: {report.error.step}", highlight=False)
        console.print(report.error.message, markup=False, highlight=False, soft_wrap=True)
    if report.kept is not None:
        console.print(f"Data and logs are kept in {report.kept}", highlight=False, soft_wrap=True)
    elif not report.ok and not report.attached:
        console.print("Run it again with --keep to keep its data and logs.")
    verdict = "[green]All checks hold.[/green]" if report.ok else "[red]Not all is well.[/red]"
    console.print(
        f"{verdict} {report.duration_s:.1f} s at speed {report.speed:g}, after {report.set_up_s:.1f} s of set-up.",
        highlight=False,
    )
