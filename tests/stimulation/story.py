"""What the tests of stimulation talk about: one patient, one professional, one technician, their orders and facts."""

from datetime import UTC, date, datetime, timedelta

from spoel_common.people import Actor, Profession, Registration, Role
from spoel_common.units import set_percent_mso
from spoel_stimulation import commands as asked
from spoel_stimulation.domain import checks, conduct, session
from spoel_stimulation.domain.evolve import evolve
from spoel_stimulation.domain.facts import Booking, DeviceFacts, Facts, OrderFacts, local_day
from spoel_stimulation.domain.identity import IdentityStrip
from spoel_stimulation.domain.lists import daily_check, opening_check
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.roster import RosterState
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import device_pattern, next_train
from spoel_stimulation.events.base import Known
from spoel_stimulation.events.rooms import RoomChecked
from spoel_stimulation.events.sessions import DeviceSettings
from spoel_stimulation.orders import Block, MeasurementOrder, Pattern, TreatmentOrder

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TODAY = date(2026, 11, 22)
SESSION, CASE, PATIENT, ROOM = "session-1", "case-1", "patient-1", "room-1"

OPERATOR = Actor(person_id="petra", roles=frozenset({Role.TMS_PROFESSIONAL}), big_number="49012345630")
TECHNICIAN = Actor(person_id="tom", roles=frozenset({Role.TMS_TECHNICIAN}))
TRAINEE = Actor(person_id="tess", roles=frozenset({Role.TRAINEE}))
SUPERVISOR = Actor(person_id="sanne", roles=frozenset({Role.SUPERVISOR}), big_number="19012345625")
PHYSICIAN = Actor(person_id="paul", roles=frozenset({Role.PHYSICIAN}), big_number="59012345601")
CLINICIAN = Actor(person_id="carl", roles=frozenset({Role.CLINICIAN}), big_number="29012345625")
REGISTRATIONS = {
    person.person_id: Registration(
        person_id=person.person_id,
        big_number=person.big_number or "",
        profession=profession,
        verified_on=TODAY,
        evidence="register 2026-11-01",
    )
    for person, profession in (
        (OPERATOR, Profession.VERPLEEGKUNDIGE),
        (SUPERVISOR, Profession.GZ_PSYCHOLOOG),
        (PHYSICIAN, Profession.ARTS),
    )
}
STRIP = IdentityStrip(given_name="Zoë", family_name="van den Berg", birth_date=date(1980, 2, 29))
SAID = asked.ConfirmIdentity(
    given_name="Zoe",
    family_name="Van den Berg",
    birth_date=date(1980, 2, 29),
    side_or_site="left",
    protocol_id="hf-10hz",
)

ALL_IN_ORDER = {item.id: True for item in opening_check().items}
GO = {
    question.id: next(answer.id for answer in question.answers if answer.outcome == "go")
    for question in daily_check().questions
}

PATTERN_10HZ = Pattern(bursts_per_train=40, pulses_per_burst=1, burst_interval_s=0.1, trains=75, train_interval_s=30.0)
PATTERN_ITBS = Pattern(
    pulses_per_burst=3,
    pulse_interval_s=0.02,
    bursts_per_train=10,
    burst_interval_s=0.2,
    trains=20,
    train_interval_s=10.0,
)
PATTERN_1HZ = Pattern(pulses_per_burst=1, bursts_per_train=30, burst_interval_s=1.0, trains=1, train_interval_s=30.0)
PATTERN_CTBS = Pattern(
    pulses_per_burst=3,
    pulse_interval_s=0.02,
    bursts_per_train=200,
    burst_interval_s=0.2,
    trains=1,
    train_interval_s=60.0,
)

KEY = {
    "stimulator_model": "MagPro X100+Option",
    "coil_model": "Cool-B65",
    "waveform": "biphasic",
    "current_direction": "normal",
    "muscle": "right-apb",
}


def treatment_order(pattern=PATTERN_10HZ, threshold=50, percent=120.0, floor=80.0, ceiling=120.0, **changes):
    return TreatmentOrder.model_validate(
        {
            **KEY,
            "protocol_id": "hf-10hz",
            "protocol_version": 1,
            "site": "left-dlpfc",
            "pattern": pattern.model_dump(),
            "percent_rmt": percent,
            "floor_percent_rmt": floor,
            "ceiling_percent_rmt": ceiling,
            "threshold_id": "threshold-1",
            "threshold_percent_mso": threshold,
            "percent_mso": set_percent_mso(percent, threshold),
            "floor_percent_mso": set_percent_mso(floor, threshold),
            "ceiling_percent_mso": set_percent_mso(ceiling, threshold),
            "pulses": pattern.pulses,
            **changes,
        }
    )


