"""The development identity provider: gives access tokens for invented people, on one machine only.

It starts only with ``SPOEL_DEV_IDENTITY=1``, at a loopback address, and never where ``SPOEL_CLINICAL`` is true. The
services know it only as an OpenID Connect issuer; any standard issuer takes its place. Grant: client credentials
(RFC 6749 section 4.4), the client being one of the people of ``people.toml`` and the secret that of the installation.
"""

import base64
import binascii
import hmac
import os
import secrets
import time
import tomllib
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote_plus

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoel_common.ids import new_id
from spoel_common.logging import configure_logging
from spoel_common.metrics import Metrics
from spoel_common.people import Profession, Role
from spoel_common.settings import CannotStart, ProcessSettings, exit_with, load_settings, read_secret
from spoel_common.web import plain_app, serve

SERVICES = ("intake", "planning", "stimulation", "audit")
LONGEST_LIFETIME_S = 3_600
FORM = "application/x-www-form-urlencoded"

_ALGORITHM = "Ed25519"
_KEY_BYTES = 32
_MAX_FORM_FIELDS = 20

_log = structlog.get_logger(__name__)


class IdentitySettings(ProcessSettings):
    """Settings of the development identity provider.

    Attributes:
        dev_identity: has to be set (``SPOEL_DEV_IDENTITY=1``) for it to start at all.
        issuer: its own address as the services know it; ``http://<bind>:<port>`` if absent.
        identity_key_file: file with the seed of its signing key, 32 bytes in base64; made if absent.
        identity_secret_file: file with the secret of all its clients; made if absent.
        identity_people_file: people to know instead of the package's ``people.toml``.
        identity_token_lifetime_s: how long a token is valid, in seconds.
    """

    port: int = 8100
    dev_identity: bool = False
    issuer: str = ""
    identity_key_file: Path | None = None
    identity_secret_file: Path | None = None
    identity_people_file: Path | None = None
    identity_token_lifetime_s: int = Field(default=LONGEST_LIFETIME_S, gt=0, le=LONGEST_LIFETIME_S)

    @property
    def own_issuer(self) -> str:
        """The ``iss`` of its tokens."""
        host = f"[{self.bind}]" if ":" in self.bind else self.bind
        return self.issuer or f"http://{host}:{self.port}"

    @property
    def key_file(self) -> Path:
        """Where the seed of the signing key is."""
        return self.identity_key_file or self.data_dir / "secrets" / "identity-key"

    @property
    def secret_file(self) -> Path:
        """Where the secret of its clients is."""
        return self.identity_secret_file or self.data_dir / "secrets" / "identity-client-secret"


class Person(BaseModel):
    """Somebody to whom it gives tokens.

    Attributes:
        name: as shown to people.
        roles: what the token says that they are.
        profession: registered profession, if any.
        big_number: eleven digits, if registered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    roles: tuple[Role, ...]
    profession: Profession | None = None
    big_number: Annotated[str, Field(pattern=r"^[0-9]{11}$")] | None = None


class TokenRefused(Exception):
    """A token request that is refused; RFC 6749 section 5.2 names the errors.

    Args:
        error: the error code.
        description: what to do.
        status: HTTP status.
    """

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


class Issuer:
    """Signs tokens.

    Args:
        name: the ``iss`` of its tokens.
        key: its signing key.
        people: whom it knows, by client id.
        lifetime_s: how long a token is valid, unless asked otherwise.
    """

    def __init__(self, name: str, key: OKPKey, people: Mapping[str, Person], lifetime_s: int) -> None:
        self.name = name
        self.people = people
        self.lifetime_s = lifetime_s
        self._key = key

    def jwks(self) -> dict[str, Any]:
        """Return the public key set (RFC 7517)."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "kid": self._key.thumbprint(), "use": "sig", "alg": _ALGORITHM}]}

    def issue(
        self,
        client_id: str,
        *,
        audience: Sequence[str] = SERVICES,
        roles: Collection[Role] | None = None,
        lifetime_s: int | None = None,
    ) -> str:
        """Return an access token (RFC 9068) for ``client_id``.

        Args:
            client_id: one of the known people.
            audience: services at which it is valid.
            roles: only these of the person's roles; all if None.
            lifetime_s: seconds for which it is valid; negative for one that is over already, to try refusals.

        Raises:
            TokenRefused: nobody is known by that name.
        """
        person = self.people.get(client_id)
        if person is None:
            known = ", ".join(sorted(self.people))
            raise TokenRefused("invalid_client", f"Nobody is known as {client_id!r}; known are {known}.", 401)
        now_s = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.name,
            "sub": client_id,
            "client_id": client_id,
            "aud": list(audience),
            "iat": now_s,
            "exp": now_s + (self.lifetime_s if lifetime_s is None else min(lifetime_s, LONGEST_LIFETIME_S)),
            "jti": new_id(),
            "name": person.name,
            "roles": [role for role in person.roles if roles is None or role in roles],
            "big_number": person.big_number,
            "profession": person.profession,
        }
        header = {"alg": _ALGORITHM, "typ": "at+jwt", "kid": self._key.thumbprint()}
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, present, self._key, algorithms=[_ALGORITHM])


