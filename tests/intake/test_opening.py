"""Who may read asks intake to open a sealed text; each opening and each refusal has its line in the access log."""

import json

import pytest
import structlog
from tests.intake.service import patient_body, running_intake

from spoel_common.errors import NotAllowed, PatientErased, SealedTextChanged
from spoel_common.identity import TokenInvalid
from spoel_common.ids import new_id
from spoel_common.messaging import NobodyAnswers, ask, ask_subject
from spoel_common.opening import OpeningRefused, OpeningTimedOut, SealedText, open_text
from spoel_common.runtime import Runtime, Unavailable
from spoel_common.sealing import seal
from spoel_common.settings import Settings

QUESTION = "Somber sinds de zomervakantie; graag beoordeling."
REFERRAL = "spoel.intake.referral-received.v1"


class AskerSettings(Settings):
    service: str = "planning"
    port: int = 0
    database_url: str = "sqlite:///unused.db"


class Asker(Runtime):
    """As much of a service's runtime as asking needs: settings and the connection."""

    def __init__(self, site, broker):
        self.settings = AskerSettings(site=site)
        self.broker = broker


@pytest.fixture
async def service(tmp_path, nats_url, site):
    async with running_intake(tmp_path, nats_url=nats_url, site=site) as running:
        await running.verify_staff("physician")
        yield running


@pytest.fixture
async def asker(service, site, broker, eventually):
    asker = Asker(site, broker)

    async def answers():
        try:
            return await ask(broker, ask_subject(site, "intake", "open"), b"{}", 5.0)
        except NobodyAnswers:
            return False

    await eventually(answers)
    return asker


async def sealed_of(service, **changes):
    ids = await service.refer(**changes)
    for row in await service.rows("events"):
        event = json.loads(row["raw"])
        if event["subject"] == ids["case_id"]:
            return SealedText(ids["patient_id"], event["id"], event["type"], event["data"]["sealed_question"])
    raise AssertionError


async def public_key_of(service, patient_id):
    events = [json.loads(row["raw"]) for row in await service.rows("events")]
    (key,) = [
        event["data"]["public_key"]
        for event in events
        if event["subject"] == patient_id and "public_key" in event["data"]
    ]
    return key


async def access_log(service):
    return (await service.access_log())[1:]  # behind the line of the fixture's own request


@pytest.mark.requirement("AU-05")
@pytest.mark.invariant("INV-6")
async def test_a_text_is_opened_for_who_may_read_it_and_the_log_says_who_what_and_why(service, asker):
    text = await sealed_of(service)
    with structlog.testing.capture_logs() as lines:
        assert await open_text(asker, "nurse", text, "treatment") == QUESTION
    ((kind, who, line),) = await access_log(service)
    assert (kind, who) == ("text-opened", "nurse")
    assert (line["patient_id"], line["opened_event_id"], line["opened_event_type"], line["reason"]) == (
        text.patient_id,
        text.event_id,
        REFERRAL,
        "treatment",
    )
    stored = repr(await service.rows("events")) + repr(lines)
    assert "zomervakantie" not in stored
    assert '"nurse"' in stored


@pytest.mark.requirement("AU-05")
@pytest.mark.parametrize("who", ["technician", "auditor", "hospital", "room", "trainee"])
async def test_who_may_not_read_is_refused_and_the_refusal_is_logged(service, asker, who):
    text = await sealed_of(service)
    with pytest.raises(NotAllowed, match="open-sealed-text"):
        await open_text(asker, who, text, "treatment")
    ((kind, actor, line),) = await access_log(service)
    assert (kind, actor, line["problem"], line["patient_id"]) == (
        "opening-refused",
        who,
        "role-not-allowed",
        text.patient_id,
    )


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
@pytest.mark.parametrize("name", ["allocation-recorded", "train-delivered", "session-armed", "train-authorised"])
async def test_a_blinded_trials_texts_open_for_a_physician_alone(service, asker, name):
    text = await sealed_of(service)
    event_id, event_type = new_id(), f"spoel.planning.{name}.v1"
    sealed = seal("sham", await public_key_of(service, text.patient_id), event_id, event_type)
    blinded = SealedText(text.patient_id, event_id, event_type, sealed)
    with pytest.raises(NotAllowed):
        await open_text(asker, "nurse", blinded, "incident")
    assert await open_text(asker, "physician", blinded, "incident") == "sham"


