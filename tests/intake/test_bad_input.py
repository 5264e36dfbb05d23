"""Whatever is wrong with a request: it gets its own problem, says what to do, and nothing is stored."""

import copy

import pytest
import pytest_asyncio
from tests.intake.service import decision_body, facts_body, patient_body, referral_body, screen_body

from spoel_common.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

TABLES = ("events", "vault", "patient_channels", "cases", "staff", "idempotency")


def changed(path, value):
    """A referral with one member set, or removed where the value is ``...``."""
    body = copy.deepcopy(referral_body())
    *parents, name = path.split(".")
    place = body
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return body


@pytest_asyncio.fixture(loop_scope="session")
async def unchanged(shared_intake):
    """Check at the end that the test stored nothing."""
    before = await shared_intake.content(*TABLES)
    yield
    assert await shared_intake.content(*TABLES) == before


def problem_of(answer, status, slug):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:spoel:problem:{slug}"
    assert problem["title"]
    assert len(problem["detail"]) > 15
    return problem


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("shoe_size", 43),
        ("patient.shoe_size", 43),
        ("case_id", "mine"),
        ("patient_id", "mine"),
        ("channel", "manual"),
        ("patient", ...),
        ("patient", "999911120"),
        ("patient", None),
        ("patient.bsn", ...),
        ("patient.bsn", 999911120),
        ("patient.given_name", "  "),
        ("patient.family_name", "x" * 201),
        ("patient.birth_date", "14-03-1971"),
        ("patient.birth_date", "1971-02-30"),
        ("patient.birth_date", 37843200),
        ("patient.birth_date", "37843200"),
        ("patient.birth_date", "1971-03-14T00:00:00"),
        ("referred_on", 1767571200),
        ("patient.gender", "vrouw"),
        ("referrer_kind", "psychic"),
        ("referrer_agb", "1012345"),
        ("referrer_agb", "0101234x"),
        ("referrer_agb", ...),
        ("indication", "sadness"),
        ("referred_on", "yesterday"),
        ("question", ""),
        ("question", "x" * 8_001),
        ("external_id", "Jansen, geb. 1971"),
    ],
)
async def test_a_referral_of_another_shape_is_refused(shared_intake, unchanged, path, value):
    answer = await shared_intake.post("/referrals", changed(path, value), "hospital")
    problem = problem_of(answer, 422, "validation-failed")
    assert problem["errors"]
    for personal in ("999911120", "Aardappel", "Wilhelmina", "1971"):
        assert personal not in answer.text


@pytest.mark.parametrize("bsn", ["999998620", "000000000", "123", "99991112O"])
async def test_a_broken_bsn_is_refused_and_never_repeated(shared_intake, unchanged, bsn):
    answer = await shared_intake.post("/referrals", changed("patient.bsn", bsn), "hospital")
    problem_of(answer, 422, "bsn-invalid")
    assert bsn not in answer.text


