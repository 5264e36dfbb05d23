"""INV-6: no patient's personal data stands in clear anywhere, and never leaves the vault in an event or a log."""

import hmac
import json
from hashlib import sha256

import pytest
import pytest_asyncio
import structlog
from tests.intake.resources import patient, service_request
from tests.intake.service import decision_body, patient_body, referral_body

from spoel_common import tracing
from spoel_common.sealing import open_sealed

SECRETS = {
    "bsn": "999911120",
    "given name": "Wilhelmina",
    "family name": "Aardappel",
    "birth date": "1971-03-14",
    "birth date, compact": "19710314",
    "question": "zomervakantie",
    "reason of a judgement": "Lithiumspiegel",
    "reason of a decision": "Behandelwens",
    "reason of a withdrawal": "Spijt achteraf",
    "second bsn": "123456782",
    "second name": "Zuurkool",
}

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def told(intake):
    """Intake after everything personal that can be told to it was told, read and refused."""
    ids = await intake.refer()
    case = f"/cases/{ids['case_id']}"
    await intake.screen(ids["case_id"], "medication")
    judged = {"acceptable": True, "reason": "Lithiumspiegel is goed."}
    await intake.post(f"{case}/safety-screen/medication/judgement", judged, "physician")
    decision = decision_body(severity="mild", reason="Behandelwens van patiënt.")
    await intake.post(f"{case}/indication", decision, "professional")
    await intake.post(f"{case}/consent", {"form_version": "1", "given_by": "patient"}, "nurse")
    await intake.post(f"{case}/consent/withdrawal", {"reason": "Spijt achteraf."}, "nurse")
    second = patient(identifier=[{"system": patient()["identifier"][0]["system"], "value": "123456782"}])
    second["name"] = [{"family": "Zuurkool", "given": ["Wilhelmina"]}]
    created = await intake.post(
        "/fhir/R4/ServiceRequest", service_request(contained=[{**second, "id": "p"}]), "hospital"
    )
    assert created.status_code == 201
    await intake.post("/fhir/R4/Patient", second, "hospital")
    await intake.post("/referrals", referral_body(patient=patient_body(birth_date="1971-03-15")), "hospital")
    await intake.get(case, "nurse")
    assert await intake.events() == 4 + 2 + 7
    return intake


@pytest.mark.invariant("INV-6")
async def test_no_table_holds_personal_data_in_clear(told):
    tables = [row["name"] for row in await told.rows("sqlite_master") if row["type"] == "table"]
    assert {"events", "idempotency", "cases", "vault", "strips"} <= set(tables)
    for table in tables:
        stored = repr(await told.rows(table))
        for what, secret in SECRETS.items():
            assert secret not in stored, f"{table} holds the {what}"


@pytest.mark.invariant("INV-6")
async def test_the_database_file_holds_no_personal_data_in_clear(told):
    files = [path.read_bytes() for path in told.folder.glob("intake.db*")]
    assert sum(map(len, files)) > 50_000
    for what, secret in SECRETS.items():
        assert not any(secret.encode() in content for content in files), what


@pytest.mark.invariant("INV-6")
async def test_free_text_in_an_event_opens_with_the_patients_key_only(told):
    sealed = [
        (event["id"], event["type"], value)
        for row in await told.rows("events")
        for event in [json.loads(row["raw"])]
        for name, value in event["data"].items()
        if name.startswith("sealed_") and value is not None
    ]
    assert len(sealed) == 5
    for event_id, event_type, text in sealed:
        with pytest.raises(Exception, match="does not open"):
            open_sealed(text, bytes(32 * [7]), event_id, event_type)


@pytest.mark.invariant("INV-6")
async def test_no_log_line_holds_personal_data(intake):
    with structlog.testing.capture_logs() as lines:
        await intake.get("/fhir/R4/Patient/123456782", "hospital")
        await intake.get("/cases/123456782/indication", "nurse")
        ids = await intake.refer()
        await intake.get(f"/cases/{ids['case_id']}", "nurse")
        await intake.post("/referrals", referral_body(patient=patient_body(bsn="999998620")), "hospital")
        await intake.post("/referrals", referral_body(patient=patient_body(shoe="Aardappel")), "hospital")
        await intake.post("/fhir/R4/Patient", patient(birthDate="gisteren 1971-03-14"), "hospital")
        await intake.post("/fhir/R4/Patient", patient(), "hospital")
    written = repr(lines)
    assert "http.request" in written
    for what, secret in {**SECRETS, "broken bsn": "999998620"}.items():
        assert secret not in written, what


