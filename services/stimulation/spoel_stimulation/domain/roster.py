"""The roster: which supervisors are on duty (ST-01)."""

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from spoel_common.errors import BigNumberInvalid
from spoel_common.events import EventData
from spoel_common.people import Actor
from spoel_stimulation.commands import EndSupervision, StartSupervision
from spoel_stimulation.domain.refusals import NotOnDuty, SupervisionEndInvalid
from spoel_stimulation.domain.trainees import check_trained
from spoel_stimulation.events.supervision import SupervisionEnded, SupervisionStarted

LONGEST_DUTY = timedelta(hours=24)


class RosterState(BaseModel):
    """Who is on duty until when, by person."""

    model_config = ConfigDict(frozen=True)

    until: dict[str, datetime] = {}

    def on_duty(self, supervisor_id: str, now: datetime) -> bool:
        """Tell whether somebody is on duty at ``now``."""
        until = self.until.get(supervisor_id)
        return until is not None and now < until


def evolve(state: RosterState, event: EventData) -> RosterState:
    """Return the state after ``event``."""
    match event:
        case SupervisionStarted(supervisor_id=person, until=until):
            return RosterState(until={**state.until, person: until})
        case SupervisionEnded(supervisor_id=person):
            return RosterState(until={other: until for other, until in state.until.items() if other != person})
        case _:
            return state


def decide(state: RosterState, command: StartSupervision | EndSupervision, by: Actor, now: datetime) -> list[EventData]:
    """Return what going on or off duty means; the role and registration are checked by the caller.

    Raises:
        SupervisionEndInvalid: an end in the past, or more than a day ahead.
        NotOnDuty: going off duty without being on duty.
        NotAllowed: a trainee going on duty.
    """
    if isinstance(command, EndSupervision):
        if not state.on_duty(by.person_id, now):
            raise NotOnDuty("You are not on duty as a supervisor here.")
        return [SupervisionEnded(supervisor_id=by.person_id)]
    check_trained(by)
    if not now < command.until <= now + LONGEST_DUTY:
        raise SupervisionEndInvalid(
            f"'until' is {command.until.isoformat()}; give a moment after now ({now.isoformat()}) and within a day."
        )
    if by.big_number is None:
        raise BigNumberInvalid("Supervising asks for a BIG number of eleven digits; the token has none.")
    return [SupervisionStarted(supervisor_id=by.person_id, big_number=by.big_number, until=command.until)]
