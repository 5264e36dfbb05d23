"""What a route of a room node may ask for: the node, and who calls, where a session's grant may stand for the token."""

from typing import Annotated

from fastapi import Depends, Header, Path, Request

from spoel_common.clock import utc_now
from spoel_common.identity import TokenExpired
from spoel_common.people import Actor
from spoel_common.runtime import Runtime
from spoel_common.web import (
    CommandCall,
    CredentialsDep,
    RuntimeDep,
    command_call,
    counting_refusals,
    current_actor,
    token_of,
)
from spoel_stimulation.aggregates import SESSION
from spoel_stimulation.domain import grant
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.node import Node

PathId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def node_of(request: Request) -> Node:
    """Return the node that serves ``request``."""
    node: Node = request.app.state.node
    return node


NodeDep = Annotated[Node, Depends(node_of)]


async def session_actor(session_id: PathId, runtime: RuntimeDep, node: NodeDep, credentials: CredentialsDep) -> Actor:
    """Return who calls about a session; its own operator also with a token that lapsed while the grant lasts.

    Raises:
        TokenMissing, TokenExpired, TokenWithoutExpiry, TokenInvalid, IdentityUnavailable: as ``current_actor`` does.
    """
    try:
        return await current_actor(runtime, credentials)
    except TokenExpired:
        session = (await runtime.units.load(SESSION, session_id)).state
        return await _granted(runtime, node, credentials, session)


async def room_actor(room_id: PathId, runtime: RuntimeDep, node: NodeDep, credentials: CredentialsDep) -> Actor:
    """Return who looks at a room; likewise the operator of the session that is open in it.

    Raises:
        NotFound: this node has no such room.
        TokenMissing, TokenExpired, TokenWithoutExpiry, TokenInvalid, IdentityUnavailable: as ``current_actor`` does.
    """
    try:
        return await current_actor(runtime, credentials)
    except TokenExpired:
        session = await node.room(room_id).journal.open_session()
        return await _granted(runtime, node, credentials, session or SessionState())


async def _granted(runtime: Runtime, node: Node, credentials: CredentialsDep, session: SessionState) -> Actor:
    with counting_refusals(runtime):
        actor = await runtime.verifier.verify(token_of(credentials), lapsed_s=node.settings.grant_s)
        if grant.covers(session, actor.person_id, utc_now(runtime.clock)):
            return actor
        raise TokenExpired("The token's time is over, and no session's grant stands for it. Sign in again.")


SessionActorDep = Annotated[Actor, Depends(session_actor)]
RoomActorDep = Annotated[Actor, Depends(room_actor)]


async def session_command(
    request: Request,
    runtime: RuntimeDep,
    actor: SessionActorDep,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Names this command: a repeat with the same key gets the same answer and does nothing again.",
        ),
    ] = None,
) -> CommandCall:
    """Return the command about a session that ``request`` is.

    Raises:
        IdempotencyKeyMissing: no ``Idempotency-Key``, or not 1 to 255 visible ASCII characters.
    """
    return await command_call(request, runtime, actor, key)


SessionCommandDep = Annotated[CommandCall, Depends(session_command)]
