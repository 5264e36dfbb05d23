"""Intake and planning as far as a room sees them: stores of their own, their relays and their watermarks."""

import json
from datetime import timedelta

from tests.stimulation.clinic import IDENTITY
from tests.stimulation.story import CASE, OPERATOR, PATIENT, PATTERN_10HZ, treatment_order

from spoel_common.clock import utc_now
from spoel_common.events import Envelope
from spoel_common.ids import new_id
from spoel_common.messaging import Bucket, Relay, WatermarkPublisher
from spoel_common.sealing import seal
from spoel_common.store import AggregateRef, EventStore, StoreName
from spoel_stimulation.domain.facts import local_day
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

    def start(self, broker, background, every_s=2.0):
        background(Relay(self.store, broker).run())
        background(WatermarkPublisher(self.store, broker, self._clock, every_s).run())


UNLIMITED = {"max_pulses_per_day": 100_000, "min_pause_between_sessions_s": 0.0}
IDS = {"case_id": CASE, "patient_id": PATIENT}


async def tell_everything(clinic, intake, planning, broker):
    """Have intake and planning publish all that a session needs; return its booking's id."""
    await tell_patient(clinic, intake)
    await tell_prescription(planning)
    return await book(clinic, planning, broker)


async def tell_patient(clinic, intake):
    """Have intake publish what a session needs of it: its operator's registration, indication and consent."""
    now = utc_now(clinic.clock)
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
    await intake.tell(("case", CASE), "indication-decided", **IDS, decision="indicated", sealed_reason=None)
    await intake.tell(("case", CASE), "consent-given", **IDS, given_at=now.isoformat(), form_version="1")


async def tell_prescription(planning, ids=IDS, prescription_id="prescription-1", limits=UNLIMITED):
    """Have planning publish a signed prescription."""
    order = treatment_order(PATTERN_10HZ, **limits).model_dump(mode="json") | {"something_new": 1}
    prescription = {"prescription_id": prescription_id, "version": 1, "course_id": "course-1"}
    about = ("plan", ids["case_id"])
    await planning.tell(about, "prescription-signed", **ids, **prescription, order=order, signed_by="sanne")


async def book(clinic, planning, broker, room_id="room-1", ids=IDS, prescription_id="prescription-1"):
    """Have planning book a session in a room of ``clinic``, and intake put its strip there; return its id."""
    now, session_id = utc_now(clinic.clock), new_id()
    booked = {"prescription_id": prescription_id, "prescription_version": 1, "measurement_order_id": None}
    times = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}
    await planning.tell(
        ("plan", ids["case_id"]),
        "session-booked",
        **ids,
        **booked,
        **times,
        session_id=session_id,
        room_id=room_id,
        kind="treatment",
    )
    bucket = await Bucket.open(broker, bucket_name(clinic.settings.site), STRIP_TTL_S)
    strip = seal(json.dumps(IDENTITY), clinic.node.rooms[room_id].key.public_key, session_id, "identity-strip")
    await bucket.put(f"{room_id}.{session_id}", strip.encode())
    return session_id


async def cancel(planning, session_id, room_id="room-1"):
    """Have planning take a booking back."""
    taken_back = {"session_id": session_id, "room_id": room_id, "reason_code": "rescheduled"}
    await planning.tell(("plan", CASE), "session-booking-cancelled", **IDS, **taken_back)
