"""From a session or a course to arrays of one element a pulse.

Everything is written by broadcasting into arrays that are made once: there is no loop over pulses, and no temporary
array of a chunk's size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoel_stimulation.engine.session import Course, Part, Session

MAX_CHUNK_PULSES = 65_536
MIN_CHUNK_PULSES = 64
BYTES_PER_PULSE = 19


@dataclass(frozen=True, slots=True)
class PulseArrays:
    """Pulses in order of onset; all arrays have shape ``(pulses,)``.

    Attributes:
        onset_ns: nanoseconds since the first pulse of what was expanded, exact.
        train: index of the train, from 0, running on through parts and sessions.
        burst: index of the burst, or single pulse, within its train, from 0.
        percent_mso: set intensity in whole percent of maximum stimulator output, rounded down.
        channel: stimulator channel.
    """

    onset_ns: NDArray[np.int64]
    train: NDArray[np.int32]
    burst: NDArray[np.int32]
    percent_mso: NDArray[np.int16]
    channel: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.onset_ns)

    def cut(self, first: int, until: int) -> "PulseArrays":
        """Return the pulses from ``first`` to before ``until``: views, not copies."""
        here = slice(first, until)
        return PulseArrays(
            self.onset_ns[here], self.train[here], self.burst[here], self.percent_mso[here], self.channel[here]
        )


class _Block(NamedTuple):
    """Some trains of a part, or some bursts of one train.

    Attributes:
        first_train: within the part; ``trains`` of them.
        first_burst: within each train; ``bursts`` of them.
        start_ns: onset of the part's first pulse.
        train_number: of the part's first train in what is expanded.
    """

    part: Part
    first_train: int
    trains: int
    first_burst: int
    bursts: int
    start_ns: int
    train_number: int

    @property
    def pulses(self) -> int:
        return self.trains * self.bursts * self.part.pattern.pulses_per_burst


def expand(session: Session) -> PulseArrays:
    """Return all pulses of a session."""
    arrays = _empty(session.pulses)
    blocks = list(_whole_parts(session))
    first = 0
    for block in blocks:
        _write(block, arrays if len(blocks) == 1 else arrays.cut(first, first + block.pulses))
        first += block.pulses
    return arrays


def chunks(plan: Session | Course, max_pulses: int = MAX_CHUNK_PULSES) -> Iterator[PulseArrays]:
    """Yield the pulses of a session or a course in order, a chunk at a time.

    A chunk has at most half of ``max_pulses``, so that the one in the reader's hands, the one that is made and the
    session that is repeated stay below two times ``max_pulses`` together, however long the course.

    Args:
        plan: what is delivered.
        max_pulses: most pulses of a chunk, at least 64.

    Raises:
        ValueError: ``max_pulses`` is too small.
    """
    if max_pulses < MIN_CHUNK_PULSES:
        raise ValueError(f"max_pulses is {max_pulses}; at least {MIN_CHUNK_PULSES} are needed")
    course = plan if isinstance(plan, Course) else Course(session=plan)
    most = max_pulses // 2
    if course.session.pulses > most:
        return _blocks_of_sessions(course, most)
    return _repeated(course, most // course.session.pulses)


def _repeated(course: Course, sessions: int) -> Iterator[PulseArrays]:
    """Yield whole sessions, ``sessions`` in a chunk: one is expanded, the others are copies at a later time."""
    one = expand(course.session)
    starts = course.session_starts_ns
    done = 0
    while begun := list(islice(starts, sessions)):
        yield _copies(one, np.array(begun, dtype=np.int64), course.session.trains, done)
        done += len(begun)


def _copies(one: PulseArrays, starts_ns: NDArray[np.int64], trains: int, done: int) -> PulseArrays:
    count = len(starts_ns)
    made = _empty(count * len(one))
    shape = (count, len(one))
    np.add(starts_ns[:, None], one.onset_ns, out=made.onset_ns.reshape(shape))
    first_trains = np.arange(done, done + count, dtype=np.int32) * np.int32(trains)
    np.add(first_trains[:, None], one.train, out=made.train.reshape(shape))
    made.burst.reshape(shape)[...] = one.burst
    made.percent_mso.reshape(shape)[...] = one.percent_mso
    made.channel.reshape(shape)[...] = one.channel
    return made


def _blocks_of_sessions(course: Course, most: int) -> Iterator[PulseArrays]:
    for index, start_ns in enumerate(course.session_starts_ns):
        for whole in _whole_parts(course.session):
            moved = whole._replace(
                start_ns=start_ns + whole.start_ns, train_number=index * course.session.trains + whole.train_number
            )
            for block in _split(moved, most):
                arrays = _empty(block.pulses)
                _write(block, arrays)
                yield arrays


def _whole_parts(session: Session) -> Iterator[_Block]:
    train_number = 0
    for part, start_ns in zip(session.parts, session.part_starts_ns, strict=True):
        trains = part.pattern.trains
        yield _Block(part, 0, trains, 0, part.pattern.bursts_per_train, start_ns, train_number)
        train_number += trains


def _split(block: _Block, most: int) -> Iterator[_Block]:
    """Yield a part in blocks of at most ``most`` pulses: whole trains if they are short enough, else whole bursts."""
    pattern = block.part.pattern
    at_once = most // pattern.pulses_per_train
    if at_once:
        for first in range(0, block.trains, at_once):
            yield block._replace(first_train=first, trains=min(at_once, block.trains - first))
        return
    at_once = most // pattern.pulses_per_burst
    for train in range(block.trains):
        for first in range(0, block.bursts, at_once):
            bursts = min(at_once, block.bursts - first)
            yield block._replace(first_train=train, trains=1, first_burst=first, bursts=bursts)


def _empty(pulses: int) -> PulseArrays:
    return PulseArrays(
        onset_ns=np.empty(pulses, dtype=np.int64),
        train=np.empty(pulses, dtype=np.int32),
        burst=np.empty(pulses, dtype=np.int32),
        percent_mso=np.empty(pulses, dtype=np.int16),
        channel=np.empty(pulses, dtype=np.int8),
    )


def _write(block: _Block, arrays: PulseArrays) -> None:
    """Write a block's pulses into arrays of their number."""
    part, first_train, trains, first_burst, bursts_per_train, start_ns, train_number = block
    pattern = part.pattern
    shape = (trains, bursts_per_train * pattern.pulses_per_burst)
    bursts = np.arange(first_burst, first_burst + bursts_per_train, dtype=np.int32)
    within_ns = bursts * np.int64(pattern.burst_interval_ns)
    within_ns += start_ns
    if pattern.pulses_per_burst > 1:
        offsets_ns = np.arange(pattern.pulses_per_burst, dtype=np.int64) * pattern.pulse_interval_ns
        within_ns = (within_ns[:, None] + offsets_ns).ravel()
        bursts = bursts.repeat(pattern.pulses_per_burst)
    numbers = np.arange(first_train, first_train + trains, dtype=np.int32)[:, None]
    np.add(numbers * np.int64(pattern.train_interval_ns), within_ns, out=arrays.onset_ns.reshape(shape))
    if train_number:
        numbers += np.int32(train_number)
    arrays.train.reshape(shape)[...] = numbers
    arrays.burst.reshape(shape)[...] = bursts
    _write_percents(block, arrays.percent_mso.reshape(shape))
    arrays.channel.fill(part.channel)


def _write_percents(block: _Block, out: NDArray[np.int16]) -> None:
    """Write what each pulse is set to: first as if every train had the full intensity, then the weaker trains."""
    ramped = 0 if block.part.ramp is None else block.part.ramp.trains
    _write_row(block, ramped, out)
    for row in range(min(block.trains, ramped - block.first_train)):
        _write_row(block, block.first_train + row, out[row])


def _write_row(block: _Block, train: int, out: NDArray[np.int16]) -> None:
    percents = block.part.set_percents_mso(train)
    if len(percents) == 1:
        out.fill(percents[0])
    else:
        out[...] = np.tile(np.array(percents, dtype=np.int16), block.bursts)
