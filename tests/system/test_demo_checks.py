"""The demo's own tools: each equality fails where it should, and people insist only where patience can help."""

import asyncio
import base64
import hashlib
import json
from datetime import date

import httpx
import pytest

from spoel_intake.bsn import parse_bsn
from spoel_local.demo import run as demo
from spoel_local.demo.checks import (
    Log,
    Room,
    bytes_agree,
    every_event_once,
    order_kept,
    pulses_agree,
    root_agrees,
    simulator_pulses,
)
from spoel_local.demo.patients import referral, service_request, two_patients
from spoel_local.demo.people import People, Refused
from spoel_local.event_tables import StoredEvent
from spoel_local.processes import LauncherError


def stored(number, version=1, aggregate="one", kind="spoel.stimulation.session-started.v1", data=None):
    raw = json.dumps({"id": f"event-{number}", "data": data or {}}).encode()
    return StoredEvent("/spoel/local/stimulation/node-1", f"event-{number}", "session", aggregate, version, kind, raw)


def entry(number, version=1):
    return json.dumps({"id": f"event-{number}", "version": version}).encode()


def log_of(*entries, root=None):
    leaves = [hashlib.sha256(b"\0" + one).digest() for one in entries]
    assert len(leaves) <= 2
    whole = leaves[0] if len(leaves) == 1 else hashlib.sha256(b"\1" + b"".join(leaves)).digest()
    return Log(list(entries), root or whole)


def test_every_event_once_holds_when_log_and_stores_agree():
    assert every_event_once([stored(1), stored(2, 2)], Log([entry(1), entry(2, 2)], b"")).ok


@pytest.mark.requirement("AU-07")
@pytest.mark.parametrize(
    ("in_log", "names"),
    [
        ([entry(1)], {"missing": ["event-2"], "surplus": []}),
        ([entry(1), entry(2), entry(2)], {"missing": [], "surplus": ["event-2"]}),
        ([entry(1), entry(2), entry(3)], {"missing": [], "surplus": ["event-3"]}),
    ],
    ids=["missing", "twice", "foreign"],
)
def test_a_missing_a_doubled_and_a_foreign_entry_are_found(in_log, names):
    check = every_event_once([stored(1), stored(2, 2)], Log(in_log, b""))
    assert not check.ok
    assert {name: check.values[name] for name in names} == names


@pytest.mark.parametrize("versions", [(2, 1), (1, 3), (2, 3), (1, 1)])
def test_an_order_with_a_swap_or_a_hole_is_found(versions):
    events = [stored(number, version) for number, version in enumerate(versions)]
    log = Log([entry(number, version) for number, version in enumerate(versions)], b"")
    assert not order_kept(events, log).ok


def test_aggregates_may_mix_in_the_log_as_they_like():
    events = [stored(1), stored(2, aggregate="two"), stored(3, 2), stored(4, 2, aggregate="two")]
    log = Log([entry(2), entry(1), entry(3, 2), entry(4, 2)], b"")
    assert order_kept(events, log).ok


def test_an_empty_log_keeps_no_order():
    assert not order_kept([], Log([], b"")).ok


@pytest.mark.requirement("AU-04")
def test_a_root_over_other_entries_is_found():
    assert root_agrees(log_of(entry(1), entry(2))).ok
    assert not root_agrees(log_of(entry(1), entry(2), root=hashlib.sha256(b"other").digest())).ok
    assert not root_agrees(log_of(entry(2), entry(1), root=log_of(entry(1), entry(2)).root)).ok


def people_who_hear(answers):
    """Return people whose every request is answered by ``answers(request)``: (status, body)."""

    def answer(request):
        status, body = answers(request)
        return httpx.Response(status, json=body)

    services = dict.fromkeys(("intake", "planning", "stimulation", "audit"), "http://services.test")
    tokens = dict.fromkeys(("auditor", "supervisor"), "token")
    return People(services, tokens, httpx.MockTransport(answer))


def train(number, pulses):
    return stored(
        number, number, kind="spoel.stimulation.train-delivered.v1", data={"session_id": "s", "pulses": pulses}
    )


def unknown(number, at_most):
    data = {"session_id": "s", "pulses_at_most": at_most}
    return stored(number, number, kind="spoel.stimulation.train-outcome-unknown.v1", data=data)


@pytest.mark.invariant("INV-1")
@pytest.mark.parametrize(
    ("fired", "events", "in_log", "ok"),
    [
        (80, [train(1, 40), train(2, 40)], (80, 0), True),
        (81, [train(1, 40), train(2, 40)], (80, 0), False),
        (79, [train(1, 40), train(2, 40)], (80, 0), False),
        (80, [train(1, 40), train(2, 40)], (40, 0), False),
        (60, [train(1, 40), unknown(2, 40)], (40, 40), True),
        (90, [train(1, 40), unknown(2, 40)], (40, 40), False),
        (39, [train(1, 40), unknown(2, 40)], (40, 40), False),
        (60, [train(1, 40), unknown(2, 40)], (40, 0), False),
        (0, [], (0, 0), False),
    ],
)
async def test_pulses_must_agree_to_the_last_one(tmp_path, fired, events, in_log, ok):
    log = tmp_path / "room.jsonl"
    log.write_text(json.dumps({"t_ns": 1, "pulses": fired}) + "\n")
    answer = {"pulses_delivered": in_log[0], "pulses_unknown_at_most": in_log[1]}
    async with people_who_hear(lambda _: (200, answer)) as people:
        (check,) = await pulses_agree(people, events, [Room("room-1", log, 0, ["s"])])
    assert check.ok is ok


