"""Refusals about the room and its device."""

from typing import ClassVar

from spoel_stimulation.domain.refusals.base import RoomRefusal
from spoel_stimulation.events.words import InterlockReason


class RoomLatchedRefusal(RoomRefusal):
    """The room is latched until a person resets it (INV-7)."""

    slug = "room-latched"
    title = "The room is latched"
    interlock = "device-fault"


class RoomNotLatched(RoomRefusal):
    """There is nothing to reset."""

    slug = "room-not-latched"
    title = "The room is not latched"


class DeviceNotReady(RoomRefusal):
    """The device is away, its status is old, or it is not in the state that this needs."""

    slug = "device-not-ready"
    title = "The device is not ready"
    interlock: ClassVar[InterlockReason | None] = "device-fault"


class StatusTooOld(DeviceNotReady):
    """The device's last status is too old to act on (INV-4)."""

    slug = "device-status-old"
    title = "The device's status is too old"
    interlock = "status-too-old"


class CoilTooHot(RoomRefusal):
    """The coil is too hot for the patient's head (HZ-19)."""

    slug = "coil-too-hot"
    title = "The coil is too hot"
    interlock = "coil-temperature"


class DeviceNotAccepted(RoomRefusal):
    """A simulator where people are treated, or a fast clock on a real device (HZ-25)."""

    slug = "device-not-accepted"
    title = "This device may not be used here"
