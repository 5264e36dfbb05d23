"""Composition root of the audit service."""

from fastapi import FastAPI

from spoel_audit.api import router
from spoel_audit.handlers import Sequencer
from spoel_audit.projections import log_projection
from spoel_audit.settings import AuditSettings
from spoel_common.runtime import Runtime, Verifier
from spoel_common.web import create_app


def build_app(settings: AuditSettings, verifier: Verifier | None = None) -> FastAPI:
    """Wire the audit service together; nothing is opened before the lifespan starts.

    Args:
        settings: the service's settings.
        verifier: who says who holds a token; the issuer of the settings if None.
    """
    projection = log_projection(Sequencer(settings.service_clock()))
    runtime = Runtime(settings, "spoel_audit", [projection], publishes=False, verifier=verifier)
    return create_app(runtime, title="Spoel audit", routers=[router])
