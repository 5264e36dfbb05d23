"""Refusals about a booking, its room, and where a session stands."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


class BookingUnknown(RoomRefusal):
    """No booking of this session has arrived here."""

    slug = "booking-unknown"
    status = 404
    title = "No such booking is known here yet"


class BookingCancelled(RoomRefusal):
    """The booking holds no longer."""

    slug = "booking-cancelled"
    title = "The booking was cancelled"


class BookedForAnotherDay(RoomRefusal):
    """The booking is for another local day; daily maxima and pauses were checked for that day (HZ-14)."""

    slug = "booked-for-another-day"
    title = "Booked for another day"


class WrongRoom(RoomRefusal):
    """The session is booked in another room (HZ-02)."""

    slug = "wrong-room"
    title = "Booked in another room"


class RoomBusy(RoomRefusal):
    """The room, or the patient, has an open session."""

    slug = "room-busy"
    title = "There is an open session"


class TransitionNotAllowed(RoomRefusal):
    """The session's state does not allow this."""

    slug = "transition-not-allowed"
    title = "Not possible in this state"


class StaleKnowledge(RoomRefusal):
    """What is known of other services is too old to start on (INV-4)."""

    slug = "stale-knowledge"
    title = "Knowledge of other services is too old"


class AcceleratedDayOffline(RoomRefusal):
    """Several treatments a day need the network: pauses and maxima hold over all rooms (HZ-14)."""

    slug = "accelerated-day-offline"
    title = "No accelerated day without network"


class LeasedElsewhere(RoomRefusal):
    """Another room holds the lease of a booking of this patient, and may be using it (HZ-02)."""

    slug = "leased-elsewhere"
    title = "Another room holds a lease on this patient"


class LeaseReleasedHere(RoomRefusal):
    """This room gave the booking back; another room may have taken the patient since (HZ-02)."""

    slug = "lease-released"
    title = "This room released the booking"
