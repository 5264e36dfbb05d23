import asyncio
import json
import uuid
from typing import Any

import pytest
from fastapi import Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, OperationalError
from tests.common.web.trial_service import router

from spoel_common.errors import SpoelError
from spoel_common.messaging import BrokerAway
from spoel_common.runtime import Runtime
from spoel_common.store import Database
from spoel_common.web import create_app
from spoel_common.web.app import ERRORS_AT_MOST, as_refusal

PREFIX = "urn:spoel:problem:"


def problem_of(response: Any, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == PREFIX + slug
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].endswith(response.headers["x-correlation-id"])
    return problem


async def test_a_refusal_of_the_domain_is_a_problem_with_its_facts(client, signed_in):
    response = await client.get("/counters/none", headers=signed_in())
    assert problem_of(response, 404, "not-found")["asked_by"] == "anna"


async def test_every_field_that_does_not_fit_is_listed(client, signed_in):
    response = await client.post("/counters", json={"number": "many", "wheels": 4}, headers=signed_in(key="k"))
    problem = problem_of(response, 422, "validation-failed")
    assert {tuple(error["loc"]) for error in problem["errors"]} == {("body", "number"), ("body", "wheels")}
    assert all(error["msg"] for error in problem["errors"])
    assert problem["unknown_fields"] == ["body.wheels"]
    assert "many" not in response.text


async def test_many_wrong_fields_do_not_make_a_long_answer(client, signed_in):
    body = {"number": 1, **{f"field-{number}-{'x' * 200}": 1 for number in range(2_000)}}
    response = await client.post("/counters", json=body, headers=signed_in(key="k"))
    assert len(problem_of(response, 422, "validation-failed")["errors"]) == ERRORS_AT_MOST
    assert len(response.content) < 20_000


async def test_a_missing_body_is_a_validation_problem(client, signed_in):
    response = await client.post("/counters", headers=signed_in(key="k"))
    assert problem_of(response, 422, "validation-failed")["errors"][0]["loc"] == ["body"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"number": 1,}',
        b'{"number": 1, "number": 2}',
        b'{"number": NaN}',
        b'{"number": Infinity}',
        b'{"number": 1e999}',
        b'{"number": 1, "note": "\\ud800"}',
        b'{"number": 1, "note": "\\u0000"}',
        b'{"number": 1, "note": "\xff"}',
        b'{"number": 1}{}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
    ],
)
async def test_json_that_two_readers_could_take_differently_is_malformed(client, signed_in, body):
    headers = {**signed_in(key="k"), "Content-Type": "application/json"}
    problem_of(await client.post("/counters", content=body, headers=headers), 400, "malformed-json")


async def test_a_backslash_before_u0000_is_only_text(client, signed_in):
    headers = {**signed_in(key="k"), "Content-Type": "application/json"}
    response = await client.post("/counters", content=rb'{"number": 1, "note": "\\u0000"}', headers=headers)
    assert response.status_code == 201


async def test_an_unknown_path_is_not_found(client):
    problem_of(await client.get("/nowhere"), 404, "not-found")


async def test_a_wrong_method_says_which_are_right(client):
    response = await client.delete("/counters/x")
    problem_of(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""]
)
async def test_a_body_that_is_not_json_is_an_unsupported_type(client, signed_in, content_type):
    headers = {**signed_in(key="k"), "Content-Type": content_type}
    problem_of(await client.post("/counters", content=b"number=1", headers=headers), 415, "unsupported-media-type")


async def test_a_compressed_body_is_an_unsupported_type(client, signed_in):
    headers = {**signed_in(key="k"), "Content-Encoding": "gzip"}
    problem_of(await client.post("/counters", json={"number": 1}, headers=headers), 415, "unsupported-media-type")


async def test_a_json_type_with_a_charset_or_suffix_is_read(client, signed_in):
    for number, content_type in enumerate(("application/json; charset=utf-8", "application/fhir+json")):
        headers = {**signed_in(key=f"k{number}"), "Content-Type": content_type}
        response = await client.post("/counters", content=b'{"number": 1}', headers=headers)
        assert response.status_code == 201, response.text


