"""Grades a dose against the published limits (PL-07): shown, explained, sourced; refused only where nobody may decide.

Between rows or columns of a table the next stricter one counts. Intensities are compared as they are set: whole %MSO,
rounded down, over the threshold, with a tolerance of 0.01 percentage points.
"""

from collections.abc import Iterable
from typing import NamedTuple

from spoel_planning.domain.pattern import (
    TIME_TOLERANCE_S,
    is_patterned,
    pause_s,
    pulses_per_session,
    rate_hz,
    train_s,
)
from spoel_planning.domain.refusals.prescribing import AboveHighestFrequency, AboveHighestPercent, PauseTooShort
from spoel_planning.domain.rules import CourseFigures, HardLimits, LimitRules, Margin, PauseTable, TrainTable
from spoel_planning.events.orders import Pattern
from spoel_planning.events.prescribing import Finding, Grade

PERCENT_TOLERANCE = 0.01
_RATE_TOLERANCE_HZ = 1e-6
_DAYS_A_WEEK = 7
_SEVERITY: tuple[Grade, ...] = (
    "within",
    "beyond-stricter-table",
    "beyond-longest-tested",
    "not-covered",
    "beyond-limit",
)


class Cell(NamedTuple):
    """One cell of a table, and the row and column that were taken."""

    hz: float
    percent_rmt: float
    train_s: float
    is_limit: bool


def worst_grade(findings: Iterable[Finding]) -> Grade:
    """Return the grade of a prescription: that of its worst finding; advisory ones do not count."""
    return max((each.grade for each in findings if not each.advisory), key=_SEVERITY.index, default="within")


def check_hard_limits(pattern: Pattern, percent_rmt: float, limits: HardLimits) -> None:
    """Refuse what nobody may override.

    Args:
        pattern: what is delivered.
        percent_rmt: the highest intensity of the band, as prescribed.
        limits: the refused figures.

    Raises:
        AboveHighestPercent: too strong.
        AboveHighestFrequency: single pulses too fast.
        PauseTooShort: the pause between trains is known to be unsafe.
    """
    if percent_rmt > limits.max_percent_rmt + PERCENT_TOLERANCE:
        raise AboveHighestPercent(
            f"{percent_rmt:g} % of the motor threshold is above {limits.max_percent_rmt:g} %, the highest that anybody "
            f"may prescribe ({limits.source}). Lower the intensity and its ceiling.",
            field="ceiling_percent_rmt",
        )
    if not is_patterned(pattern) and rate_hz(pattern) > limits.max_unpatterned_hz + _RATE_TOLERANCE_HZ:
        raise AboveHighestFrequency(
            f"Single pulses at {rate_hz(pattern):g} Hz are above {limits.max_unpatterned_hz:g} Hz, the highest that "
            f"anybody may prescribe ({limits.source}). Lengthen burst_interval_s.",
            field="burst_interval_s",
        )
    pause = pause_s(pattern)
    if pause is not None and pause <= limits.refused_pause_s + TIME_TOLERANCE_S:
        raise PauseTooShort(
            f"The pause between trains is {pause:g} s; {limits.refused_pause_s:g} s and less is unsafe "
            f"({limits.source}). Lengthen train_interval_s, or prescribe one train.",
            field="train_interval_s",
        )


def grade_dose(pattern: Pattern, percent_rmt: float, limits: LimitRules) -> list[Finding]:
    """Return one finding for each published limit that speaks of this dose.

    Args:
        pattern: what is delivered.
        percent_rmt: the highest intensity of the band, as it would be set.
        limits: the tables.

    Raises:
        AboveHighestPercent: right of a table's last column.
        AboveHighestFrequency: below a table's last row.
    """
    findings = [_pause_finding(pattern, percent_rmt, limits.pause)] if pattern.trains > 1 else []
    if is_patterned(pattern):
        return [_not_covered(pattern, limits.longest), *findings]
    longest = _train_finding("train-duration", pattern, percent_rmt, limits.longest)
    stricter = _train_finding("train-duration-stricter", pattern, percent_rmt, limits.stricter)
    if stricter.grade != "within":
        stricter = stricter.model_copy(update={"grade": "beyond-stricter-table"})
    return [longest, stricter, *findings]


def margin_finding(pattern: Pattern, percent_rmt: float, margin: Margin, limits: LimitRules) -> Finding:
    """Return how the dose would stand if the threshold were higher than one by EMG by the method's mean (HZ-06).

    Advisory: it never changes a dose and never refuses one.
    """
    corrected = percent_rmt * (1 + margin.mean_percent / 100)
    if is_patterned(pattern):
        grade: Grade = "not-covered"
    elif corrected > limits.hard.max_percent_rmt + PERCENT_TOLERANCE:
        grade = "beyond-limit"
    else:
        grade = worst_grade(grade_dose(pattern, corrected, limits))
    return Finding(
        limit="threshold-method-margin",
        grade=grade,
        explanation=f"{percent_rmt:.1f} % of this threshold may be {corrected:.1f} % of one by EMG. {margin.note}",
        source=margin.source,
        verified=margin.verified,
        advisory=True,
    )


