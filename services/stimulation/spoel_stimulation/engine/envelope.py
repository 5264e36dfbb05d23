"""Grades a dose against the published limits (PL-07, HZ-12, HZ-13): one finding a limit, with its source.

Between rows or columns of a table the next stricter one counts. A train is counted as lasting until its next pulse
would have come (n pulses at f Hz last n/f): the longer convention for a train and the shorter for a pause, so the
stricter one for both. Intensities are compared as they are set, whole %MSO over the threshold, with a tolerance of
0.01 percentage points. All comparisons are made in whole numbers (nanoseconds, hundredths of a percent), so that
``envelope_arrays`` gives the same grades.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from spoel_stimulation.engine.limits import ClearedRow, Limits, PauseTable, TrainTable
from spoel_stimulation.engine.pattern import NS_PER_S, Pattern, seconds_to_ns

Grade = Literal["within", "beyond-stricter-table", "beyond-longest-tested", "not-covered", "beyond-limit", "refused"]
GRADES: tuple[Grade, ...] = (
    "within",
    "beyond-stricter-table",
    "beyond-longest-tested",
    "not-covered",
    "beyond-limit",
    "refused",
)
"""In rising severity. *Refused* is what nobody may override; of the others a signed prescription may be anything."""

TIME_TOLERANCE_NS = 1_000
"""Differences below this are rounding of decimal seconds."""

PERCENT_TOLERANCE = 0.01

LimitName = Literal[
    "highest-percent",
    "highest-frequency",
    "shortest-pause",
    "clinic-cleared-list",
    "train-duration",
    "train-duration-stricter",
    "pause-between-trains",
    "threshold-method-margin",
]


class Dose(NamedTuple):
    """What is to be delivered.

    Attributes:
        pattern: as prescribed, not as split for a device.
        percent_mso: as the device is set.
        threshold_percent_mso: the motor threshold that it rests on.
        site: as the cleared list names it.
        pulses_today: that this patient had before, over all rooms.
        since_last_session_s: seconds from the end of the patient's last session; None where there was none of late.
    """

    pattern: Pattern
    percent_mso: int
    threshold_percent_mso: int
    site: str = ""
    pulses_today: int = 0
    since_last_session_s: float | None = None

    @property
    def percent_rmt(self) -> float:
        """The set intensity in percent of the threshold."""
        return 100 * self.percent_mso / self.threshold_percent_mso

    @property
    def is_patterned(self) -> bool:
        """Whether pulses come in bursts or pairs."""
        return self.pattern.pulses_per_burst > 1

    @property
    def pause_ns(self) -> int | None:
        """From the end of a train's last slot to the next train; None for a single train."""
        return None if self.pattern.trains == 1 else self.pattern.train_interval_ns - self.pattern.slot_ns

    def is_above(self, percent_rmt: float) -> bool:
        """Whether the set intensity is higher than a percentage of the threshold, beyond the tolerance."""
        return 10_000 * self.percent_mso > hundredths(percent_rmt) * self.threshold_percent_mso


class Finding(NamedTuple):
    """How a dose stands to one limit.

    Attributes:
        limit: which.
        grade: how.
        explanation: for the person who relies on it, by language (``nl``, ``en``).
        source: of the limit.
        verified: whether somebody compared the limit with its source.
        advisory: it is shown and does not count.
    """

    limit: LimitName
    grade: Grade
    explanation: dict[str, str]
    source: str
    verified: bool
    advisory: bool = False


class Verdict(NamedTuple):
    """How a dose stands to all limits.

    Attributes:
        grade: that of the worst finding.
        findings: one a limit.
        cleared_by: the row that patterned stimulation keeps to.
    """

    grade: Grade
    findings: tuple[Finding, ...]
    cleared_by: ClearedRow | None = None


class Cell(NamedTuple):
    """One cell of a table, with the row and column that were taken."""

    hz: float
    percent_rmt: float
    train_s: float
    is_limit: bool


def grade_dose(dose: Dose, limits: Limits, cleared: Sequence[ClearedRow]) -> Verdict:
    """Grade a dose.

    Args:
        dose: what is to be delivered.
        limits: the published ones.
        cleared: the clinic's list; patterned stimulation is refused outside its rows.
    """
    row = next((each for each in cleared if not _outside(each, dose)), None) if dose.is_patterned else None
    findings = [*_refusals(dose, limits)]
    if dose.is_patterned:
        findings += [_not_covered(dose, limits.longest), _clearance(dose, row, cleared)]
    elif not findings or all(finding.limit == "shortest-pause" for finding in findings):
        findings += _train_findings(dose, limits)
    if dose.pause_ns is not None:
        findings.append(_pause_finding(dose, dose.pause_ns, limits.pause))
    return Verdict(worst_grade(findings), (*findings, _margin_finding(dose, limits)), row)