@pytest.mark.invariant("INV-6")
async def test_no_span_of_a_trace_holds_personal_data_or_an_id_of_a_patient(intake, collector):
    with tracing.exporting("intake", "main", collector.endpoint):
        ids = await intake.refer()
        await intake.get(f"/cases/{ids['case_id']}", "nurse")
        await intake.get(f"/fhir/R4/Patient/{ids['patient_id']}", "hospital")
        await intake.get("/fhir/R4/Patient", "hospital", identifier="999911120")
        await intake.get("/Aardappel/999911120", "nurse")
        await intake.post(f"/cases/{ids['case_id']}/consent", {"given_by": "Wilhelmina"}, "nurse")
        named = {"X-Correlation-Id": "Wilhelmina-Aardappel", "tracestate": "a=Aardappel", "baggage": "a=Aardappel"}
        await intake.post("/fhir/R4/Patient", patient(), "hospital", **named)
        await intake.post("/referrals", referral_body(patient=patient_body(bsn="999998620")), "hospital")
    sent = b"".join(collector.bodies)
    assert len(collector.spans) >= 8 + 2
    assert {name for span in collector.spans for name in span.attributes} <= tracing.ATTRIBUTES
    for what, secret in {**SECRETS, "broken bsn": "999998620", **ids}.items():
        assert secret.encode() not in sent, what


@pytest.mark.invariant("INV-6")
async def test_the_hash_of_a_body_is_of_no_use_to_who_guesses_the_bsn_in_it(intake):
    sent = await intake.post("/fhir/R4/Patient", patient(), "hospital")
    (kept,) = [row for row in await intake.rows("idempotency") if row["route"] == "POST /fhir/R4/Patient"]
    body = sent.request.content
    unkeyed = {sha256(guess).hexdigest() for guess in (body, b"\n" + body)}
    unkeyed |= {hmac.digest(b"", guess, "sha256").hex() for guess in (body, b"\n" + body)}
    assert kept["body_hash"] not in unkeyed


@pytest.mark.requirement("AU-05")
@pytest.mark.invariant("INV-6")
async def test_every_opening_of_the_vault_is_logged_with_who_and_why(intake):
    ids = await intake.refer()
    with structlog.testing.capture_logs() as lines:
        await intake.get(f"/cases/{ids['case_id']}", "nurse")
        await intake.get(f"/fhir/R4/Patient/{ids['patient_id']}", "hospital")
        await intake.get(f"/cases/{ids['case_id']}", "technician")
    opened = [line for line in lines if line["event"] == "vault-opened"]
    assert [(line["person_id"], line["roles"]) for line in opened] == [("nurse", ["clinician"]), ("hospital", ["ehr"])]
    assert all(line["patient_id"] == ids["patient_id"] and line["purpose"] for line in opened)
    lines = [(kind, who, line["patient_id"], line["case_id"]) for kind, who, line in await intake.access_log()]
    assert lines == [
        ("file-opened", "nurse", ids["patient_id"], ids["case_id"]),
        ("file-opened", "hospital", ids["patient_id"], None),
    ]


@pytest.mark.requirement("AU-05")
@pytest.mark.invariant("INV-6")
async def test_nothing_of_a_file_is_shown_while_its_line_cannot_be_written(intake):
    ids = await intake.refer()
    trigger = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    async with intake.runtime.database.write() as conn:
        await conn.exec_driver_sql(trigger)
    for path in (f"/cases/{ids['case_id']}", f"/fhir/R4/Patient/{ids['patient_id']}"):
        answer = await intake.get(path, "nurse")
        assert answer.status_code == 500
        assert "Aardappel" not in answer.text


@pytest.mark.requirement("AU-06")
@pytest.mark.invariant("INV-6")
async def test_without_the_private_key_nothing_can_be_read_again(told):
    (line, *_) = (await told.get("/referrals", "nurse")).json()["items"]
    async with told.runtime.database.write() as conn:
        await conn.exec_driver_sql("UPDATE vault SET wrapped_private_key = NULL")
    shown = (await told.get(f"/cases/{line['case_id']}", "nurse")).json()
    assert (shown["identity"], shown["notes"]) == (None, [])
    gone = await told.get(f"/fhir/R4/Patient/{line['patient_id']}", "hospital")
    assert (gone.status_code, gone.json()["issue"][0]["code"]) == (410, "deleted")
