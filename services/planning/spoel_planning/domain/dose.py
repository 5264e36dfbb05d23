"""From protocol and threshold to an order with a band, and how that order stands to the limits (PL-07, HZ-05)."""

from typing import NamedTuple

from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_planning.commands import Prescribe
from spoel_planning.domain.catalogue import Dose, check_variant, cleared_row
from spoel_planning.domain.devices import check_device, check_pattern
from spoel_planning.domain.grading import check_hard_limits, grade_dose, margin_finding, worst_grade
from spoel_planning.domain.pattern import check_possible, pulses_per_session
from spoel_planning.domain.refusals import BandImpossible
from spoel_planning.domain.rules import ClearedRow, Protocol, Rules
from spoel_planning.events import Finding, Grade, ThresholdEstimated, ThresholdKey, TreatmentOrder


class Band(NamedTuple):
    """Intensities in percent of the motor threshold."""

    floor: float
    prescribed: float
    ceiling: float


class Graded(NamedTuple):
    """How an order stands to the limits, and the row that clears it, if one does."""

    grade: Grade
    findings: tuple[Finding, ...]
    cleared_by: ClearedRow | None


def treatment_order(
    protocol: Protocol, command: Prescribe, threshold: ThresholdEstimated, rules: Rules
) -> TreatmentOrder:
    """Return the order that a command asks for; what it leaves out is the protocol's.

    Raises:
        PatternImpossible, BandImpossible: not a possible order.
        AboveHighestPercent, AboveHighestFrequency, PauseTooShort: nobody may prescribe it.
        DeviceUnknown, BeyondDevice: the device cannot do it, for example more than 100 %MSO at this threshold.
        OutsideProtocol: the pattern is another protocol's.
    """
    pattern = command.pattern or protocol.pattern
    check_possible(pattern)
    band = _band(protocol, command)
    check_hard_limits(pattern, band.ceiling, rules.limits.hard)
    floor_mso, set_mso, ceiling_mso = (_set(percent, threshold) for percent in band)
    check_pattern(pattern, check_device(threshold, rules.devices, ceiling_mso))
    check_variant(pattern, protocol)
    return TreatmentOrder(
        **{name: getattr(threshold, name) for name in ThresholdKey.model_fields},
        protocol_id=protocol.id,
        protocol_version=protocol.version,
        site=protocol.site,
        pattern=pattern,
        percent_rmt=band.prescribed,
        floor_percent_rmt=band.floor,
        ceiling_percent_rmt=band.ceiling,
        threshold_id=threshold.threshold_id,
        threshold_percent_mso=threshold.threshold_percent_mso,
        percent_mso=set_mso,
        floor_percent_mso=floor_mso,
        ceiling_percent_mso=ceiling_mso,
        pulses=pulses_per_session(pattern),
    )


def grade_order(order: TreatmentOrder, protocol: Protocol, rules: Rules) -> Graded:
    """Grade an order at the top of its band, since the signature allows that."""
    percent = 100 * order.ceiling_percent_mso / order.threshold_percent_mso
    findings = grade_dose(order.pattern, percent, rules.limits)
    row = cleared_row(Dose(protocol, order.site, order.pattern, order.ceiling_percent_rmt), rules.cleared)
    if row is not None:
        findings.append(_cleared_finding(row))
    margin = margin_finding(order.pattern, percent, rules.threshold.margin, rules.limits)
    return Graded(worst_grade(findings), (*findings, margin), row)


def _band(protocol: Protocol, command: Prescribe) -> Band:
    band = Band(
        command.floor_percent_rmt or protocol.floor_percent_rmt,
        command.percent_rmt or protocol.percent_rmt,
        command.ceiling_percent_rmt or protocol.ceiling_percent_rmt,
    )
    if not band.floor <= band.prescribed <= band.ceiling:
        raise BandImpossible(
            f"floor_percent_rmt {band.floor:g}, percent_rmt {band.prescribed:g} and ceiling_percent_rmt "
            f"{band.ceiling:g} must ascend. What is left out is the protocol's: give all three.",
            field="percent_rmt",
        )
    return band


def _set(percent: float, threshold: ThresholdEstimated) -> int:
    return set_percent_mso(PercentRmt(percent), PercentMso(threshold.threshold_percent_mso))


def _cleared_finding(row: ClearedRow) -> Finding:
    return Finding(
        limit="clinic-cleared-list",
        grade="within",
        explanation=(
            f"Cleared as {row.protocol_id} v{row.protocol_version} by {row.cleared_by} on {row.cleared_on}: "
            f"{row.reason}."
        ),
        source=row.source,
        verified=row.verified,
    )
