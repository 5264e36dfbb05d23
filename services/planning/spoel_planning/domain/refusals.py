"""Every refusal of planning, one class a kind."""

from spoel_common.errors import SpoelError


class CaseUnknownHere(SpoelError):
    """Planning has not heard of the case."""

    slug = "case-unknown-here"
    status = 404
    title = "This case is not known here (yet)"


class IndicationNotDecided(SpoelError):
    """No decision on the indication has arrived."""

    slug = "indication-not-decided"
    status = 409
    title = "The indication is not decided"


class NotIndicated(SpoelError):
    """The indication was decided against."""

    slug = "not-indicated"
    status = 409
    title = "Treatment is not indicated"


class ConsentNotGiven(SpoelError):
    """No consent has arrived."""

    slug = "consent-not-given"
    status = 409
    title = "There is no consent"


class ConsentIsWithdrawn(SpoelError):
    """Consent was withdrawn."""

    slug = "consent-withdrawn"
    status = 409
    title = "Consent was withdrawn"


class RoomUnknownHere(SpoelError):
    """No device of this room has answered yet, as far as planning knows."""

    slug = "room-unknown-here"
    status = 409
    title = "This room is not known here (yet)"


class SupervisorMissing(SpoelError):
    """A technician acts under a named, registered supervisor."""

    slug = "supervisor-missing"
    status = 403
    title = "A supervisor must be named"


class HeadMeasureImplausible(SpoelError):
    """A head measure cannot be right."""

    slug = "head-measure-implausible"
    status = 422
    title = "Implausible head measure"


class TargetImplausible(SpoelError):
    """A calculated target lies where it cannot be."""

    slug = "target-implausible"
    status = 422
    title = "Implausible target"


class TargetMissing(SpoelError):
    """The site was not calculated for this patient."""

    slug = "target-missing"
    status = 409
    title = "The target was not calculated"


class MeasurementOrderUnknown(SpoelError):
    """The case has no such measurement order."""

    slug = "measurement-order-unknown"
    status = 404
    title = "No such measurement order"


class MeasurementOrderOutOfBounds(SpoelError):
    """A limit of the measurement order is outside the clinic's bounds."""

    slug = "measurement-order-out-of-bounds"
    status = 422
    title = "Outside the bounds of a measurement order"


class MeasurementOrderAlreadySigned(SpoelError):
    """The order is signed."""

    slug = "measurement-order-already-signed"
    status = 409
    title = "Already signed"


class MeasurementOrderNotSigned(SpoelError):
    """An unsigned order allows nothing."""

    slug = "measurement-order-not-signed"
    status = 409
    title = "The measurement order is not signed"


class MeasurementOrderOtherDay(SpoelError):
    """A measurement order holds on one local day."""

    slug = "measurement-order-other-day"
    status = 409
    title = "The measurement order is for another day"


class MuscleOfOtherSide(SpoelError):
    """The left motor cortex moves the right hand."""

    slug = "muscle-of-other-side"
    status = 422
    title = "The muscle belongs to the other side"


class DeviceUnknown(SpoelError):
    """No capability record for this stimulator and coil."""

    slug = "device-unknown"
    status = 422
    title = "Unknown stimulator or coil"


class BeyondDevice(SpoelError):
    """The device cannot do it."""

    slug = "beyond-device"
    status = 422
    title = "Beyond what the device can do"


class SessionUnknownHere(SpoelError):
    """No such session was booked, or nothing of it has arrived."""

    slug = "session-unknown-here"
    status = 404
    title = "This session is not known here (yet)"


class SessionOfAnotherCase(SpoelError):
    """The session belongs to somebody else."""

    slug = "session-of-another-case"
    status = 409
    title = "The session belongs to another case"


class ThresholdNotFinished(SpoelError):
    """The staircase needs more stimuli."""

    slug = "threshold-not-finished"
    status = 409
    title = "The threshold is not found yet"


class ThresholdNotFound(SpoelError):
    """The staircase ended without a threshold."""

    slug = "threshold-not-found"
    status = 409
    title = "No threshold was found"


class ThresholdAlreadyTaken(SpoelError):
    """The session's threshold is recorded."""

    slug = "threshold-already-taken"
    status = 409
    title = "This session's threshold is recorded already"


class ThresholdMissing(SpoelError):
    """There is no such threshold, or none of this side."""

    slug = "threshold-missing"
    status = 409
    title = "There is no threshold"


class ThresholdOfOtherSide(SpoelError):
    """A threshold holds for the side on which it was measured."""

    slug = "threshold-of-other-side"
    status = 409
    title = "The threshold is of the other side"


class NotABlinding(SpoelError):
    """The operator, or the patient, would know the condition by how it is delivered (ST-09)."""

    slug = "not-a-blinding"
    status = 422
    title = "This does not hide the condition"


class AlreadyAllocated(SpoelError):
    """A condition is allocated once, and before the first prescription."""

    slug = "already-allocated"
    status = 409
    title = "The condition is allocated already"


class NotAllocated(SpoelError):
    """The case belongs to no blinded trial."""

    slug = "not-allocated"
    status = 409
    title = "No condition was allocated"


