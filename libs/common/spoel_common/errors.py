"""Refusals: one class a kind of problem, each with a stable slug, a status and a title.

A refusal is an answer, not an accident: its detail names the input, says what is wrong with it and what to do.
The HTTP layer turns it into an RFC 9457 problem of type ``urn:spoel:problem:<slug>``.
"""

from collections.abc import Iterator
from typing import ClassVar


class SpoelError(Exception):
    """A request that is refused; nothing was stored, published or sent to a device.

    Args:
        detail: which input, what is wrong, what to do.
        facts: further members of the problem, as JSON values.
    """

    slug: ClassVar[str] = "refused"
    status: int = 422
    title: ClassVar[str] = "Refused"

    def __init__(self, detail: str, **facts: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts

    @property
    def problem_type(self) -> str:
        """The RFC 9457 ``type`` of this kind of problem."""
        return f"urn:spoel:problem:{self.slug}"


class NotFound(SpoelError):
    """What the request names does not exist, or not for the person who asks."""

    slug = "not-found"
    status = 404
    title = "Not found"


class NotAllowed(SpoelError):
    """The person who asks has no role that may do this."""

    slug = "role-not-allowed"
    status = 403
    title = "Your role may not do this"


class BigNumberInvalid(SpoelError):
    """The act asks for a BIG number, and the one given is missing or not eleven digits."""

    slug = "big-number-invalid"
    status = 403
    title = "A valid BIG number is needed"


class RegistrationNotVerified(SpoelError):
    """No current registration record supports this person's BIG number."""

    slug = "registration-not-verified"
    status = 403
    title = "No verified BIG registration"


class ProfessionNotAllowed(SpoelError):
    """The registered profession may not do this act."""

    slug = "profession-not-allowed"
    status = 403
    title = "Your profession may not do this"


class VersionConflict(SpoelError):
    """Somebody else changed the same thing in the meantime."""

    slug = "version-conflict"
    status = 409
    title = "Changed by somebody else in the meantime"


class PatientErased(SpoelError):
    """The patient's private key was destroyed; nothing sealed to it can be read again."""

    slug = "patient-erased"
    status = 410
    title = "This patient was erased"


class PatientKeyUnknown(SpoelError):
    """The patient's public key is not known here, so nothing can be sealed for the patient."""

    slug = "patient-key-unknown"
    status = 409
    title = "The patient's key is not known here"


class SealedTextChanged(SpoelError):
    """A sealed text does not open in the event in which it stands: changed, moved, or sealed for another patient."""

    slug = "sealed-text-changed"
    status = 409
    title = "The sealed text was changed or moved"


def all_problems(base: type[SpoelError] = SpoelError) -> Iterator[type[SpoelError]]:
    """Yield every kind of problem that the loaded modules define."""
    for kind in base.__subclasses__():
        yield kind
        yield from all_problems(kind)
