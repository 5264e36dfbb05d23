"""Composition root of a room node."""

from functools import partial

from fastapi import FastAPI

from spoel_common.readiness import Check
from spoel_common.runtime import Runtime, Verifier
from spoel_common.web import create_app
from spoel_stimulation.api import router
from spoel_stimulation.api_day import router as day_router
from spoel_stimulation.api_rooms import EMERGENCY_STOP_PATHS
from spoel_stimulation.api_rooms import router as rooms_router
from spoel_stimulation.api_site import router as site_router
from spoel_stimulation.api_stimuli import router as stimuli_router
from spoel_stimulation.node import Node
from spoel_stimulation.settings import StimulationSettings


def build_app(settings: StimulationSettings, verifier: Verifier | None = None, node: Node | None = None) -> FastAPI:
    """Wire a room node together; nothing is opened before the lifespan starts.

    Args:
        settings: the node's settings.
        verifier: who says who holds a token; the issuer of the settings if None.
        node: the node, where it is not made from the settings alone.

    Raises:
        CannotStart: a room's key file is unusable.
    """
    rooms = node or Node(settings)
    runtime = Runtime(
        settings,
        "spoel_stimulation",
        [rooms.projection(), rooms.site_projection(), rooms.projection_of_rooms()],
        resources=rooms.open,
        tasks={
            "erasures": rooms.erasures.run,
            "leases": rooms.leases.run,
            "strips": rooms.keep_strips,
            "presence": rooms.say_present,
            **{f"room-{room.room_id}": partial(_run_room, rooms, room.room_id) for room in settings.rooms},
        },
        checks=[partial(_check_devices, rooms)],
        verifier=verifier,
        body_hash_key=rooms.body_hash_key,
    )
    return create_app(
        runtime,
        title="Spoel stimulation",
        routers=[rooms_router, router, stimuli_router, day_router, site_router],
        description="Rooms, devices, sessions, trains and the emergency stop.",
        open_paths=EMERGENCY_STOP_PATHS,
        state={"node": rooms},
    )


async def _run_room(node: Node, room_id: str, _runtime: Runtime) -> None:
    await node.run_room(room_id)


async def _check_devices(node: Node, _runtime: Runtime) -> Check:
    away = [f"{room.room_id}: {room.link.problem}" for room in node.rooms.values() if not room.link.up]
    return Check("devices", not away, "; ".join(away) or f"{len(node.rooms)} answer")
