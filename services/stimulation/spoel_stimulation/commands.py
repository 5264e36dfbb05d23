"""What can be asked of stimulation: by people over HTTP, and by the room itself."""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from spoel_common.events import Command, UtcTime
from spoel_stimulation.events.searches import CouplingResult
from spoel_stimulation.events.sessions import DeviceSettings
from spoel_stimulation.events.trains import Realised
from spoel_stimulation.events.words import (
    ChangeReason,
    CouplingReason,
    Evidence,
    GrantRevocationReason,
    InterlockReason,
    Parameter,
    PatientState,
    PauseReason,
    ReleaseReason,
    ResetReason,
    Response,
    Severity,
    SideEffect,
    StopReason,
    TrainOutcome,
    UnknownReason,
)
from spoel_stimulation.orders import LocationName, Site

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
PersonName = Annotated[str, Field(min_length=1, max_length=100)]


# --- asked by people


class OpenSession(Command):
    """Take a booked session into this room.

    Attributes:
        supervisor_id: for a technician or trainee, the supervisor on duty under whom the session is run.
        consent_asked_again: the patient was asked for consent again; needed where the room is cut off.
    """

    session_id: Id
    supervisor_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    consent_asked_again: Annotated[bool, Field(strict=True)] = False


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


class CheckRoom(Command):
    """Say that the opening check of a room was done: every item of the list, in order or not."""

    items: Annotated[dict[str, Annotated[bool, Field(strict=True)]], Field(max_length=50)]


class AnswerDailyCheck(Command):
    """Record what the patient answered to the questions of the day: question → code of the answer."""

    answers: Annotated[dict[str, Annotated[str, Field(max_length=40)]], Field(max_length=50)]


class DecideDailyCheck(Command):
    """Decide on one answer that waits for the supervisor or a physician."""

    question: Annotated[str, Field(max_length=40)]
    decision: Literal["go", "no-session-today"]


class ConfirmPresence(Command):
    """Show that a trained person is in the room and watches the patient.

    Attributes:
        awake: the patient is awake; ``false`` disarms and pauses.
    """

    awake: Annotated[bool, Field(strict=True)]


class Arm(Command):
    """Write and read back every setting, then enable the device.

    Attributes:
        ear_protection: everyone in the room, patient and operator, wears ear protection.
        blind_code: in a blinded trial the patient's code, as the operator entered it at the stimulator.
        consent_asked_again: the patient was asked for consent again; needed where the room is cut off.
    """

    ear_protection: Annotated[bool, Field(strict=True)] = False
    blind_code: Annotated[str, Field(max_length=40)] | None = None
    consent_asked_again: Annotated[bool, Field(strict=True)] = False


class Start(Command):
    """Start the session.

    Attributes:
        side_or_site: as in ``Resume``, where an interlock came between arming and starting.
        consent_asked_again: the patient was asked for consent again; needed where the room is cut off.
    """

    side_or_site: Literal["left", "right"] | Site | None = None
    consent_asked_again: Annotated[bool, Field(strict=True)] = False


class Pause(Command):
    """No next train; the running one ends."""

    reason: PauseReason


class Resume(Command):
    """Go on after a pause, with coil and ears checked.

    Attributes:
        ear_protection: everyone in the room, patient and operator, wears ear protection.
        side_or_site: ``left`` or ``right``, or the site's full name, chosen again; asked for after a long pause, or
            where the coil may have moved.
        consent_asked_again: the patient was asked for consent again; needed where the room is cut off.
    """

    ear_protection: Annotated[bool, Field(strict=True)] = False
    side_or_site: Literal["left", "right"] | Site | None = None
    consent_asked_again: Annotated[bool, Field(strict=True)] = False


class PlaceCoil(Command):
    """Say where the coil was placed for the next block.

    Attributes:
        side_or_site: ``left`` or ``right``, or the site's full name: chosen by the operator, never filled in.
        ear_protection: everyone in the room, patient and operator, wears ear protection.
    """

    side_or_site: Literal["left", "right"] | Site
    ear_protection: Annotated[bool, Field(strict=True)] = False


