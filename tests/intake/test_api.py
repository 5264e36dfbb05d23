import pytest
from tests.intake.service import decision_body, facts_body, patient_body, referral_body, screen_body

from spoel_common.ids import new_id

CONSENT = {"form_version": "2026-1", "given_by": "patient"}

pytestmark = pytest.mark.asyncio(loop_scope="session")


def problem_of(answer, status, slug):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:spoel:problem:{slug}"
    return problem


@pytest.mark.requirement("IN-01", "IN-08", "IN-11")
async def test_a_case_goes_from_referral_to_consent_and_back(intake):
    ids = await intake.refer()
    case = f"/cases/{ids['case_id']}"
    await intake.screen(ids["case_id"], "medication", "hearing-or-tinnitus")

    needed = (await intake.get(f"{case}/indication", "professional")).json()
    assert needed["still_needed"] == ["judgement:hearing-or-tinnitus", "judgement:medication"]

    judged = {"acceptable": True, "reason": "Sertraline, dosis stabiel."}
    problem_of(
        await intake.post(f"{case}/safety-screen/medication/judgement", judged, "nurse"), 403, "role-not-allowed"
    )
    answer = await intake.post(f"{case}/safety-screen/medication/judgement", judged, "physician")
    assert answer.json()["safety_screen"]["unjudged"] == ["hearing-or-tinnitus"]
    await intake.post(f"{case}/safety-screen/hearing-or-tinnitus/judgement", judged, "nurse")

    answer = await intake.post(f"{case}/indication", decision_body(), "professional")
    assert answer.status_code == 201, answer.text
    assert (answer.json()["decision"], answer.json()["followed_advice"]) == ("indicated", True)

    answer = await intake.post(f"{case}/consent", CONSENT, "nurse")
    assert (answer.status_code, answer.json()["given"]) == (201, True)
    answer = await intake.post(f"{case}/consent/withdrawal", {"reason": "Bedenkt zich."}, "technician")
    assert (answer.status_code, answer.json()["given"]) == (201, False)

    shown = (await intake.get(case, "physician")).json()
    assert shown["status"] == "consent-withdrawn"
    assert shown["identity"] == patient_body()
    assert [note["text"] for note in shown["notes"]] == [
        referral_body()["question"], judged["reason"], judged["reason"], "Bedenkt zich.",
    ]  # fmt: skip
    assert shown["version"] == await intake.events() - 5  # four registrations and the patient are events of their own


async def test_a_referral_answers_with_ids_and_where_the_case_is(intake):
    answer = await intake.post("/referrals", referral_body(), "hospital")
    assert answer.status_code == 201
    assert set(answer.json()) == {"case_id", "patient_id"}
    assert answer.headers["location"] == f"/cases/{answer.json()['case_id']}"


@pytest.mark.parametrize(("who", "channel"), [("hospital", "rest"), ("nurse", "manual")])
async def test_the_channel_says_whether_a_person_or_the_ehr_sent_it(intake, who, channel):
    ids = await intake.refer(who)
    assert (await intake.get(f"/cases/{ids['case_id']}", "nurse")).json()["referral"]["channel"] == channel


async def test_a_repeated_command_acts_once(intake):
    key = new_id()
    first = await intake.post("/referrals", referral_body(), "hospital", key=key)
    before = await intake.events()
    second = await intake.post("/referrals", referral_body(), "hospital", key=key)
    assert (second.status_code, second.json()) == (201, first.json())
    assert await intake.events() == before


@pytest.mark.requirement("IN-15")
async def test_one_person_has_one_file_and_one_open_case(intake):
    first = await intake.refer()
    before = await intake.events()
    again = referral_body(patient=patient_body(family_name="Aardappel-de Boer"))
    problem_of(await intake.post("/referrals", again, "hospital"), 409, "active-case-exists")
    assert await intake.events() == before

    await intake.screen(first["case_id"])
    body = decision_body("not-indicated", reason="Andere behandeling eerst.")
    assert (await intake.post(f"/cases/{first['case_id']}/indication", body, "professional")).status_code == 201
    second = await intake.refer()
    assert second["patient_id"] == first["patient_id"]
    assert second["case_id"] != first["case_id"]


@pytest.mark.requirement("IN-15")
@pytest.mark.hazard("HZ-14")
async def test_a_bsn_with_another_birth_date_opens_no_case(intake):
    await intake.refer()
    before = await intake.events()
    other = referral_body(patient=patient_body(birth_date="1971-03-15"))
    problem = problem_of(await intake.post("/referrals", other, "nurse"), 409, "patient-identity-differs")
    assert "1971" not in str(problem)
    assert await intake.events() == before


@pytest.mark.requirement("IN-15")
async def test_two_people_have_two_files(intake):
    first = await intake.refer()
    second = await intake.refer(patient=patient_body(bsn="123456782"))
    assert first["patient_id"] != second["patient_id"]


