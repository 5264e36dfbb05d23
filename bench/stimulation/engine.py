"""The pulse engine: expansion against nested loops, envelope, waveforms against the time the pulses themselves take."""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import astuple

import numpy as np

from spoel_local.bench import Result, compare
from spoel_stimulation.engine import MAX_CHUNK_PULSES, Course, Pattern, Session, chunks, expand, waveform
from spoel_stimulation.engine.circuits import circuits
from spoel_stimulation.engine.envelope import GRADES
from spoel_stimulation.engine.envelope_arrays import DoseArrays, grade_doses
from spoel_stimulation.engine.expansion import BYTES_PER_PULSE
from spoel_stimulation.engine.limits import example_cleared_list, published_limits

ROUNDS = 15
AT_ONCE = 20
PULSES = 3_000
DOSES = 1_000_000
SITES = ("left-dlpfc", "right-dlpfc")

STANDARD = Pattern(bursts_per_train=40, burst_interval_s=0.1, trains=75, train_interval_s=30.0)
SESSION = Session.of(STANDARD, 60)
COURSE = Course(session=SESSION, days=30)
SNT = Pattern(
    pulses_per_burst=3,
    pulse_interval_s=0.02,
    bursts_per_train=10,
    burst_interval_s=0.2,
    trains=60,
    train_interval_s=10.0,
)
SNT_COURSE = Course(session=Session.of(SNT, 45), sessions_per_day=10, days=5)

Lists = tuple[list[int], list[int], list[int], list[int], list[int]]


def run() -> list[Result]:
    """Measure expansion, memory, envelope and waveforms."""
    return [
        _expansion("expand 3,000 pulses, all five arrays, 20 times", Course(session=SESSION), 20.0),
        _expansion("expand 90,000 pulses (30 x 3,000 at 10 Hz) in chunks", COURSE, 60.0),
        _expansion("expand 90,000 pulses (SNT, 50 x 1,800) in chunks", SNT_COURSE, 60.0),
        _memory("peak memory of 90,000 pulses (30 x 3,000 at 10 Hz) in chunks", COURSE),
        _memory("peak memory of 90,000 pulses (SNT, 50 x 1,800) in chunks", SNT_COURSE),
        _envelope(),
        _waveforms(f"synthesise {PULSES} biphasic pulses at 2 MS/s, each with its own V0", 100.0, own_circuits=False),
        _waveforms("the same, each with its own circuit too", 10.0, own_circuits=True),
    ]


def _expansion(what: str, course: Course, target: float) -> Result:
    """Compare with loops that know every number beforehand; the reader of chunks looks at each and lets it go."""
    single = course.sessions == 1

    def ours() -> int:
        return len(expand(course.session)) if single else sum(len(chunk) for chunk in chunks(course))

    made = [expand(course.session)] if single else list(chunks(course))
    columns = zip(*(astuple(chunk) for chunk in made), strict=True)
    if [np.concatenate(column).tolist() for column in columns] != list(_loops(course)):
        raise AssertionError("the two ways give different pulses: nothing to compare")
    times = AT_ONCE if single else 1
    return compare(what, _repeated(ours, times), _repeated(lambda: _loops(course), times), target=target, rounds=ROUNDS)


def _repeated(work: Callable[[], object], times: int) -> Callable[[], None]:
    """Return a round of work that is too short to be timed once."""

    def round_of_it() -> None:
        for _ in range(times):
            work()

    return round_of_it


def _loops(course: Course) -> Lists:
    (part,) = course.session.parts
    pattern, percent = part.pattern, int(part.percent_mso)
    train_ns, burst_ns, pulse_ns = pattern.train_interval_ns, pattern.burst_interval_ns, pattern.pulse_interval_ns
    onsets: list[int] = []
    trains: list[int] = []
    bursts: list[int] = []
    percents: list[int] = []
    channels: list[int] = []
    for session, session_ns in enumerate(course.session_starts_ns):
        for train in range(pattern.trains):
            for burst in range(pattern.bursts_per_train):
                for pulse in range(pattern.pulses_per_burst):
                    onsets.append(session_ns + train * train_ns + burst * burst_ns + pulse * pulse_ns)
                    trains.append(session * pattern.trains + train)
                    bursts.append(burst)
                    percents.append(percent)
                    channels.append(0)
    return onsets, trains, bursts, percents, channels


