"""Blinded sessions: equipment and code are checked, and nothing that is stored or shown tells the condition (ST-09)."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from typing import NamedTuple

import pytest
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import (
    GO,
    NOW,
    OPERATOR,
    PATIENT,
    PATTERN_ITBS,
    SAID,
    STRIP,
    TODAY,
    Story,
    device,
    told,
    treatment_order,
)

from spoel_common.sealing import KeyPair, generate_key_pair, open_sealed
from spoel_stimulation import commands as asked
from spoel_stimulation import foreign_events as told_by_others
from spoel_stimulation import projections
from spoel_stimulation.domain import blinding, checks, refusals, session
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.events.sessions import DeviceSettings, SessionArmed, SessionStarted
from spoel_stimulation.events.trains import ParameterChanged, Realised, TrainAuthorised, TrainDelivered
from spoel_stimulation.orders import Blinding

BLINDING = Blinding(trial_id="trial-1", method="device-code", blind_code="P-017")
SHAM_COIL = "Cool-B65 A/P"
IDS = {"session_id": "s", "case_id": "c", "patient_id": "p", "room_id": "r"}


def blinded_order(pattern=PATTERN_ITBS, **changes):
    return treatment_order(pattern, blinding=BLINDING.model_dump(), **{"coil_model": SHAM_COIL, **changes})


def with_coil(story, coil_model=SHAM_COIL, **changes):
    return story.facts(device=device(coil_model=coil_model, **changes))


def opened(order=None):
    story = Story(order=order or blinded_order())
    command = asked.OpenSession(session_id="session-1")
    return story.then(session.open_session(story.state, command, OPERATOR, with_coil(story)))


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
def test_a_blinded_session_is_refused_on_equipment_that_shows_the_condition():
    with pytest.raises(refusals.ShamNotPossible, match="Cool-B65"):
        Story(order=blinded_order(coil_model="Cool-B65")).opened()
    assert opened().state.blinded
    assert not Story().opened().state.blinded


@pytest.mark.requirement("ST-09")
@pytest.mark.parametrize("said", [None, "P-018", "p-017"])
def test_another_patients_code_is_refused(said):
    story = opened()
    story.then(session.confirm_identity(story.state, SAID, OPERATOR, with_coil(story), STRIP))
    story.then(checks.answer_daily_check(story.state, asked.AnswerDailyCheck(answers=GO), TODAY)[0])
    with pytest.raises(refusals.BlindCodeMismatch):
        session.check_arm(story.state, asked.Arm(ear_protection=True, blind_code=said), OPERATOR, with_coil(story))
    session.check_arm(story.state, asked.Arm(ear_protection=True, blind_code="P-017"), OPERATOR, with_coil(story))


def test_outside_a_trial_a_code_is_a_mistake():
    story = Story().checked()
    with pytest.raises(refusals.BlindCodeMismatch, match="leave blind_code out"):
        session.check_arm(story.state, asked.Arm(ear_protection=True, blind_code="P-017"), OPERATOR, story.facts())


REVEALING = [
    SessionArmed(
        **IDS,
        ear_protection=True,
        settings=DeviceSettings(set={"percent_mso": 61}, read_back={"percent_mso": 61}),
        coil_model=SHAM_COIL,
        percent_mso=61,
    ),
    TrainAuthorised(
        **IDS,
        train_id="t",
        train_index=0,
        pulses=30,
        percent_mso=61,
        bursts=10,
        pulses_per_burst=3,
        burst_interval_s=0.2,
        pulse_interval_s=0.02,
        planned_onset_at=NOW,
        device_total_pulses_before=0,
        known=(),
    ),
    TrainDelivered(
        **IDS,
        train_id="t",
        train_index=0,
        outcome="complete",
        pulses=30,
        percent_mso=61,
        device_total_pulses_after=30,
        evidence="counter",
        ended_at=NOW,
        realised=Realised(quantity="didt_a_per_us", stimuli=10, lowest=61.0, mean=61.0, highest=61.0),
    ),
    ParameterChanged(
        **IDS,
        parameter="percent_rmt",
        from_value=120.0,
        to_value=110.0,
        from_percent_mso=61,
        to_percent_mso=61,
        reason="pain",
        from_train_index=1,
    ),
]


@pytest.mark.hazard("HZ-23")
@pytest.mark.parametrize("event", REVEALING, ids=lambda event: event.event_name)
def test_what_could_tell_the_condition_is_taken_out_and_sealed_and_pulses_stay(event):
    fields = blinding.revealing(event)
    veiled = blinding.veiled(event, "c2VhbGVk")
    assert "61" not in veiled.model_dump_json()
    assert "61" in blinding.text_of(fields)
    assert veiled.sealed_output == "c2VhbGVk"
    assert type(veiled).model_validate(json.loads(veiled.model_dump_json())) == veiled
    for name in ("pulses", "outcome", "train_id"):
        assert getattr(veiled, name, None) == getattr(event, name, None)


def test_other_events_tell_nothing_and_stay_as_they_are():
    assert blinding.revealing(SessionStarted(**IDS)) == {}


@pytest.mark.requirement("ST-12")
def test_a_blinded_session_goes_on_from_events_that_do_not_say_the_output():
    story = opened()
    events = [blinding.veiled(event, None) for event in REVEALING[1:2]]
    state = story.state.model_copy(update={"phase": Phase.RUNNING})
    after = told(state, events)
    assert (after.percent_mso, after.trains[0].percent_mso, after.trains[0].pulses) == (60, None, 30)


SHORT = PATTERN_ITBS.model_copy(update={"trains": 2})
AP_COIL = 64
"""The coil's number on the wire."""


