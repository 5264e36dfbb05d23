"""What a patient may be given today, over all rooms: maxima, pauses, and what blocks (HZ-14, HZ-16). Pure.

What other rooms did is known as far as their events have arrived; a pulse whose outcome is unknown counts as given.
"""

from datetime import timedelta

from spoel_stimulation.domain.envelope import Before
from spoel_stimulation.domain.facts import Facts
from spoel_stimulation.domain.lists import maximum_of
from spoel_stimulation.domain.refusals import DailyMaximumReached, NoSessionToday, PatientBlocked, TooSoonAfterSession
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.orders import MeasurementOrder, TreatmentOrder


def had_before(facts: Facts) -> Before:
    """Return what the patient was given in other sessions, as the envelope asks for it."""
    last_at = facts.given.last_at
    since_s = None if last_at is None else (facts.now - last_at).total_seconds()
    return Before(pulses_today=facts.given.pulses_today, since_last_session_s=since_s)


def check_not_blocked(facts: Facts) -> None:
    """Refuse a patient who lost consciousness, until a physician decides.

    Raises:
        PatientBlocked: names the events.
    """
    if facts.adverse_event_ids:
        raise PatientBlocked(
            "The patient lost consciousness during or after a session, here or in another room. A physician decides "
            "whether treatment goes on, and releases the patient.",
            adverse_event_ids=list(facts.adverse_event_ids),
        )


def check_day_stands(facts: Facts) -> None:
    """Refuse where an answer of today, in any room, rules out a session of this patient; a running one ends (HZ-15).

    Raises:
        NoSessionToday: it does.
    """
    if facts.no_session_today:
        raise NoSessionToday("An answer of the patient today rules out a session today. Book another day.")


def check_day(facts: Facts, order: TreatmentOrder | MeasurementOrder) -> None:
    """Refuse a session that does not fit in the patient's day; a measurement has limits of its own.

    Raises:
        NoSessionToday, DailyMaximumReached, TooSoonAfterSession: as they say.
    """
    check_day_stands(facts)
    if isinstance(order, MeasurementOrder):
        return
    _check_pulses(facts, order, order.pulses)
    limit_s = maximum_of(order).min_pause_between_sessions_s
    last_at = facts.given.last_at
    if last_at is not None and facts.now < last_at + timedelta(seconds=limit_s):
        free_at = last_at + timedelta(seconds=limit_s)
        raise TooSoonAfterSession(
            f"The patient's last session ended at {last_at:%H:%M} UTC, and {limit_s / 60:g} minutes are asked for "
            f"between two. Start after {free_at:%H:%M} UTC.",
            free_at=free_at.isoformat(),
        )


def check_train_fits(state: SessionState, facts: Facts, pulses: int) -> None:
    """Refuse a train that would pass the day's maximum, as when another room's trains became known meanwhile.

    Pulses that the device gave by itself in this session shorten it: they count, and whatever does not fit any more is
    left out.

    Raises:
        DailyMaximumReached: as it says.
    """
    order = state.order
    if isinstance(order, TreatmentOrder):
        own = sum(train.pulses if train.open or train.unknown else train.delivered for train in state.trains)
        _check_pulses(facts, order, own + facts.given.unauthorised_here + pulses)


def _check_pulses(facts: Facts, order: TreatmentOrder, pulses: int) -> None:
    limit = maximum_of(order).max_pulses_per_day
    elsewhere = facts.given.pulses_today
    if elsewhere + pulses > limit:
        raise DailyMaximumReached(
            f"{elsewhere} pulses were given to this patient today in other sessions, in all rooms; {pulses} in this "
            f"one would pass the {limit} of {order.protocol_id}. Book another day.",
            pulses_today=elsewhere,
        )
