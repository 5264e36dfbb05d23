"""Who asks: OpenID Connect access tokens (JWT, RFC 7519 and RFC 9068) checked against the issuer's public keys.

The keys (JWKS, RFC 7517) are fetched from the issuer, kept in memory and on disk, and used for as long as the issuer
is away. A token chooses among these keys by ``kid`` and nothing else: key material or addresses in its header are not
looked at. Only asymmetric algorithms are allowed.

Token times are wall time in every mode.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import structlog
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError, MissingClaimError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, OKPKey

from spoel_common.errors import SpoelError
from spoel_common.people import Actor, Profession, Role

DEFAULT_ALGORITHMS = ("Ed25519", "EdDSA", "ES256")
LEEWAY_S = 10
FETCH_TIMEOUT_S = 5.0
REFETCH_INTERVAL_S = 10.0
FIRST_FETCH_INTERVAL_S = 1.0
KEYS_MAX_AGE_S = 600.0
MAX_TOKEN_CHARS = 8_192
MAX_JWKS_BYTES = 262_144

_TOKEN_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})
_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")
_ROLES: frozenset[str] = frozenset(Role)
_PROFESSIONS: frozenset[str] = frozenset(Profession)
_WELL_KNOWN = "/.well-known/openid-configuration"

_log = structlog.get_logger(__name__)


class TokenMissing(SpoelError):
    """The request has no bearer token."""

    slug = "token-missing"
    status = 401
    title = "Sign in first"


class TokenExpired(SpoelError):
    """The token's time is over."""

    slug = "token-expired"
    status = 401
    title = "The token has expired"


class TokenInvalid(SpoelError):
    """The token is not one that this service's issuer made for this service."""

    slug = "token-invalid"
    status = 401
    title = "The token is not valid here"


class TokenWithoutExpiry(SpoelError):
    """The token would be valid for ever."""

    slug = "token-without-expiry"
    status = 401
    title = "The token has no expiry"


class IdentityUnavailable(SpoelError):
    """No key of the issuer is known, and the issuer cannot be reached."""

    slug = "identity-unavailable"
    status = 503
    title = "Tokens cannot be checked at the moment"


