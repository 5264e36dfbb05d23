"""The order of a heart-brain search: trains at several locations of one side, before a plan exists (PL-11, PL-10).

Unlike single pulses, trains can be too long or too strong: the order rests on a motor threshold of the side, and is
graded as a prescription would be. Only what is within the published limits is ordered; there is no override.
"""

import math
from typing import TypeVar

from spoel_common.events import EventData
from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_planning.commands import OrderSearch
from spoel_planning.domain.devices import check_device, check_pattern
from spoel_planning.domain.grading import check_hard_limits, grade_dose, worst_grade
from spoel_planning.domain.known import Occasion, check_indicated
from spoel_planning.domain.measuring import valid_on
from spoel_planning.domain.plan import Plan
from spoel_planning.domain.prescribing import check_age, threshold_for
from spoel_planning.domain.refusals.measuring import MeasurementOrderOutOfBounds, SearchBeyondLimits, TargetMissing
from spoel_planning.domain.rules import Rules, SearchOrderRules
from spoel_planning.events.measuring import MeasurementOrdered, ThresholdEstimated
from spoel_planning.events.orders import Location, MotorSite, Pattern, Search, Site, ThresholdKey

N = TypeVar("N", int, float)


def order_search(plan: Plan, on: Occasion, command: OrderSearch, rules: Rules, order_id: str) -> list[EventData]:
    """Draft the order of a heart-brain search; what the command leaves out is the clinic's.

    Raises:
        IndicationNotDecided, NotIndicated: the case may not be treated.
        TargetMissing: the head was not measured, so there is no mark to search around.
        ThresholdMissing, ThresholdOfOtherSide, ThresholdOutdated: no threshold of this side to dose by.
        MeasurementOrderOutOfBounds: a limit, a location or the day is outside the clinic's bounds.
        SearchBeyondLimits, AboveHighestPercent, AboveHighestFrequency, PauseTooShort: not within the published limits.
        DeviceUnknown, BeyondDevice: no record of the device, or it cannot do this.
    """
    check_indicated(on.case)
    if command.site not in plan.targets:
        raise TargetMissing(f"The target {command.site} was not calculated. Measure the head first.")
    threshold = threshold_for(plan, command.site, command.threshold_id)
    check_age(threshold, rules.threshold.validity, on.now)
    limits = rules.heart.order
    locations = _locations(command, rules)
    pattern = _pattern(command, limits)
    percent_rmt = _within("ceiling_percent_rmt", command.ceiling_percent_rmt, limits)
    ceiling = set_percent_mso(PercentRmt(percent_rmt), PercentMso(threshold.threshold_percent_mso))
    check_pattern(pattern, check_device(threshold, rules.devices, ceiling))
    _check_within_limits(pattern, percent_rmt, rules)
    return [
        MeasurementOrdered(
            **{name: getattr(threshold, name) for name in ThresholdKey.model_fields},
            order_id=order_id,
            case_id=on.case.case_id,
            patient_id=on.case.patient_id,
            purpose="heart-brain-search",
            site=command.site,
            ceiling_percent_mso=ceiling,
            max_stimuli=pattern.trains * (len(locations) + limits.spare_runs),
            min_interval_s=math.floor(limits.min_interval_share * pattern.train_interval_s),
            valid_on=valid_on(command.valid_on or on.today, on.today, rules.threshold.order),
            drafted_by=on.by.person_id,
            search=_search(threshold, percent_rmt, locations, pattern),
        )
    ]


def check_threshold_stands(plan: Plan, on: Occasion, search: Search, site: Site | MotorSite, rules: Rules) -> None:
    """Refuse to sign a search on a threshold that was measured anew, or grew old, since it was drafted.

    Raises:
        ThresholdOutdated, ThresholdMissing, ThresholdOfOtherSide: as they say.
    """
    searched: Site = "left-dlpfc" if site.startswith("left") else "right-dlpfc"
    check_age(threshold_for(plan, searched, search.threshold_id), rules.threshold.validity, on.now)


def _search(
    threshold: ThresholdEstimated, percent_rmt: float, locations: tuple[Location, ...], pattern: Pattern
) -> Search:
    return Search(
        locations=locations,
        pattern=pattern,
        threshold_id=threshold.threshold_id,
        threshold_percent_mso=threshold.threshold_percent_mso,
        ceiling_percent_rmt=percent_rmt,
    )


def _pattern(command: OrderSearch, limits: SearchOrderRules) -> Pattern:
    return Pattern(
        pulses_per_burst=1,
        bursts_per_train=limits.pulses_per_train,
        burst_interval_s=1 / limits.rate_hz,
        trains=_within("trains", command.trains, limits),
        train_interval_s=limits.train_interval_s,
    )


def _locations(command: OrderSearch, rules: Rules) -> tuple[Location, ...]:
    locations = command.locations or rules.heart.location[command.site]
    limits, names = rules.heart.order, [each.name for each in locations]
    if not 1 < len(locations) <= limits.max_locations or len(set(names)) != len(names):
        raise MeasurementOrderOutOfBounds(
            f"A search compares 2 to {limits.max_locations} locations of different names; these are "
            f"{', '.join(names)}.",
            field="locations",
        )
    far = [each.name for each in locations if math.hypot(each.forward_cm, each.outward_cm) > limits.max_distance_cm]
    if far:
        raise MeasurementOrderOutOfBounds(
            f"{far[0]} is more than {limits.max_distance_cm:g} cm from the mark of {command.site}. Stay nearer.",
            field="locations",
        )
    return tuple(locations)


def _check_within_limits(pattern: Pattern, percent_rmt: float, rules: Rules) -> None:
    check_hard_limits(pattern, percent_rmt, rules.limits.hard)
    findings = grade_dose(pattern, percent_rmt, rules.limits)
    if worst_grade(findings) != "within":
        beyond = next(each for each in findings if each.grade != "within")
        raise SearchBeyondLimits(
            f"{beyond.explanation} A search stays within the limits ({beyond.source}). Lower ceiling_percent_rmt.",
            field="ceiling_percent_rmt",
            limit=beyond.limit,
        )


def _within(name: str, wanted: N | None, limits: SearchOrderRules) -> N:
    value: N = getattr(limits, f"default_{name}") if wanted is None else wanted
    lowest, highest = getattr(limits, f"min_{name}"), getattr(limits, f"max_{name}")
    if not lowest <= value <= highest:
        raise MeasurementOrderOutOfBounds(
            f"{name} is {value:g}; the clinic allows {lowest:g} to {highest:g}.", field=name
        )
    return value
