"""Names that FHIR resources carry: identifier systems of the Netherlands, and code systems of our own.

Sources: Nictiz-R4-zib2020 for the identifier systems. There is no code for rTMS in a system that may be used freely
(SNOMED CT needs a licence of the site's own), so service and indication have code systems of our own.
"""

from typing import Final

FHIR_VERSION: Final = "4.0.1"
MEDIA_TYPE: Final = "application/fhir+json"

BSN_SYSTEM: Final = "http://fhir.nl/fhir/NamingSystem/bsn"
AGB_SYSTEM: Final = "http://fhir.nl/fhir/NamingSystem/agb-z"

SERVICE_SYSTEM: Final = "urn:spoel:fhir:CodeSystem:service"
SERVICE_CODE: Final = "rtms"
INDICATION_SYSTEM: Final = "urn:spoel:fhir:CodeSystem:indication"
"""Codes: those of ``events.Indication``."""
REFERRER_KIND_URL: Final = "urn:spoel:fhir:StructureDefinition:referrer-kind"
"""Extension of ServiceRequest with a ``valueCode`` of ``events.ReferrerKind``: R4 has no element for it."""
PROBLEM_SYSTEM: Final = "urn:spoel:problem"

REQUEST_STATUS: Final = frozenset({"draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"})
"""R4 value set request-status (required binding)."""
REQUEST_INTENT: Final = frozenset(
    {
        "proposal",
        "plan",
        "directive",
        "order",
        "original-order",
        "reflex-order",
        "filler-order",
        "instance-order",
        "option",
    }
)
"""R4 value set request-intent (required binding)."""
REQUEST_PRIORITY: Final = frozenset({"routine", "urgent", "asap", "stat"})
"""R4 value set request-priority (required binding)."""
GENDERS: Final = frozenset({"male", "female", "other", "unknown"})
"""R4 value set administrative-gender (required binding)."""