@pytest.mark.parametrize(
    ("path", "value", "slug"),
    [
        ("patient.birth_date", "2999-01-01", "impossible-value"),
        ("patient.birth_date", "1850-01-01", "impossible-value"),
        ("referred_on", "2999-01-01", "impossible-value"),
        ("referred_on", "1971-03-13", "impossible-value"),
        ("external_id", "999911120", "personal-data-in-field"),
        ("external_id", "order/999911120/1", "personal-data-in-field"),
        ("external_id", "9999.11.120", "personal-data-in-field"),
    ],
)
async def test_what_cannot_be_true_or_may_not_be_there_is_refused(shared_intake, unchanged, path, value, slug):
    problem_of(await shared_intake.post("/referrals", changed(path, value), "hospital"), 422, slug)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff\xfe", b'{"a": "\\u0000"}', b"[" * 5_000],
)
async def test_a_body_that_is_no_json_object_is_refused(shared_intake, unchanged, body):
    headers = {"Authorization": "Bearer hospital", "Idempotency-Key": new_id(), "Content-Type": "application/json"}
    answer = await shared_intake.http.post("/referrals", content=body, headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_refused(shared_intake, unchanged):
    answer = await shared_intake.post("/referrals", {"question": "x" * 1_048_576}, "hospital")
    problem_of(answer, 413, "body-too-large")


async def test_a_body_of_another_type_is_refused(shared_intake, unchanged):
    headers = {"Authorization": "Bearer hospital", "Idempotency-Key": new_id(), "Content-Type": "application/xml"}
    problem_of(
        await shared_intake.http.post("/referrals", content=b"<a/>", headers=headers), 415, "unsupported-media-type"
    )


async def test_a_command_without_a_key_or_token_is_refused(shared_intake, unchanged):
    without_key = await shared_intake.http.post(
        "/referrals", json=referral_body(), headers={"Authorization": "Bearer hospital"}
    )
    problem_of(without_key, 400, "idempotency-key-missing")
    without_token = await shared_intake.http.post(
        "/referrals", json=referral_body(), headers={"Idempotency-Key": new_id()}
    )
    problem_of(without_token, 401, "token-missing")
    problem_of(await shared_intake.post("/referrals", referral_body(), "nobody"), 401, "token-invalid")


async def test_a_key_with_another_body_is_refused(shared_intake):
    key = new_id()
    await shared_intake.post("/referrals", referral_body(), "hospital", key=key)
    before = await shared_intake.events()
    problem_of(
        await shared_intake.post("/referrals", referral_body(question="Anders."), "hospital", key=key),
        422,
        "idempotency-key-reused",
    )
    assert await shared_intake.events() == before


COMMANDS = {
    "/referrals": (referral_body(), {"hospital", "nurse", "physician", "professional", "supervisor"}),
    "/cases/{case}/safety-screen": (screen_body(), {"nurse", "physician", "professional", "supervisor"}),
    "/cases/{case}/safety-screen/medication/judgement": ({"acceptable": True, "reason": "x"}, {"physician"}),
    "/cases/{case}/indication-advice": (facts_body(), {"professional", "supervisor", "physician"}),
    "/cases/{case}/indication": (decision_body(), {"professional", "supervisor", "physician"}),
    "/cases/{case}/consent": (
        {"form_version": "1", "given_by": "patient"},
        {"nurse", "physician", "professional", "supervisor"},
    ),
    "/cases/{case}/consent/withdrawal": (
        {},
        {"nurse", "physician", "professional", "supervisor", "technician", "trainee"},
    ),
    "/staff/new/registration": (
        {
            "name": "N",
            "big_number": "19000000999",
            "profession": "arts",
            "verified_on": "2026-01-01",
            "evidence": "bigregister.nl",
        },
        {"supervisor"},
    ),
    "/staff/new/registration/end": ({"ended_on": "2026-01-01", "reason": "left"}, {"supervisor"}),
    "/patients/new/erasure": ({"ground": "patient-request"}, {"physician", "supervisor"}),
    "/patients/new/merge": (
        {"into_patient_id": "other", "ground": "wrong-bsn", "reason": "x"},
        {"nurse", "physician", "professional", "supervisor"},
    ),
    "/fhir/R4/Patient": ({}, {"hospital", "nurse", "physician", "professional", "supervisor"}),
    "/fhir/R4/ServiceRequest": ({}, {"hospital", "nurse", "physician", "professional", "supervisor"}),
}
EVERYBODY = {
    "hospital", "nurse", "physician", "professional", "supervisor", "technician", "trainee", "auditor", "room",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def case_id(shared_intake):
    return (await shared_intake.refer(patient=patient_body(bsn="123456782")))["case_id"]


@pytest.mark.invariant("INV-5")
@pytest.mark.parametrize("path", COMMANDS)
async def test_a_command_is_refused_to_every_role_that_may_not_do_it(shared_intake, case_id, path):
    body, may = COMMANDS[path]
    before = await shared_intake.events()
    for who in sorted(EVERYBODY - may):
        answer = await shared_intake.post(path.replace("{case}", case_id), body, who)
        assert answer.status_code == 403, (who, answer.text)
        assert "role-not-allowed" in answer.text
    assert await shared_intake.events() == before


async def test_every_command_of_the_service_is_in_this_table(shared_intake):
    posts = {
        path.replace("{case_id}", "{case}")
        .replace("{item}", "medication")
        .replace("{person_id}", "new")
        .replace("{patient_id}", "new")
        for path, methods in shared_intake.app.openapi()["paths"].items()
        if "post" in methods and not path.startswith("/operations/")
    }
    assert posts == set(COMMANDS)


READERS = {"nurse", "physician", "professional", "supervisor", "technician"}
READS = {
    "/referrals": READERS | {"hospital"},
    "/cases/{case}": READERS,
    "/cases/{case}/indication": READERS,
    "/staff": READERS,
    "/erasures": {"physician", "supervisor"},
    "/fhir/R4/Patient/{patient}": READERS - {"technician"},
    "/fhir/R4/Patient/{patient}/_history/1": READERS - {"technician"},
    "/fhir/R4/ServiceRequest/{case}": READERS,
    "/fhir/R4/ServiceRequest/{case}/_history/1": READERS,
}
"""Who may read what another hospital sent in."""
READ_ELSEWHERE = {"/patients/{patient}/erasure"}
"""Who may read it is tested with the erasures."""
OPEN_READS = {"/questionnaires/safety-screen", "/fhir/R4/metadata", "/health/live", "/health/ready", "/metrics"}


@pytest.mark.invariant("INV-6")
async def test_each_role_reads_what_it_may_and_nothing_else(intake):
    ids = await intake.refer("other-hospital")
    for path, may in READS.items():
        for who in sorted(EVERYBODY):
            answer = await intake.get(path.format(case=ids["case_id"], patient=ids["patient_id"]), who)
            assert (answer.status_code == 200) == (who in may), (path, who, answer.text)
            assert answer.status_code in {200, 403, 404}
            if who not in may or who == "technician":
                assert "999911120" not in answer.text, (path, who)
                assert "Aardappel" not in answer.text, (path, who)


@pytest.mark.invariant("INV-6")
async def test_an_ehr_that_has_a_role_without_cases_too_still_sees_its_own_only(intake):
    ids = await intake.refer("other-hospital")
    for path in (f"/cases/{ids['case_id']}", f"/fhir/R4/Patient/{ids['patient_id']}"):
        assert (await intake.get(path, "hospital-auditor")).status_code == 404
    assert (await intake.get("/referrals", "hospital-auditor")).json()["items"] == []


async def test_every_read_of_the_service_is_in_this_table(shared_intake):
    gets = {
        path.replace("{case_id}", "{case}").replace("{patient_id}", "{patient}").replace("{version_id}", "1")
        for path, methods in shared_intake.app.openapi()["paths"].items()
        if "get" in methods and not path.startswith("/operations/")
    }
    assert gets == set(READS) | READ_ELSEWHERE | OPEN_READS


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"after": "a b"}])
async def test_an_impossible_page_is_refused(shared_intake, query):
    problem_of(await shared_intake.get("/referrals", "nurse", **query), 422, "validation-failed")


async def test_an_id_with_a_character_that_no_id_has_is_refused(shared_intake):
    problem_of(await shared_intake.get("/cases/a%00b", "nurse"), 422, "validation-failed")


async def test_a_method_that_is_not_there_is_refused(shared_intake):
    answer = await shared_intake.http.delete("/referrals", headers={"Authorization": "Bearer hospital"})
    problem_of(answer, 405, "method-not-allowed")
