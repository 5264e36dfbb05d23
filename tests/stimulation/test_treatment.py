"""A treatment over HTTP, on a real journal and a simulator over TCP: from opening to the last pulse."""

import asyncio
import sqlite3
from datetime import datetime
from itertools import pairwise

import pytest
from tests.stimulation.clinic import firing_frames
from tests.stimulation.story import PATTERN_10HZ, PATTERN_ITBS, treatment_order

from spoel_common.clock import sleep_s
from spoel_common.ids import new_id

SHORT = PATTERN_ITBS.model_copy(update={"trains": 4})
LONGER = PATTERN_ITBS.model_copy(update={"trains": 8})
"""Long enough that a pause comes before its end on a busy machine too."""


@pytest.mark.requirement("ST-06")
@pytest.mark.invariant("INV-1")
@pytest.mark.invariant("INV-5")
@pytest.mark.invariant("INV-6")
async def test_every_pulse_of_a_session_is_recorded_before_and_after(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
    session = await clinic.until_state(session_id, "closed")
    assert session["progress"] == {
        "trains_done": 4,
        "trains_planned": 4,
        "pulses_delivered": 120,
        "pulses_planned": 120,
        "pulses_unknown": 0,
    }
    assert clinic.simulator.total_pulses == 120
    assert not clinic.simulator.enabled
    authorised, delivered = await clinic.events("train-authorised"), await clinic.events("train-delivered")
    assert [event["train_id"] for event in authorised] == [event["train_id"] for event in delivered]
    assert [event["device_total_pulses_before"] for event in authorised] == [0, 30, 60, 90]
    assert {event["evidence"] for event in delivered} == {"frames-and-counter"}
    (closed,) = await clinic.events("session-closed")
    assert (closed["outcome"], closed["pulses_delivered"]) == ("completed", 120)
    names = [name for name in await clinic.names() if name.startswith("train-")]
    assert names == ["train-authorised", "train-delivered"] * 4
    onsets = [datetime.fromisoformat(event["first_onset_at"]) for event in delivered]
    assert all((later - earlier).total_seconds() >= 9.9 for earlier, later in pairwise(onsets)), onsets
    check_envelopes(session_id, await clinic.events())


def check_envelopes(session_id, envelopes):
    """Assert that events say who, where and that a simulator took part, and nothing of whose name it is."""
    trains = [envelope for envelope in envelopes if "train-" in envelope.type]
    assert {(each.actorid, each.actorbig, each.room, each.simulated) for each in trains} == {
        ("petra", "49012345630", "room-1", True)
    }
    assert {(each.aggregatetype, each.subject) for each in trains} == {("session", session_id)}
    raw = b"".join(envelope.to_bytes() for envelope in envelopes)
    assert not any(secret.encode() in raw for secret in ("Zo", "Berg", "1980-02-29"))


@pytest.mark.requirement("ST-04")
@pytest.mark.invariant("INV-7")
async def test_a_pause_lets_the_running_train_end_and_no_other_begin(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(LONGER)))
    await clinic.until_event("train-authorised", 2)
    assert (await clinic.ask(session_id, "pause", reason="coil-check")).json()["state"] == "paused"
    begun = len(await clinic.events("train-authorised"))
    await clinic.until_event("train-delivered", begun)
    await sleep_s(clinic.clock, 20)
    assert len(await clinic.events("train-authorised")) == begun
    assert {event["outcome"] for event in await clinic.events("train-delivered")} == {"complete"}
    assert clinic.simulator.total_pulses == 30 * begun
    refused = await clinic.ask(session_id, "resume")
    assert refused.json()["type"].endswith("ear-protection-missing")
    assert (await clinic.ask(session_id, "resume", ear_protection=True)).json()["state"] == "running"
    session = await clinic.until_state(session_id, "closed")
    assert session["progress"]["pulses_delivered"] == clinic.simulator.total_pulses == 240


@pytest.mark.requirement("ST-05")
async def test_a_lower_intensity_holds_from_the_next_train(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(LONGER)))
    await clinic.until_event("train-delivered", 1)
    await clinic.ask(session_id, "pause", reason="patient-discomfort")
    answer = await clinic.ask(session_id, "parameters", parameter="percent_rmt", value=100.0, reason="pain")
    assert (answer.json()["percent_mso"], answer.json()["percent_rmt"]) == (50, 100.0)
    done = len(await clinic.events("train-authorised"))
    await clinic.until_event("train-delivered", done)
    await clinic.ask(session_id, "resume", ear_protection=True)
    await clinic.until_state(session_id, "closed")
    percents = [event["percent_mso"] for event in await clinic.events("train-delivered")]
    assert percents == [60] * done + [50] * (8 - done)
    assert clinic.simulator.settings.amplitude_a == 50


