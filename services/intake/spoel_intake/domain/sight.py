"""Who sees what of a patient (INV-6)."""

from spoel_common.people import Actor, Role, acts

CARE_ROLES = frozenset({Role.CLINICIAN, Role.PHYSICIAN, Role.TMS_PROFESSIONAL, Role.SUPERVISOR})
"""Who sees a patient's identity and free text; an EHR sees those of what it sent in."""


def is_ehr_only(actor: Actor) -> bool:
    """Tell whether the actor reads cases as a hospital's EHR only: it finds what it sent in, and nothing else."""
    return not actor.roles & (acts()["read-case"].roles - {Role.EHR})


def sees_identity(actor: Actor) -> bool:
    """Tell whether the actor sees who a patient is: people of care, and an EHR for what it sent in."""
    return is_ehr_only(actor) or bool(actor.roles & CARE_ROLES)
