"""Commands of ``spoel`` for those who carry the code on: generated files and benchmarks. They work in a checkout."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from spoel_local import asyncapi, events_page, metrics_page, problems, traceability
from spoel_local import bench as benchmarks
from spoel_local import contracts as event_contracts

app = typer.Typer()

Check = Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where something is out of date.")]
Checkout = Annotated[Path, typer.Option("--checkout", help="The checkout to work in.")]
HERE = Path()


@app.command()
def contracts(*, check: Check = False, checkout: Checkout = HERE) -> None:
    """Write the JSON Schema and a sample of every event version to contracts/, and AsyncAPI of all of them."""
    root = checkout / "contracts"
    described = root / asyncapi.FILE_NAME
    if check:
        problems = event_contracts.check_contracts(root)
        if not _holds(described, asyncapi.render(root)):
            problems.append(f"{described} is out of date. Run `spoel contracts`.")
        _end_with(problems, good=f"{root}: every event version is as its model says.")
        return
    try:
        changed = event_contracts.write_contracts(root)
    except event_contracts.ContractBroken as error:
        _end_with([str(error)], good="")
        return
    described.write_text(asyncapi.render(root), encoding="utf-8")
    _end_with([], good=f"{len(changed)} contracts written to {root}.")


@app.command()
def pages(*, check: Check = False, checkout: Checkout = HERE) -> None:
    """Write the generated pages of docs/: events, metrics, problem types, traceability."""
    docs = checkout / "docs"
    texts = {
        "events.md": events_page.render(),
        "metrics.md": metrics_page.render(),
        "problems.md": problems.render(),
        "traceability.md": traceability.render(checkout / "tests", docs),
    }
    stale = [name for name, text in texts.items() if not _holds(docs / name, text)]
    if check:
        _end_with(
            [f"{docs / name} is out of date. Run `spoel pages`." for name in stale], good="The pages are as generated."
        )
        return
    for name in stale:
        (docs / name).write_text(texts[name], encoding="utf-8")
    _end_with([], good=f"{len(stale)} pages written to {docs}.")


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help="Which one; all of them if left out.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a benchmark.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 where a target is missed.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep each report as bench/results/NAME.json.")] = False,
    checkout: Checkout = HERE,
) -> None:
    """Run benchmarks: ratios against a bare baseline of the same run."""
    folder = checkout / "bench"
    missed = False
    for chosen in [name] if name else benchmarks.names(folder):
        try:
            report = benchmarks.run(folder, chosen)
        except benchmarks.BenchmarkMissing as error:
            _end_with([str(error)], good="")
            return
        missed = missed or any(result["met"] is False for result in report["results"])
        if keep:
            benchmarks.keep(folder, chosen, report)
        typer.echo(json.dumps(report)) if as_json else _show(chosen, report)
    if check and missed:
        raise typer.Exit(1)


def _show(name: str, report: benchmarks.Report) -> None:
    table = Table("what", "median", "baseline", "ratio", "target", "spread", title=f"{name} · {report['machine']}")
    for result in report["results"]:
        table.add_row(*_cells(result))
    Console().print(table)


def _cells(result: dict[str, Any]) -> list[str]:
    unit, spread = result["unit"], result["spread"]
    verdict = {True: "met", False: "missed", None: ""}[result["met"]]
    sign = "<=" if result["at_most"] else ">="
    return [
        result["what"],
        f"{result['value']:.4g} {unit}",
        "" if result["baseline"] is None else f"{result['baseline']:.4g} {unit}",
        "" if result["ratio"] is None else f"{result['ratio']:.2f}",
        "" if result["target"] is None else f"{sign} {result['target']:g} {verdict}",
        "" if spread is None else f"{spread[0]:.2f}-{spread[1]:.2f}",
    ]


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _end_with(complaints: list[str], good: str) -> None:
    for complaint in complaints:
        typer.echo(complaint, err=True)
    if complaints:
        raise typer.Exit(1)
    typer.echo(good)
