"""Health and metrics: the routes that every service has beside its own."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from spoel_common.metrics import METRICS_MEDIA_TYPE
from spoel_common.web.dependencies import RuntimeDep

router = APIRouter(tags=["operations"])


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class CheckAnswer(BaseModel):
    """One condition of readiness: what was looked at, whether it is well, and what to do if not."""

    name: str
    ok: bool
    detail: str


class Readiness(BaseModel):
    """Whether the service can do its work, and why not."""

    status: Literal["ready", "not-ready"]
    service: str
    site: str
    checks: list[CheckAnswer]


@router.get("/health/live")
async def live() -> Liveness:
    """Say that the process answers."""
    return Liveness()


@router.get("/health/ready", responses={503: {"model": Readiness, "description": "Not ready; `checks` says why."}})
async def ready(runtime: RuntimeDep, response: Response) -> Readiness:
    """Say whether the service can do its work; status 503 if a check fails."""
    checks = [CheckAnswer(name=check.name, ok=check.ok, detail=check.detail) for check in await runtime.checks()]
    well = all(check.ok for check in checks)
    response.status_code = 200 if well else 503
    return Readiness(
        status="ready" if well else "not-ready",
        service=runtime.settings.service,
        site=runtime.settings.site,
        checks=checks,
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(runtime: RuntimeDep) -> Response:
    """Show the metrics in Prometheus's text format."""
    await runtime.observe()
    return Response(runtime.metrics.render(), media_type=METRICS_MEDIA_TYPE)