class ShamNotPossible(SpoelError):
    """The threshold's stimulator and coil cannot deliver a sham condition whose signs are those of the active one."""

    slug = "sham-not-possible"
    status = 422
    title = "No blinded sham with this equipment"


class ThresholdOfOtherEquipment(SpoelError):
    """The blocks of a session are given with one stimulator and coil, and their thresholds were not measured so."""

    slug = "threshold-of-other-equipment"
    status = 409
    title = "The thresholds are of different equipment"


class ThresholdOutdated(SpoelError):
    """The threshold is older than the clinic allows, or a newer one exists."""

    slug = "threshold-outdated"
    status = 409
    title = "The threshold is outdated"


class DeviceDiffersFromThreshold(SpoelError):
    """A threshold holds for one stimulator and coil."""

    slug = "device-differs-from-threshold"
    status = 409
    title = "The room's device is not the one of the threshold"


class ProtocolUnknown(SpoelError):
    """The catalogue has no such protocol."""

    slug = "protocol-unknown"
    status = 404
    title = "No such protocol"


class ProtocolNotForIndication(SpoelError):
    """Indication, site and frequency are one row."""

    slug = "protocol-not-for-indication"
    status = 409
    title = "The protocol is not for this indication"


class OutsideProtocol(SpoelError):
    """Sessions, pulses or rate outside what the protocol allows."""

    slug = "outside-protocol"
    status = 422
    title = "Outside the protocol"


class PatternImpossible(SpoelError):
    """Bursts or trains overlap, or a burst has no interval."""

    slug = "pattern-impossible"
    status = 422
    title = "An impossible pattern"


class BandImpossible(SpoelError):
    """Floor, intensity and ceiling do not ascend."""

    slug = "band-impossible"
    status = 422
    title = "An impossible intensity band"


class AboveHighestPercent(SpoelError):
    """Above what any table covers."""

    slug = "above-highest-percent"
    status = 422
    title = "Too strong"


class AboveHighestFrequency(SpoelError):
    """Single pulses faster than any table covers."""

    slug = "above-highest-frequency"
    status = 422
    title = "Too fast"


class PauseTooShort(SpoelError):
    """The pause between trains is known to be unsafe."""

    slug = "pause-too-short"
    status = 422
    title = "The pause between trains is too short"


class LimitsExceeded(SpoelError):
    """Beyond *within*, neither cleared nor overridden (PL-07)."""

    slug = "limits-exceeded"
    status = 422
    title = "Beyond the published limits"


class PrescriptionUnknown(SpoelError):
    """The case has no such prescription, or not this version."""

    slug = "prescription-unknown"
    status = 404
    title = "No such prescription"


class PrescriptionAlreadyOpen(SpoelError):
    """A case has one prescription at a time."""

    slug = "prescription-already-open"
    status = 409
    title = "There is a prescription already"


class PrescriptionAlreadySigned(SpoelError):
    """The version is signed."""

    slug = "prescription-already-signed"
    status = 409
    title = "Already signed"


class PrescriptionNotSigned(SpoelError):
    """An unsigned version allows nothing."""

    slug = "prescription-not-signed"
    status = 409
    title = "The prescription is not signed"


class PrescriptionSuperseded(SpoelError):
    """A newer version exists."""

    slug = "prescription-superseded"
    status = 409
    title = "There is a newer version"


class PrescriptionIsWithdrawn(SpoelError):
    """The prescription was withdrawn."""

    slug = "prescription-withdrawn"
    status = 409
    title = "The prescription was withdrawn"


class SlotAlreadyTaken(SpoelError):
    """The room is taken at that time."""

    slug = "slot-taken"
    status = 409
    title = "The room is taken"


class PatientBookedElsewhere(SpoelError):
    """The patient has another session at that time."""

    slug = "patient-booked-elsewhere"
    status = 409
    title = "The patient has another session at that time"


class PauseBetweenSessionsTooShort(SpoelError):
    """Too soon after, or before, another session of this patient."""

    slug = "session-pause-too-short"
    status = 409
    title = "Too close to another session"


class DayMaximumReached(SpoelError):
    """The patient would get more pulses in a day than the protocol allows."""

    slug = "day-maximum-reached"
    status = 409
    title = "The day's maximum is reached"


class CourseComplete(SpoelError):
    """As many sessions as were signed are booked or delivered."""

    slug = "course-complete"
    status = 409
    title = "All signed sessions are booked"


class StartNotBookable(SpoelError):
    """The start lies in the past, or too far ahead."""

    slug = "start-not-bookable"
    status = 422
    title = "This start cannot be booked"


class BookingUnknown(SpoelError):
    """The case has no such booking."""

    slug = "booking-unknown"
    status = 404
    title = "No such booking"


class BookingAlreadyCancelled(SpoelError):
    """The booking was cancelled."""

    slug = "booking-already-cancelled"
    status = 409
    title = "The booking was cancelled already"


class BookingUnderWay(SpoelError):
    """A room has taken the session up."""

    slug = "booking-under-way"
    status = 409
    title = "The session has begun"


class BookingOver(SpoelError):
    """The session has taken place."""

    slug = "booking-over"
    status = 409
    title = "The session is over"
