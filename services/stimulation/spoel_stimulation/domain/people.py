"""Who may run a session now, and under whom (ST-01). Pure."""

from datetime import datetime

from spoel_common.errors import BigNumberInvalid, ProfessionNotAllowed, RegistrationNotVerified
from spoel_common.people import Actor, Role, acts, check_act, check_role
from spoel_stimulation.domain.facts import Facts
from spoel_stimulation.domain.refusals import GrantEnded, OperatorRegistrationEnded, SupervisionMissing
from spoel_stimulation.domain.trainees import is_trainee


def role_to_run(by: Actor) -> Role:
    """Return the role under which ``by`` runs a session; a trainee is one whatever other role they have.

    Raises:
        NotAllowed: none.
    """
    if is_trainee(by):
        return Role.TRAINEE
    if Role.TMS_PROFESSIONAL in by.roles:
        return Role.TMS_PROFESSIONAL
    if Role.TMS_TECHNICIAN in by.roles:
        return Role.TMS_TECHNICIAN
    check_role("run-session", by)
    return Role.TMS_PROFESSIONAL


def check_people(facts: Facts, by: Actor, supervisor_id: str | None) -> Role:
    """Return the role under which ``by`` may run a session now (ST-01).

    Raises:
        NotAllowed, BigNumberInvalid, RegistrationNotVerified, ProfessionNotAllowed: as ``check_act`` says.
        SupervisionMissing: a technician or trainee without a named supervisor, or anybody with one who is not on duty.
    """
    role = role_to_run(by)
    if role is Role.TMS_PROFESSIONAL:
        check_act("run-session", by, facts.registrations.get(by.person_id), facts.today)
        if supervisor_id is None:
            return role
    else:
        check_role("run-session-supervised", by)
    if supervisor_id is None:
        raise SupervisionMissing(f"A {role} runs sessions under a supervisor. Name one on duty in 'supervisor_id'.")
    if supervisor_id == by.person_id or not supervises(facts, supervisor_id):
        raise SupervisionMissing(
            f"{supervisor_id} is not a registered supervisor on duty here now. Name another, or have them go on duty.",
            supervisor_id=supervisor_id,
        )
    return role


def supervises(facts: Facts, person_id: str) -> bool:
    """Tell whether somebody is a registered supervisor on duty."""
    registration = facts.registrations.get(person_id)
    if registration is None or (registration.valid_until is not None and registration.valid_until < facts.today):
        return False
    if registration.profession not in acts()["supervise"].professions:
        return False
    return facts.roster.on_duty(person_id, facts.now)


def check_grant_lasts(facts: Facts, until: datetime | None, *, revoked: bool) -> None:
    """Refuse when the grant of a session has ended by itself or by a supervisor (INV-4).

    Args:
        facts: what is known.
        until: its end; None for none.
        revoked: a supervisor ended it.

    Raises:
        GrantEnded: it was revoked, or its time is over.
    """
    if revoked:
        raise GrantEnded("A supervisor ended the grant of this session. Stop it; somebody else may open a new booking.")
    if until is not None and facts.now >= until:
        raise GrantEnded(f"The grant of this session ended at {until.isoformat()}. Stop it, and book a new one.")


def check_grant(facts: Facts, operator: Actor) -> None:
    """Refuse when what the grant of a running session rests on is known to have ended (INV-4).

    Raises:
        SupervisionMissing: the supervisor is off duty.
        OperatorRegistrationEnded: the operator's registration ended.
    """
    try:
        check_people(facts, operator, operator.supervisor_id)
    except (RegistrationNotVerified, ProfessionNotAllowed, BigNumberInvalid) as error:
        raise OperatorRegistrationEnded(error.detail) from error
