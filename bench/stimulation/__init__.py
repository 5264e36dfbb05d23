"""Stimulation: pulse engine, rooms in real time, latency of a command, emergency stop.

One module a group of figures, each with ``run() -> list[Result]``; one alone: ``spoel bench stimulation.stop``.
"""

from spoel_local.bench import Result

from . import latency, rooms, stop

PARTS = (latency, rooms, stop)


def run() -> list[Result]:
    """Measure every part."""
    return [result for part in PARTS for result in part.run()]
