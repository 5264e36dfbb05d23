"""Which train is next, and when: from the order, the parameters in force and the trains so far. Pure."""

from datetime import datetime, timedelta
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, ValidationError

from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_stimulation import engine
from spoel_stimulation.domain.facts import Facts
from spoel_stimulation.domain.refusals import (
    BeyondSignedBand,
    NotThisMeasurement,
    OrderInconsistent,
    StimuliUsedUp,
    StimulusTooSoon,
    TrainBeyondLimits,
)
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.orders import Dose, MeasurementOrder, TreatmentOrder

SINGLE_PULSE_INTERVAL_S = 1.0
"""What a device is told for a train of one pulse; it has no effect on it."""


class NextTrain(BaseModel):
    """One train as it would leave the host now.

    Attributes:
        index: from 0.
        bursts: bursts, or single pulses.
        due_at: clock time before which it may not begin; None for the first.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    percent_mso: int
    bursts: int
    pulses_per_burst: int
    burst_interval_s: float
    pulse_interval_s: float | None
    due_at: datetime | None

    @property
    def pulses(self) -> int:
        """Pulses of the whole train."""
        return self.bursts * self.pulses_per_burst


def device_pattern(dose: Dose, max_autonomous_s: float) -> engine.Pattern:
    """Return a dose's pattern in trains that a device may run on its own (INV-11).

    Raises:
        TrainBeyondLimits: a train is too long for one start command, or the pattern cannot be run at all.
    """
    try:
        prescribed = engine.Pattern.model_validate(dose.pattern.model_dump())
        return engine.split_for_autonomy(prescribed, max_autonomous_s)
    except (engine.AutonomyExceeded, ValidationError) as error:
        raise TrainBeyondLimits(
            f"The pattern for {dose.site} cannot be run here: {_first_line(error)}. Have another one prescribed."
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(item["msg"] for item in error.errors())
    return str(error)


def next_train(state: SessionState, pattern: engine.Pattern) -> NextTrain | None:
    """Return the next train of a treatment's block; None when the block's last was authorised.

    An interrupted train counts as used: it is never repeated or completed (INV-7).

    Args:
        state: of the session.
        pattern: of the block that is given, as the device runs it.
    """
    index = len(state.trains_of_block)
    if index >= trains_in_force(state, pattern):
        return None
    return NextTrain(
        index=len(state.trains),
        percent_mso=_percent_mso_of_train(state, pattern, index),
        bursts=pattern.bursts_per_train,
        pulses_per_burst=pattern.pulses_per_burst,
        burst_interval_s=pattern.burst_interval_s,
        pulse_interval_s=pattern.pulse_interval_s,
        due_at=_due_at(state, pattern),
    )


def trains_in_force(state: SessionState, pattern: engine.Pattern) -> int:
    """Return how many trains the block has: as signed, or the fewer that the operator chose."""
    return pattern.trains if state.most_trains is None else min(pattern.trains, state.most_trains)


def _percent_mso_of_train(state: SessionState, pattern: engine.Pattern, index: int) -> int:
    """Return the intensity of a block's train: the one in force, or less while it ramps up."""
    block = state.block
    if block is None or block.ramp_up is None or state.percent_rmt is None:
        return state.percent_mso
    prescribed = index * block.pattern.trains // pattern.trains
    if prescribed >= block.ramp_up.trains:
        return state.percent_mso
    start = block.ramp_up.from_percent_rmt
    percent_rmt = start + (state.percent_rmt - start) * prescribed / block.ramp_up.trains
    return min(state.percent_mso, set_percent_mso(PercentRmt(percent_rmt), PercentMso(block.threshold_percent_mso)))


def _due_at(state: SessionState, pattern: engine.Pattern) -> datetime | None:
    if not state.trains_of_block:
        return None
    return state.trains[-1].onset_at + timedelta(seconds=train_interval_s(state, pattern))


def train_interval_s(state: SessionState, pattern: engine.Pattern) -> float:
    """Return the seconds from onset to onset of device trains in force: never less than signed."""
    signed = pattern.train_interval_s
    was_split = state.block is None or state.block.pattern.trains != pattern.trains
    if was_split or state.train_interval_s is None:
        return signed
    return max(signed, state.train_interval_s)


def next_stimulus(state: SessionState, percent_mso: int, facts: Facts) -> NextTrain:
    """Return one stimulus of a measurement.

    Args:
        state: a running measurement.
        percent_mso: wanted intensity.
        facts: how many stimuli were given under this order, and when the patient's last one was, in all sessions.

    Raises:
        BeyondSignedBand: above the order's ceiling.
        StimuliUsedUp: none left.
        StimulusTooSoon: within the order's shortest interval.
        NotThisMeasurement: the order is a heart-brain search.
    """
    order = state.order
    if not isinstance(order, MeasurementOrder):
        raise BeyondSignedBand("Single stimuli belong to a measurement; this session is a treatment.")
    if order.search is not None:
        raise NotThisMeasurement("This order is a heart-brain search: give its trains at a location.")
    if percent_mso > order.ceiling_percent_mso:
        raise BeyondSignedBand(
            f"percent_mso is {percent_mso}; the signed order allows at most {order.ceiling_percent_mso}.",
            ceiling_percent_mso=order.ceiling_percent_mso,
        )
    check_left(order, facts.order.stimuli_used, 1)
    due_at = check_interval(state, order, facts)
    return NextTrain(
        index=len(state.trains),
        percent_mso=percent_mso,
        bursts=1,
        pulses_per_burst=1,
        burst_interval_s=SINGLE_PULSE_INTERVAL_S,
        pulse_interval_s=None,
        due_at=due_at,
    )


