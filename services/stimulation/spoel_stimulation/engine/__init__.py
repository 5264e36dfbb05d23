"""Pulse engine: from a pattern to the onset of every pulse. Pure (numpy, pydantic); no I/O, no clock."""

from spoel_stimulation.engine.autonomy import AutonomyExceeded, split_for_autonomy
from spoel_stimulation.engine.expand import PulseArrays, TrainArrays, expand_session, expand_train
from spoel_stimulation.engine.pattern import (
    Pattern,
    duration_of_slots_s,
    duration_pulse_to_pulse_s,
    duration_with_last_pause_s,
)

__all__ = [
    "AutonomyExceeded",
    "Pattern",
    "PulseArrays",
    "TrainArrays",
    "duration_of_slots_s",
    "duration_pulse_to_pulse_s",
    "duration_with_last_pause_s",
    "expand_session",
    "expand_train",
    "split_for_autonomy",
]
