"""Pulse engine: every pulse of a protocol, its shape, its load, its limits (docs/engine.md). Pure: no I/O, no clock."""

from spoel_stimulation.engine.autonomy import AutonomyExceeded, split_for_autonomy
from spoel_stimulation.engine.conventions import Convention, Train, duration_s, pause_s, read_duration, read_pause
from spoel_stimulation.engine.expansion import MAX_CHUNK_PULSES, PulseArrays, chunks, expand
from spoel_stimulation.engine.pattern import Pattern
from spoel_stimulation.engine.session import Course, Part, Ramp, Session

__all__ = [
    "MAX_CHUNK_PULSES",
    "AutonomyExceeded",
    "Convention",
    "Course",
    "Part",
    "Pattern",
    "PulseArrays",
    "Ramp",
    "Session",
    "Train",
    "chunks",
    "duration_s",
    "expand",
    "pause_s",
    "read_duration",
    "read_pause",
    "split_for_autonomy",
]
