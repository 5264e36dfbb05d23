"""One patient's way, step by step, as the people of a clinic take it over the services' public HTTP interfaces."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from spoel_common.clock import Clock, utc_now
from spoel_local.demo.patients import VirtualPatient, referral, service_request
from spoel_local.demo.people import JsonObject, People, Refused
from spoel_local.demo.report import Failure, PatientReport, Reporter, ending

EHR, CLINICIAN, PHYSICIAN, PROFESSIONAL, SUPERVISOR = (
    "ehr-system",
    "clinician",
    "physician",
    "tms-professional",
    "supervisor",
)

LOCAL_ZONE = ZoneInfo("Europe/Amsterdam")
LONGEST_SESSION_S = 3_000.0
"""Clock time of the longest session of the demo, 75 trains every 30 s, with a pause."""
_GRACE_S = 60.0
WHOLE = "last-train-ended"
"""Why a session closed that was delivered to its end."""
_FHIR = "application/fhir+json"
_STATIONARY = {
    "stimulator_model": "MagPro X100+Option",
    "coil_model": "Cool-B65",
    "waveform": "biphasic",
    "current_direction": "normal",
    "muscle": "right-apb",
}
_DURING_S = 0.25
_PRESENT_EVERY_S = 120.0
"""Wall seconds after which the operator shows again that they are in the room: well within the room's limit."""


@dataclass(frozen=True)
class Treatment:
    """What a patient's way is to show.

    Attributes:
        room_id: where both sessions take place.
        door: how the referral comes in.
        protocol_id: of planning's catalogue.
        operator: who runs the sessions.
        supervisor_id: named where the operator is a technician.
        event: what happens half-way.
    """

    room_id: str
    door: Literal["rest", "fhir"]
    protocol_id: str
    operator: str
    supervisor_id: str | None
    event: Literal["lower-intensity", "pause"]


