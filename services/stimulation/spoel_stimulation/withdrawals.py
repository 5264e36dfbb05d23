"""Withdrawal of consent in the room: needs nothing but the journal, and holds from that moment (IN-11, HZ-21)."""

from pydantic import BaseModel

from spoel_common.errors import NotFound
from spoel_common.ids import new_id
from spoel_common.people import check_role
from spoel_common.work import Aggregate, Work
from spoel_stimulation import projections, site
from spoel_stimulation.aggregates import SESSION, append
from spoel_stimulation.domain.conduct import closing
from spoel_stimulation.domain.phases import Act, Phase
from spoel_stimulation.events import WITHDRAWAL_EVENTS
from spoel_stimulation.events.patients import ConsentWithdrawnInRoom
from spoel_stimulation.surroundings import Look

WITHDRAWAL = Aggregate("withdrawal", lambda: False, lambda _state, _event: True, WITHDRAWAL_EVENTS)


class WithdrawalAnswer(BaseModel):
    """Consent is withdrawn here, and will be in every room.

    Attributes:
        state: of the session; ``none`` where it was not opened.
    """

    session_id: str
    case_id: str
    state: Phase


async def withdraw_consent(work: Work, session_id: str, look: Look) -> WithdrawalAnswer:
    """Record the withdrawal and close the session, if it is open; the caller has disarmed the device.

    Raises:
        NotAllowed: the role may not.
        NotFound: neither opened nor booked in this room.
    """
    check_role("withdraw-consent", work.actor)
    around = look()
    loaded = await work.load(SESSION, session_id)
    about = loaded.state.opened or await projections.booking_of(work.conn, session_id)
    if about is None or about.room_id != around.room_id:
        raise NotFound(f"Session {session_id[:64]!r} is neither open nor booked in {around.room_id}.")
    if not await site.withdrawn_in_a_room(work.conn, about.case_id):
        withdrawal_id, event_id = new_id(), work.new_event_id()
        event = ConsentWithdrawnInRoom(
            session_id=session_id,
            case_id=about.case_id,
            patient_id=about.patient_id,
            room_id=about.room_id,
            withdrawal_id=withdrawal_id,
            withdrawn_at=work.now,
        )
        fresh = await work.load(WITHDRAWAL, withdrawal_id)
        await work.append(WITHDRAWAL, withdrawal_id, fresh, [event], event_ids=[event_id], room=about.room_id)
        await site.keep_withdrawal(work.conn, event_id, about.case_id, about.patient_id)
    after = loaded
    if loaded.state.may(Act.STOP):
        after = await append(work, around, session_id, loaded, closing(loaded.state, "consent-withdrawn"))
    return WithdrawalAnswer(session_id=session_id, case_id=about.case_id, state=after.state.phase)
