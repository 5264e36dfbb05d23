"""People, facts and a plan that is told them: what the pure tests of planning speak with."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from zoneinfo import ZoneInfo

from spoel_common.people import Actor, Profession, Role
from spoel_planning.commands import Book, EstimateThreshold, MeasureHead, OrderMeasurement, Prescribe, SignPrescription
from spoel_planning.domain import booking, measuring, prescribing
from spoel_planning.domain import plan as plans
from spoel_planning.domain.known import KnownCase, KnownRoom, Occasion, SeenSession, SeenStimulus, local_day
from spoel_planning.domain.plan import Plan
from spoel_planning.domain.rules import clinic_rules
from spoel_planning.domain.staircase import Next, next_stimulus

RULES = clinic_rules()
ZONE = ZoneInfo("Europe/Amsterdam")
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)

DEVICE = {"stimulator_model": "MagPro X100+Option", "coil_model": "Cool-B65"}
KEY = {**DEVICE, "waveform": "biphasic", "current_direction": "normal", "muscle": "right-apb"}
CASE = KnownCase(
    case_id="case-1", patient_id="patient-1", indication="depression", decision="indicated", consent="given"
)
ROOM = KnownRoom(room_id="room-1", stimulator_serial="SIM-1", simulated=True, **DEVICE)


def person(person_id: str, role: Role, profession: Profession | None = None, number: str | None = None) -> Actor:
    return Actor(person_id=person_id, roles=frozenset({role}), big_number=number, profession=profession)


PROFESSIONAL = person("pro", Role.TMS_PROFESSIONAL, Profession.VERPLEEGKUNDIGE, "19000000030")
SUPERVISOR = person("sup", Role.SUPERVISOR, Profession.KLINISCH_PSYCHOLOOG, "19000000025")


def occasion(by: Actor = PROFESSIONAL, now: datetime = NOW, case: KnownCase = CASE) -> Occasion:
    return Occasion(case, by, now, local_day(now, ZONE))


def head(**changes) -> MeasureHead:
    return MeasureHead(**{"nasion_inion_cm": 36, "tragus_tragus_cm": 36, "circumference_cm": 56, **changes})


def measurement(**changes) -> OrderMeasurement:
    return OrderMeasurement(**{"site": "left-motor-cortex", **KEY, **changes})


def prescribe(protocol_id: str = "hf-left-dlpfc-10hz-standard", **changes) -> Prescribe:
    return Prescribe(protocol_id=protocol_id, **changes)


def answered(percent_mso: int, response: str, at: datetime = NOW, train_id: str = "train") -> SeenStimulus:
    return SeenStimulus(train_id=train_id, percent_mso=percent_mso, response=response, answered_at=at)


def deliver(threshold: float, ceiling: int = 90, most: int = 75, noise=None, at: datetime = NOW) -> list[SeenStimulus]:
    """What is delivered to somebody who moves at ``threshold`` and above, until the staircase ends."""
    stimuli: list[SeenStimulus] = []
    while isinstance(step := next_stimulus(stimuli, ceiling, most, RULES.threshold.staircase), Next):
        moved = step.percent_mso >= threshold if noise is None else noise(step.percent_mso)
        response = "yes" if moved else "no"
        stimuli.append(answered(step.percent_mso, response, at, f"train-{len(stimuli)}"))
    return stimuli


@dataclass
class Story:
    """A case on its way through planning, one decision after another."""

    plan: Plan = field(default_factory=Plan)
    on: Occasion = field(default_factory=occasion)
    events: list = field(default_factory=list)

    def tell(self, events: list) -> list:
        self.plan = reduce(plans.evolve, events, self.plan)
        self.events += events
        return events

    def by(self, actor: Actor) -> "Story":
        self.on = self.on._replace(by=actor)
        return self

    def at(self, now: datetime) -> "Story":
        self.on = self.on._replace(now=now, today=local_day(now, ZONE))
        return self

    def known(self, **changes) -> "Story":
        self.on = self.on._replace(case=self.on.case.model_copy(update=changes))
        return self

    def copy(self) -> "Story":
        return replace(self, events=list(self.events))

    def measure_head(self, **changes):
        return self.tell(measuring.measure_head(self.on.case, head(**changes), RULES.head))

    def order(self, order_id: str = "order-1", **changes):
        return self.tell(measuring.order_measurement(self.on, measurement(**changes), RULES, order_id))

    def sign_order(self, order_id: str = "order-1", by: Actor = SUPERVISOR):
        on = self.on._replace(by=by)
        return self.tell(measuring.sign_measurement_order(self.plan, on, order_id))

    def book(self, session_id: str, slots=(), room: KnownRoom = ROOM, **fields):
        around = booking.Surroundings(room, slots, ZONE)
        command = Book(room_id=room.room_id, **fields)
        booked = booking.book(self.plan, self.on, command, around, RULES, session_id)
        self.tell([booked.event])
        return booked

    def find_threshold(self, threshold: int = 50, number: int = 1, measured_at: datetime = NOW, **changes):
        """Order, sign, book, deliver, take: the whole measurement."""
        order_id, session_id = f"order-{number}", f"measured-{number}"
        self.order(order_id, **changes)
        self.sign_order(order_id)
        self.book(session_id, kind="measurement", measurement_order_id=order_id)
        session = SeenSession(
            session_id=session_id,
            case_id="case-1",
            measurement_order_id=order_id,
            stimuli=tuple(deliver(threshold, at=measured_at)),
        )
        command = EstimateThreshold(session_id=session_id)
        return self.tell(
            measuring.estimate_threshold(self.plan, self.on, command, session, RULES.threshold, f"threshold-{number}")
        )

    def draft(self, *args, **changes):
        command = prescribe(*args, **changes)
        return self.tell(prescribing.draft_prescription(self.plan, self.on, command, RULES, "prescription-1"))

    def change(self, *args, **changes):
        command = prescribe(*args, **changes)
        return self.tell(prescribing.draft_version(self.plan, self.on, command, RULES, "prescription-1"))

    def sign(self, version: int = 1, by: Actor = SUPERVISOR, course_id: str = "course-1"):
        course = prescribing.Course("prescription-1", course_id)
        command = SignPrescription(version=version)
        on = self.on._replace(by=by)
        return self.tell(prescribing.sign_prescription(self.plan, on, command, RULES.threshold.validity, course))


def later(**delta) -> datetime:
    return NOW + timedelta(**delta)
