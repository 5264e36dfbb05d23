"""Stimulation: one module a group of figures, each with ``run() -> list[Result]``.

A part can be run alone: ``spoel bench stimulation.engine``.
"""

from spoel_local.bench import Result

from . import engine, latency, rooms, stop

PARTS = (engine, latency, rooms, stop)


def run() -> list[Result]:
    """Measure every part."""
    return [result for part in PARTS for result in part.run()]
