"""Which train is next, and when: from the order, the parameters in force and the trains so far. Pure."""

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from spoel_common.units import PercentMso, PercentRmt, set_percent_mso
from spoel_stimulation import engine
from spoel_stimulation.domain.refusals import (
    BeyondSignedBand,
    OrderInconsistent,
    StimuliUsedUp,
    StimulusTooSoon,
    TrainBeyondLimits,
)
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.orders import MeasurementOrder, TreatmentOrder

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


def device_pattern(order: TreatmentOrder, max_autonomous_s: float) -> engine.Pattern:
    """Return the order's pattern in trains that a device may run on its own (INV-11).

    Raises:
        TrainBeyondLimits: a train is too long for one start command, or the pattern cannot be run at all.
    """
    try:
        prescribed = engine.Pattern.model_validate(order.pattern.model_dump())
        return engine.split_for_autonomy(prescribed, max_autonomous_s)
    except (engine.AutonomyExceeded, ValidationError) as error:
        raise TrainBeyondLimits(
            f"Protocol {order.protocol_id} cannot be run here: {_first_line(error)}. Have another pattern prescribed."
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(item["msg"] for item in error.errors())
    return str(error)


def next_train(state: SessionState, pattern: engine.Pattern) -> NextTrain | None:
    """Return the next train of a treatment; None when the last was authorised.

    An interrupted train counts as used: it is never repeated or completed (INV-7).
    """
    index = len(state.trains)
    if index >= trains_in_force(state, pattern):
        return None
    return NextTrain(
        index=index,
        percent_mso=state.percent_mso,
        bursts=pattern.bursts_per_train,
        pulses_per_burst=pattern.pulses_per_burst,
        burst_interval_s=pattern.burst_interval_s,
        pulse_interval_s=pattern.pulse_interval_s,
        due_at=_due_at(state, pattern),
    )


def trains_in_force(state: SessionState, pattern: engine.Pattern) -> int:
    """Return how many trains the session has: as signed, or the fewer that the operator chose."""
    return pattern.trains if state.most_trains is None else min(pattern.trains, state.most_trains)


def _due_at(state: SessionState, pattern: engine.Pattern) -> datetime | None:
    if not state.trains:
        return None
    return state.trains[-1].onset_at + timedelta(seconds=train_interval_s(state, pattern))


def train_interval_s(state: SessionState, pattern: engine.Pattern) -> float:
    """Return the seconds from onset to onset of device trains in force: never less than signed."""
    signed = pattern.train_interval_s
    order = state.session.treatment_order
    was_split = order is None or order.pattern.trains != pattern.trains
    if was_split or state.train_interval_s is None:
        return signed
    return max(signed, state.train_interval_s)


def next_stimulus(state: SessionState, percent_mso: int, used: int, now: datetime) -> NextTrain:
    """Return one stimulus of a measurement.

    Args:
        state: a running measurement.
        percent_mso: wanted intensity.
        used: stimuli given under this order, in all sessions.
        now: clock time.

    Raises:
        BeyondSignedBand: above the order's ceiling.
        StimuliUsedUp: none left.
        StimulusTooSoon: within the order's shortest interval.
    """
    order = state.order
    if not isinstance(order, MeasurementOrder):
        raise BeyondSignedBand("Single stimuli belong to a measurement; this session is a treatment.")
    if percent_mso > order.ceiling_percent_mso:
        raise BeyondSignedBand(
            f"percent_mso is {percent_mso}; the signed order allows at most {order.ceiling_percent_mso}.",
            ceiling_percent_mso=order.ceiling_percent_mso,
        )
    if used >= order.max_stimuli:
        raise StimuliUsedUp(
            f"All {order.max_stimuli} stimuli of the order are used. Stop, and have a new order signed if needed."
        )
    due_at = state.trains[-1].onset_at + timedelta(seconds=order.min_interval_s) if state.trains else None
    if due_at is not None and now < due_at:
        wait_s = (due_at - now).total_seconds()
        raise StimulusTooSoon(
            f"The next stimulus may come in {wait_s:.1f} s: the order asks for {order.min_interval_s:g} s between two.",
            wait_s=round(wait_s, 3),
        )
    return NextTrain(
        index=len(state.trains),
        percent_mso=percent_mso,
        bursts=1,
        pulses_per_burst=1,
        burst_interval_s=SINGLE_PULSE_INTERVAL_S,
        pulse_interval_s=None,
        due_at=due_at,
    )


def percent_mso_for(order: TreatmentOrder, percent_rmt: float) -> int:
    """Return what to set for ``percent_rmt`` of the order's threshold.

    Raises:
        BeyondSignedBand: outside the signed floor and ceiling, in either unit.
    """
    if not order.floor_percent_rmt <= percent_rmt <= order.ceiling_percent_rmt:
        raise BeyondSignedBand(
            f"percent_rmt {percent_rmt:g} is outside the signed {order.floor_percent_rmt:g} to "
            f"{order.ceiling_percent_rmt:g}. Stay within, or have a new version signed."
        )
    percent_mso = set_percent_mso(PercentRmt(percent_rmt), PercentMso(order.threshold_percent_mso))
    check_percent_mso(order, percent_mso)
    return percent_mso


def check_percent_mso(order: TreatmentOrder | MeasurementOrder, percent_mso: int) -> None:
    """Refuse an output outside the signed limits (INV-2).

    Raises:
        BeyondSignedBand: above the ceiling, or below a treatment's floor.
    """
    floor = order.floor_percent_mso if isinstance(order, TreatmentOrder) else 0
    if not floor <= percent_mso <= order.ceiling_percent_mso:
        raise BeyondSignedBand(
            f"{percent_mso} % of output is outside the signed {floor} to {order.ceiling_percent_mso} %. "
            "Stay within, or have a new version signed."
        )


def check_consistent(order: TreatmentOrder | MeasurementOrder) -> None:
    """Refuse an order whose figures contradict each other (HZ-05).

    Raises:
        OrderInconsistent: says which.
    """
    if isinstance(order, MeasurementOrder):
        return
    threshold = PercentMso(order.threshold_percent_mso)
    figures = {
        "percent": (order.percent_rmt, order.percent_mso),
        "floor": (order.floor_percent_rmt, order.floor_percent_mso),
        "ceiling": (order.ceiling_percent_rmt, order.ceiling_percent_mso),
    }
    for name, (rmt, mso) in figures.items():
        wanted = set_percent_mso(PercentRmt(rmt), threshold)
        if mso != wanted:
            raise OrderInconsistent(
                f"The order's {name} is {rmt:g} % of a threshold of {threshold} %, which is {wanted} % of output, and "
                f"it says {mso} %. Have a correct version signed."
            )
    if not order.floor_percent_rmt <= order.percent_rmt <= order.ceiling_percent_rmt:
        raise OrderInconsistent("The order's intensity lies outside its own band. Have a correct version signed.")
    if order.pattern.pulses != order.pulses:
        raise OrderInconsistent(
            f"The order says {order.pulses} pulses and its pattern has {order.pattern.pulses}. "
            "Have a correct version signed."
        )
