"""What a room reads of others' events: only the fields that it uses; others are ignored.

Here stand the catalogues, one a read model; the events are in the modules of this package, by who publishes them.
"""

from spoel_common.events import Catalogue, ForeignEvent
from spoel_stimulation.foreign_events.intake import (
    ConsentGiven,
    ConsentWithdrawn,
    IndicationDecided,
    PatientErased,
    PatientMerged,
    PatientRegistered,
    RegistrationEnded,
    RegistrationVerified,
)
from spoel_stimulation.foreign_events.planning import (
    MeasurementOrderSigned,
    PrescriptionSigned,
    PrescriptionWithdrawn,
    SessionBooked,
    SessionBookingCancelled,
    ThresholdEstimated,
)
from spoel_stimulation.foreign_events.rooms import (
    AdverseEventReported,
    ConsentWithdrawnInRoom,
    DailyCheckAnswered,
    DailyCheckDecided,
    LeaseReleased,
    PatientReleased,
    RoomLatched,
    RoomOpened,
    RoomReset,
    SessionClosed,
    SessionOpened,
    TrainAuthorised,
    TrainDelivered,
    UnauthorisedPulseObserved,
)

CATALOGUE: Catalogue[ForeignEvent] = Catalogue(
    [
        PatientRegistered,
        PatientMerged,
        PatientErased,
        ConsentGiven,
        ConsentWithdrawn,
        IndicationDecided,
        RegistrationVerified,
        RegistrationEnded,
        MeasurementOrderSigned,
        ThresholdEstimated,
        PrescriptionSigned,
        PrescriptionWithdrawn,
        SessionBooked,
        SessionBookingCancelled,
    ],
    {("planning", "prescription-signed", 1): dict, ("planning", "measurement-order-signed", 1): dict},
)
"""Every event of intake and planning that a room reads, in the newest version that it knows."""

SITE_CATALOGUE: Catalogue[ForeignEvent] = Catalogue(
    [
        RoomOpened,
        RoomLatched,
        RoomReset,
        SessionOpened,
        SessionClosed,
        LeaseReleased,
        ConsentWithdrawnInRoom,
    ],
    {("stimulation", name, 1): dict for name in ("session-opened", "session-closed")},
)
"""Every event of other nodes that tells of their rooms, sessions, leases and withdrawals."""

ROOMS: Catalogue[ForeignEvent] = Catalogue(
    [
        SessionOpened,
        DailyCheckAnswered,
        DailyCheckDecided,
        TrainAuthorised,
        TrainDelivered,
        UnauthorisedPulseObserved,
        AdverseEventReported,
        PatientReleased,
    ],
    {
        ("stimulation", "session-opened", 1): dict,
        ("stimulation", "train-authorised", 1): dict,
        ("stimulation", "train-delivered", 1): dict,
        ("stimulation", "unauthorised-pulse-observed", 1): dict,
    },
)
"""Every event of other nodes that tells what a patient was given, and what blocks one."""