def worst_grade(findings: Iterable[Finding]) -> Grade:
    """Return the grade of the worst finding; advisory ones do not count."""
    return max((each.grade for each in findings if not each.advisory), key=GRADES.index, default="within")


def table_cell(dose: Dose, table: TrainTable) -> Cell:
    """Return the cell that counts for a dose within the hard limits: the next stricter row and column."""
    interval_ns = dose.pattern.burst_interval_ns
    row = next(each for each in table.rows if interval_ns >= interval_of_hz_ns(each.hz))
    column = next(index for index, percent in enumerate(table.percent_rmt) if not dose.is_above(percent))
    return Cell(row.hz, table.percent_rmt[column], row.train_s[column], row.limit[column])


def hundredths(percent: float) -> int:
    """Return a percentage with the tolerance added, in hundredths."""
    return round(100 * (percent + PERCENT_TOLERANCE))


def interval_of_hz_ns(hz: float) -> int:
    """Return the interval of a rate, rounded down, so that the rate itself lies in its row."""
    return int(NS_PER_S / hz)


def _refusals(dose: Dose, limits: Limits) -> Iterable[Finding]:
    hard, pattern = limits.hard, dose.pattern
    if dose.is_above(hard.max_percent_rmt):
        yield Finding(
            "highest-percent",
            "refused",
            {
                "en": f"{dose.percent_rmt:.2f} % of the threshold; {hard.max_percent_rmt:g} % is the highest allowed.",
                "nl": f"{dose.percent_rmt:.2f} % van de drempel; {hard.max_percent_rmt:g} % is het hoogst toegestane.",
            },
            hard.source,
            hard.verified,
        )
    if not dose.is_patterned and pattern.burst_interval_ns < interval_of_hz_ns(hard.max_unpatterned_hz):
        yield Finding(
            "highest-frequency",
            "refused",
            {
                "en": f"Single pulses at {pattern.rate_hz:g} Hz; {hard.max_unpatterned_hz:g} Hz is the highest.",
                "nl": f"Losse pulsen op {pattern.rate_hz:g} Hz; {hard.max_unpatterned_hz:g} Hz is het hoogste.",
            },
            hard.source,
            hard.verified,
        )
    if dose.pause_ns is not None and dose.pause_ns <= seconds_to_ns(hard.refused_pause_s) + TIME_TOLERANCE_NS:
        pause_s = dose.pause_ns / NS_PER_S
        yield Finding(
            "shortest-pause",
            "refused",
            {
                "en": f"A pause of {pause_s:g} s between trains; {hard.refused_pause_s:g} s and less is unsafe.",
                "nl": f"Een pauze van {pause_s:g} s tussen treinen; {hard.refused_pause_s:g} s en minder is onveilig.",
            },
            hard.source,
            hard.verified,
        )


def _train_findings(dose: Dose, limits: Limits) -> list[Finding]:
    longest = _train_finding("train-duration", dose, limits.longest)
    stricter = _train_finding("train-duration-stricter", dose, limits.stricter)
    if stricter.grade != "within":
        stricter = stricter._replace(grade="beyond-stricter-table")
    return [longest, stricter]


def _train_finding(limit: LimitName, dose: Dose, table: TrainTable) -> Finding:
    cell = table_cell(dose, table)
    grade: Grade = "within"
    if dose.pattern.slot_ns > seconds_to_ns(cell.train_s) + TIME_TOLERANCE_NS:
        grade = "beyond-limit" if cell.is_limit else "beyond-longest-tested"
    figures = f"{dose.pattern.slot_ns / NS_PER_S:g} s, {dose.pattern.rate_hz:g} Hz, {dose.percent_rmt:.2f} %"
    where = f"{cell.hz:g} Hz, {cell.percent_rmt:g} %"
    kinds = {"en": "at most", "nl": "hoogstens"} if cell.is_limit else {"en": "tested up to", "nl": "getest tot"}
    return Finding(
        limit,
        grade,
        {
            "en": f"A train of {figures}; {table.name}: {kinds['en']} {cell.train_s:g} s ({where}).",
            "nl": f"Een trein van {figures}; {table.name}: {kinds['nl']} {cell.train_s:g} s ({where}).",
        },
        table.source,
        table.verified,
    )


def _not_covered(dose: Dose, table: TrainTable) -> Finding:
    pulses = dose.pattern.pulses_per_burst
    return Finding(
        "train-duration",
        "not-covered",
        {
            "en": f"Bursts of {pulses} pulses: the tables are about single pulses and do not cover them.",
            "nl": f"Bursts van {pulses} pulsen: de tabellen gaan over losse pulsen en dekken dit niet.",
        },
        table.source,
        table.verified,
    )