async def said_in(folder, didt_at_full_output, monkeypatch):
    """Run a blinded session on a device that gives so much; return all that was stored and answered, without ids."""
    monkeypatch.setattr("spoel_stimulation.devices.magpro.simulator.DIDT_AT_FULL_OUTPUT", didt_at_full_output)
    folder.mkdir()
    answers = []
    async with simulated(folder, fast_clock()) as clinic:
        simulator = clinic.simulator
        simulator.settings = replace(simulator.settings, coil=AP_COIL)
        async with clinic.opened():
            order = blinded_order(SHORT)
            session_id = await clinic.prepare(order)
            keys = generate_key_pair()
            await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key=keys.public_key))
            answers += [await clinic.open(session_id), await clinic.identify(session_id)]
            answers += [await clinic.check_patient(session_id), await clinic.present(session_id)]
            answers.append(await clinic.ask(session_id, "arm", ear_protection=True, blind_code="P-017"))
            assert answers[-1].json()["outcome"] == "done", answers[-1].text
            answers.append(await clinic.ask(session_id, "start"))
            await clinic.until_event("train-delivered", 1)
            answers += [await clinic.get("/rooms/room-1"), await clinic.get(f"/sessions/{session_id}")]
            train_id = (await clinic.events("train-authorised"))[0]["train_id"]
            answers.append(await clinic.get(f"/sessions/{session_id}/trains/{train_id}"))
            await clinic.until_state(session_id, "closed")
            events = await clinic.events()
            async with clinic.runtime.database.read() as conn:
                tables = (await conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars()
                rows = [
                    str(tuple(row)) for name in tables for row in await conn.exec_driver_sql(f'SELECT * FROM "{name}"')
                ]
    return Said(answers, events, rows, keys)


NO_KEYS = {
    "not base64": "key",
    "too short": b64encode(bytes(range(31))).decode(),
    "no point to share a key with": b64encode(bytes(32)).decode(),
}


@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize("no_key", [None, *NO_KEYS.values()], ids=["none", *NO_KEYS])
async def test_without_the_patients_key_there_is_no_record_of_what_is_given_and_nothing_begins(tmp_path, no_key):
    async with simulated(tmp_path, fast_clock()) as clinic:
        clinic.simulator.settings = replace(clinic.simulator.settings, coil=AP_COIL)
        async with clinic.opened():
            session_id = await clinic.prepare(blinded_order(SHORT))
            async with clinic.runtime.database.write() as conn:
                await projections.clear_patient(conn, PATIENT)
            if no_key is not None:
                await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key=no_key))
            refused = await clinic.open(session_id)
            assert refused.json()["type"].endswith("patient-key-unknown")
            assert await clinic.events("session-opened") == []
            key = generate_key_pair().public_key
            await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key=key))
            assert (await clinic.open(session_id)).is_success


