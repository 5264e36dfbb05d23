"""Refusals about the signed order."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


class OrderNotSigned(RoomRefusal):
    """No signed order of this booking has arrived here."""

    slug = "order-not-signed"
    title = "No signed order"
    interlock = "order-missing"


class OrderSuperseded(RoomRefusal):
    """A newer version of the order is signed."""

    slug = "order-superseded"
    title = "A newer signed version exists"
    interlock = "order-superseded"


class OrderWithdrawn(RoomRefusal):
    """The order was withdrawn."""

    slug = "order-withdrawn"
    title = "The order was withdrawn"
    interlock = "order-withdrawn"


class OrderInconsistent(RoomRefusal):
    """The figures of a signed order contradict each other."""

    slug = "order-inconsistent"
    title = "The order contradicts itself"


class MeasurementOrderExpired(RoomRefusal):
    """A measurement order holds on one local day."""

    slug = "measurement-order-expired"
    title = "The measurement order is of another day"
    interlock = "order-expired"


class ThresholdKeyMismatch(RoomRefusal):
    """The room's device is not the one for which the threshold holds (HZ-04)."""

    slug = "threshold-key-mismatch"
    title = "The threshold was measured with other equipment"
    interlock = "coil-changed"
