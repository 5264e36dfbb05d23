"""The load: what people of a clinic tell the four services, over HTTP, as long as it is let flow.

Each service has callers of its own, each with chances of its own from the seed. A refusal is an answer; nothing is
repeated but what was not answered.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.chaos.ledger import Callers, JsonObject

from spoel_common.clock import Clock, utc_now
from spoel_local.demo.patient_way import LOCAL_ZONE
from spoel_local.demo.patients import VirtualPatient, referral, two_patients

EHR, CLINICIAN, PROFESSIONAL, SUPERVISOR, AUDITOR = (
    "ehr-system",
    "clinician",
    "tms-professional",
    "supervisor",
    "auditor",
)
ROOM = "room-1"
_CASES_AT_ONCE = 40
_HELD_S = 0.02
_ORDER = {
    "site": "left-motor-cortex",
    "stimulator_model": "MagPro X100+Option",
    "coil_model": "Cool-B65",
    "waveform": "biphasic",
    "current_direction": "normal",
    "muscle": "right-apb",
}
_FACTS = {
    "severity": "severe",
    "earlier_treatments": [
        {"kind": "antidepressant", "name_code": code, "adequate": True, "stopped_for": "insufficient-effect"}
        for code in ("N06AB06", "N06AX16")
    ],
    "psychotic_features": False,
    "other_treatment_suitable": False,
    "decision": "indicated",
}


@dataclass
class Load:
    """Callers of every service, who wait while the flow is shut.

    Attributes:
        session_id: the session in room-1 that is paused and resumed, while it lasts.
        callers_a_service: how many call each service at the same time.
        ready: cases with consent, newest last, for planning.
    """

    callers: Callers
    clock: Clock
    seed: int
    session_id: str
    callers_a_service: int
    between_s: float
    ready: list[str] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _under_way: int = 0
    _screen: JsonObject = field(default_factory=dict)
    _patients: int = 0

    async def run(self) -> None:
        """Run every caller until cancelled; an unanswered command ends them all.

        Raises:
            ExceptionGroup: with what ended a caller.
        """
        kinds: dict[str, Callable[[random.Random], Awaitable[None]]] = {
            "intake": self._at_intake,
            "planning": self._at_planning,
            "stimulation": self._at_stimulation,
            "audit": self._at_audit,
        }
        async with asyncio.TaskGroup() as group:
            for service, act in kinds.items():
                for number in range(self.callers_a_service):
                    chance = random.Random(f"spoel-load:{self.seed}:{service}:{number}")
                    group.create_task(self._again_and_again(act, chance), name=f"{service}-{number}")

    def open(self) -> None:
        """Let commands flow."""
        self._open.set()

    async def shut(self) -> None:
        """Let no new act begin, wait for those under way, and have the session pause, so that all is still."""
        self._open.clear()
        while self._under_way:
            await asyncio.sleep(_HELD_S)
        while await self._session_is("running"):
            await self._tell_session("pause", {"reason": "technical"}, "session-paused")
            await asyncio.sleep(_HELD_S)

    async def _again_and_again(self, act: Callable[[random.Random], Awaitable[None]], chance: random.Random) -> None:
        while True:
            await self._open.wait()
            self._under_way += 1
            try:
                await act(chance)
            finally:
                self._under_way -= 1
            await asyncio.sleep(chance.uniform(0.0, self.between_s))

    async def _at_intake(self, chance: random.Random) -> None:
        """One patient's way up to consent, left off somewhere by some."""
        self._patients += 1
        today = utc_now(self.clock).astimezone(LOCAL_ZONE).date()
        referred = await self.callers.tell(
            EHR, "intake", "/referrals", referral(self._patient(), today), "referral-received"
        )
        if referred is None:
            return
        case = f"/cases/{referred['case_id']}"
        if not self._screen:
            found = await self.callers.read(CLINICIAN, "intake", "/questionnaires/safety-screen") or {}
            answers = {item["id"]: False for item in found["items"]}
            self._screen = {
                "questionnaire": found["id"],
                "questionnaire_version": found["version"],
                "answers": answers,
            }
        steps = [
            (CLINICIAN, f"{case}/safety-screen", self._screen, "safety-screen-completed"),
            (PROFESSIONAL, f"{case}/indication", _FACTS, "indication-decided"),
            (CLINICIAN, f"{case}/consent", {"form_version": "2026-1", "given_by": "patient"}, "consent-given"),
        ]
        for person, path, body, makes in steps:
            if not self._open.is_set() or chance.random() < 0.1:
                return
            if await self.callers.tell(person, "intake", path, body, makes) is None:
                return
        if chance.random() < 0.1:
            await self.callers.tell(CLINICIAN, "intake", f"{case}/consent/withdrawal", {}, "consent-withdrawn")
        self.ready.append(str(referred["case_id"]))
        del self.ready[:-_CASES_AT_ONCE]

    async def _at_planning(self, chance: random.Random) -> None:
        if not self.ready:
            await asyncio.sleep(_HELD_S)
            return
        case = f"/cases/{chance.choice(self.ready)}"
        if chance.random() < 0.4:
            measures = {
                "nasion_inion_cm": round(chance.uniform(34, 38), 1),
                "tragus_tragus_cm": round(chance.uniform(34, 38), 1),
                "circumference_cm": round(chance.uniform(54, 58), 1),
            }
            await self.callers.tell(PROFESSIONAL, "planning", f"{case}/head-measures", measures, "head-measured")
            return
        await self._plan_measurement(case, chance)

    async def _plan_measurement(self, case: str, chance: random.Random) -> None:
        day = (utc_now(self.clock).astimezone(LOCAL_ZONE) + timedelta(days=chance.randint(1, 12))).date()
        order = {**_ORDER, "valid_on": day.isoformat()}
        ordered = await self.callers.tell(
            PROFESSIONAL, "planning", f"{case}/measurement-orders", order, "measurement-ordered"
        )
        if ordered is None or not self._open.is_set():
            return
        order_id = ordered["order_id"]
        path = f"{case}/measurement-orders/{order_id}/signature"
        if await self.callers.tell(SUPERVISOR, "planning", path, {}, "measurement-order-signed") is None:
            return
        starts_at = datetime(day.year, day.month, day.day, chance.randint(6, 21), tzinfo=LOCAL_ZONE)
        booking = {
            "room_id": ROOM,
            "kind": "measurement",
            "measurement_order_id": order_id,
            "starts_at": (starts_at + timedelta(minutes=chance.randint(0, 59))).isoformat(),
        }
        booked = await self.callers.tell(PROFESSIONAL, "planning", f"{case}/bookings", booking, "session-booked")
        if booked is None or not self._open.is_set() or chance.random() < 0.3:
            return
        path = f"{case}/bookings/{booked['session_id']}/cancellation"
        reason = {"reason_code": "patient-cancelled"}
        await self.callers.tell(PROFESSIONAL, "planning", path, reason, "session-booking-cancelled")

    async def _at_stimulation(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            await self._change_duty(chance)
        else:
            await self._act_in_session(chance)

    async def _change_duty(self, chance: random.Random) -> None:
        if chance.random() < 0.6:
            until = utc_now(self.clock) + timedelta(hours=chance.randint(2, 12))
            body = {"until": until.isoformat()}
            await self.callers.tell(SUPERVISOR, "stimulation", "/supervision", body, "supervision-started")
        else:
            await self.callers.tell(SUPERVISOR, "stimulation", "/supervision/end", {}, "supervision-ended")

    async def _act_in_session(self, chance: random.Random) -> None:
        room = await self.callers.read(PROFESSIONAL, "stimulation", f"/rooms/{ROOM}")
        session = await self.callers.read(PROFESSIONAL, "stimulation", f"/sessions/{self.session_id}")
        if room is None or session is None:
            return
        if room["latch"] is not None:
            if room["device"]["ready"]:
                body = {"reason": "device-checked"}
                await self.callers.tell(PROFESSIONAL, "stimulation", f"/rooms/{ROOM}/reset", body, "room-reset")
            return
        possible = session["possible"]
        if "resume" in possible:
            await self._tell_session("presence", {"awake": True}, "presence-confirmed")
            body = {"ear_protection": True, "side_or_site": "left"}
            await self._tell_session("resume", body, "session-resumed")
        elif "arm" in possible:
            await self._tell_session("arm", {"ear_protection": True}, "")
        elif "presence" in possible and chance.random() < 0.2:
            await self._tell_session("presence", {"awake": True}, "presence-confirmed")
        elif "pause" in possible and chance.random() < 0.5:
            await self._tell_session("pause", {"reason": "coil-check"}, "session-paused")
        elif "change-parameter" in possible:
            value = float(chance.randint(105, 118))
            body = {"parameter": "percent_rmt", "value": value, "reason": "patient-discomfort"}
            await self._tell_session("parameters", body, "parameter-changed")

    async def _session_is(self, state: str) -> bool:
        session = await self.callers.read(PROFESSIONAL, "stimulation", f"/sessions/{self.session_id}")
        return session is not None and session["state"] == state

    async def _tell_session(self, act: str, body: JsonObject, makes: str) -> None:
        await self.callers.tell(PROFESSIONAL, "stimulation", f"/sessions/{self.session_id}/{act}", body, makes)

    async def _at_audit(self, chance: random.Random) -> None:
        root = await self.callers.read(AUDITOR, "audit", "/tlog/root")
        if root is not None:
            self.callers.ledger.roots.append((root["size"], root["root_hash"]))
        query = chance.choice(("limit=20", "limit=50&room=room-1", "limit=50&person=ehr-system"))
        await self.callers.read(AUDITOR, "audit", f"/events?{query}")

    def _patient(self) -> VirtualPatient:
        """Return somebody new: BSNs for tests are few, so a caller meets the same person again now and then."""
        return two_patients(self.seed * 1_000_000 + self._patients)[0]
