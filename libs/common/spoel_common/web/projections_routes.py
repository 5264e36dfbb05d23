"""Read models from events: what is known of each feed, which version serves, rebuilding. Every service has these."""

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel

from spoel_common.errors import NotFound, SpoelError
from spoel_common.events import UtcTime
from spoel_common.messaging import FeedKnowledge, Keeper, ProjectionStatus, ask_rebuild, cancel_rebuild
from spoel_common.people import check_role
from spoel_common.runtime import Runtime, Unavailable
from spoel_common.web.commands import CommandDep
from spoel_common.web.dependencies import ActorDep, RuntimeDep
from spoel_common.work import Work

router = APIRouter(prefix="/operations", tags=["operations"])

Name = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,100}$", description="Name of the read model at this service.")]


class NotRebuildable(SpoelError):
    """The read model cannot be built again from the streams."""

    slug = "projection-not-rebuildable"
    status = 409
    title = "This is never built again"


class FeedsAnswer(BaseModel):
    """What this service knows of each feed that it follows; a feed of which nothing was heard is listed as such."""

    service: str
    feeds: list[FeedKnowledge]


class ProjectionsAnswer(BaseModel):
    """The read models that this service keeps from events."""

    service: str
    projections: list[ProjectionStatus]


class RebuildAsked(BaseModel):
    """A rebuild is asked for; it began, or begins within seconds, and ends by itself."""

    projection: str
    asked_at: UtcTime


class RebuildCancelled(BaseModel):
    """Whether there was a rebuild that is now asked for no longer."""

    projection: str
    cancelled: bool


@router.get("/feeds")
async def get_feeds(runtime: RuntimeDep, _actor: ActorDep) -> FeedsAnswer:
    """Say what is known of each feed, and as of when."""
    return FeedsAnswer(service=runtime.settings.service, feeds=runtime.knowledge())


@router.get("/projections")
async def get_projections(runtime: RuntimeDep, _actor: ActorDep) -> ProjectionsAnswer:
    """List the read models, which version of each serves, and how far a rebuild is."""
    kept = [await keeper.status() for keeper in _keepers(runtime)]
    return ProjectionsAnswer(service=runtime.settings.service, projections=kept)


@router.post("/projections/{name}/rebuild", status_code=202, response_model=RebuildAsked)
async def post_rebuild(name: Name, call: CommandDep) -> Response:
    """Build a read model anew from the first event, beside the one that serves, and switch when it is complete."""
    check_role("rebuild-projection", call.actor)
    keeper = _keeper(call.runtime, name)
    if not keeper.projection.tables:
        raise NotRebuildable(f"{name} only grows and is never built again.")

    async def ask(work: Work) -> RebuildAsked:
        return RebuildAsked(projection=name, asked_at=await ask_rebuild(work.conn, name))

    response = await call.run(ask, 202)
    keeper.wake()
    return response


@router.post("/projections/{name}/rebuild/cancellation", status_code=200, response_model=RebuildCancelled)
async def post_cancellation(name: Name, call: CommandDep) -> Response:
    """Give up a rebuild: what was built is dropped, what serves goes on. One of a raised version begins again."""
    check_role("rebuild-projection", call.actor)
    _keeper(call.runtime, name)

    async def cancel(work: Work) -> RebuildCancelled:
        return RebuildCancelled(projection=name, cancelled=await cancel_rebuild(work.conn, name))

    return await call.run(cancel, 200)


def _keepers(runtime: Runtime) -> list[Keeper]:
    """Return who keeps the read models.

    Raises:
        Unavailable: NATS was not reached since the start.
    """
    if len(runtime.keepers) < len(runtime.projections):
        raise Unavailable("This needs NATS, which was not reached yet. Try again shortly.")
    return runtime.keepers


def _keeper(runtime: Runtime, name: str) -> Keeper:
    found = next((keeper for keeper in _keepers(runtime) if keeper.projection.name == name), None)
    if found is None:
        names = ", ".join(keeper.projection.name for keeper in runtime.keepers) or "none"
        raise NotFound(f"This service keeps no read model named {name}; it keeps: {names}.")
    return found
