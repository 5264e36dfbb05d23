"""What can be asked of stimulation: by people over HTTP, and by the room itself."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from spoel_common.events import Command, UtcTime
from spoel_stimulation.events import (
    ChangeReason,
    DeviceSettings,
    Evidence,
    InterlockReason,
    Parameter,
    PauseReason,
    Realised,
    ResetReason,
    Response,
    StopReason,
    TrainOutcome,
    UnknownReason,
)
from spoel_stimulation.orders import Site

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
PersonName = Annotated[str, Field(min_length=1, max_length=100)]


# --- asked by people


class OpenSession(Command):
    """Take a booked session into this room.

    Attributes:
        supervisor_id: for a technician or trainee, the supervisor on duty under whom the session is run.
    """

    session_id: Id
    supervisor_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class ConfirmIdentity(Command):
    """Compare what the patient said with the identity strip, and what will be done with the order (ST-10).

    Attributes:
        side_or_site: ``left`` or ``right``, or the site's full name: chosen by the operator, never filled in.
        protocol_id: the protocol of a treatment; None for a measurement.
    """

    given_name: PersonName
    family_name: PersonName
    birth_date: date
    side_or_site: Literal["left", "right"] | Site
    protocol_id: Annotated[str, Field(max_length=100)] | None = None


class Arm(Command):
    """Write and read back every setting, then enable the device.

    Attributes:
        ear_protection: everyone in the room, patient and operator, wears ear protection.
        blind_code: in a blinded trial the patient's code, as the operator entered it at the stimulator.
    """

    ear_protection: Annotated[bool, Field(strict=True)] = False
    blind_code: Annotated[str, Field(max_length=40)] | None = None


class Start(Command):
    """Start the session."""


class Pause(Command):
    """No next train; the running one ends."""

    reason: PauseReason


class Resume(Command):
    """Go on after a pause, with coil and ears checked.

    Attributes:
        ear_protection: everyone in the room, patient and operator, wears ear protection.
    """

    ear_protection: Annotated[bool, Field(strict=True)] = False


class PlaceCoil(Command):
    """Say where the coil was placed for the next block.

    Attributes:
        side_or_site: ``left`` or ``right``, or the site's full name: chosen by the operator, never filled in.
        ear_protection: everyone in the room, patient and operator, wears ear protection.
    """

    side_or_site: Literal["left", "right"] | Site
    ear_protection: Annotated[bool, Field(strict=True)] = False


class Stop(Command):
    """Disarm at once and close the session."""

    reason: StopReason


class ChangeParameter(Command):
    """Change a parameter within the signed band, from the next train on."""

    parameter: Parameter
    value: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False, strict=True)]
    reason: ChangeReason


class Stimulate(Command):
    """Deliver one stimulus of a measurement."""

    percent_mso: Annotated[int, Field(ge=1, le=100, strict=True)]


class AnswerStimulus(Command):
    """Say what was seen after a stimulus: a twitch, none, or that it must be repeated."""

    response: Response


class ResetRoom(Command):
    """Release a latched room after looking at it."""

    reason: ResetReason


class StartSupervision(Command):
    """Go on duty as a supervisor until a moment."""

    until: UtcTime


class EndSupervision(Command):
    """Go off duty."""


class WriteNote(Command):
    """Write a remark about a session; it is sealed to the patient before it is stored."""

    model_config = ConfigDict(hide_input_in_errors=True)

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)] = Field(repr=False)


# --- asked by the room itself


class RecordArmed(Command):
    """The device took every setting and is enabled."""

    settings: DeviceSettings
    coil_model: str
    percent_mso: int


class AuthoriseTrain(Command):
    """Let the next train of a treatment leave the host.

    Attributes:
        percent_mso: what the device is set to, read back.
    """

    train_id: str
    percent_mso: int


class RecordTrain(Command):
    """Record how the open train ended."""

    outcome: TrainOutcome
    pulses: int
    device_total_pulses_after: int | None
    evidence: Evidence
    first_onset_at: UtcTime | None = None
    ended_at: UtcTime
    realised: Realised | None = None


class RecordTrainUnknown(Command):
    """Record that nobody can say how the open train ended."""

    reason: UnknownReason


class Interrupt(Command):
    """An interlock stopped the session and disarmed the device; a person may arm and resume."""

    reason: InterlockReason


class Close(Command):
    """An interlock ended the session for good, or its last train was delivered."""

    reason: InterlockReason | Literal["last-train-ended"]
