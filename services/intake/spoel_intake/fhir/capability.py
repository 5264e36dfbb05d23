"""What the FHIR door can do, as a CapabilityStatement."""

from importlib.metadata import version
from typing import Any

from spoel_intake.fhir.terms import FHIR_VERSION, MEDIA_TYPE

STATED_ON = "2026-11-25"
"""Day of the last change of what is stated here."""

_PATIENT = """\
One person has one file: a create with a BSN that is known answers 200 with the Patient that is there. BSN, name, \
birth date and gender are kept; other elements are left aside. A Patient that the clinic merged into another one of \
the same person has a new version with active false and a link replaced-by; it takes no new ServiceRequest."""
_SERVICE_REQUEST = """\
A referral for rTMS: status active, intent order, code rtms, one indication as reasonCode, the requester's AGB code, \
the question as note, and a contained Patient or the reference of one that was sent before. Elements that are not kept \
are refused. A system reads back its own requests only."""


def capability_statement(base: str) -> dict[str, Any]:
    """Return the CapabilityStatement of this server.

    Args:
        base: the address of the door, such as ``https://host/fhir/R4``.
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": STATED_ON,
        "kind": "instance",
        "software": {"name": "Spoel intake", "version": version("spoel-intake")},
        "implementation": {"description": "Referrals to a clinic for rTMS", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": [MEDIA_TYPE, "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": "Every create needs an Idempotency-Key; a repeat with the same key does nothing anew.",
                "security": {
                    "cors": False,
                    "description": "OAuth 2.0 bearer token (client credentials) of the site's OpenID Connect issuer.",
                },
                "resource": [_resource("Patient", _PATIENT), _resource("ServiceRequest", _SERVICE_REQUEST)],
            }
        ],
    }


def _resource(kind: str, documentation: str) -> dict[str, Any]:
    return {
        "type": kind,
        "documentation": documentation,
        "interaction": [{"code": "create"}, {"code": "read"}, {"code": "vread"}],
        "versioning": "versioned",
        "readHistory": True,
        "conditionalCreate": False,
    }
