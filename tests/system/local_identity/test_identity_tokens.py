import base64
import json

import httpx
import pytest

from spoel_common.identity import TokenExpired, TokenInvalid, TokenVerifier
from spoel_common.people import Profession, Role
from spoel_local.identity_provider import SERVICES, IdentitySettings, TokenRefused, build_app, issue_token, load_people

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def verifier(app, audience: str = "intake") -> TokenVerifier:
    return TokenVerifier("http://127.0.0.1:8100", None, audience, transport=httpx.ASGITransport(app))


@pytest.fixture
def ask(client, secret):
    async def ask(**fields: str) -> httpx.Response:
        usual = {"grant_type": "client_credentials", "client_id": "supervisor", "client_secret": secret}
        return await client.post("/token", data={**usual, **fields})

    return ask


@pytest.mark.parametrize("service", SERVICES)
async def test_a_token_is_accepted_by_every_service_that_asks_the_issuer_for_its_keys(app, ask, service):
    answer = await ask()
    assert answer.status_code == 200
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 3_600)
    assert answer.headers["cache-control"] == "no-store"
    actor = await verifier(app, service).verify(answer.json()["access_token"])
    assert (actor.person_id, actor.roles, actor.profession) == (
        "supervisor",
        {Role.SUPERVISOR},
        Profession.GZ_PSYCHOLOOG,
    )


@pytest.mark.invariant("INV-5")
async def test_everybody_has_a_role_and_the_registered_a_number_that_fits_their_profession():
    people = load_people()
    assert {role for person in people.values() for role in person.roles} == set(Role)
    codes = {Profession.PSYCHIATER: "01", Profession.PSYCHOTHERAPEUT: "16", Profession.GZ_PSYCHOLOOG: "25"}
    for person in people.values():
        assert (person.profession is None) == (person.big_number is None)
        if person.profession is not None:
            assert person.big_number.startswith("99")
            assert person.big_number.endswith(codes.get(person.profession, "30"))
    assert len({person.big_number for person in people.values() if person.big_number}) == 4


async def test_a_token_can_be_narrowed_to_services_and_roles(app, ask):
    token = (await ask(audience="planning audit", scope="auditor")).json()["access_token"]
    assert not (await verifier(app, "audit").verify(token)).roles
    with pytest.raises(TokenInvalid):
        await verifier(app, "intake").verify(token)


async def test_the_client_may_authenticate_in_the_header(client, secret):
    answer = await client.post("/token", data={"grant_type": "client_credentials"}, auth=("auditor", secret))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"client_secret": "guess"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": "emperor"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "unsupported_grant_type"),
        ({"audience": "elsewhere"}, 400, "invalid_target"),
        ({"scope": "emperor"}, 400, "invalid_scope"),
    ],
)
async def test_a_wrong_request_is_refused_in_the_words_of_oauth(ask, fields, status, error):
    answer = await ask(**fields)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["error_description"]
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize("body", [b"grant_type", b"\xff=\xff", b"a=1&a=2", b"&".join([b"a=1"] * 30)])
async def test_a_body_that_is_no_form_is_an_invalid_request(client, body):
    answer = await client.post("/token", content=body, headers=FORM)
    assert answer.json()["error"] == "invalid_request"


async def test_a_body_of_another_type_is_a_problem(client):
    answer = await client.post("/token", json={"grant_type": "client_credentials"})
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:spoel:problem:unsupported-media-type")


@pytest.mark.parametrize("header", ["Basic !!!", "Basic /w==", "Basic"])
async def test_basic_credentials_that_cannot_be_read_are_refused(client, header):
    data = {"grant_type": "client_credentials"}
    answer = await client.post("/token", data=data, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_discovery_and_keys_hold_nothing_private(client):
    configuration = (await client.get("/.well-known/openid-configuration")).json()
    assert configuration["issuer"] == "http://127.0.0.1:8100"
    (key,) = (await client.get("/jwks.json")).json()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


async def test_tokens_outlive_a_restart_of_the_provider(settings, ask):
    token = (await ask()).json()["access_token"]
    assert (await verifier(build_app(settings)).verify(token)).person_id == "supervisor"


async def test_the_command_line_signs_with_the_same_key(app, settings):
    token = issue_token("physician", settings, audience=("intake",))
    assert (await verifier(app).verify(token)).roles == {Role.PHYSICIAN}
    with pytest.raises(TokenInvalid):
        await verifier(app, "audit").verify(token)
    with pytest.raises(TokenExpired):
        await verifier(app).verify(issue_token("physician", settings, lifetime_s=-60))
    with pytest.raises(TokenRefused, match="known are auditor, clinician"):
        issue_token("emperor", settings)


def test_no_token_is_valid_longer_than_an_hour(settings, app):
    claims = issue_token("room", settings, lifetime_s=10_000_000).split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert decoded["exp"] - decoded["iat"] == 3_600
    assert IdentitySettings.model_fields["identity_token_lifetime_s"].default == 3_600
