"""Composition root of planning."""

from zoneinfo import ZoneInfo

from fastapi import FastAPI

from spoel_common import web
from spoel_common.runtime import Runtime, Verifier
from spoel_planning.api import router
from spoel_planning.domain.rules import clinic_rules
from spoel_planning.handlers import Clinic
from spoel_planning.projections import knowledge_projection
from spoel_planning.settings import PlanningSettings


def create_app(settings: PlanningSettings, verifier: Verifier | None = None) -> FastAPI:
    """Wire planning together; nothing is opened before the lifespan starts.

    Args:
        settings: the service's settings.
        verifier: who says who holds a token; the issuer of the settings if None.
    """
    return web.create_app(
        Runtime(settings, "spoel_planning", [knowledge_projection()], verifier=verifier),
        title="Spoel planning",
        description="Target, motor threshold, prescription, signature and bookings.",
        routers=[router],
        state={"clinic": Clinic(clinic_rules(), ZoneInfo(settings.time_zone))},
    )
