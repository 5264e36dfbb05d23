"""What a decision is given from outside: who asks, what the register says of them, and when."""

from dataclasses import dataclass
from datetime import date, datetime

from spoel_common.people import Actor, Registration, check_act


@dataclass(frozen=True)
class Given:
    """The circumstances of one command.

    Attributes:
        by: who asks.
        registration: the staff register's current record of this person, if there is one.
        now: the clock's moment, UTC.
        today: the clinic's local day.
        sealed_text: the command's free text, sealed to the patient; None where it has none.
    """

    by: Actor
    registration: Registration | None
    now: datetime
    today: date
    sealed_text: str | None = None

    def may(self, act: str) -> None:
        """Refuse an actor who may not do ``act``; raises as ``check_act`` does."""
        check_act(act, self.by, self.registration, self.today)
