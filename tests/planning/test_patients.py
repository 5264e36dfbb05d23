"""What planning keeps of patients: keys and sealed texts, whatever the order of the events, until an erasure."""

import asyncio
import itertools
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from tests.planning.conftest import open_clinic
from tests.planning.story import NOW

from spoel_common.erasure import due
from spoel_common.errors import PatientKeyUnknown
from spoel_common.events import Envelope
from spoel_common.messaging import Relay
from spoel_common.sealing import generate_key_pair, open_sealed
from spoel_common.store import AggregateRef, EventStore, StoreName
from spoel_planning.patients import erasure_answers, patients_projection, seal_for
from spoel_planning.tables import patients, sealed_texts

KEYS = generate_key_pair()
REGISTERED = ("patient-registered", "patient", 1, {"patient_id": "patient-1", "public_key": KEYS.public_key})
ERASED = ("patient-erased", "patient", 2, {"patient_id": "patient-1", "ground": "patient-request"})
ABOUT = {"case_id": "case-1", "patient_id": "patient-1"}
REFERRED = ("referral-received", "case", 1, {**ABOUT, "indication": "depression", "sealed_question": "c2VhbGVk"})
JUDGED = ("screen-item-judged", "case", 2, {**ABOUT, "sealed_reason": "b3RoZXI="})
DECIDED = ("indication-decided", "case", 3, {**ABOUT, "decision": "indicated", "sealed_reason": None})
WITHDRAWN = ("consent-withdrawn", "case", 4, {**ABOUT, "sealed_reason": "bW9yZQ=="})
CASE = [REFERRED, JUDGED, DECIDED, WITHDRAWN]


def envelope_of(name, kind, version, data):
    return Envelope(
        id=f"{kind}-{version}",
        source="/spoel/local/intake/main",
        type=f"spoel.intake.{name}.v1",
        subject=data[f"{kind}_id"],
        time=NOW,
        aggregatetype=kind,
        aggregateversion=version,
        correlationid="c",
        actorid="nurse",
        site="local",
        data=data,
    )


async def hear(clinic, *events):
    projection = patients_projection(erasure_answers())
    async with clinic.runtime.database.write() as conn:
        for event in events:
            envelope = envelope_of(*event)
            await projection.apply(conn, envelope, projection.catalogue.decode(envelope), envelope.to_bytes())


async def rows(clinic, table):
    async with clinic.runtime.database.read() as conn:
        return (await conn.execute(table.select().order_by(*table.primary_key))).all()


@pytest.mark.invariant("INV-6")
async def test_planning_seals_with_a_key_of_its_own_read_model(quiet_clinic):
    async with quiet_clinic.runtime.database.read() as conn:
        with pytest.raises(PatientKeyUnknown):
            await seal_for(conn, "patient-1", "Graag in de ochtend.", "e-1", "spoel.planning.x.v1")
    await hear(quiet_clinic, REGISTERED)
    async with quiet_clinic.runtime.database.read() as conn:
        sealed = await seal_for(conn, "patient-1", "Graag in de ochtend.", "e-1", "spoel.planning.x.v1")
    assert open_sealed(sealed, KEYS.private_key, "e-1", "spoel.planning.x.v1") == "Graag in de ochtend."


async def test_sealed_texts_are_kept_with_the_event_in_which_they_stand(quiet_clinic):
    await hear(quiet_clinic, REGISTERED, *CASE)
    kept = [
        (row.event_id, row.event_type, row.sealed, row.written_by) for row in await rows(quiet_clinic, sealed_texts)
    ]
    assert kept == [
        ("case-1", "spoel.intake.referral-received.v1", "c2VhbGVk", "nurse"),
        ("case-2", "spoel.intake.screen-item-judged.v1", "b3RoZXI=", "nurse"),
        ("case-4", "spoel.intake.consent-withdrawn.v1", "bW9yZQ==", "nurse"),
    ]


@pytest.mark.requirement("AU-06")
@pytest.mark.invariant("INV-3", "INV-6")
@pytest.mark.parametrize("slots", list(itertools.combinations(range(6), 2)))
async def test_whatever_the_order_of_a_patient_and_a_case_nothing_is_left_behind_an_erasure(quiet_clinic, slots):
    of_case = iter(CASE)
    of_patient = iter([REGISTERED, ERASED])
    await hear(quiet_clinic, *(next(of_patient) if place in slots else next(of_case) for place in range(6)))
    assert await rows(quiet_clinic, patients) == []
    assert await rows(quiet_clinic, sealed_texts) == []
    (row,) = await rows(quiet_clinic, due)
    assert (row.patient_id, row.erasure_id) == ("patient-1", "patient-2")
    assert json.loads(row.cleared)["keys"] == 1


