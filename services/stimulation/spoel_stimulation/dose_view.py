"""What GET answers about a session's dose: how it stands to the published limits, and how warm the coil will be."""

from math import isfinite
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.devices.record import CapabilityRecord
from spoel_stimulation.domain.envelope import coil_forecast, rest_of_session, search_verdict, verdict_of
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.refusals import TransitionNotAllowed
from spoel_stimulation.domain.search import measured_percent_mso, search_pattern
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.engine.envelope import GRADES, Finding, Grade
from spoel_stimulation.engine.heat import Forecast, coil_heat, heat_data
from spoel_stimulation.engine.load import PowerSupply
from spoel_stimulation.orders import Block, MeasurementOrder, Search, ThresholdKey, TreatmentOrder

_MINUTE_S = 60.0

Words = dict[Literal["nl", "en"], str]
"""A text in both languages."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class FindingView(_View):
    """How the dose stands to one limit; an advisory one is shown and does not count.

    Attributes:
        explanation: by language, ``nl`` and ``en``.
        verified: somebody compared the limit with its source.
    """

    limit: str
    grade: Grade
    explanation: dict[str, str]
    source: str
    verified: bool
    advisory: bool


class CoilForecastView(_View):
    """How warm the coil gets through what is left of the session, by a model that was not measured.

    Attributes:
        too_warm_at_s: seconds from the next pulse; null where it stays below ``limit_c``.
        warning: by language; null where there is nothing to warn of.
    """

    highest_c: float
    limit_c: float
    too_warm_at_s: float | None
    warning: Words | None
    source: str
    verified: bool


class SupplyView(_View):
    """What the block that is given, or the next one after its last train, asks of the connected model's power supply.

    Attributes:
        minimum_wait_s: from a train's last slot to the next train.
        longest_on_time_s: of each minute at this rate and intensity; null where it can go on all the time.
        highest_continuous_rate_hz: at this intensity; null at no output.
    """

    pulse_energy_j: float
    train_energy_j: float
    minimum_wait_s: float
    longest_on_time_s: float | None
    highest_continuous_rate_hz: float | None
    source: str
    verified: bool


class BlockView(_View):
    """The dose at one site: of the block that is given at the intensity and the pause in force, else as signed.

    Of a heart-brain search: at the intensity of the locations measured so far; before them, at the order's highest.

    Attributes:
        percent_mso: null in a blinded session.
        grade: that of the worst finding.
        cleared_by: the row of the clinic's list that bursts keep to.
    """

    site: str
    pulses: int
    percent_mso: int | None
    percent_rmt: float
    grade: Grade
    findings: list[FindingView]
    cleared_by: str | None


class DoseView(_View):
    """The dose of a treatment, or of a heart-brain search: one block of all its trains.

    Attributes:
        grade: that of the worst block.
        supply: null where the connected model's energy and power are not known, and in a blinded session.
        coil: null where nothing is known of the stimulator's circuit or of the coil, where nothing is left, and in a
            blinded session.
        no_coil_forecast: by language, why ``coil`` is null: not known is not the same as cool; null where nothing is
            left to be forecast.
    """

    session_id: str
    grade: Grade
    blocks: list[BlockView]
    supply: SupplyView | None
    coil: CoilForecastView | None
    no_coil_forecast: Words | None


def dose_view(
    state: SessionState, limits: Limits, record: CapabilityRecord | None, coil_temperature_c: float | None
) -> DoseView:
    """Return the dose of a session.

    Args:
        state: of a treatment, or of a heart-brain search.
        limits: of this node, the clinic's cleared list among them.
        record: of the connected model; None where none is connected.
        coil_temperature_c: now; None where the device does not tell.

    Raises:
        TransitionNotAllowed: single stimuli for a threshold: each names its own intensity.
        TrainBeyondLimits: as ``rest_of_session``.
    """
    blocks = _block_views(state, limits)
    forecast = None if state.blinded else _forecast(state, limits, record, coil_temperature_c)
    over = rest_of_session(state, limits) is None
    return DoseView(
        session_id=state.session.session_id,
        grade=max((block.grade for block in blocks), key=GRADES.index),
        blocks=blocks,
        supply=None if state.blinded or record is None else _supply_view(state, limits, record),
        coil=None if forecast is None else _coil_view(forecast),
        no_coil_forecast=None if over or forecast is not None else _no_forecast(state.order, blinded=state.blinded),
    )


def _block_views(state: SessionState, limits: Limits) -> list[BlockView]:
    order = state.order
    if isinstance(order, TreatmentOrder):
        return [_block_view(state, index, block, limits) for index, block in enumerate(order.blocks)]
    if order.search is None:
        raise TransitionNotAllowed("A measurement has no dose of its own: each stimulus names its intensity.")
    return [_search_view(state, order, order.search, limits)]


def _forecast(
    state: SessionState, limits: Limits, record: CapabilityRecord | None, coil_temperature_c: float | None
) -> Forecast | None:
    joules = None if record is None else record.joules_at_full_output
    return coil_forecast(state, limits, coil_temperature_c, joules)


def _supply_view(state: SessionState, limits: Limits, record: CapabilityRecord) -> SupplyView | None:
    joules, power_w, rest = record.joules_at_full_output, record.mean_power_w, rest_of_session(state, limits)
    if joules is None or power_w is None or rest is None:
        return None
    supply, percent_mso, pattern = PowerSupply(joules, power_w), rest.parts[0].percent_mso, rest.parts[0].pattern
    on_time_s = supply.longest_on_time_s(pattern.mean_rate_hz, percent_mso)
    highest_hz = supply.highest_continuous_rate_hz(percent_mso)
    return SupplyView(
        pulse_energy_j=supply.pulse_energy_j(percent_mso),
        train_energy_j=supply.train_energy_j(pattern.pulses_per_train, percent_mso),
        minimum_wait_s=supply.minimum_wait_s(pattern.pulses_per_train, pattern.mean_rate_hz, percent_mso),
        longest_on_time_s=on_time_s if on_time_s < _MINUTE_S else None,
        highest_continuous_rate_hz=highest_hz if isfinite(highest_hz) else None,
        source=record.source,
        verified=record.verified,
    )


def _block_view(state: SessionState, index: int, block: Block, limits: Limits) -> BlockView:
    given = index == state.block_index
    percent_mso = state.percent_mso if given else block.percent_mso
    interval_s = (state.train_interval_s if given else None) or block.pattern.train_interval_s
    verdict = verdict_of(block, percent_mso, interval_s, limits.cleared)
    row = verdict.cleared_by
    return BlockView(
        site=block.site,
        pulses=block.pattern.pulses,
        percent_mso=None if state.blinded else percent_mso,
        percent_rmt=round(100 * percent_mso / block.threshold_percent_mso, 2),
        grade=verdict.grade,
        findings=[_finding_view(finding) for finding in verdict.findings],
        cleared_by=None if row is None else f"{row.protocol_id} v{row.protocol_version}",
    )


def _search_view(state: SessionState, order: MeasurementOrder, search: Search, limits: Limits) -> BlockView:
    """Return the dose of a search: at the intensity of what was measured, before that at the order's highest."""
    percent_mso = measured_percent_mso(state) or order.ceiling_percent_mso
    verdict = search_verdict(order, search_pattern(order, limits.max_autonomous_s), percent_mso)
    return BlockView(
        site=order.site,
        pulses=order.max_pulses,
        percent_mso=percent_mso,
        percent_rmt=round(100 * percent_mso / search.threshold_percent_mso, 2),
        grade=verdict.grade,
        findings=[_finding_view(finding) for finding in verdict.findings],
        cleared_by=None,
    )


