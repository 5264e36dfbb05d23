"""Composition root of planning."""

from zoneinfo import ZoneInfo

from fastapi import FastAPI

from spoel_common import web
from spoel_common.runtime import Runtime, Verifier
from spoel_common.settings import CannotStart
from spoel_planning.api import router
from spoel_planning.domain.rules import Rules, clinic_rules, with_cleared_list
from spoel_planning.handlers import Clinic
from spoel_planning.patients import erasure_answers, patients_projection
from spoel_planning.projections import knowledge_projection
from spoel_planning.settings import PlanningSettings


def create_app(settings: PlanningSettings, verifier: Verifier | None = None) -> FastAPI:
    """Wire planning together; nothing is opened before the lifespan starts.

    Args:
        settings: the service's settings.
        verifier: who says who holds a token; the issuer of the settings if None.
    """
    answers = erasure_answers()
    runtime = Runtime(
        settings,
        "spoel_planning",
        [knowledge_projection(), patients_projection(answers)],
        tasks={"erasures": answers.run},
        verifier=verifier,
    )
    return web.create_app(
        runtime,
        title="Spoel planning",
        description="Target, motor threshold, prescription, signature and bookings.",
        routers=[router],
        state={"clinic": Clinic(site_rules(settings), ZoneInfo(settings.time_zone))},
    )


def site_rules(settings: PlanningSettings) -> Rules:
    """Return the rules of this site: the packaged ones, with the clinic's own cleared list.

    The packaged list is an example that no clinic has signed, so at a clinical site it clears nothing (PL-07).

    Raises:
        CannotStart: the clinic's list cannot be read.
    """
    if settings.cleared_list_file is None:
        return with_cleared_list(clinic_rules(), "") if settings.clinical else clinic_rules()
    try:
        return with_cleared_list(clinic_rules(), settings.cleared_list_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotStart(
            f"SPOEL_CLEARED_LIST_FILE is {settings.cleared_list_file}, which cannot be used: {error}"
        ) from error
