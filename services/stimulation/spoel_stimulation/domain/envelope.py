"""How an order stands to the published limits, when it is opened, when it is armed and at every change (INV-2). Pure.

What a signature covered beyond the limits, by the clinic's list or by an override, only planning knows: of what may be
overridden a room shows the findings and refuses nothing. It refuses what nobody may override, and bursts outside the
clinic's list (decision 29).
"""

from collections.abc import Sequence

from spoel_stimulation import engine
from spoel_stimulation.domain.refusals import BeyondHardLimits, NotOnClearedList
from spoel_stimulation.engine import circuits, envelope, heat, limits
from spoel_stimulation.orders import TreatmentOrder


def verdict_of(
    order: TreatmentOrder, percent_mso: int, train_interval_s: float, cleared: Sequence[limits.ClearedRow]
) -> envelope.Verdict:
    """Grade an order at an intensity and a pause within its band.

    Args:
        order: the signed one.
        percent_mso: as the device is set.
        train_interval_s: onset to onset of trains.
        cleared: the clinic's list.
    """
    pattern = _pattern(order, train_interval_s)
    dose = envelope.Dose(pattern, percent_mso, order.threshold_percent_mso, order.site)
    return envelope.grade_dose(dose, limits.published_limits(), cleared)


def check_dose(
    order: TreatmentOrder, percent_mso: int, train_interval_s: float, cleared: Sequence[limits.ClearedRow]
) -> None:
    """Refuse a dose that nobody may override (HZ-12, HZ-13); arguments as of ``verdict_of``.

    Raises:
        BeyondHardLimits: too strong, too fast, or with too short a pause.
        NotOnClearedList: bursts outside every row of the clinic's list.
    """
    for finding in verdict_of(order, percent_mso, train_interval_s, cleared).findings:
        if finding.grade != "refused":
            continue
        text = f"{finding.explanation['en']} Have another prescription signed ({finding.source})."
        refusal = NotOnClearedList if finding.limit == "clinic-cleared-list" else BeyondHardLimits
        raise refusal(text, limit=finding.limit)


def check_order_dose(order: TreatmentOrder, cleared: Sequence[limits.ClearedRow]) -> None:
    """Refuse an order whose band reaches what nobody may override: at its ceiling, with the pause as signed.

    Raises:
        BeyondHardLimits, NotOnClearedList: as ``check_dose``.
    """
    check_dose(order, order.ceiling_percent_mso, order.pattern.train_interval_s, cleared)


def coil_forecast(
    order: TreatmentOrder, percent_mso: int, train_interval_s: float, start_c: float | None
) -> heat.Forecast | None:
    """Forecast the coil's temperature through the whole session (HZ-19); None where stimulator or coil is not known.

    Args:
        order: the signed one.
        percent_mso: as the device is set.
        train_interval_s: onset to onset of trains.
        start_c: the coil's temperature now; None where the device does not tell.
    """
    circuit, coil = circuits.circuit_of(order.stimulator_model), heat.coil_heat(order.coil_model)
    if circuit is None or coil is None:
        return None
    session = engine.Session.of(_pattern(order, train_interval_s), percent_mso)
    return heat.forecast(session, coil, order.waveform, circuit.heat_at_full_j(order.waveform), start_c)


def _pattern(order: TreatmentOrder, train_interval_s: float) -> engine.Pattern:
    return engine.Pattern.model_validate(order.pattern.model_dump() | {"train_interval_s": train_interval_s})
