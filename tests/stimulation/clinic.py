"""A room node for tests: the real application, journal and adapter, with simulators over TCP in fast clock time.

NATS is away: what the room knows of others is put into its read model as its consumer would do it.
"""

import asyncio
import json
import shutil
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy import text
from tests.stimulation.story import (
    ALL_IN_ORDER,
    CASE,
    CLINICIAN,
    GO,
    OPERATOR,
    PATIENT,
    PHYSICIAN,
    SUPERVISOR,
    TECHNICIAN,
    TRAINEE,
    measurement_order,
    treatment_order,
)

from spoel_common.clock import ScaledClock, utc_now
from spoel_common.events import Envelope
from spoel_common.identity import TokenInvalid
from spoel_common.ids import new_id
from spoel_common.sealing import seal
from spoel_common.store import START
from spoel_stimulation import foreign_events as told
from spoel_stimulation import projections
from spoel_stimulation.aggregates import ROOM, SESSION
from spoel_stimulation.app import build_app
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.simulation.ports import on_tcp
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.events.base import Known
from spoel_stimulation.foreign_events.planning import SignedMeasurementOrder, SignedTreatmentOrder
from spoel_stimulation.node import Node
from spoel_stimulation.settings import RoomSetting, StimulationSettings

SPEED = 60.0
_HOW_MANY = text("SELECT count(*) FROM events WHERE type LIKE :of_name")

TEMPLATE: list[Path] = []
"""An empty journal with its tables, made once: migrating takes longer than copying a file."""

PEOPLE = {person.person_id: person for person in (OPERATOR, TECHNICIAN, TRAINEE, SUPERVISOR, PHYSICIAN, CLINICIAN)}
IDENTITY = {"given_name": "Zoë", "family_name": "van den Berg", "birth_date": "1980-02-29"}
WAIT_S = 15.0


class Tokens:
    """The token is the name of a person."""

    async def verify(self, token):
        if token not in PEOPLE:
            raise TokenInvalid("unknown token of a test")
        return PEOPLE[token]


