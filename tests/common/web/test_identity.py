import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from spoel_common import identity
from spoel_common.errors import SpoelError
from spoel_common.identity import (
    IdentityUnavailable,
    TokenExpired,
    TokenInvalid,
    TokenVerifier,
    TokenWithoutExpiry,
    usable_keys,
)
from spoel_common.people import Profession, Role

ISSUER = "https://issuer.example"
NOW_S = 1_795_000_000


class Wire:
    """The issuer's side of the wire."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.away = False
        self.asked: list[str] = []
        self.extra: list[dict[str, Any]] = []

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.away:
            raise httpx.ConnectError("away", request=request)
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"})
        keys = [{**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig"} for key in self.keys]
        return httpx.Response(200, json={"keys": [*keys, *self.extra]})


@pytest.fixture(scope="module")
def key() -> OKPKey:
    return OKPKey.generate_key("Ed25519")


@pytest.fixture
def wire(key: OKPKey) -> Wire:
    return Wire(key)


@pytest.fixture
def verifier(wire: Wire) -> TokenVerifier:
    return a_verifier(wire)


def a_verifier(wire: Wire, **options: Any) -> TokenVerifier:
    return TokenVerifier(
        ISSUER,
        options.pop("jwks_url", f"{ISSUER}/jwks"),
        "intake",
        transport=wire.transport(),
        now=lambda: NOW_S,
        **options,
    )


def claims(**changed: Any) -> dict[str, Any]:
    usual = {"iss": ISSUER, "sub": "anna", "aud": ["intake", "planning"], "exp": NOW_S + 300, "roles": ["clinician"]}
    return {name: value for name, value in {**usual, **changed}.items() if value is not None}


def sign(key: Any, alg: str = "Ed25519", header: dict[str, Any] | None = None, **changed: Any) -> str:
    protected = {"alg": alg, "kid": key.thumbprint(), **(header or {})}
    return jwt.encode(protected, claims(**changed), key, algorithms=[alg])


async def test_a_valid_token_says_who_asks(verifier, key):
    token = sign(key, name="Anna", big_number="99000000116", profession="psychotherapeut")
    actor = await verifier.verify(token)
    assert (actor.person_id, actor.name, actor.big_number) == ("anna", "Anna", "99000000116")
    assert actor.roles == {Role.CLINICIAN}
    assert actor.profession is Profession.PSYCHOTHERAPEUT


async def test_roles_and_professions_that_are_not_known_give_no_rights(verifier, key):
    actor = await verifier.verify(sign(key, roles=["clinician", "emperor", 7, None], profession="tovenaar"))
    assert actor.roles == {Role.CLINICIAN}
    assert actor.profession is None


@pytest.mark.parametrize("roles", ["supervisor", None, {"supervisor": True}, 3])
async def test_roles_in_another_form_than_a_list_give_no_rights(verifier, key, roles):
    assert not (await verifier.verify(sign(key, roles=roles))).roles


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"exp": NOW_S - 11}, TokenExpired),
        ({"exp": 0}, TokenExpired),
        ({"exp": None}, TokenWithoutExpiry),
        ({"exp": "tomorrow"}, TokenInvalid),
        ({"exp": True}, TokenInvalid),
        ({"nbf": NOW_S + 11}, TokenInvalid),
        ({"iat": NOW_S + 3_600}, TokenInvalid),
        ({"iss": "https://other.example"}, TokenInvalid),
        ({"iss": ISSUER + "/"}, TokenInvalid),
        ({"iss": None}, TokenInvalid),
        ({"aud": "planning"}, TokenInvalid),
        ({"aud": ["intake-2"]}, TokenInvalid),
        ({"aud": []}, TokenInvalid),
        ({"aud": None}, TokenInvalid),
        ({"aud": {"intake": 1}}, TokenInvalid),
        ({"sub": None}, TokenInvalid),
        ({"sub": ""}, TokenInvalid),
        ({"sub": "anna\nadmin"}, TokenInvalid),
        ({"sub": 7}, TokenInvalid),
    ],
)
async def test_a_token_whose_claims_do_not_fit_is_refused(verifier, key, changed, refusal):
    with pytest.raises(refusal):
        await verifier.verify(sign(key, **changed))


@pytest.mark.parametrize("changed", [{"exp": NOW_S - 9}, {"nbf": NOW_S + 9}, {"aud": "intake"}])
async def test_a_clock_that_is_a_little_off_and_a_single_audience_are_accepted(verifier, key, changed):
    assert (await verifier.verify(sign(key, **changed))).person_id == "anna"


def _b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged_by_other_key(key: OKPKey) -> str:
    return sign(OKPKey.generate_key("Ed25519"), header={"kid": key.thumbprint()})


def without_signature(key: OKPKey) -> str:
    return f"{_b64({'alg': 'none', 'kid': key.thumbprint()})}.{_b64(claims())}."


def none_in_capitals(key: OKPKey) -> str:
    return f"{_b64({'alg': 'NONE', 'kid': key.thumbprint()})}.{_b64(claims())}."


def hmac_with_the_public_key(key: OKPKey) -> str:
    public = key.raw_value.public_key().public_bytes_raw()
    secret = OctKey.import_key(public)
    return jwt.encode({"alg": "HS256", "kid": key.thumbprint()}, claims(), secret, algorithms=["HS256"])


def rsa_signed(_key: OKPKey) -> str:
    return sign(RSAKey.generate_key(2048), alg="RS256")


def key_in_the_header(_key: OKPKey) -> str:
    own = OKPKey.generate_key("Ed25519")
    return sign(own, header={"jwk": own.as_dict(private=False)})


def keys_at_an_address(_key: OKPKey) -> str:
    return sign(OKPKey.generate_key("Ed25519"), header={"jku": "https://evil.example/jwks"})


def kid_is_a_path(_key: OKPKey) -> str:
    return sign(OKPKey.generate_key("Ed25519"), header={"kid": "../../../../dev/null"})


def kid_is_a_number(key: OKPKey) -> str:
    header, payload, signature = sign(key).split(".")
    return f"{_b64({'alg': 'Ed25519', 'kid': 7})}.{payload}.{signature}" if header else ""


def changed_after_signing(key: OKPKey) -> str:
    header, _, signature = sign(key).split(".")
    return f"{header}.{_b64(claims(roles=['supervisor']))}.{signature}"


def unknown_critical_header(key: OKPKey) -> str:
    header, payload, signature = sign(key).split(".")
    critical = {"alg": "Ed25519", "kid": key.thumbprint(), "crit": ["b64"], "b64": False}
    return f"{_b64(critical)}.{payload}.{signature}" if header else ""


def an_id_or_logout_token(key: OKPKey) -> str:
    return sign(key, header={"typ": "logout+jwt"})


FORGERIES = [
    forged_by_other_key,
    without_signature,
    none_in_capitals,
    hmac_with_the_public_key,
    rsa_signed,
    key_in_the_header,
    keys_at_an_address,
    kid_is_a_path,
    kid_is_a_number,
    changed_after_signing,
    unknown_critical_header,
    an_id_or_logout_token,
]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_a_forged_token_is_refused_and_only_the_issuer_is_asked(
    wire, verifier, key, forge: Callable[[OKPKey], str]
):
    with pytest.raises(TokenInvalid) as refusal:
        await verifier.verify(forge(key))
    assert refusal.value.status == 401
    assert set(wire.asked) <= {"/jwks"}


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b", "a.b.c", "....", "é.é.é", "\x00.\x00.\x00", "e30.e30.e30", "[].e30.", "x" * 9_000, "." * 8_000],
)
async def test_what_is_not_a_token_is_refused(verifier, text):
    with pytest.raises(TokenInvalid):
        await verifier.verify(text)


async def test_a_refusal_holds_nothing_of_the_token(verifier, key):
    token = sign(key, sub="secret-subject", aud="another-service")
    with pytest.raises(SpoelError) as refusal:
        await verifier.verify(token)
    assert "secret-subject" not in refusal.value.detail
    assert token.split(".")[1] not in refusal.value.detail


@pytest.mark.parametrize("alg", ["Ed25519", "ES256"])
async def test_both_kinds_of_key_are_accepted(alg):
    key = ECKey.generate_key("P-256") if alg == "ES256" else OKPKey.generate_key("Ed25519")
    assert (await a_verifier(Wire(key)).verify(sign(key, alg=alg))).person_id == "anna"


async def test_the_older_name_of_the_algorithm_is_accepted(key):
    token = f"{_b64({'alg': 'EdDSA', 'kid': key.thumbprint()})}.{_b64(claims())}"
    signature = key.raw_value.sign(token.encode())
    assert (await a_verifier(Wire(key)).verify(f"{token}.{_b64(signature)}")).person_id == "anna"


async def test_a_key_set_gives_no_symmetric_or_weak_key(key):
    listed = [
        {**key.as_dict(private=False), "kid": "good"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "rsa"},
        {**key.as_dict(private=False), "kid": "encryption", "use": "enc"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!", "kid": "broken"},
        "nonsense",
    ]
    assert list(usable_keys({"keys": listed})) == ["good"]


async def test_keys_are_found_by_discovery_where_no_address_is_given(wire, key):
    verifier = a_verifier(wire, jwks_url=None)
    assert (await verifier.verify(sign(key))).person_id == "anna"
    assert wire.asked == ["/.well-known/openid-configuration", "/jwks"]


async def test_keys_are_asked_once_and_then_remembered(wire, verifier, key):
    for _ in range(5):
        await verifier.verify(sign(key))
    assert wire.asked == ["/jwks"]


async def test_a_new_key_of_the_issuer_is_found_without_a_restart(wire, verifier, key, monkeypatch):
    await verifier.verify(sign(key))
    monkeypatch.setattr(identity, "REFETCH_INTERVAL_S", 0.0)
    verifier._keys._next_fetch_s = 0.0
    newer = OKPKey.generate_key("Ed25519")
    wire.keys = [newer]
    assert (await verifier.verify(sign(newer))).person_id == "anna"
    with pytest.raises(TokenInvalid):
        await verifier.verify(sign(key))


async def test_unknown_keys_do_not_make_it_ask_the_issuer_all_the_time(wire, verifier, key):
    await verifier.verify(sign(key))
    for _ in range(20):
        with pytest.raises(TokenInvalid):
            await verifier.verify(sign(OKPKey.generate_key("Ed25519")))
    assert wire.asked == ["/jwks"]


async def test_without_any_key_it_says_that_tokens_cannot_be_checked(wire, verifier, key):
    wire.away = True
    with pytest.raises(IdentityUnavailable) as refusal:
        await verifier.verify(sign(key))
    assert refusal.value.status == 503


async def test_it_works_as_soon_as_the_issuer_is_there(wire, verifier, key):
    wire.away = True
    assert not await verifier.ready()
    wire.away = False
    verifier._keys._next_fetch_s = 0.0
    assert await verifier.ready()
    assert (await verifier.verify(sign(key))).person_id == "anna"


async def test_keys_on_disk_serve_while_the_issuer_is_away_also_after_a_restart(wire, key, tmp_path: Path):
    kept = tmp_path / "keys" / "jwks.json"
    await a_verifier(wire, cache_file=kept).verify(sign(key))
    assert kept.stat().st_mode & 0o777 == 0o600
    wire.away = True
    again = a_verifier(wire, cache_file=kept)
    assert (await again.verify(sign(key))).person_id == "anna"
    await again.close()


@pytest.mark.parametrize(("ended_s", "lapsed_s", "good"), [(60, 60, True), (61, 60, False), (60, 0, False)])
async def test_a_token_that_lapsed_is_taken_only_where_that_is_asked_for_and_only_for_so_long(
    verifier, key, ended_s, lapsed_s, good
):
    token = sign(key, exp=NOW_S - ended_s)
    if good:
        assert (await verifier.verify(token, lapsed_s=lapsed_s)).person_id == "anna"
        return
    with pytest.raises(TokenExpired):
        await verifier.verify(token, lapsed_s=lapsed_s)


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"aud": ["audit"]}, TokenInvalid),
        ({"iss": "https://other.example"}, TokenInvalid),
        ({"nbf": NOW_S + 60}, TokenInvalid),
        ({"exp": None}, TokenWithoutExpiry),
        ({"exp": "yesterday"}, TokenInvalid),
    ],
)
async def test_a_token_that_lapsed_is_else_as_any_other(verifier, key, changed, refusal):
    with pytest.raises(refusal):
        await verifier.verify(sign(key, **{"exp": NOW_S - 60, **changed}), lapsed_s=3_600)


async def test_stale_keys_go_on_serving_while_they_are_fetched_anew(wire, verifier, key):
    await verifier.verify(sign(key))
    wire.away = True
    verifier._keys._stale_at_s = verifier._keys._next_fetch_s = 0.0
    assert (await verifier.verify(sign(key))).person_id == "anna"
    assert (await verifier.verify(sign(key))).person_id == "anna"
    await verifier.close()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"issuer": "https://issuer.example"}', '{"issuer": "x", "jwks_url": "y"}']
)
async def test_a_spoilt_file_of_keys_is_passed_over(wire, key, tmp_path: Path, content):
    kept = tmp_path / "jwks.json"
    kept.write_text(content)
    assert (await a_verifier(wire, cache_file=kept).verify(sign(key))).person_id == "anna"


async def test_keys_kept_for_another_issuer_are_not_used(wire, key, tmp_path: Path):
    kept = tmp_path / "jwks.json"
    await a_verifier(wire, cache_file=kept).verify(sign(key))
    document = json.loads(kept.read_text())
    kept.write_text(json.dumps({**document, "issuer": "https://other.example"}))
    wire.away = True
    with pytest.raises(IdentityUnavailable):
        await a_verifier(wire, cache_file=kept).verify(sign(key))
