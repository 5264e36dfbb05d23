"""Events of a room: its device, its latch, its opening check, and what went wrong in it. Aggregate ``room``."""

from datetime import date
from typing import ClassVar

from pydantic import Field

from spoel_common.events import UtcTime
from spoel_stimulation.events.base import StimulationEvent
from spoel_stimulation.events.words import Code, LatchReason, ResetReason, StopOutcome


class RoomOpened(StimulationEvent):
    """A device answered in a room, and it, or the room's key, differs from what was recorded."""

    event_name: ClassVar[str] = "room-opened"

    room_id: str
    stimulator_model: str
    stimulator_serial: str
    coil_model: str
    simulated: bool
    strip_public_key: str


class RoomLatched(StimulationEvent):
    """The room is safe and stays so until a person resets it (INV-7)."""

    event_name: ClassVar[str] = "room-latched"

    room_id: str
    reason: LatchReason
    detail: str
    session_id: str | None = None


class RoomReset(StimulationEvent):
    """A person looked and released the room."""

    event_name: ClassVar[str] = "room-reset"

    room_id: str
    reason: ResetReason


class RoomChecked(StimulationEvent):
    """The opening check of a room was done; it holds for one local day (ST-02).

    Attributes:
        items: item of the list → whether it is in order.
    """

    event_name: ClassVar[str] = "room-checked"

    room_id: str
    day: date
    list_version: str
    items: dict[str, bool]


class DeviceFault(StimulationEvent):
    """A device or its link did something that it should not.

    Attributes:
        sealed_detail: in a blinded session what the device said, which could tell the condition, sealed to the patient
            (ST-09); ``detail`` says only so.
    """

    event_name: ClassVar[str] = "device-fault"

    room_id: str
    session_id: str | None = None
    kind: str
    detail: str
    sealed_detail: str | None = None


class UnauthorisedPulseObserved(StimulationEvent):
    """The device gave pulses that no train of this room accounts for, such as from its front panel.

    Attributes:
        patient_id: of the session that was open; the pulses count in the patient's day (HZ-14). None where none was
            open, and in events from before it was kept.
        pulses: by its counter, or at least as many as were heard of.
        device_total_pulses: its counter afterwards; None on a device without one.
    """

    event_name: ClassVar[str] = "unauthorised-pulse-observed"
    event_version: ClassVar[int] = 2

    room_id: str
    session_id: str | None = None
    patient_id: str | None = None
    pulses: int = Field(ge=1)
    device_total_pulses: int | None = Field(ge=0)


class EmergencyStopped(StimulationEvent):
    """The emergency stop was pressed; ``person`` is ``unverified`` when nobody had signed in (INV-8).

    Attributes:
        stopped_at: clock time of the stop, which may be long before it could be recorded.
        source: network address from which the guard was asked; ``room`` where the room's own process asked it.
    """

    event_name: ClassVar[str] = "emergency-stopped"

    room_id: str
    session_id: str | None = None
    outcome: StopOutcome
    person: str
    stopped_at: UtcTime | None = None
    source: str | None = None


class GuardDisarmed(StimulationEvent):
    """A room's guard disarmed the device by itself though nobody was in danger: nothing is latched (INV-11).

    Attributes:
        reason: ``port-opened`` (its first word to every device), ``ending`` (its last), or ``silence`` and
            ``room-gone`` while the device was not armed.
        stopped_at: clock time, which may be long before it could be recorded.
        pulses_after: pulses that the device told of after it had read back as disabled.
    """

    event_name: ClassVar[str] = "guard-disarmed"

    room_id: str
    session_id: str | None = None
    reason: Code
    outcome: StopOutcome
    stopped_at: UtcTime
    pulses_after: int = Field(default=0, ge=0)
