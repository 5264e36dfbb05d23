"""The grant of a session: who runs it, under whom and until when, whatever becomes of that person's token. Pure.

A checked token is turned into a grant when a session is opened. From then on the grant decides: a token that expires,
or an issuer that is away, does not stop care, and a revocation does, whatever the token says.
"""

from datetime import datetime, timedelta

from spoel_common.events import EventData
from spoel_stimulation.commands import RevokeGrant
from spoel_stimulation.domain.conduct import ids_of
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.refusals import GrantEnded, TransitionNotAllowed
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.sessions import SessionGrantRevoked


def grant_until(now: datetime, limits: Limits) -> datetime:
    """Return when a grant ends that begins now."""
    return now + timedelta(seconds=limits.grant_s)


def covers(state: SessionState, person_id: str, now: datetime) -> bool:
    """Tell whether a person's lapsed token is good enough: it is the grant's own person, and the grant holds."""
    if state.opened is None or state.ended or state.opened.operator_id != person_id:
        return False
    return not state.grant_revoked and (state.opened.grant_until is not None and now < state.opened.grant_until)


def revoke(state: SessionState, command: RevokeGrant) -> list[EventData]:
    """End the grant of a session; the session is interrupted by the room's interlock.

    Raises:
        TransitionNotAllowed: the session is over.
        GrantEnded: it was revoked before.
    """
    if state.opened is None or state.ended:
        raise TransitionNotAllowed("There is no open session of that id here: no grant to end.")
    if state.grant_revoked:
        raise GrantEnded("The grant of this session was revoked before.")
    return [SessionGrantRevoked(**ids_of(state), operator_id=state.opened.operator_id, reason=command.reason)]