@pytest.mark.requirement("IN-08")
async def test_advice_is_shown_before_anybody_decides_and_records_nothing(intake):
    ids = await intake.refer()
    await intake.screen(ids["case_id"])
    before = await intake.events()
    answer = await intake.post(
        f"/cases/{ids['case_id']}/indication-advice", facts_body(severity="mild"), "professional"
    )
    assert answer.status_code == 200
    assert answer.json()["advice"] == "not-indicated"
    rule = next(rule for rule in answer.json()["rules"] if rule["rule"] == "severity")
    assert (rule["outcome"], rule["verified"]) == ("not-met", True)
    assert rule["title"]["nl"]
    assert rule["source"]
    assert await intake.events() == before


@pytest.mark.requirement("IN-06")
async def test_another_indication_is_taken_in_but_not_decided(intake):
    ids = await intake.refer(indication="ocd")
    await intake.screen(ids["case_id"])
    answer = await intake.post(f"/cases/{ids['case_id']}/indication", decision_body(), "professional")
    problem_of(answer, 422, "indication-not-supported-yet")


@pytest.mark.invariant("INV-5")
async def test_without_a_verified_registration_nobody_acts(intake):
    ids = await intake.refer()
    end = {"ended_on": "2026-01-02", "reason": "expired"}
    assert (await intake.post("/staff/nurse/registration/end", end, "supervisor")).status_code == 201
    before = await intake.events()
    answer = await intake.post(f"/cases/{ids['case_id']}/safety-screen", screen_body(), "nurse")
    problem_of(answer, 403, "registration-not-verified")
    assert await intake.events() == before


async def test_the_staff_register_shows_who_is_current(intake):
    end = {"ended_on": "2026-01-02", "reason": "left"}
    await intake.post("/staff/nurse/registration/end", end, "supervisor")
    items = {item["person_id"]: item for item in (await intake.get("/staff", "supervisor")).json()["items"]}
    assert items["physician"]["current"] is True
    assert items["physician"]["evidence"]
    assert (items["nurse"]["current"], items["nurse"]["end_reason"]) == (False, "left")


async def test_the_questionnaire_is_served_with_its_texts(intake):
    body = (await intake.get("/questionnaires/safety-screen", "nurse")).json()
    assert body["verified"] is False
    assert body["items"][0]["text"]["nl"]


async def test_the_list_of_referrals_comes_in_pages(intake):
    bsns = ["999911120", "123456782", "111222333", "999990019", "999900006"]
    sent = [(await intake.refer(patient=patient_body(bsn=bsn)))["case_id"] for bsn in bsns]
    seen, after = [], None
    for _ in range(3):
        query = {"limit": 2} if after is None else {"limit": 2, "after": after}
        page = (await intake.get("/referrals", "nurse", **query)).json()
        seen += [item["case_id"] for item in page["items"]]
        after = page["next"]
    assert (seen, after) == (sorted(sent), None)
    assert {item["status"] for item in page["items"]} == {"referred"}


@pytest.mark.invariant("INV-6")
async def test_an_ehr_finds_its_own_referrals_only(intake):
    own = await intake.refer("hospital")
    other = await intake.refer("nurse", patient=patient_body(bsn="123456782"))
    listed = (await intake.get("/referrals", "hospital")).json()["items"]
    assert [item["case_id"] for item in listed] == [own["case_id"]]
    assert (await intake.get("/referrals", "other-hospital")).json()["items"] == []
    for path in (f"/cases/{other['case_id']}", f"/cases/{other['case_id']}/indication"):
        problem_of(await intake.get(path, "hospital"), 404, "not-found")
        problem_of(await intake.get(path.replace(other["case_id"], own["case_id"]), "other-hospital"), 404, "not-found")


@pytest.mark.invariant("INV-6")
async def test_identity_and_free_text_are_shown_to_people_of_care_only(intake):
    ids = await intake.refer("hospital")
    case = f"/cases/{ids['case_id']}"
    await intake.screen(ids["case_id"], "medication")
    reason = {"acceptable": True, "reason": "Alleen voor collega's."}
    await intake.post(f"{case}/safety-screen/medication/judgement", reason, "physician")
    for who in ("nurse", "physician", "professional", "supervisor"):
        shown = (await intake.get(case, who)).json()
        assert shown["identity"]["family_name"] == "Aardappel"
        assert len(shown["notes"]) == 2
    shown = (await intake.get(case, "technician")).json()
    assert (shown["identity"], shown["notes"]) == (None, [])
    shown = (await intake.get(case, "hospital")).json()
    assert shown["identity"]["bsn"] == "999911120"
    assert [note["text"] for note in shown["notes"]] == [referral_body()["question"]]
    for who in ("auditor", "trainee", "room"):
        problem_of(await intake.get(case, who), 403, "role-not-allowed")


async def test_what_does_not_exist_is_not_found(intake):
    for path in ("/cases/nope", "/cases/nope/indication"):
        problem_of(await intake.get(path, "nurse"), 404, "not-found")
    for path, body, who in (
        ("/cases/nope/safety-screen", screen_body(), "nurse"),
        ("/cases/nope/safety-screen/medication/judgement", {"acceptable": True, "reason": "x"}, "physician"),
        ("/cases/nope/indication", decision_body(), "professional"),
        ("/cases/nope/indication-advice", facts_body(), "professional"),
        ("/cases/nope/consent", CONSENT, "nurse"),
        ("/cases/nope/consent/withdrawal", {}, "nurse"),
    ):
        problem_of(await intake.post(path, body, who), 404, "not-found")
