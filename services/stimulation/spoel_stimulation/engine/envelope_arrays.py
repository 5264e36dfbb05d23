"""The grades of ``envelope`` for many doses at once: the same comparisons, on arrays of one element a dose."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spoel_stimulation.engine.envelope import GRADES, TIME_TOLERANCE_NS, Dose, hundredths, interval_of_hz_ns
from spoel_stimulation.engine.limits import ClearedRow, Limits, TrainTable
from spoel_stimulation.engine.pattern import seconds_to_ns

Int = NDArray[np.int64]
Mask = NDArray[np.bool_]

_ROWS_AT_ONCE = 16_384  # what fits into a processor's own memory
_UNKNOWN = np.iinfo(np.int64).max
_STRICTER, _TESTED, _NOT_COVERED, _LIMIT, _REFUSED = (
    np.int8(GRADES.index(grade))
    for grade in ("beyond-stricter-table", "beyond-longest-tested", "not-covered", "beyond-limit", "refused")
)


class DoseArrays(NamedTuple):
    """Doses in columns, all of shape ``(doses,)`` and whole numbers; the fields are those of ``Dose`` and its pattern.

    Attributes:
        site: index into the sites that ``grade_doses`` is given.
        since_last_session_ns: the largest whole number where there was no session of late.
    """

    pulses_per_burst: Int
    pulse_interval_ns: Int
    bursts_per_train: Int
    burst_interval_ns: Int
    trains: Int
    train_interval_ns: Int
    percent_mso: Int
    threshold_percent_mso: Int
    site: Int
    pulses_today: Int
    since_last_session_ns: Int

    @classmethod
    def of(cls, doses: Iterable[Dose], sites: Sequence[str]) -> "DoseArrays":
        """Return doses in columns.

        Raises:
            ValueError: a dose's site is not one of ``sites``.
        """
        rows = [
            (
                dose.pattern.pulses_per_burst,
                dose.pattern.pulse_interval_ns,
                dose.pattern.bursts_per_train,
                dose.pattern.burst_interval_ns,
                dose.pattern.trains,
                dose.pattern.train_interval_ns,
                dose.percent_mso,
                dose.threshold_percent_mso,
                sites.index(dose.site),
                dose.pulses_today,
                _UNKNOWN if dose.since_last_session_s is None else seconds_to_ns(dose.since_last_session_s),
            )
            for dose in doses
        ]
        return cls(*np.array(rows, dtype=np.int64).T.copy())

    def are_above(self, percent_rmt: float) -> Mask:
        """Tell which set intensities are higher than a percentage of their threshold, beyond the tolerance."""
        return 10_000 * self.percent_mso > hundredths(percent_rmt) * self.threshold_percent_mso


def grade_doses(
    doses: DoseArrays, limits: Limits, cleared: Sequence[ClearedRow], sites: Sequence[str]
) -> NDArray[np.int8]:
    """Return the grade of each dose as an index into ``GRADES``, equal to that of ``grade_dose``.

    Args:
        doses: in columns.
        limits: the published ones.
        cleared: the clinic's list.
        sites: what ``doses.site`` counts in.
    """
    grades = np.empty(len(doses.site), dtype=np.int8)
    for first in range(0, len(grades), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        grades[rows] = _grade_rows(DoseArrays(*(column[rows] for column in doses)), limits, cleared, sites)
    return grades


def _grade_rows(
    doses: DoseArrays, limits: Limits, cleared: Sequence[ClearedRow], sites: Sequence[str]
) -> NDArray[np.int8]:
    hard, pause = limits.hard, limits.pause
    slot_ns = doses.bursts_per_train * doses.burst_interval_ns
    pause_ns = np.where(doses.trains > 1, doses.train_interval_ns - slot_ns, _UNKNOWN)
    patterned = doses.pulses_per_burst > 1
    too_fast = ~patterned & (doses.burst_interval_ns < interval_of_hz_ns(hard.max_unpatterned_hz))
    refused = too_fast | doses.are_above(hard.max_percent_rmt)
    refused |= pause_ns <= seconds_to_ns(hard.refused_pause_s) + TIME_TOLERANCE_NS
    refused |= patterned & ~_cleared(doses, cleared, sites)

    longest = _beyond(limits.longest, doses, slot_ns)
    stricter = np.where(_beyond(limits.stricter, doses, slot_ns) > 0, _STRICTER, np.int8(0))
    grades = np.where(patterned, _NOT_COVERED, np.maximum(longest, stricter))
    below_above = doses.are_above(pause.safe_to_percent_rmt) & (
        pause_ns < seconds_to_ns(pause.min_pause_above_s) - TIME_TOLERANCE_NS
    )
    np.maximum(grades, _NOT_COVERED, out=grades, where=below_above)
    np.maximum(grades, _LIMIT, out=grades, where=pause_ns < seconds_to_ns(pause.min_pause_s) - TIME_TOLERANCE_NS)
    grades[refused] = _REFUSED
    return grades


def _beyond(table: TrainTable, doses: DoseArrays, slot_ns: Int) -> NDArray[np.int8]:
    """Return the grade of each train's duration; what lies outside the table is refused elsewhere and 0 here."""
    intervals_ns = np.array([-interval_of_hz_ns(row.hz) for row in table.rows])
    row = np.minimum(np.searchsorted(intervals_ns, -doses.burst_interval_ns), len(table.rows) - 1)
    column = np.zeros(len(slot_ns), dtype=np.int64)
    for percent in table.percent_rmt[:-1]:
        column += doses.are_above(percent)
    longest_ns = np.array([[seconds_to_ns(value) for value in each.train_s] for each in table.rows])
    grade = np.where(np.array([each.limit for each in table.rows]), _LIMIT, _TESTED)
    cell = row * len(table.percent_rmt) + column
    return np.where(slot_ns > longest_ns.ravel()[cell] + TIME_TOLERANCE_NS, grade.ravel()[cell], np.int8(0))


def _cleared(doses: DoseArrays, cleared: Sequence[ClearedRow], sites: Sequence[str]) -> Mask:
    found = np.zeros(len(doses.site), dtype=np.bool_)
    pulses = doses.pulses_per_burst * doses.bursts_per_train * doses.trains
    for row in cleared:
        if row.pulses_per_burst == 1 or row.pulse_interval_s is None or row.site not in sites:
            continue
        found |= (
            (doses.site == sites.index(row.site))
            & (doses.pulses_per_burst == row.pulses_per_burst)
            & (np.abs(doses.pulse_interval_ns - seconds_to_ns(row.pulse_interval_s)) < TIME_TOLERANCE_NS)
            & (doses.bursts_per_train == row.bursts_per_train)
            & (np.abs(doses.burst_interval_ns - seconds_to_ns(row.burst_interval_s)) < TIME_TOLERANCE_NS)
            & (doses.trains <= row.max_trains)
            & (doses.train_interval_ns >= seconds_to_ns(row.min_train_interval_s) - TIME_TOLERANCE_NS)
            & ~doses.are_above(row.max_percent_rmt)
            & (pulses <= row.max_pulses_per_session)
            & (pulses + doses.pulses_today <= row.max_pulses_per_day)
            & (doses.since_last_session_ns >= seconds_to_ns(row.min_pause_between_sessions_s))
        )
    return found