@pytest.mark.invariant("INV-1")
@pytest.mark.hazard("HZ-23")
async def test_a_key_that_becomes_unusable_keeps_no_train_from_its_record(tmp_path):
    async with simulated(tmp_path, fast_clock()) as clinic:
        clinic.simulator.settings = replace(clinic.simulator.settings, coil=AP_COIL)
        async with clinic.opened():
            session_id = await clinic.prepare(blinded_order(SHORT))
            key = generate_key_pair().public_key
            await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key=key))
            for answer in (await clinic.open(session_id), await clinic.identify(session_id)):
                assert answer.is_success, answer.text
            await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key="key"))
            for answer in (await clinic.check_patient(session_id), await clinic.present(session_id)):
                assert answer.is_success, answer.text
            armed = await clinic.ask(session_id, "arm", ear_protection=True, blind_code="P-017")
            assert armed.json()["outcome"] == "done", armed.text
            assert (await clinic.ask(session_id, "start")).is_success
            await clinic.until_state(session_id, "closed")
            delivered = await clinic.events("train-delivered")
            assert sum(train["pulses"] for train in delivered) == clinic.simulator.total_pulses == SHORT.pulses
            assert {train["sealed_output"] for train in delivered} == {None}
            assert {train["percent_mso"] for train in delivered} == {None}


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
async def test_what_a_device_says_of_a_fault_is_sealed_too(tmp_path):
    async with simulated(tmp_path, fast_clock()) as clinic:
        clinic.simulator.settings = replace(clinic.simulator.settings, coil=AP_COIL)
        async with clinic.opened():
            session_id = await clinic.prepare(blinded_order(SHORT))
            keys = generate_key_pair()
            await clinic.tell(told_by_others.PatientRegistered(patient_id=PATIENT, public_key=keys.public_key))
            await clinic.open(session_id)
            await clinic.identify(session_id)
            await clinic.check_patient(session_id)
            await clinic.present(session_id)
            armed = await clinic.ask(session_id, "arm", ear_protection=True, blind_code="P-017")
            assert armed.json()["outcome"] == "done", armed.text
            clinic.simulator.panel_set_amplitude(43)
            (fault,) = await clinic.until_event("device-fault")
            await clinic.until_latched("unasked-change")
            room = (await clinic.get("/rooms/room-1")).json()
            assert "43" not in fault["detail"]
            assert fault["detail"] == room["latch"]["detail"] == blinding.NOT_SHOWN
            (event,) = [each for each in await clinic.events() if each.type.split(".")[2] == "device-fault"]
            assert "43 %" in open_sealed(fault["sealed_detail"], keys.private_key, event.id, event.type)


class Said(NamedTuple):
    answers: list
    events: list
    rows: list
    keys: KeyPair

    def opened(self):
        """Return what the sealed outputs of the trains say."""
        sealed = [event for event in self.events if event.type.split(".")[2] == "train-delivered"]
        return [
            json.loads(open_sealed(event.data["sealed_output"], self.keys.private_key, event.id, event.type))
            for event in sealed
        ]

    @property
    def pulses(self):
        return sum(event.data["pulses"] for event in self.events if event.type.split(".")[2] == "train-delivered")

    def without_seals(self):
        """Return every event's data with times, ids, ages and sealed texts left out."""
        varying = {"sealed_output", "known", "ended_at", "first_onset_at", "planned_onset_at", "train_id", "session_id"}
        varying |= {"strip_public_key", "grant_until", "checked_at", "presence"}
        return [{name: value for name, value in each.data.items() if name not in varying} for each in self.events]


@pytest.mark.requirement("ST-09")
@pytest.mark.hazard("HZ-23")
async def test_all_that_is_stored_and_answered_is_the_same_in_both_conditions(tmp_path, monkeypatch):
    active = await said_in(tmp_path / "active", 161, monkeypatch)
    sham = await said_in(tmp_path / "sham", 83, monkeypatch)
    assert active.pulses == sham.pulses == SHORT.pulses
    assert active.without_seals() == sham.without_seals()
    realised = [[train["realised"]["mean"] for train in arm.opened()] for arm in (active, sham)]
    assert realised == [[161 * 60 // 100] * 2, [83 * 60 // 100] * 2]
    for arm, output in ((active, "96"), (sham, "49")):
        clear = re.sub(r"[A-Za-z0-9+/=_.:-]{30,}", "", "".join([*arm.rows, *(answer.text for answer in arm.answers)]))
        assert re.search(rf"realised[^,]*{output}|(?<![\d.])0*{output}\.0(?!\d)", clear) is None
        assert "didt" not in clear
