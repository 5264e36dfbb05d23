"""Pulse expansion: all five arrays of a session from its pattern, against nested loops that append to lists."""

from spoel_local.bench import Result, compare
from spoel_stimulation.engine import Pattern, expand_session

STANDARD_10_HZ = {
    "pulses_per_burst": 1,
    "pulse_interval_s": None,
    "bursts_per_train": 40,
    "burst_interval_s": 0.1,
    "trains": 75,
    "train_interval_s": 30.0,
}


def run() -> list[Result]:
    """Measure a session of 3,000 pulses and a course of 90,000 (30 sessions in one pattern)."""
    return [_result("expand 3,000 pulses", STANDARD_10_HZ, 20.0), _result("expand 90,000 pulses", _course(), 20.0)]


def _course() -> dict[str, float | int | None]:
    return STANDARD_10_HZ | {"trains": 75 * 30}


def _result(what: str, fields: dict[str, float | int | None], target: float) -> Result:
    pattern = Pattern.model_validate(fields)
    ours = expand_session(pattern, 60)
    onsets, trains, _, _, _ = _loops(pattern, 60)
    if ours.onset_ns.tolist() != onsets or ours.train.tolist() != trains:
        raise AssertionError("the two ways give different pulses: nothing to compare")
    return compare(what, lambda: expand_session(pattern, 60), lambda: _loops(pattern, 60), target=target)


def _loops(pattern: Pattern, percent_mso: int) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    onsets: list[int] = []
    trains: list[int] = []
    bursts: list[int] = []
    intensities: list[int] = []
    channels: list[int] = []
    for train in range(pattern.trains):
        for burst in range(pattern.bursts_per_train):
            for pulse in range(pattern.pulses_per_burst):
                start_ns = train * pattern.train_interval_ns + burst * pattern.burst_interval_ns
                onsets.append(start_ns + pulse * pattern.pulse_interval_ns)
                trains.append(train)
                bursts.append(burst)
                intensities.append(percent_mso)
                channels.append(0)
    return onsets, trains, bursts, intensities, channels
