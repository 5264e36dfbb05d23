"""Units of work of the checks of the day: the room's opening check, the patient's answers, presence."""

from datetime import date

from pydantic import BaseModel, ConfigDict

from spoel_common.ids import new_id
from spoel_common.people import check_role
from spoel_common.work import Aggregate, Work
from spoel_stimulation import commands as asked
from spoel_stimulation import projections
from spoel_stimulation.aggregates import ROOM, append, load_opened
from spoel_stimulation.answers import SessionAnswer, describe
from spoel_stimulation.domain import adverse, checks
from spoel_stimulation.domain.facts import local_day
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.start import check_operator
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events import ALERT_EVENTS
from spoel_stimulation.events.words import AlarmClass, DailyOutcome, Decider
from spoel_stimulation.gathering import gather
from spoel_stimulation.surroundings import Look

ALERT = Aggregate("alert", lambda: False, lambda _state, _event: True, ALERT_EVENTS)


class RoomCheckAnswer(BaseModel):
    """A room's opening check, as it was recorded."""

    model_config = ConfigDict(frozen=True)

    room_id: str
    day: date
    in_order: bool
    failed: list[str]


class DailyCheckAnswer(SessionAnswer):
    """A session after the patient's answers of the day, or a decision on one.

    Attributes:
        outcome: of all answers; ``no-session-today`` closed the session.
        undecided: question → whose decision is still asked.
    """

    outcome: DailyOutcome
    undecided: dict[str, Decider]


async def check_room(work: Work, room_id: str, command: asked.CheckRoom) -> RoomCheckAnswer:
    """Record the opening check of a room."""
    check_role("check-room", work.actor)
    today = local_day(work.now)
    loaded = await work.load(ROOM, room_id)
    await work.append(ROOM, room_id, loaded, checks.check_room(room_id, command, today), room=room_id)
    failed = sorted(item for item, in_order in command.items.items() if not in_order)
    return RoomCheckAnswer(room_id=room_id, day=today, in_order=not failed, failed=failed)


async def answer_daily_check(
    work: Work, session_id: str, command: asked.AnswerDailyCheck, look: Look
) -> DailyCheckAnswer:
    """Record the patient's answers of the day, and raise the alarms that they ask for."""
    around = look()
    loaded = await load_opened(work, session_id)
    loaded.state.require(Act.CHECK_PATIENT)
    facts = await gather(work, around, session_id, loaded.state)
    check_operator(loaded.state, work.actor, facts)
    events, alarms = checks.answer_daily_check(loaded.state, command, facts.today)
    after = await append(work, around, session_id, loaded, events)
    for question, alarm_class in alarms.items():
        await raise_alert(work, after.state, alarm_class, question)
    return _answer(after.state, describe(after.state, around.limits))


async def decide_daily_check(
    work: Work, session_id: str, command: asked.DecideDailyCheck, look: Look
) -> DailyCheckAnswer:
    """Record a decision on one of the patient's answers."""
    around = look()
    loaded = await load_opened(work, session_id)
    facts = await gather(work, around, session_id, loaded.state)
    events = checks.decide_daily_check(loaded.state, command, work.actor, facts)
    after = await append(work, around, session_id, loaded, events)
    return _answer(after.state, describe(after.state, around.limits))


def _answer(state: SessionState, session: SessionAnswer) -> DailyCheckAnswer:
    checked = state.checked
    assert checked is not None  # noqa: S101 - it was just answered, or decided on
    return DailyCheckAnswer(**session.model_dump(), outcome=checked.outcome, undecided=checked.undecided)


async def confirm_presence(work: Work, session_id: str, command: asked.ConfirmPresence, look: Look) -> SessionAnswer:
    """Record that a trained person is there; where the patient is not awake the caller has disarmed the device."""
    around = look()
    loaded = await load_opened(work, session_id)
    registrations = await projections.registrations_of(work.conn, {work.actor.person_id})
    registration = registrations.get(work.actor.person_id)
    events = checks.confirm_presence(loaded.state, command, work.actor, registration, work.now)
    after = await append(work, around, session_id, loaded, events)
    return describe(after.state, around.limits)


async def raise_alert(work: Work, state: SessionState, alarm_class: AlarmClass, kind: str) -> None:
    """Record an alarm about a session's patient."""
    event = adverse.alert(state, new_id(), alarm_class, kind)
    loaded = await work.load(ALERT, event.alert_id)
    await work.append(ALERT, event.alert_id, loaded, [event], room=event.room_id)
