"""The conditions under which a service calls itself ready, each with what was found and what to do about it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from spoel_common.identity import TokenVerifier
from spoel_common.messaging import Broker, Keeper, Relay
from spoel_common.settings import Settings
from spoel_common.store import Database, check_append_only, check_order
from spoel_common.supervision import TaskState

CHECK_TIMEOUT_S = 3.0

_log = structlog.get_logger(__name__)


class Check(NamedTuple):
    """One condition of readiness.

    Attributes:
        name: what was looked at.
        ok: whether it is as it should be.
        detail: what was found, and what to do if it is wrong.
    """

    name: str
    ok: bool
    detail: str


Look = Callable[[], Awaitable[Check]]


async def look_at_all(looks: Mapping[str, Look]) -> list[Check]:
    """Look at every condition at once, each for a few seconds at most; one that fails in any way is not met."""
    return list(await asyncio.gather(*(_look(name, look) for name, look in looks.items())))


async def check_database(database: Database) -> Check:
    """Check that the database answers, guards its events and orders new ones behind the old."""
    problem = await check_append_only(database) or await check_order(database)
    return Check("database", problem is None, problem or "answers, and refuses changes of events")


async def check_broker(broker: Broker | None, settings: Settings) -> Check:
    """Check that NATS is connected."""
    if broker is None or not broker.connected:
        servers = ", ".join(settings.nats_url) or "no server"
        return Check("broker", ok=False, detail=f"NATS is not connected at {servers}; check SPOEL_NATS_URL")
    return Check("broker", ok=True, detail="NATS is connected")


async def check_durability(broker: Broker | None, settings: Settings) -> Check:
    """Check that NATS syncs what it acknowledges, or that somebody said why it need not."""
    if broker is None:
        return Check("durability", ok=False, detail="NATS was not reached yet")
    problem = await broker.check_server()
    accepted = settings.unchecked_durability_reason
    if problem is None or accepted is not None:
        return Check("durability", ok=True, detail=f"accepted: {accepted}" if problem else "NATS syncs always")
    return Check("durability", ok=False, detail=f"{problem}; or say why not in SPOEL_UNCHECKED_DURABILITY_REASON")


async def check_relay(relay: Relay | None) -> Check:
    """Check that this process publishes, or another one of the service does."""
    if relay is not None and relay.follows:
        return Check("relay", ok=True, detail="another process publishes")
    problem = "not started yet" if relay is None else relay.problem
    return Check("relay", problem is None, problem or "publishes")


async def check_consumers(keepers: Sequence[Keeper], wanted: int) -> Check:
    """Check that every read model is kept."""
    if len(keepers) < wanted:
        return Check("consumers", ok=False, detail="not started yet: NATS was not reached")
    problems = [problem for keeper in keepers for problem in keeper.problems()]
    return Check("consumers", not problems, "; ".join(problems) or f"{len(keepers)} running")


async def check_identity(identity: TokenVerifier | None, issuer: str) -> Check:
    """Check that tokens can be checked; None where another says who holds one."""
    known = identity is None or await identity.ready()
    return Check(
        "identity", known, "tokens can be checked" if known else f"no key of the issuer {issuer}; check SPOEL_ISSUER"
    )


async def check_tasks(states: Mapping[str, TaskState]) -> Check:
    """Check that no background task is waiting to be started again."""
    waiting = [
        f"{name}: {state.last_error}" for name, state in states.items() if not state.running and not state.finished
    ]
    return Check("tasks", not waiting, "; ".join(waiting) or "all running")


async def _look(name: str, look: Look) -> Check:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await look()
    except TimeoutError:
        return Check(name, ok=False, detail=f"no answer within {CHECK_TIMEOUT_S:g} s")
    except Exception as error:  # noqa: BLE001 - a check that fails in any way is a check that is not met
        _log.warning("check.failed", check=name, exc_info=True)
        return Check(name, ok=False, detail=f"{type(error).__name__}; the log says more")