def test_a_simulator_s_total_is_its_last_line_a_torn_one_left_out_and_a_new_beginning_added(tmp_path):
    log = tmp_path / "room.jsonl"
    log.write_text('{"t_ns": 1, "pulses": 3}\n{"t_ns": 2, "dir": "in", "frame": "00"}\n{"t_ns": 3, "pulses": 5}\n{"t_n')
    assert simulator_pulses(log) == 5
    log.write_text('{"t_ns": 1, "pulses": 3}\n{"t_ns": 3, "pulses": 1}\n')
    assert simulator_pulses(log) == 4


async def test_other_bytes_in_a_store_than_the_log_commits_to_are_found():
    salt, event = bytes(32), stored(1)
    said = {"commitment": hashlib.sha256(salt + event.raw + b"!").hexdigest()}
    answer = {
        "entry": base64.b64encode(json.dumps(said).encode()).decode(),
        "salt": base64.b64encode(salt).decode(),
    }
    async with people_who_hear(lambda _: (200, answer)) as people:
        check = await bytes_agree(people, [event])
    assert not check.ok
    assert check.values["different"] == ["event-1"]


async def test_a_refusal_that_may_pass_is_tried_again_under_the_same_key():
    keys = []

    def answer(request):
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return 404, {"type": "urn:spoel:problem:case-unknown-here", "detail": "It may still arrive."}
        return 201, {"done": True}

    async with people_who_hear(answer) as people:
        assert await people.tell("supervisor", "planning", "/cases/1/bookings", {}, "booking") == {"done": True}
    assert len(set(keys)) == 1


async def test_a_refusal_that_stays_names_step_request_status_and_problem():
    problem = {"type": "urn:spoel:problem:slot-full", "detail": "Take another room."}
    asked = []

    def answer(request):
        asked.append(request)
        return 409, problem

    async with people_who_hear(answer) as people:
        with pytest.raises(Refused) as refused:
            await people.tell("supervisor", "planning", "/cases/1/bookings", {}, "booking of the session")
    failure = refused.value.failure
    assert len(asked) == 1
    assert failure.step == "booking of the session"
    assert failure.request == "POST http://services.test/cases/1/bookings"
    assert (failure.status, failure.problem) == (409, problem)
    assert "Take another room." in failure.message


async def test_what_never_arrives_is_refused_when_the_time_is_over():
    problem = {"type": "urn:spoel:problem:case-unknown-here", "detail": "It may still arrive."}
    async with people_who_hear(lambda _: (404, problem)) as people:
        with pytest.raises(Refused, match="It may still arrive"):
            await people.tell("supervisor", "planning", "/x", {}, "step", arrives_within_s=0.2)


async def test_an_effect_that_failed_or_is_unknown_is_not_asked_for_again():
    asked = []

    def answer(request):
        asked.append(request)
        return 202, {"outcome": "accepted" if len(asked) < 2 else "unknown"}

    async with people_who_hear(answer) as people:
        with pytest.raises(Refused, match="its outcome is"):
            await people.insist("supervisor", "stimulation", "/sessions/1/arm", {}, "arming")
    assert len(asked) == 2
    assert asked[0].headers["Idempotency-Key"] == asked[1].headers["Idempotency-Key"]


async def test_when_one_job_fails_the_others_are_given_up():
    ended = []

    async def fail():
        raise LauncherError("no disk")

    async def go_on():
        try:
            await never()
        finally:
            ended.append("given up")

    with pytest.raises(LauncherError, match="no disk"):
        await demo.together(go_on(), fail())
    assert ended == ["given up"]


async def never():
    await asyncio.Event().wait()


def test_virtual_patients_are_the_same_for_a_seed_and_have_valid_test_numbers():
    for seed in range(50):
        patients = two_patients(seed)
        assert [patient.bsn for patient in patients] == [patient.bsn for patient in two_patients(seed)]
        for patient in patients:
            assert parse_bsn(patient.bsn).startswith("999")


def test_a_virtual_patient_twitches_above_the_threshold_and_not_below():
    patient, _ = two_patients(1)
    assert all(patient.twitches(round(patient.true_threshold_percent_mso) + 8) for _ in range(100))
    assert not any(patient.twitches(round(patient.true_threshold_percent_mso) - 8) for _ in range(100))


def test_the_timeline_never_names_a_patient():
    for patient in two_patients(5):
        assert patient.family_name not in patient.label
        assert patient.family_name in json.dumps(referral(patient, date(2026, 11, 22)))
        assert patient.family_name in json.dumps(service_request(patient, date(2026, 11, 22)))