def course_findings(pattern: Pattern, sessions: int, per_week: int, figures: CourseFigures) -> list[Finding]:
    """Return advisory findings where a course is outside the standard figures (PL-06)."""
    weeks, pulses = sessions / per_week, pulses_per_session(pattern)
    remarks = {
        "course-sessions": (
            figures.min_sessions <= sessions <= figures.max_sessions,
            f"{sessions} sessions; a standard course has {figures.min_sessions} to {figures.max_sessions}.",
        ),
        "course-frequency": (
            figures.min_per_week <= per_week <= figures.max_per_week,
            f"{per_week} sessions a week; standard is {figures.min_per_week} to {figures.max_per_week}.",
        ),
        "course-length": (
            weeks <= figures.max_weeks,
            f"The course takes about {weeks * _DAYS_A_WEEK:.0f} days; standard is {figures.max_weeks} weeks at most.",
        ),
        "session-pulses": (
            is_patterned(pattern) or figures.min_pulses <= pulses <= figures.max_pulses,
            f"{pulses} pulses a session; standard is {figures.min_pulses} to {figures.max_pulses} (theta burst apart).",
        ),
    }
    return [
        Finding(
            limit=limit,
            grade="beyond-limit",
            explanation=explanation,
            source=figures.source,
            verified=figures.verified,
            advisory=True,
        )
        for limit, (is_standard, explanation) in remarks.items()
        if not is_standard
    ]


def table_cell(table: TrainTable, hz: float, percent_rmt: float) -> Cell:
    """Return the cell that counts: the next stricter row and column.

    Raises:
        AboveHighestPercent: right of the last column.
        AboveHighestFrequency: below the last row.
    """
    row = next((each for each in table.rows if hz <= each.hz + _RATE_TOLERANCE_HZ), None)
    if row is None:
        raise AboveHighestFrequency(f"{hz:g} Hz is above {table.rows[-1].hz:g} Hz, where {table.name} ends.")
    columns = enumerate(table.percent_rmt)
    column = next((index for index, percent in columns if percent_rmt <= percent + PERCENT_TOLERANCE), None)
    if column is None:
        raise AboveHighestPercent(f"{percent_rmt:g} % is above {table.percent_rmt[-1]:g} %, where {table.name} ends.")
    return Cell(row.hz, table.percent_rmt[column], row.train_s[column], row.limit[column])


def _train_finding(limit: str, pattern: Pattern, percent_rmt: float, table: TrainTable) -> Finding:
    cell = table_cell(table, rate_hz(pattern), percent_rmt)
    duration = train_s(pattern)
    grade: Grade = "within"
    if duration > cell.train_s + TIME_TOLERANCE_S:
        grade = "beyond-limit" if cell.is_limit else "beyond-longest-tested"
    kind = "at most" if cell.is_limit else "tested up to"
    return Finding(
        limit=limit,
        grade=grade,
        explanation=(
            f"A train lasts {duration:g} s at {rate_hz(pattern):g} Hz and {percent_rmt:.2f} %; {table.name} has "
            f"{kind} {cell.train_s:g} s at {cell.hz:g} Hz and {cell.percent_rmt:g} %."
        ),
        source=table.source,
        verified=table.verified,
    )


def _not_covered(pattern: Pattern, table: TrainTable) -> Finding:
    return Finding(
        limit="train-duration",
        grade="not-covered",
        explanation=(
            f"Bursts of {pattern.pulses_per_burst} pulses every {pattern.burst_interval_s:g} s: the tables are about "
            "single pulses at one rate and say nothing of patterned stimulation."
        ),
        source=table.source,
        verified=table.verified,
    )


def _pause_finding(pattern: Pattern, percent_rmt: float, table: PauseTable) -> Finding:
    pause = pattern.train_interval_s - train_s(pattern)
    above_safe = percent_rmt > table.safe_to_percent_rmt + PERCENT_TOLERANCE
    grade: Grade = "within"
    if pause < table.min_pause_s - TIME_TOLERANCE_S:
        grade = "beyond-limit"
    elif above_safe and pause < table.min_pause_above_s - TIME_TOLERANCE_S:
        grade = "not-covered"
    return Finding(
        limit="pause-between-trains",
        grade=grade,
        explanation=(
            f"The pause between trains is {pause:g} s at {percent_rmt:.2f} %; {table.min_pause_s:g} s is safe up to "
            f"{table.safe_to_percent_rmt:g} %, above it {table.min_pause_above_s:g} s is asked for."
        ),
        source=table.source,
        verified=table.verified,
    )
