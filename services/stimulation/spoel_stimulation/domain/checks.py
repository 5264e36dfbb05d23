"""The checks of the day: the room's opening check, the patient's answers, and the presence of a person. Pure."""

from collections.abc import Collection
from datetime import date, datetime

from spoel_common.events import EventData
from spoel_common.people import Actor, Registration, Role, check_act, check_role
from spoel_stimulation.commands import AnswerDailyCheck, CheckRoom, ConfirmPresence, DecideDailyCheck
from spoel_stimulation.domain.conduct import closing, ids_of, pausing
from spoel_stimulation.domain.facts import Facts, local_day
from spoel_stimulation.domain.lists import Answer, daily_check, opening_check
from spoel_stimulation.domain.people import supervises
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.refusals import (
    DailyCheckAnsweredAlready,
    DailyCheckMissing,
    DailyCheckUndecided,
    ListMismatch,
    NoSessionToday,
    NothingToDecide,
    OpeningCheckMissing,
    SupervisionMissing,
)
from spoel_stimulation.domain.room import RoomState
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trainees import check_trained, is_trainee
from spoel_stimulation.events.checks import DailyCheckAnswered, DailyCheckDecided, PresenceConfirmed
from spoel_stimulation.events.rooms import RoomChecked
from spoel_stimulation.events.words import AlarmClass, DailyOutcome, Decider

STRICTEST_FIRST: tuple[DailyOutcome, ...] = ("no-session-today", "ask-supervisor", "go")


# --- the room's opening check


def check_room(room_id: str, command: CheckRoom, today: date) -> list[EventData]:
    """Record the opening check of a room; what is not in order is recorded too, and refuses sessions.

    Raises:
        ListMismatch: an item is missing, or is not on the list.
    """
    listed = opening_check()
    _check_items("items", command.items, {item.id for item in listed.items})
    return [RoomChecked(room_id=room_id, day=today, list_version=listed.version, items=command.items)]


def check_opening(room: RoomState, today: date) -> None:
    """Refuse a room that was not checked today, or in which something is not in order (ST-02).

    Raises:
        OpeningCheckMissing: says what is missing.
    """
    checked = room.checked
    if checked is None or checked.day != today:
        raise OpeningCheckMissing(
            "The opening check of this room was not done today. Do it before the first session.",
            missing=[item.id for item in opening_check().items],
        )
    failed = sorted(item for item, in_order in checked.items.items() if not in_order)
    if failed:
        raise OpeningCheckMissing(
            f"Not in order at today's opening check: {', '.join(failed)}. Mend it, and do the check again.",
            missing=failed,
        )


def _check_items(field: str, given: Collection[str], wanted: set[str]) -> None:
    missing, unknown = sorted(wanted - set(given)), sorted(set(given) - wanted)
    if missing or unknown:
        raise ListMismatch(
            f"{field}: missing: {', '.join(missing) or 'nothing'}; not on the list: {len(unknown)}. "
            "Answer every item of the list, and no other.",
            missing=missing,
        )


# --- the patient's answers of the day


def answer_daily_check(
    state: SessionState, command: AnswerDailyCheck, today: date
) -> tuple[list[EventData], dict[str, AlarmClass]]:
    """Record the answers; ``no-session-today`` closes the session as not started.

    Returns:
        The session's events, and the alarms to raise: question → class.

    Raises:
        ListMismatch: a question is not answered, or an answer is not on the list.
        DailyCheckAnsweredAlready: as it says.
    """
    state.require(Act.CHECK_PATIENT)
    if state.checked is not None:
        raise DailyCheckAnsweredAlready(
            "The questions were answered in this session. Was an answer wrong? Have the supervisor decide on it."
        )
    found = _answers(command)
    outcome = next(each for each in STRICTEST_FIRST if each in {answer.outcome for answer in found.values()})
    answered = DailyCheckAnswered(
        **ids_of(state),
        day=today,
        list_version=daily_check().version,
        answers=command.answers,
        outcome=outcome,
        undecided={name: answer.decider for name, answer in found.items() if answer.outcome == "ask-supervisor"},
    )
    alarms = {name: answer.alarm for name, answer in found.items() if answer.alarm is not None}
    closed = closing(state, "daily-check") if outcome == "no-session-today" else []
    return [answered, *closed], alarms


