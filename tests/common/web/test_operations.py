import json
import logging
import re

from spoel_common import tracing
from spoel_common.readiness import Check
from spoel_common.runtime import Runtime
from spoel_common.web import create_app


async def test_liveness_asks_for_nothing(client):
    response = await client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_while_nats_is_away_the_service_serves_and_says_why_it_is_not_ready(client, signed_in):
    response = await client.get("/health/ready")
    assert response.status_code == 503
    checks = {check["name"]: check for check in response.json()["checks"]}
    assert response.json()["status"] == "not-ready"
    assert checks["database"]["ok"]
    assert not checks["broker"]["ok"]
    assert "SPOEL_NATS_URL" in checks["broker"]["detail"]
    assert (await client.post("/counters", json={"number": 3}, headers=signed_in(key="k"))).status_code == 201


async def test_a_database_without_its_triggers_is_not_ready(make_app, served):
    app = make_app()
    async with served(app) as client:
        async with app.state.runtime.database.write() as conn:
            await conn.exec_driver_sql("DROP TRIGGER events_no_update")
        checks = {check["name"]: check for check in (await client.get("/health/ready")).json()["checks"]}
    assert not checks["database"]["ok"]
    assert "events_no_update" in checks["database"]["detail"]


async def test_a_service_may_add_conditions_of_its_own(settings, trial_package, served):
    async def well(runtime: Runtime) -> Check:
        return Check("rooms", ok=True, detail=runtime.settings.service)

    async def broken(_runtime: Runtime) -> Check:
        raise RuntimeError("the secret reason")

    app = create_app(Runtime(settings, trial_package, checks=[well, broken]), title="Trial", routers=[])
    async with served(app) as client:
        answer = await client.get("/health/ready")
    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert checks["rooms"] == {"name": "rooms", "ok": True, "detail": "trial"}
    assert not checks["service-2"]["ok"]
    assert "secret reason" not in answer.text


async def test_metrics_count_by_route_and_never_by_id(client, signed_in):
    await client.get("/counters/patient-4711", headers=signed_in())
    await client.get("/counters/patient-4712", headers=signed_in())
    await client.get("/nowhere/patient-4713")
    await client.get("/counters/x")
    await client.request("BREW-4714", "/counters/x")
    text = (await client.get("/metrics")).text
    assert re.search(
        r'spoel_http_requests_total\{method="GET",route="/counters/\{counter_id\}",status="404"\} 2\.0', text
    )
    assert 'route="unmatched"' in text
    assert "spoel_http_request_duration_seconds_bucket" in text
    assert 'spoel_identity_refused_total{problem="token-missing"} 1.0' in text
    assert "spoel_store_position 0.0" in text
    assert "spoel_broker_connected 0.0" in text
    assert "4711" not in text
    assert "4713" not in text
    assert 'spoel_http_requests_total{method="other",route=' in text
    assert "4714" not in text


async def test_two_services_in_one_process_have_metrics_of_their_own(make_app, served):
    async with served(make_app()) as one, served(make_app()) as two:
        await one.get("/nowhere")
        assert 'route="unmatched"' not in (await two.get("/metrics")).text


async def test_openapi_tells_of_problems_keys_and_tokens(client):
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/counters"]["post"]
    assert operation["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert "application/problem+json" in operation["responses"]["422"]["content"]
    key = next(item for item in operation["parameters"] if item["name"] == "Idempotency-Key")
    assert key["required"]
    assert key["schema"]["maxLength"] == 255
    assert "HTTPValidationError" not in json.dumps(document)
    assert operation["tags"] == ["counters"]
    assert document["paths"]["/health/ready"]["get"]["tags"] == ["operations"]


async def test_the_documentation_page_asks_nothing_of_the_internet(client):
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/docs/assets/{asset}" in page.text
        assert (await client.get(f"/docs/assets/{asset}")).status_code == 200


async def test_the_log_has_a_json_line_a_request_without_token_body_or_query(client, signed_in, lines):
    headers = {**signed_in(key="key-of-the-client"), "X-Correlation-Id": "ward-7"}
    await client.post("/counters?name=Jansen", json={"number": 3, "note": "headache"}, headers=headers)
    line = next(line for line in lines() if line["event"] == "http.request")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/counters", 201)
    assert (line["service"], line["level"], line["correlation_id"]) == ("trial", "info", "ward-7")
    assert line["time"].endswith("Z")
    text = json.dumps(lines())
    for secret in ("Bearer", "headache", "Jansen"):
        assert secret not in text


async def test_a_path_with_a_bsn_in_the_place_of_an_id_is_logged_without_it(client, signed_in, lines):
    for path in ("/counters/111222333", "/nowhere/01234567/x"):
        await client.get(path, headers=signed_in())
    paths = [line["path"] for line in lines() if line["event"] == "http.request"]
    assert paths == ["/counters/-", "/nowhere/-/x"]
    assert "111222333" not in json.dumps(lines())


async def test_a_fault_is_logged_with_its_reason_under_the_correlation_id(client, lines):
    response = await client.get("/broken", headers={"X-Correlation-Id": "ward-8"})
    line = next(line for line in lines() if line["event"] == "http.failed")
    assert (line["correlation_id"], line["route"]) == ("ward-8", "/broken")
    assert "the secret reason" in line["exception"]
    assert response.headers["x-correlation-id"] == "ward-8"


def test_the_logs_of_libraries_are_json_too(lines):
    logging.getLogger("uvicorn.error").warning("from %s", "uvicorn")
    line = lines()[-1]
    assert (line["event"], line["level"], line["service"]) == ("from uvicorn", "warning", "trial")


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault(make_app, served, lines):
    app = make_app()
    async with served(app):
        sent: list[dict] = []

        async def receive() -> dict:
            return {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            sent.append(message)

        scope = httpx_scope("POST", "/counters")
        await app(scope, receive, send)
    assert not sent
    assert not [line for line in lines() if line["level"] == "error"]


def httpx_scope(method: str, path: str) -> dict:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("trial", 80),
    }


async def test_spans_name_routes_and_kinds_of_errors_and_probes_have_none(collector, client, signed_in, trial):
    trial.limit = 1
    with tracing.exporting("trial", "main", collector.endpoint):
        await client.get("/health/live")
        await client.get("/metrics")
        await client.get("/broken")
        await client.get("/Jansen/999911120")
        await client.request("JANSEN", "/counters")
        await client.post("/counters", json={"number": 3}, headers=signed_in(key="k"))
    found = {span.name: (span.attributes["http.response.status_code"], span.status) for span in requests_of(collector)}
    assert found == {
        "GET /broken": (500, (2, "500")),
        "GET unmatched": (404, (0, "")),
        "other /counters": (405, (0, "")),
        "POST /counters": (409, (0, "")),
    }
    refused = collector.named("unit of work")
    assert (refused.attributes, refused.status) == ({"error.type": "too-much"}, (0, ""))
    for said in (b"secret reason", b"Jansen", b"JANSEN", b"999911120"):
        assert said not in b"".join(collector.bodies)


def requests_of(collector):
    return [span for span in collector.spans if "http.route" in span.attributes]
