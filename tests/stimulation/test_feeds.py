"""A room node with a real NATS: it learns from intake and planning, fetches strips, and publishes what happened."""

import json
from datetime import timedelta

import pytest
from tests.stimulation.clinic import IDENTITY, fast_clock, simulated
from tests.stimulation.story import CASE, OPERATOR, PATIENT, PATTERN_10HZ, treatment_order

from spoel_common.clock import utc_now
from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.messaging import Bucket, Consumer, Projection, Relay, WatermarkPublisher
from spoel_common.sealing import seal
from spoel_common.store import AggregateRef, EventStore, StoreName
from spoel_stimulation.domain.conditions import local_day
from spoel_stimulation.node import Node
from spoel_stimulation.strips import STRIP_TTL_S, bucket_name


class Teller:
    """Another service, as far as a room sees it: a store, its relay and its watermarks."""

    def __init__(self, service, site, database, clock):
        self.store = EventStore(database, StoreName(site=site, service=service, store="main"))
        self._clock = clock
        self._versions = {}

    async def tell(self, aggregate, name, /, **data):
        ref = AggregateRef(*aggregate)
        version = self._versions.get(ref, 0)
        envelope = Envelope(
            id=new_id(),
            source=self.store.name.source,
            type=f"spoel.{self.store.name.service}.{name}.v1",
            subject=ref.id,
            time=utc_now(self._clock),
            aggregatetype=ref.type,
            aggregateversion=version + 1,
            correlationid="test",
            actorid="test",
            site=self.store.name.site,
            data=data,
        )
        async with self.store.database.write() as conn:
            await self.store.append(conn, ref, version, [envelope])
        self._versions[ref] = version + 1

    def start(self, broker, background):
        background(Relay(self.store, broker).run())
        background(WatermarkPublisher(self.store, broker, self._clock).run())


@pytest.fixture
async def tellers(site, connect, open_database, new_sqlite, background):
    """Return intake and planning as tellers, publishing to the real server."""
    clock = fast_clock()
    made = []
    for service in ("intake", "planning"):
        teller = Teller(service, site, await open_database(new_sqlite()), clock)
        teller.start(await connect(f"{service}-main"), background)
        made.append(teller)
    return made


@pytest.fixture
async def heard(site, broker, open_database, new_sqlite, background):
    """Return the envelopes that the room's stream carries, in their order."""
    envelopes = []

    async def apply(_conn, envelope, _decoded, _raw):
        envelopes.append(envelope)

    projection = Projection(name="heard", version=1, services=("stimulation",), catalogue=None, apply=apply)
    background(Consumer(projection, await open_database(new_sqlite()), broker, site, discover_every_s=0.2).run())
    return envelopes


async def tell_everything(clinic, intake, planning, broker):
    """Have intake and planning publish all that a session needs; return its booking's id."""
    ids = {"case_id": CASE, "patient_id": PATIENT}
    now, session_id = utc_now(clinic.clock), new_id()
    await intake.tell(
        ("staff", "petra"),
        "registration-verified",
        person_id="petra",
        name="Petra",
        big_number=OPERATOR.big_number,
        profession="verpleegkundige",
        verified_on=str(local_day(now)),
        evidence="register",
    )
    await intake.tell(("case", CASE), "indication-decided", **ids, decision="indicated", sealed_reason=None)
    await intake.tell(("case", CASE), "consent-given", **ids, given_at=now.isoformat(), form_version="1")
    order = treatment_order(PATTERN_10HZ).model_dump(mode="json") | {"something_new": 1}
    prescription = {"prescription_id": "prescription-1", "version": 1, "course_id": "course-1"}
    await planning.tell(("plan", CASE), "prescription-signed", **ids, **prescription, order=order, signed_by="sanne")
    booked = {"prescription_id": "prescription-1", "prescription_version": 1, "measurement_order_id": None}
    times = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}
    await planning.tell(
        ("plan", CASE),
        "session-booked",
        **ids,
        **booked,
        **times,
        session_id=session_id,
        room_id="room-1",
        kind="treatment",
    )
    bucket = await Bucket.open(broker, bucket_name(clinic.settings.site), STRIP_TTL_S)
    strip = seal(json.dumps(IDENTITY), clinic.room.key.public_key, session_id, "identity-strip")
    await bucket.put(f"room-1.{session_id}", strip.encode())
    return session_id


@pytest.mark.requirement("ST-03")
@pytest.mark.requirement("SY-02")
@pytest.mark.invariant("INV-4")
async def test_a_session_on_what_others_published_until_consent_is_withdrawn(
    tmp_path, site, tellers, heard, broker, nats_server, eventually
):
    intake, planning = tellers
    settings = {"site": site, "nats_url": nats_server.url, "nats_monitor_url": nats_server.monitor_url}
    async with simulated(tmp_path, fast_clock(8), **settings) as clinic:
        clinic.make_node = lambda: Node(clinic.settings)
        async with clinic.opened():
            await clinic.ready()
            session_id = await tell_everything(clinic, intake, planning, broker)
            await clinic.check_rooms()

            async def opens():
                answer = await clinic.open(session_id)
                assert answer.status_code == 201 or answer.json()["type"].rpartition(":")[2] in {
                    "booking-unknown",
                    "stale-knowledge",
                    "order-not-signed",
                    "consent-missing",
                    "indication-missing",
                    "registration-not-verified",
                }, answer.text
                return answer.status_code == 201

            await eventually(opens, 15.0)
            assert (await clinic.identify(session_id)).status_code == 200
            assert (await clinic.check_patient(session_id)).status_code == 201
            assert (await clinic.present(session_id)).status_code == 201
            assert (await clinic.arm(session_id)).json()["outcome"] == "done"
            await clinic.ask(session_id, "start")
            await clinic.until_event("train-authorised")
            (opened,) = await clinic.events("session-opened")
            assert [known["source"] for known in opened["known"]] == [
                f"/spoel/{site}/intake/main",
                f"/spoel/{site}/planning/main",
            ]
            assert all(known["as_of"] and known["age_s"] < 60 for known in opened["known"])
            moment = utc_now(clinic.clock).isoformat()
            ids = {"case_id": CASE, "patient_id": PATIENT}
            await intake.tell(("case", CASE), "consent-withdrawn", **ids, withdrawn_at=moment, sealed_reason=None)
            assert (await clinic.until_state(session_id, "closed"))["reason"] == "consent-withdrawn"
            assert not clinic.simulator.enabled
            published = await clinic.events()
            await eventually(lambda: len(heard) == len(published))
            assert {each.id for each in heard} == {each.id for each in published}
            assert {each.source for each in heard} == {f"/spoel/{site}/stimulation/node-1"}