class Stop(Command):
    """Disarm at once and close the session.

    Attributes:
        patient_state: how the patient is; may be said afterwards.
    """

    reason: StopReason
    patient_state: PatientState | None = None


class RecordPatientState(Command):
    """Say how the patient was after a session that is closed."""

    patient_state: PatientState


class ReportSideEffect(Command):
    """Record a side effect as it happens, or afterwards."""

    effect: SideEffect
    severity: Severity


class ReleasePatient(Command):
    """Let a patient be treated again after a loss of consciousness: a physician's decision."""

    reason: ReleaseReason


class ChangeParameter(Command):
    """Change a parameter within the signed band, from the next train on.

    Attributes:
        value: percent of threshold, seconds, trains in all, millimetres from the target, or degrees from the angle.
    """

    parameter: Parameter
    value: Annotated[float, Field(ge=-360, le=10_000, allow_inf_nan=False, strict=True)]
    reason: ChangeReason

    @field_validator("value")
    @classmethod
    def _fits(cls, value: float, info: ValidationInfo) -> float:
        parameter = info.data.get("parameter")
        if value <= 0 and parameter not in {"coil_shift_mm", "coil_turn_deg"}:
            raise ValueError("must be greater than 0")
        if parameter == "trains" and value != round(value):
            raise ValueError("must be a whole number")
        return value


class Stimulate(Command):
    """Deliver one stimulus of a measurement."""

    percent_mso: Annotated[int, Field(ge=1, le=100, strict=True)]


class SearchLocation(Command):
    """Give the trains of a heart-brain search at one location, to which the coil was put.

    Attributes:
        location: by its name in the order.
        side_or_site: ``left`` or ``right``, or the site's full name: chosen by the operator, never filled in.
        ear_protection: everyone in the room, patient and operator, wears ear protection.
    """

    location: LocationName
    side_or_site: Literal["left", "right"] | Site
    percent_mso: Annotated[int, Field(ge=1, le=100, strict=True)]
    ear_protection: Annotated[bool, Field(strict=True)] = False


class AnswerStimulus(Command):
    """Say what was seen after a stimulus: a twitch, none, or that it must be repeated."""

    response: Response


class WithdrawConsent(Command):
    """The patient withdraws consent; nobody has to say why."""


class RevokeGrant(Command):
    """End the grant under which somebody runs a session."""

    reason: GrantRevocationReason


class ResetRoom(Command):
    """Release a latched room after looking at it."""

    reason: ResetReason


class ConfirmDevice(Command):
    """Say what a device that is set by hand shows; no wire tells it.

    Attributes:
        second_percent_mso: of the second pulse of a pair, where it has an intensity of its own.
        stimuli_per_trigger: pulses, or bursts, that one trigger starts; more than one is refused.
        pulse_counter: by the device's own counter; before and after a train, or its outcome is unknown.
    """

    percent_mso: int = Field(ge=0, le=100)
    second_percent_mso: int | None = Field(default=None, ge=0, le=100)
    waveform: Literal["biphasic", "monophasic", "halfsine"]
    current_direction: Literal["normal", "reverse"] = "normal"
    pulses_per_burst: int = Field(default=1, ge=1, le=10)
    pulse_interval_s: float | None = Field(default=None, gt=0, le=1)
    stimuli_per_trigger: int = Field(default=1, ge=1, le=10_000)
    coil_model: Annotated[str, Field(min_length=1, max_length=40)]
    pulse_counter: int | None = Field(default=None, ge=0)


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
    consent_asked_again: bool = False


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


class RecordCoupling(Command):
    """Record how the run of a heart-brain search ended: with a result, or a reason why there is none."""

    beats: int = 0
    artefacts: int = 0
    result: CouplingResult | None = None
    reason: CouplingReason | None = None


class RecordTrainUnknown(Command):
    """Record that nobody can say how the open train ended."""

    reason: UnknownReason


class Interrupt(Command):
    """An interlock stopped the session and disarmed the device; a person may arm and resume."""

    reason: InterlockReason


class Close(Command):
    """An interlock ended the session for good, or its last train was delivered."""

    reason: InterlockReason | Literal["last-train-ended", "daily-check"]