def _finding_view(finding: Finding) -> FindingView:
    return FindingView.model_validate(finding._asdict())


def _no_forecast(order: ThresholdKey, *, blinded: bool) -> Words:
    if blinded:
        return {
            "nl": "De verwachte temperatuur van de spoel wordt in een geblindeerde sessie niet getoond. "
            "Let op de temperatuur die het apparaat toont.",
            "en": "The coil's expected temperature is not shown in a blinded session. "
            "Watch the temperature that the device shows.",
        }
    of_coil = coil_heat(order.coil_model) is None
    nl, en = ("deze spoel", "this coil") if of_coil else ("deze stimulator", "this stimulator")
    model = order.coil_model if of_coil else order.stimulator_model
    return {
        "nl": f"Van {nl} ({model}) zijn geen cijfers bekend: geen voorspelling van de temperatuur. "
        "De spoel kan te warm worden; let op de temperatuur die het apparaat toont.",
        "en": f"Of {en} ({model}) no figures are known: no forecast of its temperature. "
        "The coil may become too warm; watch the temperature that the device shows.",
    }


def _coil_view(forecast: Forecast) -> CoilForecastView:
    source = heat_data().limits.source
    warning: Words | None = None
    if forecast.too_warm_at_s is not None:
        minutes = int(forecast.too_warm_at_s // _MINUTE_S)  # rounded down: a warning names no later moment
        warning = {
            "nl": f"De spoel wordt naar verwachting na {minutes} minuten warmer dan {forecast.limit_c:g} °C. "
            "Koel hem eerst, of neem een gekoelde spoel.",
            "en": f"The coil is expected to be above {forecast.limit_c:g} °C after {minutes} minutes. "
            "Cool it first, or take a cooled coil.",
        }
    return CoilForecastView(
        highest_c=round(forecast.highest_c, 1),
        limit_c=forecast.limit_c,
        too_warm_at_s=forecast.too_warm_at_s,
        warning=warning,
        source=source,
        verified=False,
    )