def _clearance(dose: Dose, row: ClearedRow | None, cleared: Sequence[ClearedRow]) -> Finding:
    if row is not None:
        return Finding(
            "clinic-cleared-list",
            "within",
            {
                "en": f"Cleared as {row.protocol_id} v{row.protocol_version} by {row.cleared_by}: {row.reason}.",
                "nl": f"Vrijgegeven als {row.protocol_id} v{row.protocol_version} door {row.cleared_by}: {row.reason}.",
            },
            row.source,
            row.verified,
        )
    nearest = min((_outside(each, dose) for each in cleared), key=len, default=("list",))
    named = ", ".join(nearest)
    return Finding(
        "clinic-cleared-list",
        "refused",
        {
            "en": f"Bursts are allowed within a row of the cleared list only. Outside the nearest row: {named}.",
            "nl": f"Bursts mogen alleen binnen een rij van de vrijgavelijst. Buiten de naaste rij: {named}.",
        },
        "the clinic's cleared list",
        verified=True,
    )


def _outside(row: ClearedRow, dose: Dose) -> tuple[str, ...]:
    """Return the fields of a row that a dose does not keep to."""
    pattern, since_s = dose.pattern, dose.since_last_session_s
    kept = {
        "site": dose.site == row.site,
        "pulses_per_burst": pattern.pulses_per_burst == row.pulses_per_burst,
        "pulse_interval_s": _same_time(pattern.pulse_interval_s, row.pulse_interval_s),
        "bursts_per_train": pattern.bursts_per_train == row.bursts_per_train,
        "burst_interval_s": _same_time(pattern.burst_interval_s, row.burst_interval_s),
        "trains": pattern.trains <= row.max_trains,
        "train_interval_s": pattern.train_interval_ns >= seconds_to_ns(row.min_train_interval_s) - TIME_TOLERANCE_NS,
        "percent": not dose.is_above(row.max_percent_rmt),
        "pulses_per_session": pattern.pulses <= row.max_pulses_per_session,
        "pulses_per_day": pattern.pulses + dose.pulses_today <= row.max_pulses_per_day,
        "pause_between_sessions_s": since_s is None
        or seconds_to_ns(since_s) >= seconds_to_ns(row.min_pause_between_sessions_s),
    }
    return tuple(field for field, holds in kept.items() if not holds)


def _same_time(one_s: float | None, other_s: float | None) -> bool:
    if one_s is None or other_s is None:
        return one_s is other_s
    return abs(seconds_to_ns(one_s) - seconds_to_ns(other_s)) < TIME_TOLERANCE_NS


def _pause_finding(dose: Dose, pause_ns: int, table: PauseTable) -> Finding:
    above_safe = dose.is_above(table.safe_to_percent_rmt)
    grade: Grade = "within"
    if pause_ns < seconds_to_ns(table.min_pause_s) - TIME_TOLERANCE_NS:
        grade = "beyond-limit"
    elif above_safe and pause_ns < seconds_to_ns(table.min_pause_above_s) - TIME_TOLERANCE_NS:
        grade = "not-covered"
    figures = f"{pause_ns / NS_PER_S:g} s, {dose.percent_rmt:.2f} %"
    safe = f"{table.min_pause_s:g} s ({table.safe_to_percent_rmt:g} %)"
    return Finding(
        "pause-between-trains",
        grade,
        {
            "en": f"A pause between trains of {figures}; safe is {safe}, above that {table.min_pause_above_s:g} s.",
            "nl": f"Een pauze tussen treinen van {figures}; veilig is {safe}, daarboven {table.min_pause_above_s:g} s.",
        },
        table.source,
        table.verified,
    )


def _margin_finding(dose: Dose, limits: Limits) -> Finding:
    """Return how the dose would stand on a threshold by EMG, if this one was taken by visible movement (HZ-06)."""
    margin = limits.margin
    by_emg = dose.percent_rmt * (1 + margin.mean_percent / 100)
    beyond = by_emg > limits.hard.max_percent_rmt + PERCENT_TOLERANCE
    return Finding(
        "threshold-method-margin",
        "beyond-limit" if beyond else "within",
        {
            "en": f"If the threshold was taken by visible movement, this may be {by_emg:.1f} % of one by EMG.",
            "nl": f"Als de drempel op zichtbare beweging berust, kan dit {by_emg:.1f} % van een EMG-drempel zijn.",
        },
        margin.source,
        margin.verified,
        advisory=True,
    )
