"""How an order stands to the published limits, when it is opened, when it is armed and at every change (INV-2). Pure.

What a signature covered beyond the limits, by the clinic's list or by an override, only planning knows: of what may be
overridden a room shows the findings and refuses nothing. It refuses what nobody may override, and bursts outside the
clinic's list (decision 29).
"""

from collections.abc import Sequence
from typing import NamedTuple

from spoel_stimulation import engine
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.refusals import BeyondHardLimits, NotOnClearedList
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import device_pattern, train_interval_s, trains_in_force
from spoel_stimulation.engine import circuits, envelope, heat
from spoel_stimulation.engine.limits import ClearedRow, published_limits
from spoel_stimulation.orders import Dose, MeasurementOrder, TreatmentOrder

COIL_MOVED_AT_ONCE_S = 1.0


class Before(NamedTuple):
    """What the patient had before this session, over all rooms; what is unknown counts as delivered.

    Attributes:
        pulses_today: on this local day.
        since_last_session_s: from the end of the last session; None where there was none of late.
    """

    pulses_today: int = 0
    since_last_session_s: float | None = None


NOTHING_BEFORE = Before()


def verdict_of(
    dose: Dose, percent_mso: int, interval_s: float, cleared: Sequence[ClearedRow], before: Before = NOTHING_BEFORE
) -> envelope.Verdict:
    """Grade a block of an order at an intensity and a pause within its band.

    Args:
        dose: what is signed for one site.
        percent_mso: as the device is set.
        interval_s: onset to onset of trains, as prescribed or longer.
        cleared: the clinic's list.
        before: what the patient had already.
    """
    pattern = engine.Pattern.model_validate(dose.pattern.model_dump() | {"train_interval_s": interval_s})
    graded = envelope.Dose(pattern, percent_mso, dose.threshold_percent_mso, dose.site, *before)
    return envelope.grade_dose(graded, published_limits(), cleared)


def check_dose(
    dose: Dose, percent_mso: int, interval_s: float, cleared: Sequence[ClearedRow], before: Before = NOTHING_BEFORE
) -> None:
    """Refuse a dose that nobody may override (HZ-12, HZ-13); arguments as of ``verdict_of``.

    Raises:
        BeyondHardLimits: too strong, too fast, or with too short a pause.
        NotOnClearedList: bursts outside every row of the clinic's list.
    """
    for finding in verdict_of(dose, percent_mso, interval_s, cleared, before).findings:
        if finding.grade != "refused":
            continue
        text = f"{dose.site}: {finding.explanation['en']} Have another prescription signed ({finding.source})."
        refusal = NotOnClearedList if finding.limit == "clinic-cleared-list" else BeyondHardLimits
        raise refusal(text, limit=finding.limit)


def check_order_dose(order: TreatmentOrder, cleared: Sequence[ClearedRow], before: Before = NOTHING_BEFORE) -> None:
    """Refuse an order of which a block reaches what nobody may override: at its ceiling, with the pause as signed.

    Raises:
        BeyondHardLimits, NotOnClearedList: as ``check_dose``.
    """
    for block in order.blocks:
        check_dose(block, block.ceiling_percent_mso, block.pattern.train_interval_s, cleared, before)
        before = before._replace(pulses_today=before.pulses_today + block.pattern.pulses)


def check_search_dose(order: MeasurementOrder, pattern: engine.Pattern) -> None:
    """Refuse a heart-brain search that is not within the limits: before a plan there is nothing to override (HZ-12).

    Raises:
        BeyondHardLimits: says by which limit.
    """
    threshold = order.ceiling_percent_mso if order.search is None else order.search.threshold_percent_mso
    dose = envelope.Dose(pattern, order.ceiling_percent_mso, threshold, order.site, *NOTHING_BEFORE)
    verdict = envelope.grade_dose(dose, published_limits(), ())
    if verdict.grade == "within":
        return
    beyond = next(each for each in verdict.findings if each.grade == verdict.grade and not each.advisory)
    raise BeyondHardLimits(
        f"{beyond.explanation['en']} A search stays within the limits. Have another order signed ({beyond.source}).",
        limit=beyond.limit,
    )


def rest_of_session(state: SessionState, limits: Limits) -> engine.Session | None:
    """Return what is still to be delivered, with the parameters in force; None after the last train.

    Weaker first trains count as full ones, and the coil as moved at once: so a forecast of heat errs on the warm side.

    Raises:
        TrainBeyondLimits: as ``device_pattern``.
    """
    order, block = state.order, state.block
    if block is None or not isinstance(order, TreatmentOrder):
        return None
    pattern = device_pattern(block, limits.max_autonomous_s)
    left = trains_in_force(state, pattern) - len(state.trains_of_block)
    parts = []
    if left > 0:
        changed = {"trains": left, "train_interval_s": train_interval_s(state, pattern)}
        rest = pattern.model_copy(update=changed)
        parts = [engine.Part(pattern=rest, percent_mso=state.percent_mso, site=block.site)]
    for later in order.blocks[state.block_index + 1 :]:
        pattern = device_pattern(later, limits.max_autonomous_s)
        parts.append(engine.Part(pattern=pattern, percent_mso=later.percent_mso, site=later.site))
    return engine.Session.in_sequence(parts, COIL_MOVED_AT_ONCE_S) if parts else None


def coil_forecast(
    state: SessionState, limits: Limits, start_c: float | None, joules_at_full_output: float | None = None
) -> heat.Forecast | None:
    """Forecast the coil's temperature through what is left of a session, all of it before its start (HZ-19).

    Args:
        state: of a treatment.
        limits: of this node.
        start_c: the coil's temperature now; None where the device does not tell.
        joules_at_full_output: what the device says that a pulse takes, for a model whose circuit is not known.

    Returns:
        None where neither circuit nor energy, or nothing of the coil, is known, or nothing is left.
    """
    order, rest = state.order, rest_of_session(state, limits)
    circuit, coil = circuits.circuit_of(order.stimulator_model), heat.coil_heat(order.coil_model)
    heat_j = joules_at_full_output if circuit is None else circuit.heat_at_full_j(order.waveform)
    if rest is None or coil is None or heat_j is None:
        return None
    return heat.forecast(rest, coil, order.waveform, heat_j, start_c)
