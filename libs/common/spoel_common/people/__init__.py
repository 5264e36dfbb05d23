"""People: roles, professions, BIG registrations, and the one table of who may do what. Pure.

BIG is the Dutch register of health professionals (Wet BIG, art. 3); a BIG number has eleven digits.
"""

import re
import tomllib
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from spoel_common.errors import BigNumberInvalid, NotAllowed, ProfessionNotAllowed, RegistrationNotVerified

_BIG_NUMBER = re.compile(r"[0-9]{11}")


class Role(StrEnum):
    """What a token may say that somebody is."""

    EHR = "ehr"
    CLINICIAN = "clinician"
    TMS_PROFESSIONAL = "tms-professional"
    TMS_TECHNICIAN = "tms-technician"
    TRAINEE = "trainee"
    SUPERVISOR = "supervisor"
    PHYSICIAN = "physician"
    AUDITOR = "auditor"
    ROOM = "room"
    RANDOMISER = "randomiser"


class Profession(StrEnum):
    """Professions of art. 3 Wet BIG, and the specialisms that Spoel asks for by name."""

    ARTS = "arts"
    PSYCHIATER = "psychiater"
    GZ_PSYCHOLOOG = "gz-psycholoog"
    KLINISCH_PSYCHOLOOG = "klinisch-psycholoog"
    PSYCHOTHERAPEUT = "psychotherapeut"
    VERPLEEGKUNDIGE = "verpleegkundige"
    PHYSICIAN_ASSISTANT = "physician-assistant"


class Actor(BaseModel):
    """Who asks: a person or a system, as the token says.

    Attributes:
        supervisor_id: for a technician or trainee, the person under whose supervision the act is done.
    """

    model_config = ConfigDict(frozen=True)

    person_id: str
    roles: frozenset[Role]
    name: str = ""
    big_number: str | None = None
    profession: Profession | None = None
    supervisor_id: str | None = None


class Registration(BaseModel):
    """A verified registration in the BIG register.

    Attributes:
        evidence: how it was verified, for example ``bigregister.nl print-out 2026-11-01``.
        valid_until: last day on which it holds; None where the register gives no end.
    """

    model_config = ConfigDict(frozen=True)

    person_id: str
    big_number: str
    profession: Profession
    verified_on: date
    evidence: str
    valid_until: date | None = None


class Act(BaseModel):
    """One line of the table of acts.

    Attributes:
        roles: any one of these is enough.
        professions: registered professions that may do it; empty where no BIG registration is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: frozenset[Role]
    professions: frozenset[Profession] = frozenset()


@cache
def acts() -> dict[str, Act]:
    """Return the table of acts (``acts.toml``) by name."""
    table = tomllib.loads(files(__package__).joinpath("acts.toml").read_text(encoding="utf-8"))
    return {name: Act.model_validate(row) for name, row in table.items()}


def check_role(act_name: str, actor: Actor) -> None:
    """Refuse an actor without a role that may do the act.

    Raises:
        NotAllowed: no role of the actor's is in the act's row.
        KeyError: no such act; a fault of the calling code.
    """
    act = acts()[act_name]
    if not act.roles & actor.roles:
        wanted = ", ".join(sorted(act.roles))
        raise NotAllowed(
            f"'{act_name}' asks for one of the roles {wanted}. Sign in as somebody who has it.", act=act_name
        )


def check_act(act_name: str, actor: Actor, registration: Registration | None, today: date) -> None:
    """Refuse an actor who may not do the act: by role, BIG number, registration and profession (INV-5).

    Args:
        act_name: a row of ``acts.toml``.
        actor: who asks.
        registration: the register's record of this person, if there is one.
        today: the day on which the act is done.

    Raises:
        NotAllowed: wrong role.
        BigNumberInvalid: the act asks for a BIG number; the token has none, or not eleven digits.
        RegistrationNotVerified: no record, another number, or past its end.
        ProfessionNotAllowed: the registered profession may not do this.
    """
    check_role(act_name, actor)
    professions = acts()[act_name].professions
    if not professions:
        return
    if actor.big_number is None or not _BIG_NUMBER.fullmatch(actor.big_number):
        raise BigNumberInvalid(
            f"'{act_name}' asks for a BIG number of eleven digits; the token has {actor.big_number!r}.",
            act=act_name,
        )
    if registration is None or registration.big_number != actor.big_number:
        raise RegistrationNotVerified(
            f"No verified registration of BIG number {actor.big_number} is known here. "
            "Have it verified in the staff register.",
            act=act_name,
        )
    if registration.valid_until is not None and registration.valid_until < today:
        raise RegistrationNotVerified(
            f"The registration of BIG number {actor.big_number} ended on {registration.valid_until}. "
            "Have it verified again.",
            act=act_name,
        )
    if registration.profession not in professions:
        allowed = ", ".join(sorted(professions))
        raise ProfessionNotAllowed(
            f"'{act_name}' asks for a registration as {allowed}; this one is of a {registration.profession}.",
            act=act_name,
        )
