"""What a decision about a session rests on, gathered by the caller in the transaction of the decision."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from spoel_common.people import Registration
from spoel_stimulation.domain.lists import rules
from spoel_stimulation.domain.reach import LOCAL_ZONE, OtherBooking, Reach
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.roster import RosterState
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
        last_at: clock time of the last pulse of a train, or when pulses of no train were observed, on any day.
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


def ages_for_record(known: Iterable[Known]) -> tuple[Known, ...]:
    """Return ages rounded to milliseconds, for the record."""
    return tuple(item.model_copy(update={"age_s": round(item.age_s, 3)}) for item in known)
