"""Events of a session from opening to close, without its trains, and of its booking's lease.

Aggregate ``session``; ``lease-released`` is of the aggregate ``lease``.
"""

from typing import ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from spoel_common.events import UtcTime
from spoel_stimulation.events.base import Known, SessionEvent
from spoel_stimulation.events.words import Code, GrantRevocationReason, PatientState, SessionKind, SessionOutcome
from spoel_stimulation.orders import MeasurementOrder, Part, Site, TreatmentOrder


class DeviceSettings(Part):
    """What a device was told and what it answered: two things (INV-2).

    Attributes:
        set: setting → value that was written.
        read_back: setting → value that the device gave afterwards.
    """

    set: dict[str, JsonValue]
    read_back: dict[str, JsonValue]


class SessionOpened(SessionEvent):
    """A person took a booked session into its room; the signed order is frozen into it.

    Attributes:
        operator_id: who runs the session; with role, BIG number, supervisor and end the session's grant.
        grant_until: clock time at which the grant ends; None in events from before it was kept.
        offline: opened on knowledge older than an online start allows (``known`` says how old).
        consent_asked_again: the patient was asked for consent again, the room being cut off.
    """

    event_name: ClassVar[str] = "session-opened"
    event_version: ClassVar[int] = 2

    kind: SessionKind
    operator_id: str
    operator_role: str
    operator_big_number: str | None = None
    supervisor_id: str | None = None
    treatment_order: TreatmentOrder | None = None
    measurement_order: MeasurementOrder | None = None
    prescription_id: str | None = None
    prescription_version: int | None = None
    measurement_order_id: str | None = None
    known: tuple[Known, ...]
    grant_until: UtcTime | None = None
    offline: bool = False
    consent_asked_again: bool = False

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        orders = {"treatment": self.treatment_order, "measurement": self.measurement_order}
        given = [kind for kind, order in orders.items() if order is not None]
        if given != [self.kind]:
            raise ValueError(f"a {self.kind} session carries exactly its {self.kind} order")
        return self


class IdentityConfirmed(SessionEvent):
    """The operator asked name and birth date, and both agreed with the room's identity strip (ST-10)."""

    event_name: ClassVar[str] = "identity-confirmed"


class SessionArmed(SessionEvent):
    """Every setting was written and read back, and the device is enabled.

    Attributes:
        settings: empty in a blinded session.
        percent_mso: None in a blinded session.
        sealed_output: in a blinded session what could tell the condition, sealed to the patient (ST-09).
    """

    event_name: ClassVar[str] = "session-armed"
    event_version: ClassVar[int] = 2

    ear_protection: Literal[True]
    settings: DeviceSettings
    coil_model: str
    percent_mso: int | None
    sealed_output: str | None = None
    consent_asked_again: bool = False


class SessionStarted(SessionEvent):
    """The operator started the session.

    Attributes:
        offline: on knowledge older than an online start allows.
        consent_asked_again: the patient was asked for consent again, the room being cut off.
    """

    event_name: ClassVar[str] = "session-started"

    offline: bool = False
    consent_asked_again: bool = False


class SessionPaused(SessionEvent):
    """No next train, until a person resumes.

    Attributes:
        reason: one of ``PauseReason`` or ``InterlockReason``.
        paused_at: clock time; None in old events.
    """

    event_name: ClassVar[str] = "session-paused"
    event_version: ClassVar[int] = 2

    by: Literal["operator", "interlock"]
    reason: Code
    paused_at: UtcTime | None = None


class SessionResumed(SessionEvent):
    """The operator checked coil and ears and resumed.

    Attributes:
        site_confirmed: side or site was chosen again, as after a long pause, and is the order's.
    """

    event_name: ClassVar[str] = "session-resumed"

    ear_protection: Literal[True]
    site_confirmed: bool = False
    consent_asked_again: bool = False


class SessionGrantRevoked(SessionEvent):
    """A supervisor ended the grant under which a session was run: it is interrupted, and its operator runs it no more.

    Attributes:
        operator_id: whose grant it was.
    """

    event_name: ClassVar[str] = "session-grant-revoked"

    operator_id: str
    reason: GrantRevocationReason


class CoilAwaited(SessionEvent):
    """A block ended and the next is at another site: disarmed, until the coil is placed there (HZ-03).

    Attributes:
        block: the block that is waited for, from 0.
        site: where it is.
    """

    event_name: ClassVar[str] = "coil-awaited"

    block: int = Field(ge=1)
    site: Site


class CoilPlaced(SessionEvent):
    """The operator chose the side, or site, at which the coil was placed, and it is the block's.

    Attributes:
        placed_at: clock time; None in old events.
    """

    event_name: ClassVar[str] = "coil-placed"

    block: int = Field(ge=1)
    site: Site
    ear_protection: Literal[True]
    placed_at: UtcTime | None = None


class SessionClosed(SessionEvent):
    """The session is over and stays so (ST-12).

    Attributes:
        reason: one of ``StopReason`` or ``InterlockReason``, ``last-train-ended`` or ``daily-check``.
        patient_state: how the patient was; None where it was not said (yet): see ``patient-state-recorded``.
    """

    event_name: ClassVar[str] = "session-closed"
    event_version: ClassVar[int] = 2

    outcome: SessionOutcome
    reason: Code
    pulses_planned: int
    pulses_delivered: int
    trains_delivered: int
    pulses_unknown: int
    patient_state: PatientState | None = None


class LeaseReleased(SessionEvent):
    """A room learned that its booking was cancelled, and will never open it: another room may take the patient."""

    event_name: ClassVar[str] = "lease-released"
