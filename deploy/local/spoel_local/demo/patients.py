"""The virtual patients: invented people with a true motor threshold that nobody in the clinic knows."""

import random
from dataclasses import dataclass, field
from datetime import date
from typing import Any

_BSN_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)
_ELEVEN = 11
_TEST_PREFIX = "999"
"""BSNs that begin so are given out for tests, never to people (RvIG)."""

_THRESHOLD_RANGE = (42.0, 56.0)
_TWITCH_SPREAD = 1.0
"""Standard deviation of the twitch around the threshold, in percent of maximum output: a default of ours."""


@dataclass(frozen=True)
class VirtualPatient:
    """Somebody who is referred, and answers every stimulus with a twitch or none.

    Attributes:
        label: how the timeline names them; no invented personal data in it either.
        yes_items: items of the safety screen that they answer with yes.
        true_threshold_percent_mso: intensity at which half of the stimuli make the thumb move.
    """

    label: str
    given_name: str
    family_name: str
    birth_date: date
    bsn: str
    gender: str
    true_threshold_percent_mso: float
    yes_items: frozenset[str] = frozenset()
    chance: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def twitches(self, percent_mso: int) -> bool:
        """Tell whether a stimulus makes the thumb move."""
        return percent_mso + self.chance.gauss(0.0, _TWITCH_SPREAD) >= self.true_threshold_percent_mso

    @property
    def said(self) -> dict[str, str]:
        """What the patient says when asked who they are."""
        return {
            "given_name": self.given_name,
            "family_name": self.family_name,
            "birth_date": self.birth_date.isoformat(),
        }


def two_patients(seed: int) -> tuple[VirtualPatient, VirtualPatient]:
    """Return patient A and patient B of a seed."""
    chance = random.Random(seed)  # noqa: S311 - virtual patients, no secret

    def patient(
        label: str, given_name: str, family_name: str, gender: str, yes_items: frozenset[str]
    ) -> VirtualPatient:
        return VirtualPatient(
            label=label,
            given_name=given_name,
            family_name=family_name,
            birth_date=date(chance.randint(1955, 1998), chance.randint(1, 12), chance.randint(1, 28)),
            bsn=_test_bsn(chance),
            gender=gender,
            true_threshold_percent_mso=round(chance.uniform(*_THRESHOLD_RANGE), 1),
            yes_items=yes_items,
            chance=random.Random(chance.getrandbits(64)),  # noqa: S311 - as above
        )

    return (
        patient("patient A", "Roosje", "Voorbeeld", "female", frozenset()),
        patient("patient B", "Teunis", "Denkbeeld", "male", frozenset({"fainting"})),
    )


def _test_bsn(chance: random.Random) -> str:
    """Return a BSN for tests that passes the check: its weighted sum is a multiple of eleven."""
    while True:
        body = _TEST_PREFIX + f"{chance.randrange(100_000):05d}"
        check = sum(weight * int(digit) for weight, digit in zip(_BSN_WEIGHTS, body, strict=False)) % _ELEVEN
        if check < 10:  # noqa: PLR2004 - one decimal digit
            return f"{body}{check}"


def referral(patient: VirtualPatient, today: date) -> dict[str, Any]:
    """Return a referral as plain JSON, from a general practitioner."""
    return {
        "patient": {**patient.said, "bsn": patient.bsn, "gender": patient.gender},
        "referrer_kind": "gp",
        "referrer_agb": "01999991",
        "indication": "depression",
        "referred_on": today.isoformat(),
        "question": "Depressie, twee antidepressiva zonder voldoende effect. Komt rTMS in aanmerking?",
    }


def service_request(patient: VirtualPatient, today: date) -> dict[str, Any]:
    """Return a referral as a FHIR R4 ServiceRequest with its Patient, from a medical specialist."""
    return {
        "resourceType": "ServiceRequest",
        "contained": [
            {
                "resourceType": "Patient",
                "id": "patient",
                "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": patient.bsn}],
                "name": [{"use": "official", "family": patient.family_name, "given": [patient.given_name]}],
                "gender": patient.gender,
                "birthDate": patient.birth_date.isoformat(),
            }
        ],
        "extension": [{"url": "urn:spoel:fhir:StructureDefinition:referrer-kind", "valueCode": "specialist"}],
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": "urn:spoel:fhir:CodeSystem:service", "code": "rtms"}]},
        "subject": {"reference": "#patient"},
        "authoredOn": today.isoformat(),
        "requester": {"identifier": {"system": "http://fhir.nl/fhir/NamingSystem/agb-z", "value": "03999992"}},
        "reasonCode": [{"coding": [{"system": "urn:spoel:fhir:CodeSystem:indication", "code": "depression"}]}],
        "note": [{"text": "Depressie, therapieresistent. Graag beoordeling voor iTBS."}],
    }
