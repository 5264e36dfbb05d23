"""The staff register: whose BIG registration was verified, when and with what evidence."""

import re
from datetime import date

from pydantic import BaseModel, ConfigDict

from spoel_common.events import EventData
from spoel_common.people import Registration, check_role
from spoel_intake.commands import EndOfRegistration, VerifyRegistration
from spoel_intake.domain.given import Given
from spoel_intake.domain.refusals import BigNumberForm, ImpossibleValue, RegistrationNotCurrent
from spoel_intake.events import RegistrationEnded, RegistrationVerified

_BIG_NUMBER = re.compile(r"[0-9]{11}")


class StaffMember(BaseModel):
    """State of the aggregate ``staff``: one person's registration that counts now."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    registration: Registration | None = None


def decide(member: StaffMember, command: VerifyRegistration | EndOfRegistration, given: Given) -> list[EventData]:
    """Return what happens.

    Raises:
        NotAllowed: only who may verify registrations keeps the register.
        BigNumberForm: not eleven digits.
        ImpossibleValue: verified in the future, or valid until a day before that.
        RegistrationNotCurrent: already past its end, or there is none to end.
    """
    check_role("verify-registration", given.by)
    match command:
        case VerifyRegistration():
            return [_verify(command, given.today)]
        case EndOfRegistration():
            return [_end(member, command, given.today)]


def evolve(member: StaffMember, event: EventData) -> StaffMember:
    """Return the state after ``event``."""
    match event:
        case RegistrationVerified():
            registration = Registration.model_validate(event.model_dump(exclude={"name"}))
            return StaffMember(name=event.name, registration=registration)
        case RegistrationEnded():
            return member.model_copy(update={"registration": None})
        case _:
            return member


def _verify(command: VerifyRegistration, today: date) -> EventData:
    if not _BIG_NUMBER.fullmatch(command.big_number):
        raise BigNumberForm(
            f"big_number {command.big_number[:32]!r} has not eleven digits. Copy it from the BIG register."
        )
    if command.verified_on > today:
        raise ImpossibleValue(f"verified_on {command.verified_on} lies in the future.", field="verified_on")
    if command.valid_until is not None and command.valid_until < today:
        raise RegistrationNotCurrent(f"valid_until {command.valid_until} has passed. Look the registration up again.")
    return RegistrationVerified.model_validate(command.model_dump())


def _end(member: StaffMember, command: EndOfRegistration, today: date) -> EventData:
    if member.registration is None:
        raise RegistrationNotCurrent("No registration of this person is current here; there is nothing to end.")
    if command.ended_on > today:
        raise ImpossibleValue(
            f"ended_on {command.ended_on} lies in the future. End it on that day, or verify it with valid_until.",
            field="ended_on",
        )
    return RegistrationEnded(
        person_id=member.registration.person_id,
        big_number=member.registration.big_number,
        ended_on=command.ended_on,
        reason=command.reason,
    )