@pytest.mark.invariant("INV-5", "INV-6")
async def test_a_name_without_a_token_of_the_issuer_opens_nothing(service, asker):
    text = await sealed_of(service)
    with pytest.raises(TokenInvalid):
        await open_text(asker, "Dr. Nobody", text, "treatment")
    ((kind, actor, line),) = await access_log(service)
    assert (kind, actor, line["problem"]) == ("opening-refused", "unverified", "token-invalid")


@pytest.mark.invariant("INV-6")
async def test_a_text_that_was_changed_or_moved_does_not_open(service, asker):
    text = await sealed_of(service)
    other = await sealed_of(service, patient=patient_body(bsn="123456782"))
    half = len(text.sealed) // 2
    changed = text.sealed[:half] + ("A" if text.sealed[half] != "A" else "B") + text.sealed[half + 1 :]
    for wrong in (
        text._replace(sealed=changed),
        text._replace(event_id=other.event_id),
        text._replace(event_type="spoel.intake.consent-withdrawn.v1"),
        text._replace(patient_id=other.patient_id),
        text._replace(sealed=""),
    ):
        with pytest.raises(SealedTextChanged):
            await open_text(asker, "nurse", wrong, "treatment")
    assert [(kind, line["problem"]) for kind, _, line in await access_log(service)] == [
        ("opening-refused", "sealed-text-changed")
    ] * 5


@pytest.mark.requirement("AU-06")
@pytest.mark.invariant("INV-6")
async def test_nothing_opens_of_who_was_erased_or_was_never_here(service, asker):
    text = await sealed_of(service)
    erased = await service.post(f"/patients/{text.patient_id}/erasure", {"ground": "patient-request"}, "physician")
    assert erased.status_code == 201, erased.text
    with pytest.raises(PatientErased):
        await open_text(asker, "nurse", text, "complaint")
    with pytest.raises(OpeningRefused) as refused:
        await open_text(asker, "nurse", text._replace(patient_id=new_id()), "complaint")
    assert refused.value.facts == {"why": "patient-unknown"}
    assert [line["problem"] for _, _, line in await access_log(service)] == ["patient-erased", "patient-unknown"]


@pytest.mark.invariant("INV-6")
@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"\xff", b'{"token": "nurse"}', b'{"token":"nurse","patient_id":"Aardappel","reason":"Wilhelmina"}'],
)
async def test_a_request_that_is_none_is_refused_and_nothing_of_it_is_kept(service, asker, site, broker, raw):
    answer = json.loads(await ask(broker, ask_subject(site, "intake", "open"), raw, 5.0))
    assert answer["problem"]["slug"] == "opening-request-invalid"
    ((kind, actor, line),) = await access_log(service)
    assert (kind, actor, line["problem"], line["patient_id"]) == (
        "opening-refused",
        "unverified",
        "opening-request-invalid",
        None,
    )
    assert "Aardappel" not in repr(await service.rows("events"))


async def test_a_request_for_a_reason_that_is_none_or_a_patient_by_name_cannot_be_made(service, asker):
    text = await sealed_of(service)
    for wrong in ({"reason": "curiosity"}, {"text": text._replace(patient_id="Aardappel")}):
        arguments = {"text": text, "reason": "treatment", **wrong}
        with pytest.raises(SealedTextChanged):
            await open_text(asker, "nurse", **arguments)
    assert await access_log(service) == []


async def test_while_intake_is_away_or_silent_the_asker_is_told_so(site, broker):
    text = SealedText(new_id(), new_id(), REFERRAL, "c2VhbGVk")
    with pytest.raises(Unavailable, match="does not answer"):
        await open_text(Asker(site, broker), "nurse", text, "treatment")
    with pytest.raises(Unavailable, match="NATS"):
        await open_text(Asker(site, None), "nurse", text, "treatment")

    async def silent(_message):
        pass

    await broker.client.subscribe(ask_subject(site, "intake", "open"), cb=silent)
    with pytest.raises(OpeningTimedOut):
        await open_text(Asker(site, broker), "nurse", text, "treatment", timeout_s=0.2)


@pytest.mark.invariant("INV-6")
async def test_nothing_is_opened_while_its_line_cannot_be_written(service, asker):
    text = await sealed_of(service)
    async with service.runtime.database.write() as conn:
        await conn.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    with pytest.raises(Unavailable):
        await open_text(asker, "nurse", text, "treatment")
