"""Refusals of bookings."""

from spoel_common.errors import SpoelError


class SlotAlreadyTaken(SpoelError):
    """The room is taken at that time."""

    slug = "slot-taken"
    status = 409
    title = "The room is taken"


class DeviceDiffersFromThreshold(SpoelError):
    """A threshold holds for one stimulator and coil."""

    slug = "device-differs-from-threshold"
    status = 409
    title = "The room's device is not the one of the threshold"


class PatientBookedElsewhere(SpoelError):
    """The patient has another session at that time."""

    slug = "patient-booked-elsewhere"
    status = 409
    title = "The patient has another session at that time"


class PauseBetweenSessionsTooShort(SpoelError):
    """Too soon after, or before, another session of this patient."""

    slug = "session-pause-too-short"
    status = 409
    title = "Too close to another session"


class DayMaximumReached(SpoelError):
    """The patient would get more pulses in a day than the protocol allows."""

    slug = "day-maximum-reached"
    status = 409
    title = "The day's maximum is reached"


class CourseComplete(SpoelError):
    """As many sessions as were signed are booked or delivered."""

    slug = "course-complete"
    status = 409
    title = "All signed sessions are booked"


class StartNotBookable(SpoelError):
    """The start lies in the past, or too far ahead."""

    slug = "start-not-bookable"
    status = 422
    title = "This start cannot be booked"


class BookingUnknown(SpoelError):
    """The case has no such booking."""

    slug = "booking-unknown"
    status = 404
    title = "No such booking"


class BookingAlreadyCancelled(SpoelError):
    """The booking was cancelled."""

    slug = "booking-already-cancelled"
    status = 409
    title = "The booking was cancelled already"


class BookingUnderWay(SpoelError):
    """A room has taken the session up."""

    slug = "booking-under-way"
    status = 409
    title = "The session has begun"


class BookingOver(SpoelError):
    """The session has taken place."""

    slug = "booking-over"
    status = 409
    title = "The session is over"
