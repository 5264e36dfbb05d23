"""Chance in a simulator: the same in every run."""

from random import Random


def chance(seed: int) -> Random:
    """Return a source of chance for what is no secret: which bytes get lost, how long an answer takes."""
    return Random(seed)  # noqa: S311 - no secret, and the same in every run
