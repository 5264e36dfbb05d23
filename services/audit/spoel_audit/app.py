"""Composition root of the audit service."""

from fastapi import FastAPI

from spoel_audit.api import router
from spoel_audit.events import ErasureCompleted
from spoel_audit.handlers import Sequencer
from spoel_audit.projections import erasures_projection, log_projection, persons_projection
from spoel_audit.readiness import find_fault
from spoel_audit.settings import AuditSettings
from spoel_common.erasure import ErasureAnswers
from spoel_common.readiness import Check
from spoel_common.runtime import Runtime, Verifier
from spoel_common.web import create_app


def build_app(settings: AuditSettings, verifier: Verifier | None = None) -> FastAPI:
    """Wire the audit service together; nothing is opened before the lifespan starts.

    Args:
        settings: the service's settings.
        verifier: who says who holds a token; the issuer of the settings if None.
    """
    answers = ErasureAnswers(ErasureCompleted)
    runtime = Runtime(
        settings,
        "spoel_audit",
        [log_projection(Sequencer(settings.service_clock())), erasures_projection(answers), persons_projection()],
        tasks={"erasures": answers.run},
        checks=[check_log],
        verifier=verifier,
    )
    return create_app(runtime, title="Spoel audit", routers=[router])


async def check_log(runtime: Runtime) -> Check:
    """Check that the database guards the log, and that the tree's state is that of its entries."""
    fault = await find_fault(runtime.database)
    return Check("log", fault is None, fault or "append-only, and the tree has as many leaves as the log has entries")
