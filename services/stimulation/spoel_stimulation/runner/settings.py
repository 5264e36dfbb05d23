"""From an order to what the device is told. The device's own number of trains is always 1 (INV-11)."""

from spoel_stimulation.devices.adapter import TrainSettings
from spoel_stimulation.domain.search import search_pattern
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import SINGLE_PULSE_INTERVAL_S, device_pattern
from spoel_stimulation.orders import MeasurementOrder


def device_settings(state: SessionState, max_autonomous_s: float) -> TrainSettings:
    """Return the settings of one train, of the block or of a heart-brain search, or of one pulse for a threshold.

    Raises:
        TrainBeyondLimits: a train is too long for one start command.
    """
    order, block = state.order, state.block
    if isinstance(order, MeasurementOrder) and order.search is not None:
        pattern = search_pattern(order, max_autonomous_s)
        return TrainSettings.of_pattern(pattern, state.percent_mso, order.waveform, order.current_direction)
    if block is not None:
        pattern = device_pattern(block, max_autonomous_s)
        return TrainSettings.of_pattern(pattern, state.percent_mso, order.waveform, order.current_direction)
    return TrainSettings(
        waveform=order.waveform,
        current_direction=order.current_direction,
        rate_hz=1.0 / SINGLE_PULSE_INTERVAL_S,
        stimuli=1,
        percent_mso=state.percent_mso,
    )