def percent_mso_for(dose: Dose, percent_rmt: float) -> int:
    """Return what to set for ``percent_rmt`` of the dose's threshold.

    Raises:
        BeyondSignedBand: outside the signed floor and ceiling, in either unit.
    """
    if not dose.floor_percent_rmt <= percent_rmt <= dose.ceiling_percent_rmt:
        raise BeyondSignedBand(
            f"percent_rmt {percent_rmt:g} is outside the signed {dose.floor_percent_rmt:g} to "
            f"{dose.ceiling_percent_rmt:g}. Stay within, or have a new version signed."
        )
    percent_mso = set_percent_mso(PercentRmt(percent_rmt), PercentMso(dose.threshold_percent_mso))
    check_percent_mso(dose, percent_mso)
    return percent_mso


def check_percent_mso(limits: Dose | MeasurementOrder, percent_mso: int) -> None:
    """Refuse an output outside the signed limits (INV-2).

    The floor binds what an operator may choose; the first trains of a dose that ramps up are below it as signed.

    Raises:
        BeyondSignedBand: above the ceiling, or below a treatment's floor.
    """
    floor = limits.floor_percent_mso if isinstance(limits, Dose) and limits.ramp_up is None else 0
    if not floor <= percent_mso <= limits.ceiling_percent_mso:
        raise BeyondSignedBand(
            f"{percent_mso} % of output is outside the signed {floor} to {limits.ceiling_percent_mso} %. "
            "Stay within, or have a new version signed."
        )


def check_left(order: MeasurementOrder, used: int, wanted: int) -> None:
    """Refuse more stimuli, or trains, than are left of a measurement order.

    Raises:
        StimuliUsedUp: says how many are left.
    """
    if used + wanted > order.max_stimuli:
        raise StimuliUsedUp(
            f"{used} of the order's {order.max_stimuli} are used, and {wanted} more are wanted. Stop, and have a new "
            "order signed if needed."
        )


def check_interval(state: SessionState, order: MeasurementOrder, facts: Facts) -> datetime | None:
    """Return from when on the next stimulus, or train, may come; None where there was none before.

    What the patient was given in another session counts too: single stimuli, and trains to their end.

    Raises:
        StimulusTooSoon: within the order's shortest interval.
    """
    here_at = state.trains[-1].onset_at if state.trains else None
    last_at = max(filter(None, (here_at, facts.last_stimulus_at, facts.given.last_at)), default=None)
    due_at = None if last_at is None else last_at + timedelta(seconds=order.min_interval_s)
    if due_at is not None and facts.now < due_at:
        wait_s = (due_at - facts.now).total_seconds()
        raise StimulusTooSoon(
            f"The next may come in {wait_s:.1f} s: the order asks for {order.min_interval_s:g} s between two.",
            wait_s=round(wait_s, 3),
        )
    return due_at


def check_consistent(order: TreatmentOrder | MeasurementOrder) -> None:
    """Refuse an order whose figures contradict each other (HZ-05).

    Raises:
        OrderInconsistent: says which.
    """
    if isinstance(order, MeasurementOrder):
        _check_search(order)
        return
    blocks = order.blocks
    for block in blocks:
        _check_dose(block)
    if any(one.site == next_one.site for one, next_one in pairwise(blocks)):
        raise OrderInconsistent("Two blocks at one site follow each other. Have them signed as one.")
    pulses = sum(block.pattern.pulses for block in blocks)
    if pulses != order.pulses:
        raise OrderInconsistent(
            f"The order says {order.pulses} pulses and its pattern has {pulses}. Have a correct version signed."
        )


def _check_search(order: MeasurementOrder) -> None:
    search = order.search
    if (order.purpose == "heart-brain-search") != (search is not None):
        raise OrderInconsistent("A heart-brain search says where and what is given, and only such an order does.")
    if search is None:
        return
    if len(set(search.names)) != len(search.names):
        raise OrderInconsistent("Two locations of the order have the same name. Have a correct one signed.")
    wanted = set_percent_mso(PercentRmt(search.ceiling_percent_rmt), PercentMso(search.threshold_percent_mso))
    if order.ceiling_percent_mso != wanted:
        raise OrderInconsistent(
            f"The order's ceiling is {search.ceiling_percent_rmt:g} % of a threshold of {search.threshold_percent_mso} "
            f"%, which is {wanted} % of output, and it says {order.ceiling_percent_mso} %. Have a correct one signed."
        )
    if search.pattern.train_interval_s < order.min_interval_s:
        raise OrderInconsistent(
            f"The order's trains follow each other after {search.pattern.train_interval_s:g} s, and its shortest "
            f"interval is {order.min_interval_s:g} s. Have a correct one signed."
        )


def _check_dose(dose: Dose) -> None:
    threshold = PercentMso(dose.threshold_percent_mso)
    figures = {
        "percent": (dose.percent_rmt, dose.percent_mso),
        "floor": (dose.floor_percent_rmt, dose.floor_percent_mso),
        "ceiling": (dose.ceiling_percent_rmt, dose.ceiling_percent_mso),
    }
    for name, (rmt, mso) in figures.items():
        wanted = set_percent_mso(PercentRmt(rmt), threshold)
        if mso != wanted:
            raise OrderInconsistent(
                f"The order's {name} is {rmt:g} % of a threshold of {threshold} %, which is {wanted} % of output, and "
                f"it says {mso} %. Have a correct version signed."
            )
    if not dose.floor_percent_rmt <= dose.percent_rmt <= dose.ceiling_percent_rmt:
        raise OrderInconsistent("The order's intensity lies outside its own band. Have a correct version signed.")
    if dose.ramp_up is not None and dose.ramp_up.from_percent_rmt > dose.percent_rmt:
        raise OrderInconsistent("The order ramps up from above its own intensity. Have a correct version signed.")
