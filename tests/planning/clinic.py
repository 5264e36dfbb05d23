"""A running planning service in this process, people who call it, and others' events that reach it."""

import time
from dataclasses import dataclass, field

import httpx
from tests.planning.story import DEVICE, KEY, NOW, deliver

from spoel_common.clock import ScaledClock
from spoel_common.events import Envelope, parse_event_type
from spoel_common.identity import TokenInvalid
from spoel_common.ids import new_id
from spoel_common.people import Actor, Profession, Role
from spoel_common.runtime import Runtime
from spoel_common.store import AggregateRef
from spoel_planning.foreign_events import FOREIGN_EVENTS
from spoel_planning.projections import apply_foreign

PEOPLE = {
    "pro": Actor(
        person_id="pro",
        roles=frozenset({Role.TMS_PROFESSIONAL}),
        big_number="19000000030",
        profession=Profession.VERPLEEGKUNDIGE,
    ),
    "sup": Actor(
        person_id="sup",
        roles=frozenset({Role.SUPERVISOR}),
        big_number="19000000025",
        profession=Profession.KLINISCH_PSYCHOLOOG,
    ),
    "tech": Actor(person_id="tech", roles=frozenset({Role.TMS_TECHNICIAN})),
    "doc": Actor(
        person_id="doc", roles=frozenset({Role.PHYSICIAN}), big_number="19000000001", profession=Profession.ARTS
    ),
    "clin": Actor(
        person_id="clin",
        roles=frozenset({Role.CLINICIAN}),
        big_number="19000000130",
        profession=Profession.VERPLEEGKUNDIGE,
    ),
    "trial": Actor(person_id="trial", roles=frozenset({Role.RANDOMISER})),
    "aud": Actor(person_id="aud", roles=frozenset({Role.AUDITOR})),
    "nobody": Actor(person_id="nobody", roles=frozenset()),
}


class Tokens:
    """A verifier whose tokens are names."""

    async def verify(self, token: str) -> Actor:
        if token not in PEOPLE:
            raise TokenInvalid("This token was not issued here.")
        return PEOPLE[token]


def fixed_clock() -> ScaledClock:
    """A clock that shows NOW at this moment."""
    return ScaledClock(utc_ns=int(NOW.timestamp()) * 1_000_000_000, monotonic_ns=time.monotonic_ns(), speed=1)