class Clinic:
    """One node with its simulators; may be closed and opened again on the same data, as after a crash."""

    def __init__(self, folder, clock, addresses, device="magpro", of_room=None, **settings):
        journal = folder / "journal.db"
        if TEMPLATE and not journal.exists():
            shutil.copyfile(TEMPLATE[0], journal)
        self.settings = StimulationSettings(
            database_url=f"sqlite:///{journal}",
            data_dir=folder,
            clock=clock,
            rooms=[
                RoomSetting(room_id=name, device=device, address=address, **(of_room or {}))
                for name, address in addresses.items()
            ],
            **{"nats_url": "nats://127.0.0.1:1", **settings},
        )
        self.clock = clock
        self.strips = {}
        self.knowledge_age_s = 0.5
        self.verifier = Tokens()

    @asynccontextmanager
    async def opened(self):
        self.node = self.make_node()
        self.app = build_app(self.settings, verifier=self.verifier, node=self.node)
        async with self.app.router.lifespan_context(self.app):
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=WAIT_S) as self.client:
                yield self

    def make_node(self):
        return Node(self.settings, self._known, self._strip)

    def _known(self):
        now = utc_now(self.clock)
        return tuple(
            Known(source=f"/spoel/local/{service}/main", as_of=now, age_s=self.knowledge_age_s)
            for service in ("intake", "planning")
        )

    async def _strip(self, key):
        return self.strips.get(key)

    @property
    def runtime(self):
        return self.app.state.runtime

    @property
    def room(self):
        return self.node.rooms["room-1"]

    # --- what others tell

    async def tell(self, *events):
        async with self.runtime.database.write() as conn:
            for event in events:
                await projections.apply(conn, None, event, b"")
        self.node.look_again()

    async def tell_people(self):
        day = local_day(utc_now(self.clock))
        for person, profession in (
            (OPERATOR, "verpleegkundige"),
            (SUPERVISOR, "gz-psycholoog"),
            (PHYSICIAN, "arts"),
        ):
            await self.tell(
                told.RegistrationVerified(
                    person_id=person.person_id,
                    big_number=person.big_number,
                    profession=profession,
                    verified_on=day,
                    evidence="register",
                )
            )

    async def tell_case(self, case_id=CASE, patient_id=PATIENT):
        now = utc_now(self.clock)
        await self.tell(
            told.PatientRegistered(patient_id=patient_id, public_key="key"),
            told.IndicationDecided(case_id=case_id, patient_id=patient_id, decision="indicated"),
            told.ConsentGiven(case_id=case_id, patient_id=patient_id, given_at=now),
        )

    async def withdraw_consent(self, case_id=CASE, patient_id=PATIENT):
        moment = utc_now(self.clock)
        await self.tell(told.ConsentWithdrawn(case_id=case_id, patient_id=patient_id, withdrawn_at=moment))

    async def tell_prescription(self, order=None, version=1, case_id=CASE, prescription_id="prescription-1"):
        signed = SignedTreatmentOrder.model_validate((order or treatment_order()).model_dump())
        await self.tell(
            told.PrescriptionSigned(
                prescription_id=prescription_id,
                version=version,
                case_id=case_id,
                patient_id=PATIENT,
                course_id="course-1",
                order=signed,
            )
        )

    async def tell_measurement_order(self, order=None):
        signed = order or measurement_order(valid_on=local_day(utc_now(self.clock)))
        model = SignedMeasurementOrder.model_validate(signed.model_dump())
        await self.tell(
            told.MeasurementOrderSigned(order_id=signed.order_id, case_id=CASE, patient_id=PATIENT, order=model)
        )

    async def book(self, kind="treatment", room_id="room-1", strip=IDENTITY, **changes):
        session_id = new_id()
        now = utc_now(self.clock)
        ids = (
            {"prescription_id": "prescription-1", "prescription_version": 1}
            if kind == "treatment"
            else {"measurement_order_id": "order-1"}
        )
        described = {
            "session_id": session_id,
            "case_id": CASE,
            "patient_id": PATIENT,
            "room_id": room_id,
            "kind": kind,
            "starts_at": now,
            "ends_at": now + timedelta(hours=1),
        }
        await self.tell(told.SessionBooked.model_validate(described | ids | changes))
        if strip is not None:
            key = self.node.rooms[room_id].key.public_key
            self.strips[f"{room_id}.{session_id}"] = seal(json.dumps(strip), key, session_id, "identity-strip").encode()
        return session_id

    async def prepare(self, order=None, kind="treatment", by=OPERATOR):
        """Tell everything that a session needs, and return its booking's id."""
        await self.tell_people()
        await self.tell_case()
        if kind == "treatment":
            await self.tell_prescription(order)
        else:
            await self.tell_measurement_order(order)
        await self.ready()
        await self.check_rooms(by)
        return await self.book(kind)

    async def check_rooms(self, by=OPERATOR):
        """Do the opening check of every room that was not checked yet."""
        for room_id in self.node.rooms:
            if (await self.runtime.units.load(ROOM, room_id)).state.checked is None:
                answer = await self.post(f"/rooms/{room_id}/opening-check", {"items": ALL_IN_ORDER}, by)
                assert answer.status_code == 201, answer.text

    # --- what people ask

    async def post(self, path, body=None, by=OPERATOR, key=None):
        headers = {"Authorization": f"Bearer {by.person_id}", "Idempotency-Key": key or new_id()}
        return await self.client.post(path, json=body or {}, headers=headers)

    async def get(self, path, by=OPERATOR):
        return await self.client.get(path, headers={"Authorization": f"Bearer {by.person_id}"})

    async def open(self, session_id, by=OPERATOR, room_id="room-1", **body):
        return await self.post(f"/rooms/{room_id}/sessions", {"session_id": session_id, **body}, by)

    async def identify(self, session_id, by=OPERATOR, **changes):
        said = IDENTITY | {"side_or_site": "left", "protocol_id": "hf-10hz"} | changes
        return await self.post(f"/sessions/{session_id}/confirm-identity", said, by)

    async def ask(self, session_id, act, by=OPERATOR, key=None, **body):
        return await self.post(f"/sessions/{session_id}/{act}", body, by, key)

    async def check_patient(self, session_id, by=OPERATOR, **answers):
        return await self.ask(session_id, "daily-check", by, answers=GO | answers)

    async def present(self, session_id, by=OPERATOR, *, awake=True):
        return await self.ask(session_id, "presence", by, awake=awake)

    async def arm(self, session_id, by=OPERATOR):
        return await self.ask(session_id, "arm", by, ear_protection=True)

    async def seated(self, session_id, by=OPERATOR, **body):
        """Lead a booked session to where only the device is left to be armed."""
        protocol = {"protocol_id": None} if await self._is_measurement(session_id) else {}
        for response in (
            await self.open(session_id, by, **body),
            await self.identify(session_id, by, **protocol),
            await self.check_patient(session_id, by),
            await self.present(session_id, by),
        ):
            assert response.is_success, response.text
        return session_id

    async def armed(self, session_id, by=OPERATOR, **body):
        """Lead a booked session to armed."""
        await self.seated(session_id, by, **body)
        response = await self.arm(session_id, by)
        assert response.json()["outcome"] == "done", response.text
        return session_id

    async def started(self, session_id, by=OPERATOR, **body):
        await self.armed(session_id, by, **body)
        response = await self.ask(session_id, "start", by)
        assert response.status_code == 200, response.text
        return session_id

    async def _is_measurement(self, session_id):
        async with self.runtime.database.read() as conn:
            booked = await projections.booking_of(conn, session_id)
        return booked is not None and booked.kind == "measurement"

    # --- what is seen

    async def session(self, session_id):
        response = await self.get(f"/sessions/{session_id}")
        assert response.status_code == 200, response.text
        return response.json()

    async def room_view(self, room_id="room-1"):
        return (await self.get(f"/rooms/{room_id}")).json()

    async def ready(self, room_id="room-1"):
        await self.until(lambda: self.node.rooms[room_id].link.up, "device up")

    async def events(self, name=None):
        """Return the data of every event of the journal, in order, or of those of one name."""
        found = []
        for stored in await self.runtime.store.read_after(START, 10_000):
            if name is None or f".{name}.v" in stored.type:
                envelope = Envelope.from_bytes(stored.raw)
                found.append(envelope if name is None else envelope.data)
        return found

    async def names(self):
        return [envelope.type.split(".")[2] for envelope in await self.events()]

    async def until_state(self, session_id, *states):
        async def reached():
            return (await self.runtime.units.load(SESSION, session_id)).state.phase in states

        await self.until(reached, f"session {states}")
        return await self.session(session_id)

    async def until_event(self, name, count=1):
        async def reached():
            async with self.runtime.database.read() as conn:
                return await conn.scalar(_HOW_MANY, {"of_name": f"%.{name}.v%"}) >= count

        await self.until(reached, f"{count} {name}")
        return await self.events(name)

    async def until_latched(self, reason):
        async def reached():
            latch = (await self.runtime.units.load(ROOM, "room-1")).state.latch
            return latch is not None and latch.reason == reason

        await self.until(reached, f"latch {reason}")

    async def until(self, condition, what):
        give_up_at = time.monotonic() + WAIT_S
        while time.monotonic() < give_up_at:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"waited {WAIT_S} s for: {what}")


@asynccontextmanager
async def simulated(folder, clock, numbers=(1,), *, kind=MagProSimulator, **settings):
    """Open simulators, of another kind if asked for, and a node whose rooms are theirs."""
    async with AsyncExitStack() as stack:
        simulators, addresses = [], {}
        for number in numbers:
            simulator = kind(clock, number=number, log_path=folder / f"sim-{number}.jsonl")
            stack.callback(simulator.close)
            simulators.append(simulator)
            addresses[f"room-{number}"] = await stack.enter_async_context(on_tcp(simulator))
        clinic = Clinic(folder, clock, addresses, **settings)
        clinic.simulators, clinic.simulator = simulators, simulators[0]
        clinic.folder = folder
        yield clinic


def fast_clock(speed=SPEED):
    return ScaledClock.starting_now(speed)


def frames_in(folder, number=1):
    """Return the bodies of the frames that a simulator was sent, as hexadecimal text."""
    lines = (folder / f"sim-{number}.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [entry["frame"][4:-4] for entry in entries if entry.get("dir") == "in"]


def firing_frames(folder, number=1):
    """Return the frames that can cause a pulse: single pulse (03) and start (04)."""
    return [body for body in frames_in(folder, number) if body[:2] in ("03", "04")]