@pytest.mark.requirement("AU-06")
async def test_an_erasure_is_answered_once_also_when_it_is_heard_again(clinic_on_both):
    await hear(clinic_on_both, REGISTERED, *CASE, ERASED)
    events = await answered(clinic_on_both)
    await hear(clinic_on_both, REGISTERED, *CASE, ERASED)
    assert await rows(clinic_on_both, patients) == []
    assert await answered(clinic_on_both) == events
    ((data, causation),) = events
    assert data == {"patient_id": "patient-1", "erasure_id": "patient-2", "cleared": {"keys": 1, "sealed-texts": 3}}
    assert causation == "patient-2"


async def answered(clinic):
    answers = erasure_answers()
    task = asyncio.create_task(answers.run(clinic.runtime))
    try:
        async with asyncio.timeout(20):
            while not all(row.answered for row in await rows(clinic, due)):
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
    async with clinic.runtime.database.read() as conn:
        found = await clinic.runtime.store.load(conn, AggregateRef("erasure", "patient-1"))
    return [(envelope.data, envelope.causationid) for envelope in found]


@pytest.mark.invariant("INV-6")
async def test_notes_are_for_who_may_read_them_with_a_reason_and_only_through_intake(clinic):
    await hear(clinic, REGISTERED, *CASE)
    away = await clinic.get("/cases/case-1/notes?reason=treatment", "doc")
    assert (away.status_code, away.json()["type"]) == (503, "urn:spoel:problem:unavailable")
    for who in ("tech", "aud", "nobody"):
        assert (await clinic.get("/cases/case-1/notes?reason=treatment", who)).status_code == 403
    for wrong in ("", "?reason=curiosity"):
        assert (await clinic.get(f"/cases/case-1/notes{wrong}", "doc")).status_code == 422
    assert (await clinic.get("/cases/no-case/notes?reason=treatment", "doc")).status_code == 404
    assert (await clinic.get("/cases/case-1/notes?reason=treatment", "stranger")).status_code == 401


class Intake:
    """Intake, as far as planning hears it: a store and its relay."""

    def __init__(self, database, site):
        self.store = EventStore(database, StoreName(site=site, service="intake"))

    async def tell(self, *events):
        async with self.store.database.write() as conn:
            for event in events:
                envelope = envelope_of(*event).model_copy(update={"source": self.store.name.source})
                ref = AggregateRef(envelope.aggregatetype, envelope.subject)
                await self.store.append(conn, ref, envelope.aggregateversion - 1, [envelope])


@pytest.fixture
async def intake(site, connect, open_database, new_sqlite, background):
    """Return intake as a teller that publishes to the real server."""
    intake = Intake(await open_database(new_sqlite()), site)
    background(Relay(intake.store, await connect("intake-main")).run())
    return intake


@pytest.mark.requirement("AU-06")
@pytest.mark.invariant("INV-6")
async def test_planning_restored_from_a_backup_hears_of_the_erasure_again(tmp_path, site, nats_url, intake, eventually):
    await intake.tell(REGISTERED, *CASE)
    file, backup = tmp_path / "planning.db", tmp_path / "backup"
    url = f"sqlite:///{file}"

    async def holds(clinic, keys, texts):
        return (len(await rows(clinic, patients)), len(await rows(clinic, sealed_texts))) == (keys, texts)

    async with open_clinic(url, tmp_path, nats_url=nats_url, site=site) as clinic:
        await eventually(lambda: holds(clinic, 1, 3), within_s=30)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as copy:
            source.backup(copy)
        await intake.tell(ERASED)
        await eventually(lambda: holds(clinic, 0, 0), within_s=30)
    for path in tmp_path.glob("planning.db*"):
        path.unlink()
    shutil.copy(backup, file)
    async with open_clinic(url, tmp_path, nats_url=nats_url, site=site) as clinic:
        await eventually(lambda: holds(clinic, 0, 0), within_s=30)
        assert len(await rows(clinic, due)) == 1
