"""The conditions under which a room may start, resume and go on (ST-01, ST-02, INV-4). Pure.

Everything that a condition rests on is in ``Facts``, gathered by the caller in the transaction of the decision.
"""

from spoel_stimulation.domain.facts import Booking, Facts, local_day
from spoel_stimulation.domain.refusals import (
    BookedForAnotherDay,
    BookingCancelled,
    BookingUnknown,
    ConsentMissing,
    ConsentWithdrawn,
    IndicationMissing,
    MeasurementOrderExpired,
    NotIndicated,
    OrderNotSigned,
    OrderSuperseded,
    OrderWithdrawn,
    PresenceMissing,
    RoomBusy,
    WrongRoom,
)
from spoel_stimulation.domain.room import check_not_latched
from spoel_stimulation.events.words import SessionKind
from spoel_stimulation.orders import MeasurementOrder, TreatmentOrder


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


def check_room(facts: Facts) -> None:
    """Refuse a latched room.

    Raises:
        RoomLatchedRefusal: it is latched.
    """
    check_not_latched(facts.room, facts.room_id)
