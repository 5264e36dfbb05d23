"""Everything that a decision about a session rests on, gathered in the transaction of the decision."""

from spoel_common.erasure import is_erased
from spoel_common.work import Work
from spoel_stimulation import patient_days, projections, site
from spoel_stimulation.aggregates import ROOM, ROSTER
from spoel_stimulation.domain.facts import Booking, Facts
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.surroundings import Surroundings


async def gather(
    work: Work, around: Surroundings, session_id: str, state: SessionState, supervisor_id: str | None = None
) -> Facts:
    """Return everything that a decision about a session rests on, as of this transaction."""
    booking = await projections.booking_of(work.conn, session_id)
    people = {work.actor.person_id, supervisor_id or ""}
    if state.opened is not None:
        people |= {state.opened.operator_id, state.opened.supervisor_id or ""}
    facts = Facts(
        now=work.now,
        room_id=around.room_id,
        room=(await work.load(ROOM, around.room_id)).state,
        busy_with=await projections.open_session_of(work.conn, around.room_id),
        booking=booking,
        registrations=await projections.registrations_of(work.conn, people),
        roster=(await work.load(ROSTER, around.site)).state,
        known=around.known,
        device=around.device,
        limits=around.limits,
        reach=around.reach,
        presence_age_s=_presence_age_s(around, session_id),
    )
    if booking is None:
        return facts
    consent, indication = await projections.case_of(work.conn, booking.case_id)
    withdrawn = await site.withdrawn_in_a_room(work.conn, booking.case_id, booking.patient_id)
    if withdrawn or await is_erased(work.conn, booking.patient_id):
        consent = "withdrawn"  # consent ends with an erasure
    return Facts.model_validate(
        {
            **{name: getattr(facts, name) for name in Facts.model_fields},
            "consent": consent,
            "indication": indication,
            "order": await projections.order_of(work.conn, booking),
            **(await _for_a_start(work, around, booking) if not state.trains else {}),
            "adverse_event_ids": (
                *await patient_days.blocking(work.conn, booking.patient_id),
                *await projections.sessions_of(work.conn, booking.patient_id, around.losses - {session_id}),
            ),
            "no_session_today": await patient_days.refused_on(work.conn, booking.patient_id, facts.today),
            "given": await patient_days.given_to(work.conn, booking.patient_id, session_id, facts.today),
            **(await _for_a_measurement(work, booking) if booking.kind == "measurement" else {}),
        }
    )


async def _for_a_start(work: Work, around: Surroundings, booking: Booking) -> dict[str, object]:
    """Return what only the beginning of a session asks for: where else the patient is, or may be."""
    conn, patient_id = work.conn, booking.patient_id
    busy_in = await projections.room_of_patient(conn, patient_id, booking.session_id)
    return {
        "patient_busy_in": busy_in or await site.room_of_patient_elsewhere(conn, patient_id, work.now),
        "released": await site.is_released(conn, booking.session_id),
        "elsewhere": await site.bookings_elsewhere(conn, booking, work.now, around.reach),
        "other_treatments_that_day": await site.other_treatments_that_day(conn, booking),
    }


async def _for_a_measurement(work: Work, booking: Booking) -> dict[str, object]:
    """Return what only single stimuli ask for: when the patient had the last one, in whatever session."""
    return {"last_stimulus_at": await patient_days.last_stimulus_of(work.conn, booking.patient_id)}


def _presence_age_s(around: Surroundings, session_id: str) -> float:
    presence = around.presence
    return float("inf") if presence is None or presence.session_id != session_id else presence.age_s
