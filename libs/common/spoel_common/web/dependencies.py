"""What a route may ask for: the runtime, and the person or system that calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from spoel_common.errors import SpoelError
from spoel_common.identity import TokenMissing
from spoel_common.people import Actor
from spoel_common.runtime import Runtime

bearer = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="JWT",
    description="Access token of the site's OpenID Connect issuer; `aud` names this service.",
    auto_error=False,
)


def runtime_of(request: Request) -> Runtime:
    """Return the runtime of the service that serves ``request``."""
    runtime: Runtime = request.app.state.runtime
    return runtime


RuntimeDep = Annotated[Runtime, Depends(runtime_of)]


CredentialsDep = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
"""The bearer token as it came, not looked at."""


async def current_actor(runtime: RuntimeDep, credentials: CredentialsDep) -> Actor:
    """Return who calls, as the bearer token says.

    Raises:
        TokenMissing: no bearer token.
        TokenExpired: its time is over.
        TokenWithoutExpiry: it has no end.
        TokenInvalid: forged, or for another service.
        IdentityUnavailable: the issuer's keys are not known.
    """
    with counting_refusals(runtime):
        return await runtime.verifier.verify(token_of(credentials))


def token_of(credentials: HTTPAuthorizationCredentials | None) -> str:
    """Return the text of a bearer token.

    Raises:
        TokenMissing: there is none.
    """
    if credentials is None:
        raise TokenMissing("Send a token of the site's issuer as 'Authorization: Bearer <token>'.")
    return credentials.credentials


@contextmanager
def counting_refusals(runtime: Runtime) -> Iterator[None]:
    """Count a token that is refused, by kind of problem."""
    try:
        yield
    except SpoelError as refusal:
        runtime.metrics.identity_refused.labels(refusal.slug).inc()
        raise


def bearer_token(
    _actor: Annotated[Actor, Depends(current_actor)],
    credentials: CredentialsDep,
) -> str:
    """Return the caller's token, which was checked: to ask another service in the caller's name."""
    return "" if credentials is None else credentials.credentials


ActorDep = Annotated[Actor, Depends(current_actor)]
TokenDep = Annotated[str, Depends(bearer_token)]