async def test_a_client_that_accepts_no_json_is_told_so(client):
    problem_of(await client.get("/health/live", headers={"Accept": "application/xml"}), 406, "not-acceptable")


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json;q=0.5", "text/html,application/xhtml+xml,*/*;q=0.8", "application/fhir+json"]
)
async def test_usual_accept_headers_are_accepted(client, accept):
    assert (await client.get("/health/live", headers={"Accept": accept})).status_code == 200


@pytest.mark.parametrize("path", ["/broken", "/fhir/R4/broken"])
async def test_a_fault_of_the_service_tells_nothing_of_its_inside(client, path):
    response = await client.get(path)
    problem_of(response, 500, "internal-error")
    assert "secret reason" not in response.text


async def test_refusals_under_a_path_can_be_written_in_another_format(make_app, served):
    def outcome(_request: Request, error: SpoelError) -> JSONResponse:
        document = {"resourceType": "OperationOutcome", "issue": [{"code": error.slug}]}
        return JSONResponse(document, error.status, media_type="application/fhir+json")

    async with served(make_app(error_renderers={"/fhir/R4": outcome})) as client:
        for path, status in (("/fhir/R4/broken", 500), ("/fhir/R4/none", 404)):
            response = await client.get(path)
            assert response.status_code == status
            assert response.json()["resourceType"] == "OperationOutcome"
        wrong = await client.post("/fhir/R4/broken", content=b"x", headers={"Content-Type": "text/plain"})
        assert wrong.json()["issue"][0]["code"] == "unsupported-media-type"
        assert (await client.delete("/fhir/R4/broken")).headers["allow"] == "GET"
        problem_of(await client.get("/fhir/R4x"), 404, "not-found")


async def test_without_a_token_nobody_gets_in(client):
    response = await client.get("/counters/x")
    problem_of(response, 401, "token-missing")
    assert response.headers["www-authenticate"] == 'Bearer realm="spoel"'


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "anna", ""])
async def test_another_scheme_than_bearer_counts_as_no_token(client, authorization):
    problem_of(await client.get("/counters/x", headers={"Authorization": authorization}), 401, "token-missing")


async def test_a_wrong_token_is_answered_with_a_bearer_challenge(client, signed_in):
    response = await client.get("/counters/x", headers=signed_in("mallory"))
    problem_of(response, 401, "token-invalid")
    assert response.headers["www-authenticate"].startswith('Bearer realm="spoel", error="invalid_token"')


async def test_a_database_that_is_away_is_answered_with_unavailable():
    refusal = as_refusal(Request({"type": "http"}), OperationalError("SELECT secret", {}, OSError("host db.internal")))
    assert (refusal.status, refusal.slug) == (503, "unavailable")
    assert "secret" not in refusal.detail
    assert "internal" not in refusal.detail


async def test_a_postgresql_that_is_busy_or_away_is_told_from_a_statement_that_is_wrong(postgres_url):
    database, request = await Database.open(postgres_url), Request({"type": "http"})

    async def run(*statements: str) -> None:
        async with database.write() as conn:
            for statement in statements:
                await conn.exec_driver_sql(statement)

    async def error_of(*statements: str) -> Exception:
        with pytest.raises(DBAPIError) as caught:
            await run(*statements)
        return caught.value

    await run("CREATE TABLE t (id integer PRIMARY KEY)")
    async with database.write() as holder:
        await holder.exec_driver_sql("INSERT INTO t VALUES (1)")
        busy = await error_of("SET LOCAL lock_timeout = '20ms'", "INSERT INTO t VALUES (1)")
    slow = await error_of("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)")
    stopped = await error_of("SELECT pg_terminate_backend(pg_backend_pid())")
    wrong = [await error_of(statement) for statement in ("INSERT INTO t VALUES (1)", "SELECT 1/0", "SELECT nothing")]
    await database.close()
    for error in (busy, slow, stopped, ConnectionRefusedError(), TimeoutError()):
        assert (as_refusal(request, error).status, error) == (503, error)
    for error in wrong:
        with pytest.raises(type(error)):
            as_refusal(request, error)


async def test_a_correlation_id_is_taken_over_or_made(client):
    given = await client.get("/health/live", headers={"X-Correlation-Id": "ward-7-0001"})
    assert given.headers["x-correlation-id"] == "ward-7-0001"
    made = await client.get("/health/live")
    assert uuid.UUID(made.headers["x-correlation-id"]).version == 7


@pytest.mark.parametrize(
    "offered", ["a b", "x" * 65, "111222333", "01234567", "a;b", "é".encode().decode("latin-1"), "../x", '"']
)
async def test_a_correlation_id_that_could_do_harm_is_replaced(client, offered):
    response = await client.get("/health/live", headers={"X-Correlation-Id": offered.encode("latin-1")})
    assert uuid.UUID(response.headers["x-correlation-id"]).version == 7


async def test_every_answer_has_the_security_headers(client):
    for path in ("/health/live", "/nowhere", "/broken"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


async def test_a_body_beyond_one_mebibyte_is_refused(client, signed_in):
    body = json.dumps({"number": 1, "note": "x" * 1_048_576}).encode()
    headers = {**signed_in(key="k"), "Content-Type": "application/json"}
    problem_of(await client.post("/counters", content=body, headers=headers), 413, "body-too-large")


async def test_a_body_in_chunks_without_a_length_is_refused_when_it_gets_too_large(client, signed_in):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    headers = {**signed_in(key="k"), "Content-Type": "application/json"}
    problem_of(await client.post("/counters", content=endless(), headers=headers), 413, "body-too-large")
    assert sent < 1_200_000


async def test_a_body_of_nearly_one_mebibyte_is_taken(client, signed_in):
    body = json.dumps({"number": 1, "note": "x" * 1_048_000}).encode()
    headers = {**signed_in(key="k"), "Content-Type": "application/json"}
    assert (await client.post("/counters", content=body, headers=headers)).status_code == 201


async def test_a_body_that_does_not_end_is_given_up(client, signed_in, monkeypatch):
    monkeypatch.setattr("spoel_common.web.middleware.BODY_TIMEOUT_S", 0.05)

    async def stuck():
        yield b"{"
        await asyncio.sleep(5)

    headers = {**signed_in(key="k"), "Content-Type": "application/json"}
    problem_of(await client.post("/counters", content=stuck(), headers=headers), 408, "body-too-slow")


@pytest.mark.invariant("INV-8")
@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", {}),
        (b"{", {"Content-Type": "application/json"}),
        (b"stop!", {"Content-Type": "text/plain", "Accept": "application/xml"}),
        (b"x" * 2_000_000, {"Authorization": "Bearer nonsense"}),
    ],
)
async def test_a_stop_needs_no_token_key_or_decent_body(client, trial, content, headers):
    assert (await client.post("/stop/room-1", content=content, headers=headers)).status_code == 200
    assert trial.stops == 1


async def test_while_no_key_of_the_issuer_is_known_it_says_to_try_again(settings, trial_package, served, signed_in):
    settings = settings.model_copy(update={"issuer": "http://127.0.0.1:1"})
    async with served(create_app(Runtime(settings, trial_package), title="Trial", routers=[router])) as client:
        token = "eyJhbGciOiJFZDI1NTE5Iiwia2lkIjoiYSJ9.e30.AAAA"
        response = await client.get("/counters/x", headers=signed_in(token))
        problem_of(response, 503, "identity-unavailable")
        assert response.headers["retry-after"] == "1"
        forged = await client.get("/counters/x", headers=signed_in("not.a.token"))
        problem_of(forged, 401, "token-invalid")


def test_a_broker_that_is_away_is_answered_with_unavailable():
    refusal = as_refusal(Request({"type": "http"}), BrokerAway("no connection to NATS at nats://internal"))
    assert (refusal.status, refusal.slug) == (503, "unavailable")
    assert "internal" not in refusal.detail
