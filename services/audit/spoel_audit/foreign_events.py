"""The fields that the log reads of others' events in order to count a session's trains and pulses.

Taking an event into the log needs none of this: the log accepts every valid envelope.
"""

from typing import ClassVar

from pydantic import Field

from spoel_common.events import Catalogue, ForeignEvent


class PatientErased(ForeignEvent):
    """A patient's private key was destroyed."""

    service: ClassVar[str] = "intake"
    event_name: ClassVar[str] = "patient-erased"

    patient_id: str


class PatientMerged(ForeignEvent):
    """Two files are of one person."""

    service: ClassVar[str] = "intake"
    event_name: ClassVar[str] = "patient-merged"

    patient_id: str
    into_patient_id: str


class TrainAuthorised(ForeignEvent):
    """A train was about to be started."""

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "train-authorised"
    event_version: ClassVar[int] = 2


class TrainDelivered(ForeignEvent):
    """How a train ended.

    Attributes:
        pulses: pulses that the device delivered.
    """

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "train-delivered"
    event_version: ClassVar[int] = 2

    pulses: int = Field(ge=0)


class TrainOutcomeUnknown(ForeignEvent):
    """Nobody knows how a train ended.

    Attributes:
        pulses_at_most: the most that the device can have delivered.
    """

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "train-outcome-unknown"

    pulses_at_most: int = Field(ge=0)


class ParameterChanged(ForeignEvent):
    """The operator changed a parameter of a running session."""

    service: ClassVar[str] = "stimulation"
    event_name: ClassVar[str] = "parameter-changed"
    event_version: ClassVar[int] = 2


ERASURE_EVENTS: Catalogue[ForeignEvent] = Catalogue([PatientErased])

MERGE_EVENTS: Catalogue[ForeignEvent] = Catalogue([PatientMerged])

SESSION_EVENTS: Catalogue[ForeignEvent] = Catalogue(
    [TrainAuthorised, TrainDelivered, TrainOutcomeUnknown, ParameterChanged],
    {
        ("stimulation", "train-authorised", 1): dict,
        ("stimulation", "train-delivered", 1): dict,
        ("stimulation", "parameter-changed", 1): dict,
    },
)