@dataclass
class Way:
    """A patient on their way; each method is one step, in the order in which they stand."""

    patient: VirtualPatient
    treatment: Treatment
    people: People
    reporter: Reporter
    clock: Clock
    case_id: str = ""
    patient_id: str = ""
    order_id: str = ""
    measurement_session_id: str = ""
    threshold_percent_mso: int = 0
    prescription_id: str = ""
    session_id: str = ""
    closed: JsonObject = field(default_factory=dict)
    _present_at_s: float = 0.0

    async def to_the_treatment_chair(self) -> None:
        """Take every step up to the armed device."""
        for step in self.steps():
            await _step(step)

    def steps(self) -> list[Callable[[], Awaitable[None]]]:
        """Return the steps before the treatment itself, in their order."""
        return [
            self.refer,
            self.screen,
            self.decide,
            self.consent,
            self.measure_head,
            self.order_measurement,
            self.measure_threshold,
            self.prescribe,
            self.book,
            self.arm,
        ]

    async def refer(self) -> None:
        """The referral arrives from the EHR, as plain JSON or as FHIR."""
        today = utc_now(self.clock).astimezone(LOCAL_ZONE).date()
        step = f"referral of {self.patient.label}"
        if self.treatment.door == "rest":
            body = referral(self.patient, today)
            answer = await self.people.tell(EHR, "intake", "/referrals", body, step)
            self.case_id, self.patient_id = answer["case_id"], answer["patient_id"]
        else:
            body = service_request(self.patient, today)
            answer = await self.people.tell(EHR, "intake", "/fhir/R4/ServiceRequest", body, step, _FHIR)
            self.case_id = answer["id"]
            self.patient_id = answer["subject"]["reference"].removeprefix("Patient/")
        how = "plain JSON" if self.treatment.door == "rest" else "a FHIR ServiceRequest"
        self._tell(f"referred by {how}; case {ending(self.case_id)}")

    async def screen(self) -> None:
        """The safety screen, and a physician's judgement of what was answered with yes."""
        path, step = f"/cases/{self.case_id}/safety-screen", "safety screen"
        questionnaire = await self.people.ask(CLINICIAN, "intake", "/questionnaires/safety-screen", step)
        answers = {item["id"]: item["id"] in self.patient.yes_items for item in questionnaire["items"]}
        body = {
            "questionnaire": questionnaire["id"],
            "questionnaire_version": questionnaire["version"],
            "answers": answers,
        }
        await self.people.tell(CLINICIAN, "intake", path, body, step)
        for item in sorted(self.patient.yes_items):
            judgement = {"acceptable": True, "reason": "Eenmalig, bij bloedafname; geen aanwijzing voor epilepsie."}
            await self.people.tell(PHYSICIAN, "intake", f"{path}/{item}/judgement", judgement, f"judgement of {item}")
        judged = (
            f", judged by a physician: {', '.join(sorted(self.patient.yes_items))}" if self.patient.yes_items else ""
        )
        self._tell(f"safety screen, {len(answers)} items{judged}")

    async def decide(self) -> None:
        """The rules advise, a BIG-registered professional decides."""
        treatments = [
            {"kind": "antidepressant", "name_code": code, "adequate": True, "stopped_for": "insufficient-effect"}
            for code in ("N06AB06", "N06AX16")
        ]
        facts = {
            "severity": "severe",
            "earlier_treatments": treatments,
            "psychotic_features": False,
            "other_treatment_suitable": False,
        }
        path = f"/cases/{self.case_id}/indication"
        answer = await self.people.tell(PROFESSIONAL, "intake", path, facts | {"decision": "indicated"}, "indication")
        rules = len(answer["rules"])
        self._tell(f"indication: the rules advise {answer['advice']} ({rules} rules), decided: {answer['decision']}")

    async def consent(self) -> None:
        """Informed consent."""
        body = {"form_version": "2026-1", "given_by": "patient"}
        await self.people.tell(CLINICIAN, "intake", f"/cases/{self.case_id}/consent", body, "consent")
        self._tell("consents")

    async def measure_head(self) -> None:
        """Head measures and the target that follows from them."""
        measures = {"nasion_inion_cm": 36.0, "tragus_tragus_cm": 36.5, "circumference_cm": 56.5}
        body = self._supervised(measures)
        path = f"/cases/{self.case_id}/head-measures"
        answer = await self.people.tell(self.treatment.operator, "planning", path, body, "head measures")
        target = next(found for found in answer["targets"] if found["site"] == "left-dlpfc")
        self._tell(f"head measured; {target['method']} at x {target['x_cm']:.1f} cm, y {target['y_cm']:.1f} cm")

    async def order_measurement(self) -> None:
        """A measurement order is written, and signed by a supervisor."""
        body = {"site": "left-motor-cortex", **_STATIONARY}
        path = f"/cases/{self.case_id}/measurement-orders"
        answer = await self.people.tell(PROFESSIONAL, "planning", path, body, "measurement order")
        self.order_id = answer["order_id"]
        sign = f"{path}/{self.order_id}/signature"
        await self.people.tell(SUPERVISOR, "planning", sign, {}, "signature of the measurement order")
        ceiling = answer["order"]["ceiling_percent_mso"]
        self._tell(f"measurement order signed, at most {ceiling} % of maximum output")

    async def measure_threshold(self) -> None:
        """The motor threshold, stimulus by stimulus, through the room."""
        booking = {"room_id": self.treatment.room_id, "kind": "measurement", "measurement_order_id": self.order_id}
        self.measurement_session_id = await self._book(booking, "booking of the measurement")
        session = self.measurement_session_id
        await self._sit_down(session, {"side_or_site": "left"})
        await self._session_act(session, "start", {}, "start of the measurement")
        stimuli = await self._staircase(session)
        end = {"reason": "measurement-finished", "patient_state": "well"}
        await self._session_act(session, "stop", end, "end of the measurement")
        answer = await self.people.tell(
            self.treatment.operator,
            "planning",
            f"/cases/{self.case_id}/threshold",
            self._supervised({"session_id": session}),
            "motor threshold",
        )
        self.threshold_percent_mso = answer["threshold_percent_mso"]
        true = self.patient.true_threshold_percent_mso
        self._tell(
            f"motor threshold {self.threshold_percent_mso} % of maximum output after {stimuli} stimuli (truly {true:g})"
        )

    async def _staircase(self, session: str) -> int:
        path = f"/cases/{self.case_id}/threshold?session_id={session}"
        delivered = 0

        def has_seen_all(answer: JsonObject) -> bool:
            return bool(answer["stimuli_seen"] >= delivered)

        while True:
            state = await self.people.until(
                self.treatment.operator, "planning", path, has_seen_all, "next stimulus of the staircase"
            )
            if state["state"] != "next":
                return delivered
            await self._stimulate(session, state["next_percent_mso"])
            delivered += 1

    async def _stimulate(self, session: str, percent_mso: int) -> None:
        operator, step = self.treatment.operator, f"stimulus at {percent_mso} %"
        path = f"/sessions/{session}/stimuli"
        train = await self.people.insist(operator, "stimulation", path, {"percent_mso": percent_mso}, step)
        response = "yes" if self.patient.twitches(percent_mso) else "no"
        answer_path = f"{path}/{train['train_id']}/answer"
        await self.people.tell(operator, "stimulation", answer_path, {"response": response}, f"answer to {step}")

    async def prescribe(self) -> None:
        """A prescription is drafted, graded against the published limits, and signed by a supervisor."""
        path = f"/cases/{self.case_id}/prescriptions"
        body = {"protocol_id": self.treatment.protocol_id}
        answer = await self.people.tell(PROFESSIONAL, "planning", path, body, "prescription")
        self.prescription_id = answer["prescription_id"]
        sign = f"{path}/{self.prescription_id}/signature"
        await self.people.tell(SUPERVISOR, "planning", sign, {"version": answer["version"]}, "signature of the plan")
        order = answer["order"]
        self._tell(
            f"prescribed {self.treatment.protocol_id}: {order['pulses']} pulses at {order['percent_rmt']:g} % of "
            f"threshold = {order['percent_mso']} %; graded {answer['grade']}; signed"
        )

    async def book(self) -> None:
        """A session is booked in the room."""
        booking = {"room_id": self.treatment.room_id, "kind": "treatment", "prescription_id": self.prescription_id}
        self.session_id = await self._book(booking, "booking of the session")
        self._tell(f"booked in {self.treatment.room_id}; session {ending(self.session_id)}")

    async def arm(self) -> None:
        """Identity, side and protocol confirmed, the day's questions asked, ear protection on, device armed."""
        confirmation = {"side_or_site": "left", "protocol_id": self.treatment.protocol_id}
        await self._sit_down(self.session_id, confirmation)
        self._tell(f"identity confirmed, {self.treatment.room_id} armed")

    async def treat(self) -> None:
        """The session runs; half-way something happens; it ends by itself."""
        await _step(self._treat)

    async def _treat(self) -> None:
        await self._session_act(self.session_id, "start", {}, "start of the session")
        self._tell(f"session started in {self.treatment.room_id}")
        await self._follow(lambda found: found["progress"]["trains_done"] >= found["progress"]["trains_planned"] // 2)
        if self.treatment.event == "lower-intensity":
            await self.lower_intensity()
        else:
            await self.pause_and_resume()
        await self.until_closed()
        await self.check_whole()
        await self._session_act(self.session_id, "after", {"patient_state": "well"}, "the patient's state afterwards")

    async def until_closed(self) -> None:
        """The session's last train ends, and the session with it."""
        self.closed = await self._follow(lambda found: found["state"] == "closed")
        progress = self.closed["progress"]
        self._tell(
            f"session closed ({self.closed['reason']}): {progress['pulses_delivered']} of {progress['pulses_planned']} "
            f"pulses in {progress['trains_done']} trains"
        )

    async def check_whole(self) -> None:
        """Refuse a session that ended otherwise than with its last train, and say what the room says of it."""
        if self.closed["state"] == "closed" and self.closed["reason"] == WHOLE:
            return
        room = await self.people.ask(
            self.treatment.operator, "stimulation", f"/rooms/{self.treatment.room_id}", "state of the room"
        )
        trains = self.closed["progress"]["trains_done"]
        message = (
            f"{self.patient.label}: the session is {self.closed['state']} ({self.closed['reason']}) after {trains} "
            f"trains; latch of {self.treatment.room_id}: {room['latch']}."
        )
        raise Refused(Failure(step="treat", message=message))

    async def lower_intensity(self) -> None:
        """The operator lowers the intensity within the signed band."""
        body = {"parameter": "percent_rmt", "value": 110.0, "reason": "patient-discomfort"}
        await self._session_act(self.session_id, "parameters", body, "change of intensity")
        self._tell("intensity lowered to 110 % of threshold: patient-discomfort")

    async def pause_and_resume(self) -> None:
        """The operator pauses after the running train, checks coil and ears, and resumes."""
        await self._session_act(self.session_id, "pause", {"reason": "coil-check"}, "pause")
        paused = await self._follow(lambda found: found["state"] == "paused")
        self._tell(f"paused after {paused['progress']['trains_done']} trains: coil-check")
        checked = {"ear_protection": True, "side_or_site": "left"}
        await self._session_act(self.session_id, "resume", checked, "resume")
        self._tell("resumed, coil and ear protection checked")

    def report(self) -> PatientReport:
        """Say how the way ended."""
        progress = self.closed["progress"]
        return PatientReport(
            name=self.patient.label,
            case_id=self.case_id,
            room=self.treatment.room_id,
            protocol=self.treatment.protocol_id,
            threshold_percent_mso=self.threshold_percent_mso,
            true_threshold_percent_mso=self.patient.true_threshold_percent_mso,
            measurement_session_id=self.measurement_session_id,
            session_id=self.session_id,
            closed_for=self.closed["reason"],
            pulses_planned=progress["pulses_planned"],
            pulses_delivered=progress["pulses_delivered"],
            trains_delivered=progress["trains_done"],
        )

    async def _book(self, booking: JsonObject, step: str) -> str:
        answer = await self.people.tell(
            self.treatment.operator, "planning", f"/cases/{self.case_id}/bookings", booking, step
        )
        return str(answer["session_id"])

    async def _sit_down(self, session: str, confirmation: JsonObject) -> None:
        room = f"/rooms/{self.treatment.room_id}/sessions"
        body = self._supervised({"session_id": session})
        await self.people.tell(self.treatment.operator, "stimulation", room, body, "session taken into the room")
        said = self.patient.said | confirmation
        await self._session_act(session, "confirm-identity", said, "confirmation of identity")
        await self._ask_questions_of_the_day(session)
        await self._present(session)
        await self.people.insist(
            self.treatment.operator,
            "stimulation",
            f"/sessions/{session}/arm",
            {"ear_protection": True},
            "arming",
        )

    async def _ask_questions_of_the_day(self, session: str) -> None:
        path, step = f"/sessions/{session}/daily-check", "questions of the day"
        asked = await self.people.ask(self.treatment.operator, "stimulation", path, step)
        answers = {question["id"]: _harmless(question) for question in asked["list"]["questions"]}
        await self._session_act(session, "daily-check", {"answers": answers}, step)

    async def _present(self, session: str) -> None:
        await self._session_act(session, "presence", {"awake": True}, "presence")
        self._present_at_s = time.monotonic()

    async def _session_act(self, session: str, act: str, body: JsonObject, step: str) -> JsonObject:
        return await self.people.tell(self.treatment.operator, "stimulation", f"/sessions/{session}/{act}", body, step)

    async def _follow(self, holds: Callable[[JsonObject], bool]) -> JsonObject:
        async with asyncio.timeout(_GRACE_S + LONGEST_SESSION_S / self.clock.speed):
            while True:
                found = await self.people.ask(
                    self.treatment.operator, "stimulation", f"/sessions/{self.session_id}", "progress of the session"
                )
                progress = found["progress"]
                self.reporter.pulses(self.patient.label, progress["pulses_delivered"], progress["pulses_planned"])
                if holds(found) or found["state"] in {"closed", "interrupted"}:
                    return found
                if time.monotonic() - self._present_at_s > _PRESENT_EVERY_S:
                    await self._present(self.session_id)
                await asyncio.sleep(_DURING_S)

    def _supervised(self, body: JsonObject) -> JsonObject:
        supervisor = self.treatment.supervisor_id
        return body if supervisor is None else body | {"supervisor_id": supervisor}

    def _tell(self, what: str) -> None:
        self.reporter.step(self.patient.label, what, clock_time(self.clock))


def _harmless(question: JsonObject) -> str:
    """Return the answer of a patient with whom all is well."""
    return next(str(answer["id"]) for answer in question["answers"] if answer["outcome"] == "go")


async def _step(step: Callable[[], Awaitable[None]]) -> None:
    """Take a step; an answer without what it must have, or none in time, is a refusal that names the step."""
    name = step.__name__.strip("_").replace("_", " ")
    try:
        await step()
    except KeyError as error:
        raise Refused(Failure(step=name, message=f"{name}: an answer lacks the field {error}.")) from error
    except TimeoutError as error:
        raise Refused(Failure(step=name, message=f"{name}: not over in the time that it should take.")) from error


def clock_time(clock: Clock) -> str:
    """Return the clock's time of day in UTC, to the second."""
    return datetime.fromtimestamp(clock.utc_ns() // 1_000_000_000, UTC).strftime("%H:%M:%S")
