"""The events of stimulation: what happened in a room, in a session, to a patient, and on the supervisors' roster.

Here stands the catalogue of every kind of aggregate: each event that it can have, and how older versions are read. The
events themselves are in the modules of this package, by subject; the words that they choose from in ``words``.

Intensities are in percent of maximum stimulator output (``…percent_mso``) or of the resting motor threshold
(``…percent_rmt``), durations in seconds. Pulse counts of a device are those of its own counter.
"""

from typing import ClassVar

from spoel_common.events import Catalogue, EventData, gap_detected, parked_event_discarded
from spoel_stimulation.events.base import StimulationEvent
from spoel_stimulation.events.checks import DailyCheckAnswered, DailyCheckDecided, PresenceConfirmed
from spoel_stimulation.events.harm import (
    AdverseEventReported,
    AlertRaised,
    PatientReleased,
    PatientStateRecorded,
    SideEffectReported,
)
from spoel_stimulation.events.patients import ConsentWithdrawnInRoom, NoteWritten
from spoel_stimulation.events.rooms import (
    DeviceFault,
    EmergencyStopped,
    GuardDisarmed,
    RoomChecked,
    RoomLatched,
    RoomOpened,
    RoomReset,
    UnauthorisedPulseObserved,
)
from spoel_stimulation.events.searches import CouplingMeasured, LocationsRanked, SearchRunStarted
from spoel_stimulation.events.sessions import (
    CoilAwaited,
    CoilPlaced,
    IdentityConfirmed,
    LeaseReleased,
    SessionArmed,
    SessionClosed,
    SessionGrantRevoked,
    SessionOpened,
    SessionPaused,
    SessionResumed,
    SessionStarted,
)
from spoel_stimulation.events.supervision import SupervisionEnded, SupervisionStarted
from spoel_stimulation.events.trains import (
    ParameterChanged,
    StimulusAnswered,
    TrainAuthorised,
    TrainDelivered,
    TrainOutcomeUnknown,
)


class ErasureCompleted(StimulationEvent):
    """What was held here of an erased patient is cleared; ``cleared``: what → how many."""

    event_name: ClassVar[str] = "erasure-completed"

    patient_id: str
    erasure_id: str
    cleared: dict[str, int]


ParkedEventDiscarded = parked_event_discarded("stimulation")
"""An event of the aggregate ``discarded-event``, one for each event that was given up."""

GapDetected = gap_detected("stimulation")
"""An event of the aggregate ``gap``, one for each time that an aggregate begins to wait for an event."""

ROOM_EVENTS: Catalogue[EventData] = Catalogue(
    [
        RoomOpened,
        RoomLatched,
        RoomReset,
        RoomChecked,
        DeviceFault,
        UnauthorisedPulseObserved,
        EmergencyStopped,
        GuardDisarmed,
    ],
    {("stimulation", "unauthorised-pulse-observed", 1): dict},
)
SESSION_EVENTS: Catalogue[EventData] = Catalogue(
    [
        SessionOpened,
        IdentityConfirmed,
        DailyCheckAnswered,
        DailyCheckDecided,
        PresenceConfirmed,
        SessionArmed,
        SessionStarted,
        SessionPaused,
        SessionResumed,
        TrainAuthorised,
        TrainDelivered,
        TrainOutcomeUnknown,
        ParameterChanged,
        CoilAwaited,
        CoilPlaced,
        StimulusAnswered,
        SearchRunStarted,
        CouplingMeasured,
        LocationsRanked,
        SessionClosed,
        SessionGrantRevoked,
    ],
    {
        ("stimulation", "session-opened", 1): dict,
        ("stimulation", "session-armed", 1): dict,
        ("stimulation", "train-authorised", 1): dict,
        ("stimulation", "train-delivered", 1): dict,
        ("stimulation", "session-paused", 1): dict,
        ("stimulation", "parameter-changed", 1): dict,
        ("stimulation", "session-closed", 1): dict,
    },
)
ROSTER_EVENTS: Catalogue[EventData] = Catalogue([SupervisionStarted, SupervisionEnded])
LEASE_EVENTS: Catalogue[EventData] = Catalogue([LeaseReleased])
WITHDRAWAL_EVENTS: Catalogue[EventData] = Catalogue([ConsentWithdrawnInRoom])
NOTE_EVENTS: Catalogue[EventData] = Catalogue([NoteWritten])
SIDE_EFFECT_EVENTS: Catalogue[EventData] = Catalogue([SideEffectReported])
ALERT_EVENTS: Catalogue[EventData] = Catalogue([AlertRaised])
AFTERCARE_EVENTS: Catalogue[EventData] = Catalogue([PatientStateRecorded])
ADVERSE_EVENTS: Catalogue[EventData] = Catalogue([AdverseEventReported])
RELEASE_EVENTS: Catalogue[EventData] = Catalogue([PatientReleased])
