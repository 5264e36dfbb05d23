"""What the device's own counter says of a train whose end was not recorded (INV-1). Pure."""

from typing import NamedTuple

from spoel_stimulation.commands import RecordTrainUnknown
from spoel_stimulation.domain.state import Train
from spoel_stimulation.events.words import TrainOutcome


class Closed(NamedTuple):
    """An open train, closed from the counter.

    Attributes:
        pulses: delivered of the train.
        beyond: counted and not accounted for by the train.
    """

    outcome: TrainOutcome
    pulses: int
    beyond: int


def close_gap(train: Train, total_pulses: int | None, *, same_device: bool) -> Closed | RecordTrainUnknown:
    """Return how ``train`` ended, from the device's counter before it and now.

    Args:
        train: authorised, without a recorded end.
        total_pulses: the counter now; None on a device without one. The device is disarmed.
        same_device: the serial number is that of the device before.
    """
    if not same_device:
        return RecordTrainUnknown(reason="other-device")
    if total_pulses is None or train.device_total_pulses_before is None:
        return RecordTrainUnknown(reason="evidence-incomplete")
    counted = total_pulses - train.device_total_pulses_before
    if counted < 0:
        return RecordTrainUnknown(reason="counter-restarted")
    pulses = min(counted, train.pulses)
    return Closed(outcome_of(pulses, train.pulses), pulses, counted - pulses)


def outcome_of(delivered: int, planned: int) -> TrainOutcome:
    """Return the outcome of a train of which this many pulses were delivered."""
    if delivered <= 0:
        return "none"
    return "complete" if delivered >= planned else "partial"