def load_people(path: Path | None = None) -> dict[str, Person]:
    """Return the people by client id, from ``path`` or the package's own ``people.toml``.

    Raises:
        CannotStart: the file cannot be read, or somebody in it is not described rightly.
    """
    source = path or files("spoel_local").joinpath("people.toml")
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
        return {client_id: Person.model_validate(row) for client_id, row in table.items()}
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CannotStart(f"The people file {source} cannot be used: {error}") from error


def make_secrets(settings: IdentitySettings) -> list[Path]:
    """Make the signing key and the client secret where they are absent (mode 0600); return the files that are new."""
    wanted = {
        settings.key_file: base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode(),
        settings.secret_file: secrets.token_urlsafe(_KEY_BYTES),
    }
    return [path for path, text in wanted.items() if _write_once(path, text)]


def open_issuer(settings: IdentitySettings) -> Issuer:
    """Return the issuer of an installation.

    Raises:
        CannotStart: its key or people cannot be read.
    """
    seed = read_secret(settings.key_file, "identity_key_file")
    try:
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed, validate=True))
    except (ValueError, binascii.Error) as error:
        raise CannotStart(
            f"SPOEL_IDENTITY_KEY_FILE names {settings.key_file}, which is not 32 bytes in base64. "
            "Remove it to have a new key made."
        ) from error
    key = OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _base64url(private.public_key().public_bytes_raw()),
            "d": _base64url(private.private_bytes_raw()),
        }
    )
    people = load_people(settings.identity_people_file)
    return Issuer(settings.own_issuer, key, people, settings.identity_token_lifetime_s)


def issue_token(
    client_id: str,
    settings: IdentitySettings,
    *,
    audience: Sequence[str] = SERVICES,
    lifetime_s: int | None = None,
) -> str:
    """Return a token for ``client_id``, signed with the installation's key, without asking the running provider.

    Raises:
        CannotStart: this is no development installation, or its key cannot be read.
        TokenRefused: nobody is known by that name.
    """
    check_allowed(settings)
    return open_issuer(settings).issue(client_id, audience=audience, lifetime_s=lifetime_s)


def check_allowed(settings: IdentitySettings) -> None:
    """Refuse to be an identity provider where people are treated, or where others could reach it.

    Raises:
        CannotStart: not asked for, a clinical site, or not a loopback address.
    """
    if settings.clinical:
        raise CannotStart(
            "The development identity provider never runs where SPOEL_CLINICAL is true. "
            "Set SPOEL_ISSUER of the services to the hospital's own issuer."
        )
    if not settings.dev_identity:
        raise CannotStart(
            "The development identity provider gives anyone with its secret any role, so it starts only when asked "
            "to: set SPOEL_DEV_IDENTITY=1 on a machine for development or demonstration."
        )
    if not ip_address(settings.bind).is_loopback:
        raise CannotStart(
            f"SPOEL_BIND is {settings.bind}; the development identity provider listens at a loopback address only. "
            "Set it to 127.0.0.1."
        )


