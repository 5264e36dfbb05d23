"""``spoel bench``: runs the benchmarks of the checkout's ``bench/`` folder and prints what they measured.

A benchmark is a module or a package with ``run() -> list[Result]``; a package's parts can be run alone, as in
``backbone.append``. Every figure is a ratio against a bare baseline of the same run,
on the same data; absolute figures go with it, and mean little on another machine.
"""

import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """One measured figure.

    Attributes:
        what: what was measured.
        value: the median.
        unit: unit of ``value`` and ``baseline``.
        baseline: the same of the bare baseline, in the same run.
        ratio: how many times better than the baseline; higher is better.
        target: the least ratio that is wanted; with ``at_most``, the largest value.
        met: whether ``ratio``, or with ``at_most`` ``value``, is as ``target`` wants it.
        spread: smallest and largest of the rounds' ratios, or of their values with ``at_most``.
        at_most: ``target`` limits ``value``, as of a latency.
    """

    model_config = ConfigDict(frozen=True)

    what: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    target: float | None = None
    met: bool | None = None
    spread: tuple[float, float] | None = None
    at_most: bool = False


Report = dict[str, Any]
"""A benchmark's report: machine, version, results."""


class BenchmarkMissing(Exception):
    """No benchmark of that name is in the checkout."""


def compare(
    what: str, ours: Callable[[], object], bare: Callable[[], object], *, target: float, rounds: int = 7
) -> Result:
    """Time ``ours`` against ``bare`` in alternation and return the median ratio of durations (bare / ours).

    Args:
        what: name of the figure.
        ours: one round of our code.
        bare: one round of the baseline on the same data.
        target: least ratio wanted.
        rounds: how often each is run, after one round each to warm up.
    """
    ours()
    bare()
    return judge(what, [(_seconds(ours), _seconds(bare)) for _ in range(rounds)], target)


def judge(what: str, pairs: Sequence[tuple[float, float]], target: float) -> Result:
    """Return the median ratio of durations (bare / ours) of pairs (ours, bare), each pair of one round, in seconds."""
    ratios = [bare_s / ours_s for ours_s, bare_s in pairs]
    ratio = statistics.median(ratios)
    return Result(
        what=what,
        value=statistics.median(ours_s for ours_s, _ in pairs),
        unit="s",
        baseline=statistics.median(bare_s for _, bare_s in pairs),
        ratio=ratio,
        target=target,
        met=ratio >= target,
        spread=(min(ratios), max(ratios)),
    )


def names(folder: Path) -> list[str]:
    """Return the names of the benchmarks in ``folder``."""
    return sorted(path.stem for path in (*folder.glob("*.py"), *(init.parent for init in folder.glob("*/__init__.py"))))


def run(folder: Path, name: str) -> Report:
    """Run one benchmark and return its report: machine, version, results.

    Raises:
        BenchmarkMissing: no such file in ``folder``.
    """
    # what the parts under test log belongs neither into the timing nor into the report
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    module = _load(folder, name)
    results: list[Result] = module.run()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return {
        "machine": machine,
        "version": importlib.metadata.version("spoel-local"),
        "results": [result.model_dump(mode="json") for result in results],
    }


def keep(folder: Path, name: str, report: Report) -> Path:
    """Write a report to ``results/NAME.json`` of the benchmarks' folder, by which a release is judged; return where."""
    path = folder / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path


def _load(folder: Path, name: str) -> ModuleType:
    whole, _, part = name.partition(".")
    package = folder / whole / "__init__.py"
    path = package if package.exists() else folder / f"{whole}.py"
    spec = importlib.util.spec_from_file_location(f"spoel_bench_{whole}", path)
    if not path.exists() or spec is None or spec.loader is None:
        known = ", ".join(names(folder)) or "none; run it in a checkout"
        raise BenchmarkMissing(f"There is no benchmark {name!r} in {folder}. Known: {known}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not part:
        return module
    found = getattr(module, part, None)
    if not isinstance(found, ModuleType):
        raise BenchmarkMissing(f"Benchmark {whole!r} has no part {part!r}.")
    return found


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
