"""A patient: a pseudonymous id and a public key. Who it is stays in the vault."""

from datetime import date
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.events import EventData
from spoel_intake.bsn import Bsn, parse_bsn
from spoel_intake.commands import Gender, PatientIdentity
from spoel_intake.domain.refusals import IdentityDiffers, ImpossibleValue
from spoel_intake.events import PatientRegistered

OLDEST_YEARS = 120
"""A birth date longer ago is taken for a mistake: the greatest verified age is 122 years, once."""


class Identity(BaseModel):
    """Who a patient is, checked. Kept out of ``repr`` and errors so that no log shows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bsn: Bsn = Field(repr=False)
    given_name: str = Field(repr=False)
    family_name: str = Field(repr=False)
    birth_date: date = Field(repr=False)
    gender: Gender = Field(repr=False)

    @classmethod
    def check(cls, given: PatientIdentity, today: date) -> Self:
        """Return the identity that a request gives.

        Raises:
            BsnInvalid: the BSN does not pass its check.
            ImpossibleValue: the birth date cannot be true.
        """
        check_birth_date(given.birth_date, today)
        return cls(
            bsn=parse_bsn(given.bsn.get_secret_value()),
            given_name=given.given_name,
            family_name=given.family_name,
            birth_date=given.birth_date,
            gender=given.gender,
        )

    def check_same(self, other: Self) -> None:
        """Refuse another person under the same BSN; names may be written differently, the birth date may not.

        Raises:
            IdentityDiffers: other birth date; neither is repeated.
        """
        if self.birth_date != other.birth_date:
            raise IdentityDiffers(
                "This BSN is known here with another birth date. Read BSN and birth date again from the document."
            )


class Patient(BaseModel):
    """State of the aggregate ``patient``; ``public_key`` is None before the registration."""

    model_config = ConfigDict(frozen=True)

    patient_id: str = ""
    public_key: str | None = None


def register(patient: Patient, patient_id: str, public_key: str) -> list[EventData]:
    """Register a patient under a new key; nothing happens for one who is registered."""
    if patient.public_key is not None:
        return []
    return [PatientRegistered(patient_id=patient_id, public_key=public_key)]


def evolve(patient: Patient, event: EventData) -> Patient:
    """Return the state after ``event``."""
    match event:
        case PatientRegistered():
            return Patient(patient_id=event.patient_id, public_key=event.public_key)
        case _:
            return patient


def check_birth_date(birth_date: date, today: date) -> None:
    """Refuse a birth date that cannot be true.

    Raises:
        ImpossibleValue: in the future, or more than ``OLDEST_YEARS`` ago; the date is not repeated.
    """
    if birth_date > today:
        raise ImpossibleValue("birth_date lies in the future. Read it again from the document.", field="birth_date")
    if (today.year - birth_date.year) - ((today.month, today.day) < (birth_date.month, birth_date.day)) > OLDEST_YEARS:
        raise ImpossibleValue(
            f"birth_date is more than {OLDEST_YEARS} years ago. Read it again from the document.", field="birth_date"
        )