def build_app(settings: IdentitySettings) -> FastAPI:
    """Return the provider's application; makes its key and secret if they are absent.

    Raises:
        CannotStart: it may not run here, or a file cannot be read.
    """
    check_allowed(settings)
    make_secrets(settings)
    issuer = open_issuer(settings)
    secret = read_secret(settings.secret_file, "identity_secret_file")
    app = plain_app(
        "Spoel development identity provider",
        Metrics("identity"),
        description="Access tokens for invented people; never where people are treated.",
        media_types=(FORM,),
    )
    _add_routes(app, issuer, secret)
    return app


def _add_routes(app: FastAPI, issuer: Issuer, secret: str) -> None:
    @app.get("/.well-known/openid-configuration", tags=["identity"])
    async def configuration() -> dict[str, Any]:
        """Describe the issuer (OpenID Connect Discovery 1.0)."""
        return {
            "issuer": issuer.name,
            "jwks_uri": f"{issuer.name}/jwks.json",
            "token_endpoint": f"{issuer.name}/token",
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "name", "roles", "big_number", "profession"],
        }

    @app.get("/jwks.json", tags=["identity"])
    async def jwks() -> dict[str, Any]:
        """Give the public keys."""
        return issuer.jwks()

    @app.get("/health/live", tags=["operations"])
    async def live() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "live"}

    @app.post("/token", tags=["identity"])
    async def token(request: Request) -> JSONResponse:
        """Give a token for client credentials (form fields of RFC 6749; ``audience`` and ``scope`` narrow it)."""
        try:
            form = _form(await request.body())
            answer = _grant(issuer, secret, form, _basic(request.headers.get("authorization", "")))
        except TokenRefused as refusal:
            headers = {"WWW-Authenticate": 'Basic realm="spoel"'} if refusal.status == HTTPStatus.UNAUTHORIZED else {}
            document = {"error": refusal.error, "error_description": refusal.description}
            return JSONResponse(document, refusal.status, headers)
        return JSONResponse(answer, headers={"Pragma": "no-cache"})


def _grant(issuer: Issuer, secret: str, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, str | int]:
    if form.get("grant_type") != "client_credentials":
        raise TokenRefused("unsupported_grant_type", "Send grant_type=client_credentials.")
    client_id, given = basic or (form.get("client_id", ""), form.get("client_secret", ""))
    if not hmac.compare_digest(given.encode(), secret.encode()):
        raise TokenRefused("invalid_client", "client_secret is not that of this installation.", 401)
    audience = form.get("audience", "").split() or list(SERVICES)
    if not set(audience) <= set(SERVICES):
        raise TokenRefused("invalid_target", f"audience is one or more of {' '.join(SERVICES)}.")
    scope = form.get("scope", "").split()
    if not set(scope) <= set(Role):
        raise TokenRefused("invalid_scope", f"scope is one or more of the roles {' '.join(sorted(Role))}.")
    roles = {Role(name) for name in scope} or None
    return {
        "access_token": issuer.issue(client_id, audience=audience, roles=roles),
        "token_type": "Bearer",
        "expires_in": issuer.lifetime_s,
    }


def _form(body: bytes) -> dict[str, str]:
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=_MAX_FORM_FIELDS)
    except ValueError as error:
        raise TokenRefused("invalid_request", f"Send the fields as {FORM}.") from error
    if any(len(values) > 1 for values in fields.values()):
        raise TokenRefused("invalid_request", "Send each field once.")
    return {name: values[0] for name, values in fields.items()}


def _basic(header: str) -> tuple[str, str] | None:
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, _, given = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (ValueError, binascii.Error) as error:
        raise TokenRefused("invalid_client", "The Basic credentials cannot be read.", 401) from error
    return unquote_plus(client_id), unquote_plus(given)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _write_once(path: Path, text: str) -> bool:
    """Write a secret where there is none; it appears whole or not at all."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    passing = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    passing.replace(path)
    return True


def main() -> None:
    """Be the development identity provider until SIGTERM or SIGINT."""
    try:
        settings = load_settings(IdentitySettings)
        configure_logging("identity", settings.log_level)
        app = build_app(settings)
        _log.warning("identity.development-only", issuer=settings.own_issuer, secret_file=str(settings.secret_file))
        serve(app, settings)
    except CannotStart as error:
        exit_with(error)


if __name__ == "__main__":
    main()
