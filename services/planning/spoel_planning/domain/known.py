"""What planning knows of others' affairs: small values that the read models hand to the decisions.

Every decision that needs one of them refuses while it is not known, and says that it may still arrive.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from spoel_common.people import Actor
from spoel_planning.domain.refusals.knowing import (
    CaseUnknownHere,
    ConsentIsWithdrawn,
    ConsentNotGiven,
    IndicationNotDecided,
    NotIndicated,
    RoomUnknownHere,
)
from spoel_planning.events.booking import SessionKind
from spoel_planning.events.measuring import Response

Progress = Literal["not-begun", "under-way", "over"]
"""How far a room is with a session, as far as planning knows."""

MAY_STILL_ARRIVE = "It may still arrive: try again in a moment with the same Idempotency-Key."


class Known(BaseModel):
    """A piece of knowledge."""

    model_config = ConfigDict(frozen=True)


class KnownCase(Known):
    """A case as intake's events have it."""

    case_id: str
    patient_id: str
    indication: str | None = None
    decision: Literal["indicated", "not-indicated"] | None = None
    consent: Literal["given", "withdrawn"] | None = None


class KnownRoom(Known):
    """A room and the device that last answered in it."""

    room_id: str
    stimulator_model: str
    stimulator_serial: str
    coil_model: str
    simulated: bool


class SeenStimulus(Known):
    """A stimulus of a threshold session, answered."""

    train_id: str
    percent_mso: int
    response: Response
    answered_at: datetime


class SeenSession(Known):
    """What of a threshold session has arrived.

    Attributes:
        stimuli: answered stimuli in order.
        stimuli_elsewhere: how many more were answered in other sessions under the same measurement order.
    """

    session_id: str
    case_id: str
    measurement_order_id: str
    stimuli: tuple[SeenStimulus, ...]
    stimuli_elsewhere: int = 0


class RankedLocation(Known):
    """One location of a heart-brain search.

    Attributes:
        coupled: the heart slowed with the trains beyond chance.
        fall_bpm: by how much heart rate fell with them; negative where it rose.
        ratio: power of heart rate at the cycle frequency over that beside it.
    """

    location: str
    percent_mso: int
    coupled: bool
    fall_bpm: float
    ratio: float
    p_value: float


class RankedSearch(Known):
    """What a heart-brain search found, for whoever chooses where the coil is put; it changes no target by itself.

    Attributes:
        best: the location that stands out from every other; None where none does.
        locations: from strongest to weakest coupling.
    """

    session_id: str
    measurement_order_id: str
    site: str
    verdict: str
    best: str | None
    locations: tuple[RankedLocation, ...]
    ranked_at: datetime


class PatientSlot(Known):
    """A session of a patient, in any room, any case and any file of the same person.

    Attributes:
        starts_at: the booking's start, or when the room took it up if that was earlier.
        ends_at: when the session was closed, where it was, be it late; else the booking's end.
        pulses: pulses that it may have delivered; 0 where it was closed as not started.
        min_pause_s: least pause before or after another treatment; 0 for a measurement.
    """

    session_id: str
    room_id: str
    kind: SessionKind
    starts_at: datetime
    ends_at: datetime
    local_day: date
    pulses: int
    min_pause_s: float


class Occasion(NamedTuple):
    """For whom, by whom and when something is decided.

    Attributes:
        case: as planning knows it now.
        by: who decides.
        now: clock time, UTC.
        today: the local day of ``now``.
    """

    case: KnownCase
    by: Actor
    now: datetime
    today: date


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """Return the day of an aware ``moment`` in the clinic's zone, also in the nights of the time change (HZ-22)."""
    return moment.astimezone(zone).date()


def known_case(case: KnownCase | None, case_id: str) -> KnownCase:
    """Return the case.

    Raises:
        CaseUnknownHere: nothing of it has arrived.
    """
    if case is None:
        raise CaseUnknownHere(f"No case {case_id} is known to planning. {MAY_STILL_ARRIVE}", case_id=case_id)
    return case


def check_indicated(case: KnownCase) -> None:
    """Refuse a case that is not indicated.

    Raises:
        IndicationNotDecided: no decision has arrived.
        NotIndicated: decided against.
    """
    if case.decision is None:
        raise IndicationNotDecided(
            f"No decision on the indication of case {case.case_id} is known to planning. {MAY_STILL_ARRIVE}"
        )
    if case.decision != "indicated":
        raise NotIndicated(f"Case {case.case_id} was decided as not indicated. A new decision at intake is needed.")


def check_consent(case: KnownCase) -> None:
    """Refuse a case without consent.

    Raises:
        ConsentNotGiven: no consent has arrived.
        ConsentIsWithdrawn: it was withdrawn.
    """
    if case.consent is None:
        raise ConsentNotGiven(f"No consent in case {case.case_id} is known to planning. {MAY_STILL_ARRIVE}")
    if case.consent == "withdrawn":
        raise ConsentIsWithdrawn(f"Consent in case {case.case_id} was withdrawn. Nothing may be booked.")


def known_room(room: KnownRoom | None, room_id: str, rooms: Iterable[str]) -> KnownRoom:
    """Return the room.

    Raises:
        RoomUnknownHere: its device has not answered, as far as planning knows.
    """
    if room is None:
        names = ", ".join(sorted(rooms)) or "none"
        raise RoomUnknownHere(
            f"No room {room_id} is known to planning; known are: {names}. {MAY_STILL_ARRIVE}", field="room_id"
        )
    return room
