"""Where a session stands, and the table of what may follow what."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Phase(StrEnum):
    """Where a session stands."""

    NONE = "none"
    OPENED = "opened"
    IDENTIFIED = "identified"
    ARMED = "armed"
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_COIL = "awaiting-coil"
    INTERRUPTED = "interrupted"
    CLOSED = "closed"


class Act(StrEnum):
    """What can happen to a session; the last six are the room's own."""

    OPEN = "open"
    CONFIRM_IDENTITY = "confirm-identity"
    CHECK_PATIENT = "daily-check"
    DECIDE_CHECK = "daily-check/decision"
    CONFIRM_PRESENCE = "presence"
    ARM = "arm"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PLACE_COIL = "place-coil"
    STOP = "stop"
    CHANGE_PARAMETER = "change-parameter"
    STIMULATE = "stimulate"
    ANSWER = "answer"
    SEARCH = "search"
    AUTHORISE_TRAIN = "authorise-train"
    RECORD_TRAIN = "record-train"
    RECORD_COUPLING = "record-coupling"
    AWAIT_COIL = "await-coil"
    INTERRUPT = "interrupt"
    CLOSE = "close"


_ALWAYS_WHILE_OPEN: dict[Act, Phase] = {Act.STOP: Phase.CLOSED, Act.CLOSE: Phase.CLOSED}

TRANSITIONS: Mapping[Phase, Mapping[Act, Phase]] = MappingProxyType(
    {
        Phase.NONE: {Act.OPEN: Phase.OPENED},
        Phase.OPENED: {Act.CONFIRM_IDENTITY: Phase.IDENTIFIED, **_ALWAYS_WHILE_OPEN},
        Phase.IDENTIFIED: {
            Act.CHECK_PATIENT: Phase.IDENTIFIED,
            Act.DECIDE_CHECK: Phase.IDENTIFIED,
            Act.CONFIRM_PRESENCE: Phase.IDENTIFIED,
            Act.ARM: Phase.ARMED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.ARMED: {
            Act.CONFIRM_PRESENCE: Phase.ARMED,
            Act.START: Phase.RUNNING,
            Act.INTERRUPT: Phase.IDENTIFIED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.RUNNING: {
            Act.CONFIRM_PRESENCE: Phase.RUNNING,
            Act.PAUSE: Phase.PAUSED,
            Act.CHANGE_PARAMETER: Phase.RUNNING,
            Act.STIMULATE: Phase.RUNNING,
            Act.ANSWER: Phase.RUNNING,
            Act.SEARCH: Phase.RUNNING,
            Act.RECORD_COUPLING: Phase.RUNNING,
            Act.AUTHORISE_TRAIN: Phase.RUNNING,
            Act.RECORD_TRAIN: Phase.RUNNING,
            Act.AWAIT_COIL: Phase.AWAITING_COIL,
            Act.INTERRUPT: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.PAUSED: {
            Act.CONFIRM_PRESENCE: Phase.PAUSED,
            Act.RESUME: Phase.RUNNING,
            Act.CHANGE_PARAMETER: Phase.PAUSED,
            Act.ANSWER: Phase.PAUSED,
            Act.RECORD_TRAIN: Phase.PAUSED,
            Act.INTERRUPT: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.AWAITING_COIL: {
            Act.CONFIRM_PRESENCE: Phase.AWAITING_COIL,
            Act.PLACE_COIL: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.INTERRUPTED: {
            Act.CONFIRM_PRESENCE: Phase.INTERRUPTED,
            Act.ARM: Phase.PAUSED,
            Act.ANSWER: Phase.INTERRUPTED,
            Act.RECORD_TRAIN: Phase.INTERRUPTED,
            **_ALWAYS_WHILE_OPEN,
        },
        Phase.CLOSED: {},
    }
)
"""Phase → act → phase afterwards; what is not here is refused.

An interrupted session was disarmed by an interlock: it is armed anew, is then paused, and a person resumes it. A
session that was interrupted before its start is armed and started as any other. Between two blocks the device is
disarmed and the session waits for its coil; once a person has said where it was placed, it goes on as after an
interruption (HZ-03).
"""

PEOPLES_ACTS = frozenset(Act) - {
    Act.AUTHORISE_TRAIN,
    Act.RECORD_TRAIN,
    Act.RECORD_COUPLING,
    Act.AWAIT_COIL,
    Act.INTERRUPT,
    Act.CLOSE,
}
"""Acts that a person may ask for."""