def block(site="left-dlpfc", pattern=PATTERN_ITBS, threshold=40, percent=100.0, **changes):
    """Return a further block: by default theta burst on the left, with a threshold of its own."""
    return Block.model_validate(
        {
            "site": site,
            "muscle": "right-apb",
            "pattern": pattern.model_dump(),
            "percent_rmt": percent,
            "floor_percent_rmt": 80.0,
            "ceiling_percent_rmt": 120.0,
            "threshold_id": "threshold-2",
            "threshold_percent_mso": threshold,
            "percent_mso": set_percent_mso(percent, threshold),
            "floor_percent_mso": set_percent_mso(80.0, threshold),
            "ceiling_percent_mso": set_percent_mso(120.0, threshold),
            **changes,
        }
    )


def bilateral_order(first=PATTERN_1HZ, second=None):
    """Return an order of two blocks: the right side first, then the left."""
    second = second or block(pattern=PATTERN_ITBS.model_copy(update={"trains": 2}))
    pulses = first.pulses + second.pattern.pulses
    changes = {"site": "right-dlpfc", "pulses": pulses, "muscle": "left-apb", "further_blocks": [second.model_dump()]}
    return treatment_order(first, **changes)


def measurement_order(**changes):
    return MeasurementOrder.model_validate(
        {
            **KEY,
            "order_id": "order-1",
            "case_id": CASE,
            "patient_id": PATIENT,
            "purpose": "motor-threshold",
            "site": "left-motor-cortex",
            "ceiling_percent_mso": 80,
            "max_stimuli": 5,
            "min_interval_s": 4.0,
            "valid_on": TODAY,
            **changes,
        }
    )


PATTERN_SEARCH = Pattern(pulses_per_burst=1, bursts_per_train=50, burst_interval_s=0.1, trains=8, train_interval_s=16.0)


def search_order(pattern=PATTERN_SEARCH, names=("F3", "F3+front", "FC3"), **changes):
    """Return an order of a heart-brain search: 5 s of 10 Hz every 16 s, at several locations on the left."""
    search = {
        "locations": [{"name": name} for name in names],
        "pattern": pattern.model_dump(),
        "threshold_id": "threshold-1",
        "threshold_percent_mso": 73,
        "ceiling_percent_rmt": 110.0,
    }
    return measurement_order(
        **{
            "purpose": "heart-brain-search",
            "site": "left-dlpfc",
            "max_stimuli": 60,
            "min_interval_s": 14.0,
            "search": search,
            **changes,
        }
    )


def booking(kind="treatment", **changes):
    ids = (
        {"prescription_id": "prescription-1", "prescription_version": 1}
        if kind == "treatment"
        else {"measurement_order_id": "order-1"}
    )
    described = {"session_id": SESSION, "case_id": CASE, "patient_id": PATIENT, "room_id": ROOM, "kind": kind}
    described["starts_at"] = NOW
    return Booking.model_validate(described | ids | changes)


def known(intake_s=1.0, planning_s=1.0):
    return tuple(
        Known(source=f"/spoel/local/{service}/main", as_of=NOW, age_s=age_s)
        for service, age_s in (("intake", intake_s), ("planning", planning_s))
    )


def device(**changes):
    described = {
        "ready": True,
        "problem": "",
        "model": KEY["stimulator_model"],
        "coil_model": KEY["coil_model"],
        "simulated": True,
        "status_age_s": 0.1,
        "enabled": False,
        "total_pulses": 1000,
    }
    return DeviceFacts.model_validate(described | changes)


def checked_room(day=TODAY, **items):
    return RoomChecked(room_id=ROOM, day=day, list_version="1", items=ALL_IN_ORDER | items)


def facts(kind="treatment", signed=None, **changes):
    """Return facts under which every condition holds."""
    if kind == "treatment":
        orders = OrderFacts(treatment=signed or treatment_order(), newest_version=1)
    else:
        orders = OrderFacts(measurement=signed or measurement_order())
    described = {
        "now": NOW,
        "room_id": ROOM,
        "booking": booking(kind),
        "consent": "given",
        "indication": "indicated",
        "order": orders,
        "registrations": REGISTRATIONS,
        "known": known(),
        "device": device(),
        "room": RoomState(checked=checked_room(local_day(changes.get("now", NOW)))),
        "presence_age_s": 1.0,
        **changes,
    }
    return Facts(**described)


