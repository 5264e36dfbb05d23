"""What became of a stop, and what a person has to do then. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from spoel_stimulation.devices.guarding import Reading

Outcome = Literal["sent", "confirmed", "not-confirmed"]

QUIET_S = 0.5
"""How long there must be no pulse after the device read back as disabled (INV-8)."""

READ_BACK_S = 1.0
"""How long a person waits for the read-back before being told that it did not come."""

ANSWER_S = 2.0
"""The longest that a person waits for an outcome."""

INSTRUCTIONS: dict[Outcome, dict[str, str]] = {
    "confirmed": {
        "nl": "Gestopt: het apparaat is uitgeschakeld en geeft geen pulsen. Zorg voor de patiënt.",
        "en": "Stopped: the device is disabled and gives no pulses. Look after the patient.",
    },
    "sent": {
        "nl": "Stop verstuurd, niet bevestigd. Til de spoel op en druk op de stopknop van het apparaat.",
        "en": "Stop sent, not confirmed. Lift the coil and press the device's own stop.",
    },
    "not-confirmed": {
        "nl": "NIET GESTOPT volgens het apparaat. Til de spoel op en druk op de stopknop van het apparaat.",
        "en": "NOT STOPPED as far as the device says. Lift the coil and press the device's own stop.",
    },
}


def is_grave(reason: str, *, armed: bool) -> bool:
    """Tell whether a stop latches its room, in which nothing goes on before it is recorded.

    Args:
        reason: as ``Stop`` has it.
        armed: the device was armed, as far as anybody knew, when it was stopped.
    """
    return reason in {"emergency", "enabled-again"} or (armed and reason in {"silence", "room-gone"})


@dataclass
class Stop:
    """One stop, from the moment at which it was asked for. All moments are wall seconds of the monotonic clock.

    It is confirmed by a frame that says *disabled*, ``QUIET_S`` or longer after the first such frame, where neither a
    pulse nor a frame that says *enabled* came between: so the link was alive through the quiet too.

    Attributes:
        number: in the guard's file.
        reason: ``emergency``, ``silence``, ``room-gone``, ``port-opened``, ``enabled-again`` or ``ending``.
        began_s: when it was asked for.
        began_utc_ns: the same, by clock time.
        armed: the device was armed when it was asked for, or nobody knew that it was not.
        by: the address of whoever asked, or ``room``.
        request: the room process's own name for it, where that asked.
        can_be_asked: there are frames to ask this maker's device whether it is armed.
        sent: the disarm has left.
        confirmed: the device reads back as disabled and was quiet.
        pulses_after: pulses after the first read-back, by the device's frames.
        heard: the device has said whether it is armed since the disarm left.
        outcome: as a person was, or is, told; a later confirmation does not change it.
    """

    number: int
    reason: str
    began_s: float
    began_utc_ns: int
    armed: bool = True
    by: str = ""
    request: str = ""
    can_be_asked: bool = True
    sent: bool = False
    heard: bool = False
    confirmed: bool = False
    pulses_after: int = 0
    outcome: Outcome | None = None
    _disabled_since_s: float | None = field(default=None, init=False)

    @property
    def grave(self) -> bool:
        """It latches its room."""
        return is_grave(self.reason, armed=self.armed)

    @property
    def lasting(self) -> bool:
        """Nobody may arm the device again at its panel either, until a person has reset the room."""
        return self.reason not in {"port-opened", "ending"}

    @property
    def read_back(self) -> bool:
        """The device has read back as disabled, and has not said otherwise since."""
        return self._disabled_since_s is not None

    def hear(self, reading: Reading, now_s: float) -> None:
        """Take what a frame of the device says; frames of before the disarm was sent say nothing about it."""
        if not self.sent or self.confirmed:
            return
        if reading.pulses and self.read_back:
            self.pulses_after += reading.pulses
            self._disabled_since_s = None
        self.heard = self.heard or reading.enabled is not None
        if reading.enabled is True:
            self._disabled_since_s = None
        elif reading.enabled is False:
            if self._disabled_since_s is None:
                self._disabled_since_s = now_s
            self.confirmed = now_s - self._disabled_since_s >= QUIET_S

    def hear_nothing(self) -> None:
        """Take note that the device cannot be heard: what it did meanwhile is not known, and the quiet begins anew."""
        self._disabled_since_s = None

    def decide(self, now_s: float) -> Outcome | None:
        """Return the outcome, and keep it from then on; None while it is still to be seen."""
        if self.outcome is None:
            self.outcome = self._decided(now_s)
        return self.outcome

    def _decided(self, now_s: float) -> Outcome | None:
        waited_s = now_s - self.began_s
        if self.confirmed:
            return "confirmed"
        if self.pulses_after:
            return "not-confirmed"
        if waited_s >= ANSWER_S or (waited_s >= READ_BACK_S and not self.read_back):
            mute = not self.can_be_asked and not self.heard
            return "sent" if self.sent and mute else "not-confirmed"
        return None
