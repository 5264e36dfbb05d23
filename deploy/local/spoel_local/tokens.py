"""Tokens from the development identity provider of a running instance (RFC 6749, client credentials)."""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

from spoel_common.people import Role
from spoel_local.installation import Installation
from spoel_local.processes import LauncherError

_TIMEOUT_S = 5.0


class NoToken(LauncherError):
    """The identity provider gives no token."""


@cache
def read_people() -> dict[str, dict[str, Any]]:
    """Return the invented people of ``people.toml`` by client id."""
    return tomllib.loads(files("spoel_local").joinpath("people.toml").read_text(encoding="utf-8"))


def person_with(role: Role) -> str:
    """Return the client id of the invented person who has ``role``."""
    return next(client_id for client_id, person in read_people().items() if role in person["roles"])


def fetch_tokens(people: Iterable[str], data_dir: Path, issuer: str) -> dict[str, str]:
    """Return a bearer token for each of some invented people, good at every service.

    Args:
        people: ids in ``people.toml``.
        data_dir: the installation, whose client secret is used.
        issuer: URL of the identity provider.

    Raises:
        NoToken: it does not answer, or refuses.
    """
    secret_file = Installation(data_dir).identity_client_secret
    try:
        secret = secret_file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise NoToken(f"The secret {secret_file} cannot be read ({error.strerror}). Run this as its owner.") from error
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        return {person: _fetch(client, person, secret, issuer) for person in people}


def _fetch(client: httpx.Client, person: str, secret: str, issuer: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": person, "client_secret": secret}
    try:
        answer = client.post(f"{issuer}/token", data=form)
    except httpx.HTTPError as error:
        raise NoToken(f"The identity provider at {issuer} does not answer ({type(error).__name__}).") from error
    if not answer.is_success:
        raise NoToken(f"The identity provider at {issuer} gives no token: {answer.text}")
    return str(answer.json()["access_token"])