@dataclass
class Clinic:
    """Planning over HTTP, and what it hears of others."""

    http: httpx.AsyncClient
    runtime: Runtime
    versions: dict[str, int] = field(default_factory=dict)

    async def post(self, path: str, body: dict | None = None, by: str = "pro", key: str | None = None):
        headers = {"Authorization": f"Bearer {by}", "Idempotency-Key": key or new_id()}
        return await self.http.post(path, json=body if body is not None else {}, headers=headers)

    async def get(self, path: str, by: str = "pro"):
        return await self.http.get(path, headers={"Authorization": f"Bearer {by}"})

    async def threshold_state(self, session_id: str, case_id: str = "case-1") -> dict:
        return (await self.get(f"/cases/{case_id}/threshold?session_id={session_id}")).json()

    async def done(self, path: str, body: dict | None = None, by: str = "pro") -> dict:
        """Post, and expect that it is done."""
        answer = await self.post(path, body, by)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def refused(self, slug: str, path: str, body: dict | None = None, by: str = "pro") -> dict:
        """Post, and expect this refusal, a text that says what to do, and that nothing was stored."""
        before = await self.runtime.store.head()
        answer = await self.post(path, body, by)
        problem = answer.json()
        assert problem["type"] == f"urn:spoel:problem:{slug}", problem
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.status_code == problem["status"] >= 400
        assert problem["detail"].endswith((".", ")"))
        assert await self.runtime.store.head() == before
        return problem

    async def hear(self, event_type: str, subject: str, *datas: dict, at=NOW) -> None:
        """Let events of another service arrive, together."""
        service = event_type.split(".")[1]
        async with self.runtime.database.write() as conn:
            for data in datas:
                version = self.versions[subject] = self.versions.get(subject, 0) + 1
                envelope = Envelope(
                    id=new_id(),
                    source=f"/spoel/local/{service}/main",
                    type=event_type,
                    subject=subject,
                    time=at,
                    aggregatetype="any",
                    aggregateversion=version,
                    correlationid="c",
                    actorid="a",
                    site="local",
                    data=data,
                )
                await apply_foreign(conn, envelope, FOREIGN_EVENTS.decode(envelope), envelope.to_bytes())

    async def hear_case(self, name: str, case_id: str = "case-1", patient_id: str = "patient-1", **data) -> None:
        data = {"case_id": case_id, "patient_id": patient_id, **data}
        await self.hear(f"spoel.intake.{name}.v1", case_id, data)

    async def hear_registration(self, person_id: str, **changes) -> None:
        actor = PEOPLE[person_id]
        data = {
            "person_id": person_id,
            "name": "Not read here",
            "big_number": actor.big_number,
            "profession": actor.profession,
            "verified_on": "2026-11-01",
            "evidence": "print-out of the register",
            "valid_until": None,
            **changes,
        }
        await self.hear("spoel.intake.registration-verified.v1", person_id, data)

    async def hear_room(self, room_id: str = "room-1", **changes) -> None:
        data = {
            "room_id": room_id,
            "stimulator_serial": "SIM-1",
            "simulated": True,
            "strip_public_key": "not read here",
            **DEVICE,
            **changes,
        }
        await self.hear("spoel.stimulation.room-opened.v1", room_id, data)

    async def hear_everything(self, case_id: str = "case-1", patient_id: str = "patient-1") -> None:
        """Staff, a room, and a case that may be treated."""
        for person_id in ("pro", "sup", "doc", "clin"):
            await self.hear_registration(person_id)
        await self.hear_room()
        await self.hear_treatable(case_id, patient_id)

    async def hear_treatable(self, case_id: str, patient_id: str) -> None:
        await self.hear_case("referral-received", case_id, patient_id, indication="depression")
        await self.hear_case("indication-decided", case_id, patient_id, decision="indicated")
        await self.hear_case("consent-given", case_id, patient_id)

    async def hear_stimuli(self, session_id: str, order_id: str, *stimuli: tuple[int, str]) -> None:
        """Let answers arrive: intensity and what was seen."""
        datas = [
            {
                "session_id": session_id,
                "case_id": "case-1",
                "patient_id": "patient-1",
                "room_id": "room-1",
                "train_id": new_id(),
                "measurement_order_id": order_id,
                "percent_mso": percent_mso,
                "response": response,
            }
            for percent_mso, response in stimuli
        ]
        await self.hear("spoel.stimulation.stimulus-answered.v1", session_id, *datas)

    async def hear_opened(self, session_id: str, at=NOW) -> None:
        await self.hear("spoel.stimulation.session-opened.v1", session_id, {"session_id": session_id}, at=at)

    async def hear_closed(self, session_id: str, at, outcome: str = "completed") -> None:
        data = {
            "session_id": session_id,
            "case_id": "case-1",
            "patient_id": "patient-1",
            "room_id": "room-1",
            "outcome": outcome,
        }
        await self.hear("spoel.stimulation.session-closed.v1", session_id, data, at=at)

    async def sign_measurement(self, case_id: str = "case-1", **changes) -> str:
        """Draft and sign a measurement order; return its id."""
        body = {"site": "left-motor-cortex", **KEY, **changes}
        drafted = await self.done(f"/cases/{case_id}/measurement-orders", body)
        order_id = drafted["order_id"]
        await self.done(f"/cases/{case_id}/measurement-orders/{order_id}/signature", by="sup")
        return order_id

    async def book_measurement(self, **changes) -> tuple[str, str]:
        """Sign a measurement order and book a session under it; return the ids of both."""
        order_id = await self.sign_measurement(**changes)
        body = {"room_id": "room-1", "kind": "measurement", "measurement_order_id": order_id}
        return order_id, (await self.done("/cases/case-1/bookings", body))["session_id"]

    async def measure_threshold(self, threshold: int = 50) -> dict:
        """Order, sign, book, deliver, take the threshold, close the session."""
        order_id, session_id = await self.book_measurement()
        await self.hear_stimuli(
            session_id, order_id, *((each.percent_mso, each.response) for each in deliver(threshold))
        )
        taken = await self.done("/cases/case-1/threshold", {"session_id": session_id})
        await self.hear_closed(session_id, at=NOW)
        return taken

    async def sign_prescription(self, case_id: str = "case-1", **changes) -> str:
        """Draft and sign a prescription; return its id."""
        body = {"protocol_id": "hf-left-dlpfc-10hz-standard", **changes}
        drafted = await self.done(f"/cases/{case_id}/prescriptions", body)
        path = f"/cases/{case_id}/prescriptions/{drafted['prescription_id']}/signature"
        await self.done(path, {"version": 1}, by="sup")
        return drafted["prescription_id"]


async def event_names(clinic: Clinic, aggregate: str = "plan", subject: str = "case-1") -> list[str]:
    """What happened to an aggregate, in order."""
    async with clinic.runtime.database.read() as conn:
        events = await clinic.runtime.store.load(conn, AggregateRef(aggregate, subject))
    return [parse_event_type(event.type).name for event in events]