def _memory(what: str, course: Course) -> Result:
    """Measure the peak while a reader holds one chunk after the other, in chunks of 65,536 pulses."""
    tracemalloc.start()
    for _chunk in chunks(course):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    value = peak / (MAX_CHUNK_PULSES * BYTES_PER_PULSE)
    return Result(
        what=what, value=value, unit="chunks", target=2.0, met=value <= 2.0, spread=(value, value), at_most=True
    )


def _envelope() -> Result:
    doses, limits, cleared = _doses(), published_limits(), example_cleared_list()
    grades = grade_doses(doses, limits, cleared, SITES)
    if len(np.unique(grades)) != len(GRADES):
        raise AssertionError("the doses do not reach every grade")
    seconds = _times(lambda: grade_doses(doses, limits, cleared, SITES))
    rates = [DOSES / each / 1e6 for each in seconds]
    rate = statistics.median(rates)
    return Result(
        what=f"envelope: {DOSES} parameter sets, against one million a second",
        value=rate,
        unit="M/s",
        baseline=1.0,
        ratio=rate,
        target=1.0,
        met=rate >= 1.0,
        spread=(min(rates), max(rates)),
    )


def _doses() -> DoseArrays:
    rng = np.random.default_rng(29)
    per_burst = rng.choice([1, 1, 3], DOSES)
    in_row = rng.random(DOSES) < 0.5  # half of the bursts are those of a cleared row
    bursts = np.where((per_burst > 1) & in_row, 10, rng.integers(1, 60, DOSES))
    interval_ns = np.where(per_burst > 1, 200_000_000, rng.choice([1_000, 200, 100, 56, 50, 40, 39], DOSES) * 1_000_000)
    return DoseArrays(
        pulses_per_burst=per_burst,
        pulse_interval_ns=np.where(per_burst > 1, 20_000_000, 0),
        bursts_per_train=bursts,
        burst_interval_ns=interval_ns,
        trains=rng.integers(1, 21, DOSES),
        train_interval_ns=bursts * interval_ns + rng.integers(500, 30_000, DOSES) * 1_000_000,
        percent_mso=rng.integers(30, 80, DOSES),
        threshold_percent_mso=rng.integers(40, 70, DOSES),
        site=rng.integers(0, 2, DOSES),
        pulses_today=np.zeros(DOSES, dtype=np.int64),
        since_last_session_ns=np.full(DOSES, np.iinfo(np.int64).max),
    )


def _waveforms(what: str, target: float, *, own_circuits: bool) -> Result:
    ringing = circuits().ringing[0]
    circuit = ringing.circuit
    rng = np.random.default_rng(29)
    volts = rng.uniform(0.2, 1.0, PULSES) * ringing.volts_at_full
    if own_circuits:
        spread = rng.uniform(0.95, 1.05, (3, PULSES))
        circuit = circuit._replace(
            inductance_h=circuit.inductance_h * spread[0],
            capacitance_f=circuit.capacitance_f * spread[1],
            resistance_ohm=circuit.resistance_ohm * spread[2],
        )
    pulses_s = float(np.sum(np.broadcast_to(circuit.period_s, PULSES)))
    ours_s = _times(lambda: waveform.synthesise(waveform.pulse("biphasic", circuit), volts))
    ratios = [pulses_s / each for each in ours_s]
    ratio = statistics.median(ratios)
    return Result(
        what=f"{what}, against the pulses' own duration",
        value=statistics.median(ours_s),
        unit="s",
        baseline=pulses_s,
        ratio=ratio,
        target=target,
        met=ratio >= target,
        spread=(min(ratios), max(ratios)),
    )


def _times(work: Callable[[], object]) -> list[float]:
    """Return the seconds of each round, after one to warm up."""
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]