class KeySource:
    """The issuer's public keys, by ``kid``, in memory and on disk.

    Keys older than ``KEYS_MAX_AGE_S`` are fetched again in the background while they go on being used.

    Args:
        issuer: URL of the issuer; its discovery document is asked where no ``jwks_url`` is given.
        jwks_url: where the keys are.
        cache_file: where they are kept on disk; None keeps them in memory only.
        transport: how HTTP is spoken; for tests.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None,
        cache_file: Path | None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._cache_file = cache_file
        self._transport = transport
        self._keys: dict[str, ECKey | OKPKey] = {}
        self._next_fetch_s = 0.0
        self._stale_at_s = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._read_cache()

    async def have_some(self) -> bool:
        """Return whether any key is known, asking the issuer if none is."""
        if not self._keys:
            await self._fetch_once()
        return bool(self._keys)

    async def key(self, kid: str | None) -> ECKey | OKPKey | None:
        """Return the key named ``kid``, asking the issuer if it is not known; None if there is no such key.

        Args:
            kid: the key's name; None means the only key there is.

        Raises:
            IdentityUnavailable: no key at all is known, and the issuer cannot be reached.
        """
        found = self._find(kid)
        if found is None:
            await self._fetch_once()
            found = self._find(kid)
        elif time.monotonic() >= self._stale_at_s:
            self._start_fetch()
        if found is None and not self._keys:
            raise IdentityUnavailable(
                f"The keys of the issuer {self._issuer} could not be fetched, and none are kept here. "
                "Try again shortly; if it lasts, check the issuer and SPOEL_JWKS_URL."
            )
        return found

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching], timeout=1.0)

    def _find(self, kid: str | None) -> ECKey | OKPKey | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _fetch_once(self) -> None:
        fetching = self._start_fetch()
        if fetching is not None:
            await asyncio.wait([fetching], timeout=2 * FETCH_TIMEOUT_S)

    def _start_fetch(self) -> asyncio.Task[None] | None:
        """Return the fetch under way; start one unless the last was too short ago."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now_s = time.monotonic()
        if now_s < self._next_fetch_s:
            return None
        self._next_fetch_s = now_s + (REFETCH_INTERVAL_S if self._keys else FIRST_FETCH_INTERVAL_S)
        self._fetching = asyncio.create_task(self._fetch(), name="jwks-fetch")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with (
                asyncio.timeout(2 * FETCH_TIMEOUT_S),
                httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, transport=self._transport, trust_env=False) as client,
            ):
                document = await _get_json(client, self._jwks_url or await self._discover(client))
            keys = usable_keys(document)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            _log.warning("identity.keys-not-fetched", issuer=self._issuer, reason=type(error).__name__, text=str(error))
            return
        self._keys = keys
        self._next_fetch_s = time.monotonic() + REFETCH_INTERVAL_S
        self._stale_at_s = time.monotonic() + KEYS_MAX_AGE_S
        self._write_cache(document)

    async def _discover(self, client: httpx.AsyncClient) -> str:
        document = await _get_json(client, self._issuer.rstrip("/") + _WELL_KNOWN)
        if document.get("issuer") != self._issuer:
            raise ValueError("the discovery document names another issuer")
        jwks_url = document.get("jwks_uri")
        if not isinstance(jwks_url, str):
            raise ValueError("the discovery document has no jwks_uri")  # noqa: TRY004 - a wrong document, not a bug
        return jwks_url

    def _read_cache(self) -> None:
        if self._cache_file is None or not self._cache_file.exists():
            return
        try:
            kept = json.loads(self._cache_file.read_text(encoding="utf-8"))
            if kept["issuer"] == self._issuer and kept["jwks_url"] == self._jwks_url:
                self._keys = usable_keys(kept["jwks"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("identity.cache-not-read", path=str(self._cache_file), reason=type(error).__name__)

    def _write_cache(self, document: Mapping[str, Any]) -> None:
        if self._cache_file is None:
            return
        content = json.dumps({"issuer": self._issuer, "jwks_url": self._jwks_url, "jwks": document})
        passing = self._cache_file.with_name(f"{self._cache_file.name}.{os.getpid()}.new")
        try:
            passing.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            passing.write_text(content, encoding="utf-8")
            passing.chmod(0o600)
            passing.replace(self._cache_file)
        except OSError as error:
            _log.warning("identity.cache-not-written", path=str(self._cache_file), reason=type(error).__name__)


class _Signatures(jws.JWSRegistry):
    """Takes ``EdDSA`` (RFC 8037) for what RFC 9864 calls ``Ed25519``, the only curve of it that is allowed here."""

    def get_alg(self, name: str) -> JWSAlgModel:
        """Return the algorithm named ``name``."""
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


class TokenVerifier:
    """Checks access tokens and says who asks.

    Args:
        issuer: exactly what ``iss`` must be.
        jwks_url: where the issuer's keys are; found by discovery if None.
        audience: what ``aud`` must name: this service.
        algorithms: signature algorithms that are allowed.
        cache_file: where the keys are kept for when the issuer is away.
        transport: how HTTP is spoken; for tests.
        now: seconds since 1970-01-01 UTC; wall time.
    """

    def __init__(
        self,
        issuer: str,
        jwks_url: str | None,
        audience: str,
        *,
        algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
        cache_file: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._audience = audience
        self._now = now
        self._keys = KeySource(issuer, jwks_url, cache_file, transport)
        self._signatures = _Signatures(algorithms=list(algorithms), strict_check_header=False)
        self._algorithms = frozenset(algorithms)
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def verify(self, token: str, *, lapsed_s: float = 0.0) -> Actor:
        """Return who holds ``token``.

        Args:
            token: as it came.
            lapsed_s: how long ago its time may have ended; for the session grant of a room alone.

        Raises:
            TokenExpired: its time is over.
            TokenWithoutExpiry: it has no ``exp``.
            TokenInvalid: forged, not yet valid, for another service, by another issuer, or not a token at all.
            IdentityUnavailable: no key is known, and the issuer cannot be reached.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenInvalid(f"The token is longer than {MAX_TOKEN_CHARS} characters. {_SIGN_IN}")
        try:
            kid = self._kid_of(token)
            key = await self._keys.key(kid)
            if key is None:
                raise TokenInvalid(f"The token is signed with a key that the issuer does not list. {_SIGN_IN}")
            claims = jwt.decode(token, key, registry=self._signatures).claims
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise TokenInvalid(f"The token's form or signature is wrong. {_SIGN_IN}") from error
        self._check_claims(_as_of_its_end(claims, self._now(), lapsed_s))
        return actor_of(claims)

    async def ready(self) -> bool:
        """Return whether tokens can be checked: whether a key is known, after asking for one if none is."""
        return await self._keys.have_some()

    async def close(self) -> None:
        """Stop a fetch of keys that is under way."""
        await self._keys.close()

    def _kid_of(self, token: str) -> str | None:
        header = jws.extract_compact(token.encode("ascii")).headers()
        if header.get("alg") not in self._algorithms:
            raise TokenInvalid(f"The token's signature algorithm is not one that is allowed here. {_SIGN_IN}")
        if str(header.get("typ", "JWT")).lower() not in _TOKEN_TYPES:
            raise TokenInvalid(f"The token is not an access token. {_SIGN_IN}")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenInvalid(f"The token's key name is not text. {_SIGN_IN}")
        return kid

    def _check_claims(self, claims: dict[str, Any]) -> None:
        try:
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise TokenExpired(f"The token's time is over. {_SIGN_IN}") from error
        except MissingClaimError as error:
            if error.claim == "exp":
                raise TokenWithoutExpiry(
                    "The token has no 'exp': a token that never ends is not accepted. Have the issuer set one."
                ) from error
            raise TokenInvalid(f"The token has no '{error.claim}'. {_SIGN_IN}") from error
        except JoseError as error:
            claim = getattr(error, "claim", "?")
            raise TokenInvalid(
                f"The token's '{claim}' does not fit this service, '{self._audience}'. {_SIGN_IN}"
            ) from error


def _as_of_its_end(claims: dict[str, Any], now_s: float, lapsed_s: float) -> dict[str, Any]:
    """Return the claims with their end moved to now, where it lies at most ``lapsed_s`` back."""
    end = claims.get("exp")
    if not lapsed_s or isinstance(end, bool) or not isinstance(end, int | float):
        return claims
    return claims | {"exp": int(now_s)} if now_s - lapsed_s <= end < now_s else claims


_SIGN_IN = "Get a new token from the issuer of this site, for this service, and try again."


def usable_keys(document: object) -> dict[str, ECKey | OKPKey]:
    """Return the keys of a JWKS that can check a signature here: Ed25519 and P-256, by their ``kid``.

    Other keys are left out, symmetric ones above all.

    Raises:
        ValueError: not a JWKS, or no usable key in it.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("the key set has no list of keys")  # noqa: TRY004 - a wrong document, not a bug
    keys: dict[str, ECKey | OKPKey] = {}
    for entry in listed:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        if (entry.get("kty"), entry.get("crv")) not in {("OKP", "Ed25519"), ("EC", "P-256")}:
            continue
        public = {name: entry[name] for name in ("kty", "crv", "x", "y") if name in entry}
        try:
            key = ECKey.import_key(public) if entry["kty"] == "EC" else OKPKey.import_key(public)
        except (JoseError, ValueError, TypeError) as error:
            _log.warning("identity.key-not-usable", reason=type(error).__name__)
            continue
        keys[str(entry.get("kid") or key.thumbprint())] = key
    if not keys:
        raise ValueError("the key set has no Ed25519 or P-256 key")
    return keys


def actor_of(claims: Mapping[str, Any]) -> Actor:
    """Map checked claims to an actor; roles and professions that Spoel does not know are dropped.

    Raises:
        TokenInvalid: ``sub`` is not 1 to 255 visible ASCII characters.
    """
    subject = claims["sub"]
    if not _SUBJECT.fullmatch(subject):
        raise TokenInvalid(f"The token's 'sub' is not 1 to 255 visible ASCII characters. {_SIGN_IN}")
    roles = claims.get("roles")
    named = roles if isinstance(roles, list) else []
    profession = claims.get("profession")
    return Actor(
        person_id=subject,
        roles=frozenset(Role(role) for role in named if isinstance(role, str) and role in _ROLES),
        name=_text(claims.get("name")) or "",
        big_number=_text(claims.get("big_number")),
        profession=Profession(profession) if isinstance(profession, str) and profession in _PROFESSIONS else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


async def _get_json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    response = await client.get(url, headers={"Accept": "application/json"}, follow_redirects=False)
    response.raise_for_status()
    if len(response.content) > MAX_JWKS_BYTES:
        raise ValueError(f"the answer is larger than {MAX_JWKS_BYTES} bytes")
    document = response.json()
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - a wrong document, not a bug
    return document
