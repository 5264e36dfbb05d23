"""A patient: a pseudonymous id and a public key. Who it is stays in the vault."""

from datetime import date, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from spoel_common.errors import PatientErased
from spoel_common.events import EventData
from spoel_intake.bsn import Bsn, parse_bsn
from spoel_intake.commands import ErasePatient, Gender, PatientIdentity
from spoel_intake.domain.given import Given
from spoel_intake.domain.refusals import (
    IdentityDiffers,
    ImpossibleValue,
    PatientUnknown,
    RetentionNotOver,
    TreatmentUnderWay,
)
from spoel_intake.events import ErasureGround, PatientMerged, PatientRegistered
from spoel_intake.events import PatientErased as PatientErasedEvent

RETENTION_YEARS = 20
"""How long a file is kept after its last change: art. 7:454 lid 3 BW (WGBO), since 2020-01-01."""

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
    """State of the aggregate ``patient``.

    Attributes:
        public_key: None before the registration.
        merged_into: the file in which the person goes on; None where this is that file.
    """

    model_config = ConfigDict(frozen=True)

    patient_id: str = ""
    public_key: str | None = None
    is_erased: bool = False
    merged_into: str | None = None


class OnFile(BaseModel):
    """What an erasure would end.

    Attributes:
        sessions_to_come: sessions that are booked or running, as far as intake knows.
        last_changed_at: when the newest event of the patient's cases happened; None without a case.
    """

    model_config = ConfigDict(frozen=True)

    sessions_to_come: list[str] = []
    last_changed_at: datetime | None = None


def register(patient: Patient, patient_id: str, public_key: str) -> list[EventData]:
    """Register a patient under a new key; nothing happens for one who is registered."""
    if patient.public_key is not None:
        return []
    return [PatientRegistered(patient_id=patient_id, public_key=public_key)]


def erase(patient: Patient, command: ErasePatient, on_file: OnFile, given: Given) -> list[EventData]:
    """Erase a patient, on a ground.

    Raises:
        PatientUnknown, PatientErased: there is no such file, or no longer.
        TreatmentUnderWay: a session is booked or running.
        RetentionNotOver: the ground is the end of the time of keeping, and that has not come.
    """
    given.may("erase-patient")
    if patient.public_key is None:
        raise PatientUnknown("No such patient is known here. Check the patient's id.")
    if patient.is_erased:
        raise PatientErased("This patient was erased already; GET the erasure to see which services have answered.")
    if on_file.sessions_to_come:
        raise TreatmentUnderWay(
            f"Booked or running: {', '.join(on_file.sessions_to_come)}. Cancel or finish these sessions first; without "
            "an identity nobody may be treated.",
            sessions=on_file.sessions_to_come,
        )
    if command.ground is ErasureGround.RETENTION_ENDED:
        _check_retention(on_file.last_changed_at, given.today)
    return [PatientErasedEvent(patient_id=patient.patient_id, ground=command.ground)]


def _check_retention(last_changed_at: datetime | None, today: date) -> None:
    if last_changed_at is None:
        return
    keep_until = _years_later(last_changed_at.date(), RETENTION_YEARS)
    if today <= keep_until:
        raise RetentionNotOver(
            f"This file is kept until {keep_until}: {RETENTION_YEARS} years after its last change. Give another "
            "ground, if there is one.",
            keep_until=keep_until.isoformat(),
        )


def _years_later(day: date, years: int) -> date:
    leap_day = (day.month, day.day) == (2, 29)
    return date(day.year + years, 3, 1) if leap_day else day.replace(year=day.year + years)


def evolve(patient: Patient, event: EventData) -> Patient:
    """Return the state after ``event``."""
    match event:
        case PatientRegistered():
            return Patient(patient_id=event.patient_id, public_key=event.public_key)
        case PatientMerged():
            return patient.model_copy(update={"merged_into": event.into_patient_id})
        case PatientErasedEvent():
            return patient.model_copy(update={"is_erased": True})
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