def _answers(command: AnswerDailyCheck) -> dict[str, Answer]:
    questions = daily_check().by_id
    _check_items("answers", command.answers, set(questions))
    found = {name: questions[name].answer(answer) for name, answer in command.answers.items()}
    unknown = sorted(name for name, answer in found.items() if answer is None)
    if unknown:
        raise ListMismatch(
            f"answers: no such answer to {', '.join(unknown)}. Choose one of the list's.", missing=unknown
        )
    return {name: answer for name, answer in found.items() if answer is not None}


def decide_daily_check(state: SessionState, command: DecideDailyCheck, by: Actor, facts: Facts) -> list[EventData]:
    """Record what the supervisor, or a physician, decides on one answer.

    Raises:
        NothingToDecide: no decision is asked about this question.
        SpoelError: this person may not decide on it.
    """
    state.require(Act.DECIDE_CHECK)
    asked = {} if state.checked is None else state.checked.undecided
    decider = asked.get(command.question)
    if decider is None:
        raise NothingToDecide(
            f"No decision is asked about this question; about these it is: {', '.join(sorted(asked)) or 'none'}.",
            undecided=sorted(asked),
        )
    decided = DailyCheckDecided(
        **ids_of(state),
        question=command.question,
        decision=command.decision,
        decided_as=_decider(state, decider, by, facts),
    )
    return [decided, *(closing(state, "daily-check") if command.decision == "no-session-today" else [])]


def _decider(state: SessionState, wanted: Decider, by: Actor, facts: Facts) -> Decider:
    """Return as whom ``by`` decides; a physician may decide on everything.

    Raises:
        SpoelError: no physician where that is asked, and otherwise no supervisor of this session or on duty.
    """
    registration = facts.registrations.get(by.person_id)
    if wanted == "physician" or Role.PHYSICIAN in by.roles:
        check_act("decide-medical-answer", by, registration, facts.today)
        return "physician"
    check_act("supervise", by, registration, facts.today)
    check_trained(by)
    if by.person_id != state.session.supervisor_id and not supervises(facts, by.person_id):
        raise SupervisionMissing(
            "This is decided by the supervisor of the session, or one who is on duty. Go on duty, or ask them."
        )
    return "supervisor"


def check_patient(state: SessionState, today: date) -> None:
    """Refuse a patient who was not asked today's questions, or of whom an answer is undecided (HZ-15).

    Raises:
        DailyCheckMissing, DailyCheckUndecided, NoSessionToday: as they say.
    """
    checked = state.checked
    if checked is None:
        raise DailyCheckMissing(
            "The patient was not asked the questions of the day. Ask them after confirming the identity.",
            missing=[question.id for question in daily_check().questions],
        )
    if checked.day != today:
        raise DailyCheckMissing(
            f"The patient answered the questions of {checked.day}; today is {today}. Stop this session, and book one "
            "for today.",
            missing=[question.id for question in daily_check().questions],
        )
    if checked.outcome == "no-session-today":
        raise NoSessionToday("An answer of today rules out a session today. Book another day.")
    if checked.undecided:
        said = ", ".join(f"{question} ({who})" for question, who in sorted(checked.undecided.items()))
        raise DailyCheckUndecided(
            f"These answers wait for a decision: {said}. Ask them to decide.", missing=sorted(checked.undecided)
        )


# --- presence


def confirm_presence(
    state: SessionState, command: ConfirmPresence, by: Actor, registration: Registration | None, now: datetime
) -> list[EventData]:
    """Record that a trained person is in the room; a patient who is not awake is not stimulated (ST-11).

    That the patient is not awake is taken from a trainee too; that somebody trained is there is not.

    Raises:
        NotAllowed: no role that may watch a patient, or a trainee.
        BigNumberInvalid, RegistrationNotVerified, ProfessionNotAllowed: no professional in a trainee's session (ST-01).
    """
    state.require(Act.CONFIRM_PRESENCE)
    confirmed = PresenceConfirmed(**ids_of(state), awake=command.awake)
    if not command.awake:
        check_role("report-not-awake", by)
        return [confirmed, *pausing(state, "patient-not-awake", now)]
    check_trained(by)
    act = "accompany-trainee" if is_trainee(state.operator) else "watch-patient"
    check_act(act, by, registration, local_day(now))
    return [confirmed]
