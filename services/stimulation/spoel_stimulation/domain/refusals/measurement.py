"""Refusals about single stimuli, and the runs of a heart-brain search."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


class StimulusTooSoon(RoomRefusal):
    """The shortest pause since the last stimulus is not over."""

    slug = "stimulus-too-soon"
    title = "Too soon after the last stimulus"


class StimuliUsedUp(RoomRefusal):
    """The order's stimuli are used up."""

    slug = "stimuli-used-up"
    title = "No stimuli left"


class NotThisMeasurement(RoomRefusal):
    """The order is for another measurement: single stimuli and runs at locations each need their own."""

    slug = "not-this-measurement"
    title = "Not what this order is for"


class LocationUnknown(RoomRefusal):
    """The order has no such location."""

    slug = "location-unknown"
    title = "No such location in the order"


class RunUnderWay(RoomRefusal):
    """A run of a heart-brain search is under way."""

    slug = "run-under-way"
    title = "The trains at another location are not over"


class HeartNotHeard(RoomRefusal):
    """The belt is not there, silent or without contact: trains would be given for nothing."""

    slug = "heart-not-heard"
    title = "No heartbeats are coming in"


class TrainUnderWay(RoomRefusal):
    """The last train has not ended yet."""

    slug = "train-under-way"
    title = "A train is under way"


class StimulusNotDelivered(RoomRefusal):
    """A stimulus that was not delivered, or of which that is not known, has no answer."""

    slug = "stimulus-not-delivered"
    title = "This stimulus was not delivered"


class StimulusAlreadyAnswered(RoomRefusal):
    """A stimulus is answered once."""

    slug = "stimulus-already-answered"
    title = "Answered already"
