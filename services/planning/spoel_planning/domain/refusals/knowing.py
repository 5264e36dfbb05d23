"""Refusals of what planning does not know, or knows to stand against treatment."""

from spoel_common.errors import SpoelError


class CaseUnknownHere(SpoelError):
    """Planning has not heard of the case."""

    slug = "case-unknown-here"
    status = 404
    title = "This case is not known here (yet)"


class IndicationNotDecided(SpoelError):
    """No decision on the indication has arrived."""

    slug = "indication-not-decided"
    status = 409
    title = "The indication is not decided"


class NotIndicated(SpoelError):
    """The indication was decided against."""

    slug = "not-indicated"
    status = 409
    title = "Treatment is not indicated"


class ConsentNotGiven(SpoelError):
    """No consent has arrived."""

    slug = "consent-not-given"
    status = 409
    title = "There is no consent"


class ConsentIsWithdrawn(SpoelError):
    """Consent was withdrawn."""

    slug = "consent-withdrawn"
    status = 409
    title = "Consent was withdrawn"


class RoomUnknownHere(SpoelError):
    """No device of this room has answered yet, as far as planning knows."""

    slug = "room-unknown-here"
    status = 409
    title = "This room is not known here (yet)"


class SupervisorMissing(SpoelError):
    """A technician acts under a named, registered supervisor."""

    slug = "supervisor-missing"
    status = 403
    title = "A supervisor must be named"
