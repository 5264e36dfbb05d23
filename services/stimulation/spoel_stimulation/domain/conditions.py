"""The conditions under which a room may start, resume and go on (ST-01, ST-02, INV-4). Pure.

Everything that a condition rests on is in ``Facts``, gathered by the caller in the transaction of the decision.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from spoel_common.errors import BigNumberInvalid, ProfessionNotAllowed, RegistrationNotVerified
from spoel_common.people import Actor, Registration, Role, acts, check_act, check_role
from spoel_stimulation.domain.lists import rules
from spoel_stimulation.domain.reach import LOCAL_ZONE, OtherBooking, Reach
from spoel_stimulation.domain.refusals import (
    BookedForAnotherDay,
    BookingCancelled,
    BookingUnknown,
    CoilTooHot,
    ConsentMissing,
    ConsentWithdrawn,
    DeviceNotAccepted,
    DeviceNotReady,
    GrantEnded,
    IndicationMissing,
    MeasurementOrderExpired,
    NotIndicated,
    OperatorRegistrationEnded,
    OrderNotSigned,
    OrderSuperseded,
    OrderWithdrawn,
    PresenceMissing,
    RoomBusy,
    StatusTooOld,
    SupervisionMissing,
    ThresholdKeyMismatch,
    WrongRoom,
)
from spoel_stimulation.domain.room import RoomState, check_not_latched
from spoel_stimulation.domain.roster import RosterState
from spoel_stimulation.domain.trainees import is_trainee
from spoel_stimulation.engine.limits import ClearedRow, example_cleared_list
from spoel_stimulation.events.base import Known
from spoel_stimulation.events.words import SessionKind
from spoel_stimulation.orders import MeasurementOrder, ThresholdKey, TreatmentOrder

NEEDED_SERVICES = ("intake", "planning")


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class Booking(_Fact):
    """A booking as planning published it."""

    session_id: str
    case_id: str
    patient_id: str
    room_id: str
    kind: SessionKind
    starts_at: AwareDatetime
    measurement_order_id: str | None = None
    prescription_id: str | None = None
    prescription_version: int | None = None
    cancelled: bool = False


class OrderFacts(_Fact):
    """What is known of the order of one booking.

    Attributes:
        treatment: the booked version, if its signature has arrived.
        newest_version: highest signed version of the prescription.
        withdrawn: the prescription was withdrawn.
        threshold_keys: what the thresholds of the order were measured with, as far as that has arrived, by their ids.
        measurement: the signed measurement order.
        stimuli_used: stimuli given under the measurement order, in all sessions here.
    """

    treatment: TreatmentOrder | None = None
    newest_version: int | None = None
    withdrawn: bool = False
    threshold_keys: dict[str, ThresholdKey] = {}
    measurement: MeasurementOrder | None = None
    stimuli_used: int = 0


class DeviceFacts(_Fact):
    """The room's device as it is now.

    Attributes:
        ready: connected, accepted and disarmed at least once since then.
        accepted: it may be used on this site and with this clock (HZ-25).
        problem: why it is not ready, and what to do.
        status_age_s: wall seconds since its status was heard.
        coil_temperature_c: None where the device does not tell one.
        max_coil_temperature_c: of the device's own record; None where that has none.
        enabled: armed, by its own word.
        has_counter: it counts its pulses.
        total_pulses: its counter, if it was asked for this decision.
    """

    ready: bool = False
    accepted: bool = True
    problem: str = "The device has not answered yet."
    model: str = ""
    coil_model: str = ""
    simulated: bool = False
    status_age_s: float = float("inf")
    coil_temperature_c: float | None = None
    max_coil_temperature_c: float | None = None
    enabled: bool = False
    has_counter: bool = True
    total_pulses: int | None = None


class Limits(_Fact):
    """Limits of this node; ages in wall seconds, the length of a session's grant in seconds of clock time.

    Attributes:
        cleared: the clinic's list of what may be delivered in bursts.
    """

    max_knowledge_age_s: float = 60.0
    max_offline_age_s: float = 3_600.0
    grant_s: float = 14_400.0
    max_status_age_s: float = 2.0
    max_autonomous_s: float = 10.0
    max_presence_age_s: float = Field(default_factory=lambda: rules().presence.every_s)
    cleared: tuple[ClearedRow, ...] = example_cleared_list()


class Given(_Fact):
    """What a patient was given in other sessions of treatment, in all rooms of which this node knows.

    Attributes:
        pulses_today: of this local day; those of unknown outcome, or still under way, count as given (ST-12), and so do
            those that no train accounts for.
        unauthorised_here: pulses of this local day that no train accounts for, of this session itself.
        last_at: clock time of the last pulse of a train, on any day.
    """

    pulses_today: int = 0
    unauthorised_here: int = 0
    last_at: AwareDatetime | None = None


class Facts(_Fact):
    """Everything that a decision about a session rests on.

    Attributes:
        now: clock time.
        busy_with: the session that is open in this room.
        patient_busy_in: another room in which this patient has an open session.
        registrations: verified registrations that have not ended, by person.
        known: age of each feed.
        released: this room has given the booking back.
        elsewhere: bookings of this patient in rooms of other nodes, while their leases last.
        other_treatments_that_day: other treatments of this patient on the booking's local day, in all rooms.
        reach: what the node has of the world outside.
        presence_age_s: wall seconds since somebody confirmed presence in this session; infinite where nobody has.
        adverse_event_ids: those after which the patient is blocked, in any room (HZ-16).
        no_session_today: an answer of today ruled out every session of the patient today.
        given: to the patient, in other sessions.
        last_stimulus_at: clock time at which the patient's last single stimulus was due, in any measurement of which
            this node knows; asked for a measurement only.
    """

    now: datetime
    room_id: str
    room: RoomState = RoomState()
    busy_with: str | None = None
    patient_busy_in: str | None = None
    booking: Booking | None = None
    consent: Literal["given", "withdrawn"] | None = None
    indication: Literal["indicated", "not-indicated"] | None = None
    order: OrderFacts = OrderFacts()
    registrations: dict[str, Registration] = {}
    roster: RosterState = RosterState()
    known: tuple[Known, ...] = ()
    device: DeviceFacts = DeviceFacts()
    limits: Limits = Limits()
    released: bool = False
    elsewhere: tuple[OtherBooking, ...] = ()
    other_treatments_that_day: int = 0
    reach: Reach = Reach()
    presence_age_s: float = float("inf")
    adverse_event_ids: tuple[str, ...] = ()
    no_session_today: bool = False
    given: Given = Given()
    last_stimulus_at: AwareDatetime | None = None

    @property
    def today(self) -> date:
        """The local day."""
        return local_day(self.now)


def local_day(moment: datetime) -> date:
    """Return the local day of a moment."""
    return moment.astimezone(LOCAL_ZONE).date()


def check_booking(facts: Facts, session_id: str) -> Booking:
    """Return the booking of this session in this room.

    Raises:
        BookingUnknown, BookingCancelled, WrongRoom: as they say (HZ-02).
    """
    booking = facts.booking
    if booking is None:
        raise BookingUnknown(
            f"No booking of session {session_id} has arrived here. It may still arrive: try again in a moment, or book."
        )
    if booking.room_id != facts.room_id:
        raise WrongRoom(f"Session {session_id} is booked in {booking.room_id}, not in {facts.room_id}. Go there.")
    if booking.cancelled:
        raise BookingCancelled(f"The booking of session {session_id} was cancelled. Book a new one.")
    return booking


def check_booked_for_today(facts: Facts, booking: Booking) -> None:
    """Refuse to open a session on another local day than it is booked for (HZ-14).

    Raises:
        BookedForAnotherDay: it is for an earlier or a later day.
    """
    booked, today = local_day(booking.starts_at), local_day(facts.now)
    if booked != today:
        raise BookedForAnotherDay(
            f"Session {booking.session_id} is booked for {booked}, and today is {today}. Book it for today, or wait.",
            booked_for=booked.isoformat(),
        )


def check_free(facts: Facts, session_id: str) -> None:
    """Refuse a room, or a patient, with another open session: two rooms that hear of each other late open both.

    Raises:
        RoomBusy: says which session, or which room.
    """
    if facts.busy_with not in (None, session_id):
        raise RoomBusy(f"Session {facts.busy_with} is open in {facts.room_id}. Close it first.")
    if facts.patient_busy_in is not None:
        raise RoomBusy(f"This patient has an open session in {facts.patient_busy_in}. Close it first.")


def check_standing(facts: Facts, kind: SessionKind, booked_version: int | None) -> None:
    """Refuse what is known to have ended; a running session stops at once on these (INV-4).

    Raises:
        ConsentWithdrawn, NotIndicated, OrderWithdrawn, OrderSuperseded, MeasurementOrderExpired: as they say.
    """
    if facts.consent is not None:
        check_consent(facts)
    if facts.indication is not None:
        check_indication(facts)
    order = facts.order
    if kind == "measurement":
        if order.measurement is not None and order.measurement.valid_on != facts.today:
            raise MeasurementOrderExpired(
                f"The measurement order holds on {order.measurement.valid_on}; today is {facts.today}. "
                "Have a new one signed."
            )
        return
    if order.withdrawn:
        raise OrderWithdrawn("The prescription was withdrawn. Have a new one signed and booked.")
    if order.newest_version is not None and booked_version is not None and order.newest_version > booked_version:
        raise OrderSuperseded(
            f"Version {booked_version} is booked and version {order.newest_version} is signed. Book that one."
        )


def check_known(facts: Facts, kind: SessionKind) -> None:
    """Refuse a train where consent, indication or order is not known any more, whatever was known at the start (INV-4).

    What is known to have ended stops a session at once (``check_standing``); what is unknown lets no next train begin.

    Raises:
        ConsentMissing, ConsentWithdrawn, IndicationMissing, NotIndicated, OrderNotSigned: as they say.
    """
    check_consent(facts)
    check_indication(facts)
    check_signed(facts, kind)


def check_signed(facts: Facts, kind: SessionKind) -> TreatmentOrder | MeasurementOrder:
    """Return the signed order of a booking (ST-02).

    Raises:
        OrderNotSigned: it has not arrived.
    """
    order = facts.order.treatment if kind == "treatment" else facts.order.measurement
    if order is None:
        raise OrderNotSigned("No signed order of this booking has arrived here. Have it signed; it may still arrive.")
    return order


def check_consent(facts: Facts) -> None:
    """Refuse without the patient's consent (ST-02).

    Raises:
        ConsentMissing, ConsentWithdrawn: as they say.
    """
    if facts.consent is None:
        raise ConsentMissing("No consent of this case has arrived here. Record it; it may still arrive.")
    if facts.consent == "withdrawn":
        raise ConsentWithdrawn("The patient withdrew the consent. Nothing more is delivered.")


def check_indication(facts: Facts) -> None:
    """Refuse without a positive indication (ST-02).

    Raises:
        IndicationMissing, NotIndicated: no decision has arrived, or it is negative.
    """
    if facts.indication is None:
        raise IndicationMissing("No decision about the indication has arrived here. It may still arrive.")
    if facts.indication == "not-indicated":
        raise NotIndicated("A clinician decided that treatment is not indicated. Nothing more is delivered.")


def role_to_run(by: Actor) -> Role:
    """Return the role under which ``by`` runs a session; a trainee is one whatever other role they have.

    Raises:
        NotAllowed: none.
    """
    if is_trainee(by):
        return Role.TRAINEE
    if Role.TMS_PROFESSIONAL in by.roles:
        return Role.TMS_PROFESSIONAL
    if Role.TMS_TECHNICIAN in by.roles:
        return Role.TMS_TECHNICIAN
    check_role("run-session", by)
    return Role.TMS_PROFESSIONAL


def check_people(facts: Facts, by: Actor, supervisor_id: str | None) -> Role:
    """Return the role under which ``by`` may run a session now (ST-01).

    Raises:
        NotAllowed, BigNumberInvalid, RegistrationNotVerified, ProfessionNotAllowed: as ``check_act`` says.
        SupervisionMissing: a technician or trainee without a named supervisor, or anybody with one who is not on duty.
    """
    role = role_to_run(by)
    if role is Role.TMS_PROFESSIONAL:
        check_act("run-session", by, facts.registrations.get(by.person_id), facts.today)
        if supervisor_id is None:
            return role
    else:
        check_role("run-session-supervised", by)
    if supervisor_id is None:
        raise SupervisionMissing(f"A {role} runs sessions under a supervisor. Name one on duty in 'supervisor_id'.")
    if supervisor_id == by.person_id or not supervises(facts, supervisor_id):
        raise SupervisionMissing(
            f"{supervisor_id} is not a registered supervisor on duty here now. Name another, or have them go on duty.",
            supervisor_id=supervisor_id,
        )
    return role


def supervises(facts: Facts, person_id: str) -> bool:
    """Tell whether somebody is a registered supervisor on duty."""
    registration = facts.registrations.get(person_id)
    if registration is None or (registration.valid_until is not None and registration.valid_until < facts.today):
        return False
    if registration.profession not in acts()["supervise"].professions:
        return False
    return facts.roster.on_duty(person_id, facts.now)


def check_grant_lasts(facts: Facts, until: datetime | None, *, revoked: bool) -> None:
    """Refuse when the grant of a session has ended by itself or by a supervisor (INV-4).

    Args:
        facts: what is known.
        until: its end; None for none.
        revoked: a supervisor ended it.

    Raises:
        GrantEnded: it was revoked, or its time is over.
    """
    if revoked:
        raise GrantEnded("A supervisor ended the grant of this session. Stop it; somebody else may open a new booking.")
    if until is not None and facts.now >= until:
        raise GrantEnded(f"The grant of this session ended at {until.isoformat()}. Stop it, and book a new one.")


def check_grant(facts: Facts, operator: Actor) -> None:
    """Refuse when what the grant of a running session rests on is known to have ended (INV-4).

    Raises:
        SupervisionMissing: the supervisor is off duty.
        OperatorRegistrationEnded: the operator's registration ended.
    """
    try:
        check_people(facts, operator, operator.supervisor_id)
    except (RegistrationNotVerified, ProfessionNotAllowed, BigNumberInvalid) as error:
        raise OperatorRegistrationEnded(error.detail) from error


def check_device(facts: Facts, key: ThresholdKey, *, enabled: bool = False) -> None:
    """Refuse a device that is away, silent, not armed where that is needed, or not the order's (INV-4, HZ-04).

    Raises:
        DeviceNotAccepted, DeviceNotReady, StatusTooOld, ThresholdKeyMismatch, CoilTooHot: as they say.
    """
    device = facts.device
    if not device.accepted:
        raise DeviceNotAccepted(device.problem)
    if not device.ready:
        raise DeviceNotReady(device.problem)
    if device.status_age_s > facts.limits.max_status_age_s:
        raise StatusTooOld(
            f"The device's last status is {device.status_age_s:.1f} s old; {facts.limits.max_status_age_s:g} s is the "
            "limit. Look at the device and its cable."
        )
    _check_key({"stimulator_model": device.model, "coil_model": device.coil_model}, key, "In this room the device has")
    _check_temperature(device)
    if enabled and not device.enabled:
        raise DeviceNotReady("The device is not armed. Arm the session first.")


def max_coil_temperature_c(device: DeviceFacts) -> float:
    """Return the highest temperature of a coil: the room's limit, or the device's own where that is lower."""
    return min(rules().coil.max_temperature_c, device.max_coil_temperature_c or float("inf"))


def is_too_hot(device: DeviceFacts) -> bool:
    """Tell whether the coil is too hot; one that tells no temperature is not."""
    return device.coil_temperature_c is not None and device.coil_temperature_c >= max_coil_temperature_c(device)


def _check_temperature(device: DeviceFacts) -> None:
    if is_too_hot(device):
        raise CoilTooHot(
            f"The coil is at {device.coil_temperature_c:g} °C; {max_coil_temperature_c(device):g} °C is the limit. "
            "Take it from the head and let it cool.",
            coil_temperature_c=device.coil_temperature_c,
        )


def check_presence(facts: Facts) -> None:
    """Refuse where nobody showed lately that they are in the room and the patient is awake (HZ-17).

    Raises:
        PresenceMissing: as it says.
    """
    limit_s = facts.limits.max_presence_age_s
    if facts.presence_age_s > limit_s:
        raise PresenceMissing(
            f"Nobody confirmed presence in this session in the last {limit_s:g} s. Look at the patient, and confirm "
            "that you are there and that the patient is awake."
        )


def check_threshold_key(facts: Facts, order: TreatmentOrder | MeasurementOrder) -> None:
    """Refuse an order whose threshold was measured with anything else than the order names (HZ-04).

    Raises:
        ThresholdKeyMismatch: names the field.
    """
    for block in order.blocks if isinstance(order, TreatmentOrder) else ():
        measured = facts.order.threshold_keys.get(block.threshold_id)
        if measured is not None:
            wanted = ThresholdKey.model_validate({**_key_fields(order), "muscle": block.muscle})
            _check_key(_key_fields(measured), wanted, f"The threshold for {block.site} was measured with")


def _key_fields(key: ThresholdKey) -> dict[str, str]:
    return key.model_dump(include=set(ThresholdKey.model_fields))


def _check_key(found: dict[str, str], key: ThresholdKey, where: str) -> None:
    wanted = _key_fields(key)
    differing = [field for field in found if found[field] != wanted[field]]
    if differing:
        said = ", ".join(f"{field} {found[field]!r} (order: {wanted[field]!r})" for field in differing)
        raise ThresholdKeyMismatch(
            f"{where} {said}. Use the equipment of the order, or have the threshold measured again.", fields=differing
        )


def check_room(facts: Facts) -> None:
    """Refuse a latched room.

    Raises:
        RoomLatchedRefusal: it is latched.
    """
    check_not_latched(facts.room, facts.room_id)


def ages_for_record(known: Iterable[Known]) -> tuple[Known, ...]:
    """Return ages rounded to milliseconds, for the record."""
    return tuple(item.model_copy(update={"age_s": round(item.age_s, 3)}) for item in known)
