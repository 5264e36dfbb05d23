"""Refusals about who runs a session and who supervises it."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


class SupervisionMissing(RoomRefusal):
    """A technician or trainee without a named supervisor on duty."""

    slug = "supervision-missing"
    status = 403
    title = "No supervisor on duty"
    interlock = "supervision-ended"


class SupervisionEndInvalid(RoomRefusal):
    """The end of a supervisor's duty is not within the coming day."""

    slug = "supervision-end-invalid"
    status = 422
    title = "Impossible end of duty"


class NotOnDuty(RoomRefusal):
    """Somebody goes off duty who is not on duty."""

    slug = "not-on-duty"
    title = "Not on duty"


class NotTheOperator(RoomRefusal):
    """Only the person who opened a session runs it."""

    slug = "not-the-operator"
    status = 403
    title = "Another person runs this session"


class OperatorRegistrationEnded(RoomRefusal):
    """The registration under which a session is run ended."""

    slug = "registration-ended"
    status = 403
    title = "The registration ended"
    interlock = "registration-ended"


class GrantEnded(RoomRefusal):
    """The grant under which a session is run was revoked, or its time is over."""

    slug = "grant-ended"
    status = 403
    title = "The session's grant ended"
    interlock = "grant-ended"
