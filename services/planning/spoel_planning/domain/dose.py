"""From protocol and threshold to an order with a band, and how that order stands to the limits (PL-07, HZ-05)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_planning.commands import Prescribe
from spoel_planning.domain.catalogue import Dose, check_variant, cleared_row
from spoel_planning.domain.devices import check_device, check_pattern
from spoel_planning.domain.grading import check_hard_limits, grade_dose, margin_finding, worst_grade
from spoel_planning.domain.pattern import check_possible, is_patterned, pulses_per_session
from spoel_planning.domain.refusals.measuring import ThresholdOfOtherEquipment
from spoel_planning.domain.refusals.prescribing import BandImpossible
from spoel_planning.domain.rules import BlockRule, ClearedRow, Protocol, Rules
from spoel_planning.events.measuring import ThresholdEstimated
from spoel_planning.events.orders import OrderedBlock, OrderedDose, Pattern, ThresholdKey, TreatmentOrder
from spoel_planning.events.prescribing import Finding, Grade

EQUIPMENT = ("stimulator_model", "coil_model", "waveform", "current_direction")
"""What every block of a session is given with."""


class Band(NamedTuple):
    """Intensities in percent of the motor threshold."""

    floor: float
    prescribed: float
    ceiling: float


class Graded(NamedTuple):
    """How an order stands to the limits.

    Attributes:
        cleared: rows of the clinic's list cover every block that is beyond *within*.
        uncleared_bursts: a block has bursts that no row covers: no table speaks of them, and nobody may override that.
    """

    grade: Grade
    findings: tuple[Finding, ...]
    cleared: bool
    uncleared_bursts: bool


def treatment_order(
    protocol: Protocol,
    command: Prescribe,
    threshold: ThresholdEstimated,
    rules: Rules,
    further_thresholds: Sequence[ThresholdEstimated] = (),
) -> TreatmentOrder:
    """Return the order that a command asks for; what it leaves out is the protocol's.

    What a command changes is the first block; further blocks are the protocol's, on their own side's threshold.

    Args:
        protocol: of the catalogue.
        command: what is asked for.
        threshold: of the first block's side.
        rules: the clinic's.
        further_thresholds: one for each further block of the protocol.

    Raises:
        PatternImpossible, BandImpossible: not a possible order.
        AboveHighestPercent, AboveHighestFrequency, PauseTooShort: nobody may prescribe it.
        DeviceUnknown, BeyondDevice: the device cannot do it, for example more than 100 %MSO at this threshold.
        OutsideProtocol: the pattern is another protocol's.
        ThresholdOfOtherEquipment: the sides were measured with different equipment.
    """
    pattern = command.pattern or protocol.pattern
    first = _dose(protocol, pattern, _band(protocol, command), threshold, rules)
    blocks = tuple(
        OrderedBlock(**_block_dose(block, its_threshold, rules), muscle=its_threshold.muscle)
        for block, its_threshold in zip(protocol.further_block, further_thresholds, strict=True)
    )
    _check_equipment(threshold, further_thresholds)
    check_variant(pattern, protocol)
    return TreatmentOrder(
        **{name: getattr(threshold, name) for name in ThresholdKey.model_fields},
        **first,
        protocol_id=protocol.id,
        protocol_version=protocol.version,
        pulses=pulses_per_session(pattern) + sum(pulses_per_session(block.pattern) for block in blocks),
        further_blocks=blocks,
        max_pulses_per_day=protocol.max_pulses_per_day,
        min_pause_between_sessions_s=protocol.min_pause_between_sessions_s,
    )


def blocks_of(order: TreatmentOrder) -> tuple[OrderedDose, ...]:
    """Return every dose of an order, the first one included."""
    return (order, *order.further_blocks)


def grade_order(order: TreatmentOrder, protocol: Protocol, rules: Rules) -> Graded:
    """Grade every block at the top of its band, since the signature allows that."""
    graded = [_grade_block(block, protocol, rules) for block in blocks_of(order)]
    findings = tuple(finding for each in graded for finding in each.findings)
    return Graded(
        worst_grade(findings),
        findings,
        cleared=all(each.cleared or each.grade == "within" for each in graded),
        uncleared_bursts=any(each.uncleared_bursts for each in graded),
    )


def _grade_block(block: OrderedDose, protocol: Protocol, rules: Rules) -> Graded:
    percent = 100 * block.ceiling_percent_mso / block.threshold_percent_mso
    findings = grade_dose(block.pattern, percent, rules.limits)
    row = cleared_row(Dose(protocol, block.site, block.pattern, block.ceiling_percent_rmt), rules.cleared)
    if row is not None:
        findings.append(_cleared_finding(row))
    margin = margin_finding(block.pattern, percent, rules.threshold.margin, rules.limits)
    bursts = is_patterned(block.pattern)
    return Graded(worst_grade(findings), (*findings, margin), row is not None, bursts and row is None)


def _block_dose(block: BlockRule, threshold: ThresholdEstimated, rules: Rules) -> dict[str, Any]:
    band = Band(block.floor_percent_rmt, block.percent_rmt, block.ceiling_percent_rmt)
    return _dose(block, block.pattern, band, threshold, rules)


def _dose(
    block: BlockRule, pattern: Pattern, band: Band, threshold: ThresholdEstimated, rules: Rules
) -> dict[str, Any]:
    """Return the fields of one block's dose."""
    check_possible(pattern)
    _check_ramp(block, band)
    check_hard_limits(pattern, band.ceiling, rules.limits.hard)
    floor_mso, set_mso, ceiling_mso = (_set(percent, threshold) for percent in band)
    check_pattern(pattern, check_device(threshold, rules.devices, ceiling_mso))
    return {
        "site": block.site,
        "pattern": pattern,
        "percent_rmt": band.prescribed,
        "floor_percent_rmt": band.floor,
        "ceiling_percent_rmt": band.ceiling,
        "threshold_id": threshold.threshold_id,
        "threshold_percent_mso": threshold.threshold_percent_mso,
        "percent_mso": set_mso,
        "floor_percent_mso": floor_mso,
        "ceiling_percent_mso": ceiling_mso,
        "ramp_up": block.ramp_up,
    }


def _check_ramp(block: BlockRule, band: Band) -> None:
    """Refuse a dose below the beginning of its protocol's ramp: the room would refuse the signed order (HZ-05)."""
    if block.ramp_up is not None and block.ramp_up.from_percent_rmt > band.prescribed:
        raise BandImpossible(
            f"The protocol ramps up from {block.ramp_up.from_percent_rmt:g} % of the threshold, and percent_rmt is "
            f"{band.prescribed:g}. Prescribe at least that, or another protocol.",
            field="percent_rmt",
        )


def _check_equipment(threshold: ThresholdEstimated, others: Sequence[ThresholdEstimated]) -> None:
    """Refuse blocks that one room could not give one after the other: the equipment is the order's (HZ-04)."""
    for other in others:
        differing = [name for name in EQUIPMENT if getattr(other, name) != getattr(threshold, name)]
        if differing:
            raise ThresholdOfOtherEquipment(
                f"The thresholds of the two sides were measured with different equipment ({', '.join(differing)}). "
                "Measure one of them again with the equipment of the other.",
                fields=differing,
            )


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
