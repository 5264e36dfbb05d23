"""Blinded trials: an allocation that nobody reads, equipment that hides it, and a physician's one step (ST-09)."""

import json

import pytest
from tests.planning.story import CASE, SUPERVISOR, Story, occasion, person
from tests.planning.test_patients import hear

from spoel_common.ids import new_id
from spoel_common.people import Profession, Role
from spoel_common.sealing import generate_key_pair, open_sealed
from spoel_common.store import AggregateRef
from spoel_planning.commands import Allocate, Unblind
from spoel_planning.domain import blinding
from spoel_planning.domain.refusals.prescribing import AlreadyAllocated, NotABlinding, NotAllocated, ShamNotPossible
from spoel_planning.events.prescribing import AllocationRecorded

PHYSICIAN = person("doc", Role.PHYSICIAN, Profession.ARTS, "19000000001")
SHAM_COIL = {"coil_model": "Cool-B65 A/P"}
NONCE = "0123456789abcdef"


def allocation(**changes):
    fields = {"trial_id": "trial-1", "allocation": "sham", "blind_code": "P-017", "nonce": NONCE}
    return Allocate.model_validate(fields | changes)


def allocated(story, **changes):
    return story.tell(blinding.allocate(story.plan, story.on, allocation(**changes), "event-1", "c2VhbGVk"))


@pytest.fixture
def in_trial(measured):
    measured.find_threshold(50)
    measured.plan = measured.plan.model_copy(
        update={"thresholds": (measured.plan.thresholds[-1].model_copy(update=SHAM_COIL),)}
    )
    allocated(measured)
    return measured


@pytest.mark.requirement("ST-09")
def test_a_course_of_a_trial_carries_its_code_and_not_its_condition(in_trial):
    (drafted,) = in_trial.draft()
    assert drafted.order.blinding.model_dump() == {
        "trial_id": "trial-1",
        "method": "device-code",
        "blind_code": "P-017",
    }
    assert "sham" not in json.dumps([event.model_dump(mode="json") for event in in_trial.events])


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
@pytest.mark.parametrize("method", ["amplitude-zero", "tilted-coil"])
def test_what_everybody_sees_is_refused_as_blinding(measured, method):
    with pytest.raises(NotABlinding, match=method):
        allocated(measured, method=method)


@pytest.mark.requirement("ST-09")
def test_equipment_that_does_not_hide_the_condition_is_refused(with_threshold):
    allocated(with_threshold)
    with pytest.raises(ShamNotPossible, match="Cool-B65"):
        with_threshold.draft()


@pytest.mark.requirement("ST-09")
def test_a_dose_that_may_be_turned_down_to_nothing_is_refused(in_trial):
    with pytest.raises(NotABlinding):
        in_trial.draft(floor_percent_rmt=1.0)


def test_a_condition_is_allocated_once(in_trial):
    with pytest.raises(AlreadyAllocated):
        allocated(in_trial)


def test_a_condition_is_allocated_before_anything_is_prescribed(drafted):
    with pytest.raises(AlreadyAllocated):
        allocated(drafted)


@pytest.mark.hazard("HZ-23")
def test_unblinding_says_who_and_why_and_needs_an_allocation(in_trial):
    on = occasion(PHYSICIAN)
    (event,) = blinding.unblind(in_trial.plan, on, Unblind(reason_code="adverse-event"))
    assert (event.physician_id, event.reason_code, event.big_number) == ("doc", "adverse-event", "19000000001")
    with pytest.raises(NotAllocated):
        blinding.unblind(Story().plan, on, Unblind(reason_code="adverse-event"))


def test_a_case_outside_a_trial_is_prescribed_as_ever(with_threshold):
    (drafted,) = with_threshold.draft()
    assert drafted.order.blinding is None
    assert (CASE.case_id, SUPERVISOR.person_id) == ("case-1", "sup")


BODY = {"trial_id": "trial-1", "allocation": "sham", "blind_code": "P-017", "nonce": NONCE}


async def with_key(clinic):
    pair = generate_key_pair()
    await clinic.hear_everything()
    registered = {"patient_id": "patient-1", "public_key": pair.public_key}
    await hear(clinic, ("patient-registered", "patient", 1, registered))
    return pair


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
@pytest.mark.invariant("INV-6")
async def test_the_condition_is_nowhere_to_be_read_in_what_is_stored_or_answered(quiet_clinic):
    pair = await with_key(quiet_clinic)
    answers = [await quiet_clinic.post("/cases/case-1/allocation", BODY, by="trial")]
    assert answers[0].status_code == 201, answers[0].text
    answers.append(await quiet_clinic.get("/cases/case-1"))
    async with quiet_clinic.runtime.database.read() as conn:
        tables = (await conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all()
        stored = [repr(row) for name in tables for row in await conn.exec_driver_sql(f'SELECT * FROM "{name}"')]
    said = "".join(stored) + "".join(answer.text for answer in answers)
    assert "sham" not in said
    assert "active" not in said
    event = next(json.loads(e.to_bytes()) for e in await _events(quiet_clinic) if "allocation-recorded" in e.type)
    sealed = event["data"]["sealed_allocation"]
    assert open_sealed(sealed, pair.private_key, event["id"], AllocationRecorded.event_type()) == "sham"
    assert event["data"]["allocation_event_id"] == event["id"]


async def _events(clinic):
    async with clinic.runtime.database.read() as conn:
        return await clinic.runtime.store.load(conn, AggregateRef("plan", "case-1"))


@pytest.mark.hazard("HZ-23")
async def test_unblinding_is_recorded_once_also_where_intake_does_not_answer(quiet_clinic):
    await with_key(quiet_clinic)
    await quiet_clinic.post("/cases/case-1/allocation", BODY, by="trial")
    key = new_id()
    for _ in range(2):
        answer = await quiet_clinic.post("/cases/case-1/unblind", {"reason_code": "medical-emergency"}, "doc", key)
        assert answer.status_code == 503
    names = [event.type for event in await _events(quiet_clinic)]
    assert names.count("spoel.planning.allocation-unblinded.v1") == 1


@pytest.mark.invariant("INV-5")
@pytest.mark.parametrize(
    ("path", "body", "who"),
    [
        ("allocation", BODY, ["pro", "sup", "doc", "clin", "tech"]),
        ("unblind", {"reason_code": "adverse-event"}, ["pro", "sup", "clin", "tech", "trial"]),
    ],
)
async def test_who_treats_neither_allocates_nor_unblinds(quiet_clinic, path, body, who):
    await with_key(quiet_clinic)
    for person_id in who:
        answer = await quiet_clinic.post(f"/cases/case-1/{path}", body, by=person_id)
        assert answer.status_code == 403, (person_id, answer.text)
