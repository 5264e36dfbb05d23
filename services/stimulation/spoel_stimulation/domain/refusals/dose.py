"""Refusals about what is delivered: limits, bands, trains."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


class BeyondSignedBand(RoomRefusal):
    """A value outside the signed limits (INV-2)."""

    slug = "beyond-signed-band"
    status = 422
    title = "Outside the signed limits"


class BeyondDeviceCapability(RoomRefusal):
    """The device cannot do this (INV-2)."""

    slug = "beyond-device-capability"
    status = 422
    title = "Beyond what the device can do"


class BeyondHardLimits(RoomRefusal):
    """A dose that nobody may override: too strong, too fast, or with too short a pause (HZ-12)."""

    slug = "beyond-hard-limits"
    status = 422
    title = "Beyond what anybody may deliver"


class NotOnClearedList(RoomRefusal):
    """Bursts outside every row of the clinic's cleared list (HZ-13)."""

    slug = "not-on-cleared-list"
    status = 422
    title = "Not within the clinic's cleared list"


class TrainBeyondLimits(RoomRefusal):
    """A train that a device may not run on its own (INV-11)."""

    slug = "train-beyond-limits"
    status = 422
    title = "The train is too long for one start command"
