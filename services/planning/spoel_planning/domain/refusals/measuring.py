"""Refusals of head measures, measurement orders and thresholds."""

from spoel_common.errors import SpoelError


class HeadMeasureImplausible(SpoelError):
    """A head measure cannot be right."""

    slug = "head-measure-implausible"
    status = 422
    title = "Implausible head measure"


class TargetImplausible(SpoelError):
    """A calculated target lies where it cannot be."""

    slug = "target-implausible"
    status = 422
    title = "Implausible target"


class TargetMissing(SpoelError):
    """The site was not calculated for this patient."""

    slug = "target-missing"
    status = 409
    title = "The target was not calculated"


class MeasurementOrderUnknown(SpoelError):
    """The case has no such measurement order."""

    slug = "measurement-order-unknown"
    status = 404
    title = "No such measurement order"


class MeasurementOrderOutOfBounds(SpoelError):
    """A limit of the measurement order is outside the clinic's bounds."""

    slug = "measurement-order-out-of-bounds"
    status = 422
    title = "Outside the bounds of a measurement order"


class SearchBeyondLimits(SpoelError):
    """A heart-brain search would leave the published limits: there is no override before a plan exists."""

    slug = "search-beyond-limits"
    status = 422
    title = "A search stays within the published limits"


class MeasurementOrderAlreadySigned(SpoelError):
    """The order is signed."""

    slug = "measurement-order-already-signed"
    status = 409
    title = "Already signed"


class MeasurementOrderNotSigned(SpoelError):
    """An unsigned order allows nothing."""

    slug = "measurement-order-not-signed"
    status = 409
    title = "The measurement order is not signed"


class MeasurementOrderOtherDay(SpoelError):
    """A measurement order holds on one local day."""

    slug = "measurement-order-other-day"
    status = 409
    title = "The measurement order is for another day"


class MuscleOfOtherSide(SpoelError):
    """The left motor cortex moves the right hand."""

    slug = "muscle-of-other-side"
    status = 422
    title = "The muscle belongs to the other side"


class DeviceUnknown(SpoelError):
    """No capability record for this stimulator and coil."""

    slug = "device-unknown"
    status = 422
    title = "Unknown stimulator or coil"


class BeyondDevice(SpoelError):
    """The device cannot do it."""

    slug = "beyond-device"
    status = 422
    title = "Beyond what the device can do"


class SessionUnknownHere(SpoelError):
    """No such session was booked, or nothing of it has arrived."""

    slug = "session-unknown-here"
    status = 404
    title = "This session is not known here (yet)"


class SessionOfAnotherCase(SpoelError):
    """The session belongs to somebody else."""

    slug = "session-of-another-case"
    status = 409
    title = "The session belongs to another case"


class ThresholdNotFinished(SpoelError):
    """The staircase needs more stimuli."""

    slug = "threshold-not-finished"
    status = 409
    title = "The threshold is not found yet"


class ThresholdNotFound(SpoelError):
    """The staircase ended without a threshold."""

    slug = "threshold-not-found"
    status = 409
    title = "No threshold was found"


class ThresholdAlreadyTaken(SpoelError):
    """The session's threshold is recorded."""

    slug = "threshold-already-taken"
    status = 409
    title = "This session's threshold is recorded already"


class ThresholdMissing(SpoelError):
    """There is no such threshold, or none of this side."""

    slug = "threshold-missing"
    status = 409
    title = "There is no threshold"


class ThresholdOfOtherSide(SpoelError):
    """A threshold holds for the side on which it was measured."""

    slug = "threshold-of-other-side"
    status = 409
    title = "The threshold is of the other side"


class ThresholdOutdated(SpoelError):
    """The threshold is older than the clinic allows, or a newer one exists."""

    slug = "threshold-outdated"
    status = 409
    title = "The threshold is outdated"


class ThresholdOfOtherEquipment(SpoelError):
    """The blocks of a session are given with one stimulator and coil, and their thresholds were not measured so."""

    slug = "threshold-of-other-equipment"
    status = 409
    title = "The thresholds are of different equipment"
