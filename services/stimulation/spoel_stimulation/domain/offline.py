"""What a room may begin while it is cut off, and what may not begin while another room is (HZ-02, HZ-14, HZ-21). Pure.

Offline is a matter of knowledge, not of sockets: what is known of a service that a start needs is older than the limit
of an online start. A dead link that nobody has noticed yet, a cut leaf node and a stopped service are all the same.
"""

from typing import NamedTuple

from spoel_stimulation.domain.facts import NEEDED_SERVICES, Booking, Facts
from spoel_stimulation.domain.reach import OtherBooking, lease_ends_at
from spoel_stimulation.domain.refusals import AcceleratedDayOffline, LeasedElsewhere, LeaseReleasedHere, StaleKnowledge

NEVER_S = 1e9


class Start(NamedTuple):
    """How a start stands to the network, for the record.

    Attributes:
        offline: it rests on knowledge older than an online start allows.
        consent_asked_again: the patient was asked again while the room is cut off.
    """

    offline: bool
    consent_asked_again: bool


def check_reach(facts: Facts, booking: Booking, *, asked_again: bool, new: bool = True) -> Start:
    """Refuse to start on knowledge that is too old (INV-4).

    Args:
        facts: what is known.
        booking: of the session.
        asked_again: the patient was asked for consent again since the room is cut off.
        new: something begins; False where a session that had begun goes on after a pause.

    Raises:
        StaleKnowledge: names the service, its age, the limits and what is missing for a start without network.
        AcceleratedDayOffline: the patient has more than one treatment on this day.
    """
    service, age_s = _oldest(facts)
    if age_s <= facts.limits.max_knowledge_age_s:
        return Start(offline=False, consent_asked_again=asked_again)
    _check_offline_age(facts, service, age_s)
    if new and booking.kind == "treatment" and facts.other_treatments_that_day:
        raise AcceleratedDayOffline(
            f"This patient has {facts.other_treatments_that_day + 1} treatments on this day, and this room is cut off "
            f"from {service}. Pauses and the day's maximum cannot be checked: wait for the network.",
        )
    if not asked_again:
        raise StaleKnowledge(
            f"What this room knows of {service} is {age_s:.0f} s old; {facts.limits.max_knowledge_age_s:g} s is the "
            f"limit for a start. {_link(facts)} To start without network, ask the patient for consent again and send "
            "consent_asked_again: true.",
            service=service,
            missing=["consent-asked-again"],
        )
    return Start(offline=True, consent_asked_again=True)


def _oldest(facts: Facts) -> tuple[str, float]:
    """Return the needed service of which the knowledge is oldest, and its age in seconds."""
    ages = {service: _age_of(facts, service) for service in NEEDED_SERVICES}
    oldest = max(ages, key=lambda service: ages[service])
    return oldest, ages[oldest]


def _age_of(facts: Facts, service: str) -> float:
    ages = [known.age_s for known in facts.known if known.source.split("/")[3:4] == [service]]
    return max(ages, default=float("inf"))


def _check_offline_age(facts: Facts, service: str, age_s: float) -> None:
    limit_s = facts.limits.max_offline_age_s
    if age_s > limit_s:
        age = f"{age_s:.0f} s old" if age_s < NEVER_S else "not there yet"
        raise StaleKnowledge(
            f"What this room knows of {service} is {age}; {facts.limits.max_knowledge_age_s:g} s is the limit for a "
            f"start, {limit_s:g} s for one without network. {_link(facts)} Restore it, and try again.",
            service=service,
            missing=["network"],
        )
    if facts.reach.aside:
        raise StaleKnowledge(
            f"Events of {', '.join(facts.reach.aside)} came and could not be taken in: a withdrawal may be among them. "
            "Have them looked at (spoel events held) before anything starts here.",
            service=service,
            missing=["events-aside"],
        )


def _link(facts: Facts) -> str:
    if facts.reach.connected:
        return "NATS is connected, but that service is not heard."
    return "The room is cut off from NATS."


def check_lease(facts: Facts, booking: Booking) -> None:
    """Refuse a booking that this room has given back, or while another room may be using one of this patient's.

    Raises:
        LeaseReleasedHere: this room released it.
        LeasedElsewhere: says which room, and until when.
    """
    if facts.released:
        raise LeaseReleasedHere(
            f"This room released the booking of session {booking.session_id} when it was cancelled. Book a new one."
        )
    for other in facts.elsewhere:
        if not other.settled(facts.limits.max_knowledge_age_s):
            raise _leased(other)


def _leased(other: OtherBooking) -> LeasedElsewhere:
    ends_at = lease_ends_at(other.starts_at, other.ends_at)
    why = (
        f"was cancelled, and {other.room_id} has not confirmed that: cut off, it may still be treating on it"
        if other.cancelled
        else f"stands, and {other.room_id} has not been heard from: cut off, it may be treating this patient"
    )
    return LeasedElsewhere(
        f"Booking {other.session_id} of this patient {why}. Restore the network of {other.room_id}, or treat there; "
        f"its lease ends at {ends_at.isoformat()}.",
        room_id=other.room_id,
        session_id=other.session_id,
        lease_ends_at=ends_at.isoformat(),
    )
