"""People, commands and a case that is told them: what the pure tests speak with."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from spoel_common.people import Actor, Profession, Registration, Role
from spoel_intake.commands import CompleteScreen, DecideIndication, JudgeItem, ReceiveReferral
from spoel_intake.domain import case as cases
from spoel_intake.domain.given import Given
from spoel_intake.domain.questionnaire import safety_questionnaire

TODAY = date(2026, 11, 22)
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)

ROLE_OF = {
    Profession.ARTS: Role.PHYSICIAN,
    Profession.PSYCHIATER: Role.SUPERVISOR,
    Profession.GZ_PSYCHOLOOG: Role.TMS_PROFESSIONAL,
    Profession.VERPLEEGKUNDIGE: Role.CLINICIAN,
}


def person(role: Role, profession: Profession | None = None, number: str = "19012345601") -> Actor:
    """Somebody with one role; with a BIG number where there is a profession."""
    big_number = number if profession is not None else None
    return Actor(
        person_id=f"{role}-1", roles=frozenset({role}), name="A. Tester", big_number=big_number, profession=profession
    )


def registration_of(actor: Actor, **changes: Any) -> Registration:
    """The verified registration that supports an actor's BIG number."""
    facts = {
        "person_id": actor.person_id,
        "big_number": actor.big_number,
        "profession": actor.profession,
        "verified_on": date(2026, 11, 1),
        "evidence": "bigregister.nl print-out 2026-11-01",
    }
    return Registration.model_validate({**facts, **changes})


def given(role: Role, profession: Profession | None = None, sealed_text: str | None = None) -> Given:
    """The circumstances of an act by somebody whose registration is verified."""
    actor = person(role, profession)
    registration = registration_of(actor) if profession is not None else None
    return Given(by=actor, registration=registration, now=NOW, today=TODAY, sealed_text=sealed_text)


NURSE = given(Role.CLINICIAN, Profession.VERPLEEGKUNDIGE)
PHYSICIAN = given(Role.PHYSICIAN, Profession.ARTS)
PROFESSIONAL = given(Role.TMS_PROFESSIONAL, Profession.GZ_PSYCHOLOOG)


def with_reason(circumstances: Given, sealed: str = "c2VhbGVk") -> Given:
    """The same circumstances, with a sealed reason."""
    return Given(circumstances.by, circumstances.registration, circumstances.now, circumstances.today, sealed)


def referral(**changes: Any) -> ReceiveReferral:
    """A referral for depression by a GP."""
    facts = {
        "case_id": "case-1",
        "patient_id": "patient-1",
        "channel": "rest",
        "referrer_kind": "gp",
        "referrer_agb": "01012345",
        "indication": "depression",
        "referred_on": TODAY,
        "question": "Graag beoordeling voor rTMS.",
        "external_id": "ORD-7",
    }
    return ReceiveReferral.model_validate({**facts, **changes})


def screen(*yes: str, **changes: Any) -> CompleteScreen:
    """A completed safety screen, with these items answered yes."""
    questionnaire = safety_questionnaire()
    facts = {
        "questionnaire": questionnaire.id,
        "questionnaire_version": questionnaire.version,
        "answers": {item.id: item.id in yes for item in questionnaire.items},
    }
    return CompleteScreen.model_validate({**facts, **changes})


def judgement(item: str, *, acceptable: bool = True) -> JudgeItem:
    """A judgement of one item."""
    return JudgeItem(item=item, acceptable=acceptable, reason="Beoordeeld.")


def treatment(kind: str, code: str | None = None, *, adequate: bool = True, stopped_for: str = "insufficient-effect"):
    """One earlier treatment."""
    return {"kind": kind, "name_code": code, "adequate": adequate, "stopped_for": stopped_for}


TWO_TREATMENTS = [treatment("antidepressant", "N06AB04"), treatment("psychotherapy", "cbt")]


def indication(decision: str = "indicated", **changes: Any) -> DecideIndication:
    """A decision on facts that advise treatment."""
    facts = {
        "severity": "severe",
        "earlier_treatments": TWO_TREATMENTS,
        "psychotic_features": False,
        "other_treatment_suitable": False,
        "decision": decision,
    }
    return DecideIndication.model_validate({**facts, **changes})


@dataclass
class Story:
    """A case that commands are given to, one after the other."""

    case: cases.Case = field(default_factory=cases.Case)
    events: list[Any] = field(default_factory=list)

    def tell(self, command: Any, circumstances: Given) -> Any:
        """Decide and evolve; return the event."""
        (event,) = cases.decide(self.case, command, circumstances)
        self.case = cases.evolve(self.case, event)
        self.events.append(event)
        return event