@pytest.mark.requirement("ST-05")
async def test_changes_at_any_moment_of_a_running_session_disturb_no_train(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
    value, changed = 120.0, 0
    while (await clinic.session(session_id))["state"] == "running" and value > 81:
        value -= 1
        command = {"parameter": "percent_rmt", "value": value, "reason": "patient-discomfort"}
        changed += (await clinic.ask(session_id, "parameters", **command)).status_code == 200
    session = await clinic.until_state(session_id, "closed")
    assert session["progress"]["pulses_delivered"] == clinic.simulator.total_pulses == 120
    assert session["reason"] == "last-train-ended"
    assert len(await clinic.events("parameter-changed")) == changed > 0


@pytest.mark.requirement("ST-04")
async def test_a_stop_disarms_and_closes_as_partial(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
    await clinic.until(lambda: clinic.simulator.running, "a train under way")
    answer = await clinic.ask(session_id, "stop", reason="patient-asked")
    assert (answer.status_code, answer.json()["state"]) == (200, "closed")
    assert not clinic.simulator.enabled
    (closed,) = await clinic.events("session-closed")
    (delivered,) = await clinic.events("train-delivered")
    assert closed["outcome"] == "partial"
    assert delivered["pulses"] == closed["pulses_delivered"] == clinic.simulator.total_pulses
    assert (await clinic.room_view())["latch"] is None


async def test_a_repeated_start_starts_once(clinic):
    session_id = await clinic.armed(await clinic.prepare(treatment_order(SHORT)))
    key = new_id()
    first = await clinic.ask(session_id, "start", key=key)
    again = await clinic.ask(session_id, "start", key=key)
    assert first.content == again.content
    await clinic.until_state(session_id, "closed")
    assert len(await clinic.events("session-started")) == 1
    assert len(firing_frames(clinic.folder)) == 4


async def test_a_repeated_arm_tells_what_became_of_the_first(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.seated(session_id)
    key = new_id()
    first = await clinic.ask(session_id, "arm", key=key, ear_protection=True)
    again = await clinic.ask(session_id, "arm", key=key, ear_protection=True)
    assert first.json()["outcome"] == again.json()["outcome"] == "done"
    (armed,) = await clinic.events("session-armed")
    assert armed["settings"]["set"] == armed["settings"]["read_back"]
    assert armed["percent_mso"] == 60


@pytest.mark.requirement("ST-03")
async def test_two_rooms_work_at_the_same_time(two_rooms):
    clinic = two_rooms
    first = await clinic.prepare(treatment_order(SHORT))
    await clinic.tell_case("case-2", "patient-2")
    await clinic.tell_prescription(treatment_order(SHORT), case_id="case-2", prescription_id="prescription-2")
    second = await clinic.book(
        room_id="room-2", case_id="case-2", patient_id="patient-2", prescription_id="prescription-2"
    )
    await clinic.started(first)
    await clinic.seated(second, room_id="room-2")
    assert (await clinic.arm(second)).json()["outcome"] == "done"
    await clinic.ask(second, "start")
    for session_id in (first, second):
        assert (await clinic.until_state(session_id, "closed"))["progress"]["pulses_delivered"] == 120
    assert [simulator.total_pulses for simulator in clinic.simulators] == [120, 120]


async def test_readiness_names_a_device_that_is_away(closed_clinic):
    closed_clinic.settings = closed_clinic.settings.model_copy(
        update={"rooms": (closed_clinic.settings.rooms[0].model_copy(update={"address": "socket://127.0.0.1:1"}),)}
    )
    async with closed_clinic.opened() as clinic:
        answer = await clinic.client.get("/health/ready")
        assert answer.status_code == 503
        assert "room-1" in answer.text
        session_id = await clinic.book()
        assert (await clinic.open(session_id)).is_client_error


@pytest.mark.invariant("INV-1")
async def test_no_train_leaves_while_its_authorisation_cannot_be_stored(clinic):
    session_id = await clinic.started(await clinic.prepare(treatment_order(SHORT)))
    await clinic.until_event("train-delivered", 1)
    locker = sqlite3.connect(clinic.folder / "journal.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    authorised, fired = len(await clinic.events("train-authorised")), len(firing_frames(clinic.folder))
    await sleep_s(clinic.clock, 30)
    assert len(firing_frames(clinic.folder)) == fired <= authorised
    locker.execute("ROLLBACK")
    locker.close()
    session = await clinic.until_state(session_id, "closed")
    assert session["progress"]["pulses_delivered"] == clinic.simulator.total_pulses == 120


async def test_two_people_arming_at_once_arm_once_and_disturb_nothing(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.seated(session_id)
    answers = await asyncio.gather(clinic.arm(session_id), clinic.arm(session_id))
    outcomes = sorted(answer.json().get("outcome", "refused") for answer in answers)
    assert outcomes[0] == "done"
    assert outcomes[1] in {"failed", "refused"}
    assert clinic.simulator.enabled
    assert len(await clinic.events("session-armed")) == 1
    await clinic.ask(session_id, "start")
    assert (await clinic.until_state(session_id, "closed"))["progress"]["pulses_delivered"] == 120


@pytest.mark.invariant("INV-4")
async def test_consent_withdrawn_while_the_device_is_being_armed_leaves_it_disarmed(clinic):
    session_id = await clinic.prepare(treatment_order(SHORT))
    await clinic.seated(session_id)
    arming = asyncio.create_task(clinic.arm(session_id))
    await clinic.until(lambda: clinic.room.arming.under_way, "the arming")
    await clinic.withdraw_consent()
    answer = (await arming).json()
    if answer["outcome"] == "done":
        await clinic.until_state(session_id, "closed")
    else:
        assert answer["problem"] == "consent-withdrawn"
        assert await clinic.events("session-armed") == []
    assert not clinic.simulator.enabled
