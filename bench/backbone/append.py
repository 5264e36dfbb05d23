"""Append: placeholder until the hot path is there."""

from spoel_local.bench import Result


def run() -> list[Result]:
    """Measure appends."""
    return []