def on_duty(person=SUPERVISOR, until=NOW + timedelta(hours=8)):
    return RosterState(until={person.person_id: until})


def told(state, events):
    for event in events:
        state = evolve(state, event)
    return state


ARMED = asked.RecordArmed(settings=DeviceSettings(set={}, read_back={}), coil_model="Cool-B65", percent_mso=0)


class Story:
    """A session that is led from phase to phase by its own commands."""

    def __init__(self, kind="treatment", order=None, by=OPERATOR, supervisor_id=None, roster=None):
        self.kind, self.order, self.by, self.supervisor_id = kind, order, by, supervisor_id
        self.state = SessionState()
        self.roster = roster or RosterState()
        self.now = NOW

    def facts(self, **changes):
        return facts(self.kind, self.order, **{"roster": self.roster, "now": self.now, **changes})

    def armed_facts(self, **changes):
        return self.facts(**{"device": device(enabled=True), **changes})

    def then(self, events):
        self.state = told(self.state, events)
        return self

    def opened(self):
        command = asked.OpenSession(session_id=SESSION, supervisor_id=self.supervisor_id)
        return self.then(session.open_session(self.state, command, self.by, self.facts()))

    def identified(self):
        self.opened()
        protocol_id = SAID.protocol_id if self.kind == "treatment" else None
        said = SAID.model_copy(update={"protocol_id": protocol_id, "side_or_site": self.state.order.site})
        return self.then(session.confirm_identity(self.state, said, self.by, self.facts(), STRIP))

    def checked(self, **answers):
        command = asked.AnswerDailyCheck(answers=GO | answers)
        return self.identified().then(checks.answer_daily_check(self.state, command, TODAY)[0])

    def armed(self):
        self.checked()
        percent = self.state.percent_mso
        return self.then(session.record_armed(self.state, ARMED.model_copy(update={"percent_mso": percent})))

    def running(self):
        return self.armed().then(session.start(self.state, asked.Start(), self.by, self.armed_facts()))

    def paused(self):
        return self.running().then(session.pause(self.state, asked.Pause(reason="coil-check"), self.by, self.now))

    def interrupted(self):
        return self.running().then(conduct.interrupt(self.state, asked.Interrupt(reason="device-fault"), self.now))

    def through_block(self):
        """Deliver every train of the block that is given."""
        pattern = device_pattern(self.state.block, 10.0)
        for train in range(pattern.trains):
            self.train(f"train-{self.state.block_index}-{train}", total=1000 + self.state.pulses_delivered)
        return self

    def awaiting_coil(self):
        return self.running().through_block().then(conduct.await_coil(self.state))

    def closed(self):
        return self.opened().then(session.stop(self.state, asked.Stop(reason="technical"), self.by))

    def authorise(self, train_id, around=None):
        """Return the events of authorising the next train at the intensity in force."""
        command = asked.AuthoriseTrain(train_id=train_id, percent_mso=self.next_percent_mso())
        return conduct.authorise_train(self.state, command, around or self.armed_facts())

    def next_percent_mso(self):
        """Return the intensity of the next train; that in force where there is none."""
        block = self.state.block if self.state.opened else None
        train = None if block is None else next_train(self.state, device_pattern(block, 10.0))
        return self.state.percent_mso if train is None else train.percent_mso

    def train(self, train_id="train-1", outcome="complete", pulses=None, total=1000):
        """Authorise the next train and record its end."""
        due = self.now + timedelta(seconds=0 if not self.state.trains else 30)
        self.now = due
        around = self.armed_facts(device=device(enabled=True, total_pulses=total))
        self.then(
            conduct.authorise_train(
                self.state, asked.AuthoriseTrain(train_id=train_id, percent_mso=self.next_percent_mso()), around
            )
        )
        return self.ended(outcome, pulses)

    def ended(self, outcome="complete", pulses=None):
        train = self.state.open_train
        delivered = train.pulses if pulses is None else pulses
        command = asked.RecordTrain(
            outcome=outcome,
            pulses=delivered,
            device_total_pulses_after=train.device_total_pulses_before + delivered,
            evidence="frames-and-counter",
            first_onset_at=self.now,
            ended_at=self.now + timedelta(seconds=4),
        )
        return self.then(conduct.record_train(self.state, command))
