"""Refusals of the opening check, the daily check and presence."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


class ListMismatch(RoomRefusal):
    """An answer to a list of checks lacks an item, or has one that the list does not have."""

    slug = "list-mismatch"
    status = 422
    title = "Not the items of the list"


class OpeningCheckMissing(RoomRefusal):
    """The room was not checked today, or something is not in order (ST-02)."""

    slug = "opening-check-missing"
    title = "The room's opening check is missing or failed"


class DailyCheckMissing(RoomRefusal):
    """The patient was not asked the questions of the day."""

    slug = "daily-check-missing"
    title = "The patient's daily check is missing"


class DailyCheckUndecided(RoomRefusal):
    """An answer waits for the decision of the supervisor or a physician (HZ-15, HZ-20)."""

    slug = "daily-check-undecided"
    title = "An answer waits for a decision"


class DailyCheckAnsweredAlready(RoomRefusal):
    """The questions of the day are answered once a session; a mistake is for the supervisor to decide on."""

    slug = "daily-check-answered"
    title = "Answered already"


class NothingToDecide(RoomRefusal):
    """No decision is asked about this question."""

    slug = "nothing-to-decide"
    title = "No decision is asked about this"


class NoSessionToday(RoomRefusal):
    """An answer of today rules out every session of this patient today."""

    slug = "no-session-today"
    title = "No session for this patient today"
    interlock = "no-session-today"


class PresenceMissing(RoomRefusal):
    """Nobody showed lately that a trained person is in the room and the patient is awake (ST-11)."""

    slug = "presence-missing"
    title = "Presence was not confirmed"
    interlock = "presence-missed"
