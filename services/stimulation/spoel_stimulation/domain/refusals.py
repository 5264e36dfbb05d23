"""Why a room refuses: one class a kind. Those that can also stop a running session name their interlock."""

from typing import ClassVar

from spoel_common.errors import SpoelError
from spoel_stimulation.events.words import InterlockReason


class RoomRefusal(SpoelError):
    """A refusal of this service; ``interlock`` is the reason that is recorded where it stops a running session."""

    status = 409
    interlock: ClassVar[InterlockReason | None] = None


# --- booking and state


class BookingUnknown(RoomRefusal):
    """No booking of this session has arrived here."""

    slug = "booking-unknown"
    status = 404
    title = "No such booking is known here yet"


class BookingCancelled(RoomRefusal):
    """The booking holds no longer."""

    slug = "booking-cancelled"
    title = "The booking was cancelled"


class BookedForAnotherDay(RoomRefusal):
    """The booking is for another local day; daily maxima and pauses were checked for that day (HZ-14)."""

    slug = "booked-for-another-day"
    title = "Booked for another day"


class WrongRoom(RoomRefusal):
    """The session is booked in another room (HZ-02)."""

    slug = "wrong-room"
    title = "Booked in another room"


class RoomBusy(RoomRefusal):
    """The room, or the patient, has an open session."""

    slug = "room-busy"
    title = "There is an open session"


class TransitionNotAllowed(RoomRefusal):
    """The session's state does not allow this."""

    slug = "transition-not-allowed"
    title = "Not possible in this state"


# --- orders


class OrderNotSigned(RoomRefusal):
    """No signed order of this booking has arrived here."""

    slug = "order-not-signed"
    title = "No signed order"
    interlock = "order-missing"


class OrderSuperseded(RoomRefusal):
    """A newer version of the order is signed."""

    slug = "order-superseded"
    title = "A newer signed version exists"
    interlock = "order-superseded"


class OrderWithdrawn(RoomRefusal):
    """The order was withdrawn."""

    slug = "order-withdrawn"
    title = "The order was withdrawn"
    interlock = "order-withdrawn"


class OrderInconsistent(RoomRefusal):
    """The figures of a signed order contradict each other."""

    slug = "order-inconsistent"
    title = "The order contradicts itself"


class MeasurementOrderExpired(RoomRefusal):
    """A measurement order holds on one local day."""

    slug = "measurement-order-expired"
    title = "The measurement order is of another day"
    interlock = "order-expired"


class ThresholdKeyMismatch(RoomRefusal):
    """The room's device is not the one for which the threshold holds (HZ-04)."""

    slug = "threshold-key-mismatch"
    title = "The threshold was measured with other equipment"
    interlock = "coil-changed"


# --- patient


class ConsentMissing(RoomRefusal):
    """No consent of this case has arrived here."""

    slug = "consent-missing"
    title = "No consent"
    interlock = "consent-missing"


class ConsentWithdrawn(RoomRefusal):
    """The patient withdrew the consent."""

    slug = "consent-withdrawn"
    title = "The consent was withdrawn"
    interlock = "consent-withdrawn"


class IndicationMissing(RoomRefusal):
    """No decision about the indication has arrived here."""

    slug = "indication-missing"
    title = "No decision about the indication"
    interlock = "indication-missing"


class NotIndicated(RoomRefusal):
    """A clinician decided that treatment is not indicated."""

    slug = "not-indicated"
    title = "Not indicated"
    interlock = "indication-ended"


class IdentityStripMissing(RoomRefusal):
    """The room has no identity strip of this booking, or cannot open it."""

    slug = "identity-strip-missing"
    title = "No identity strip"


class IdentityMismatch(RoomRefusal):
    """What was said does not agree with the booking's identity strip (HZ-01)."""

    slug = "identity-mismatch"
    title = "Not the booked patient"


class ShamNotPossible(RoomRefusal):
    """The room's device cannot deliver a sham condition whose signs are those of the active one (ST-09)."""

    slug = "sham-not-possible"
    status = 409
    title = "No blinded sham with this device"


class BlindCodeMismatch(RoomRefusal):
    """The code that was entered at the stimulator is not the patient's: another condition could run (ST-09)."""

    slug = "blind-code-mismatch"
    status = 409
    title = "Not this patient's code"


class SiteMismatch(RoomRefusal):
    """The chosen side, site or protocol is not the order's (HZ-03)."""

    slug = "site-mismatch"
    title = "Not the ordered side or protocol"


class SiteConfirmationMissing(RoomRefusal):
    """After a long pause, or where the coil may have moved, side or site is chosen again (HZ-03, HZ-19)."""

    slug = "site-confirmation-missing"
    status = 422
    title = "Choose side or site again"


class EarProtectionMissing(RoomRefusal):
    """Ear protection of everyone in the room was not confirmed (HZ-18)."""

    slug = "ear-protection-missing"
    status = 422
    title = "Ear protection first"


class PatientBlocked(RoomRefusal):
    """After a loss of consciousness, in any room, until a physician decides (HZ-16)."""

    slug = "patient-blocked"
    title = "The patient is blocked until a physician decides"
    interlock = "patient-blocked"


class PatientNotBlocked(RoomRefusal):
    """There is nothing that a physician could release."""

    slug = "patient-not-blocked"
    title = "The patient is not blocked"


class DailyMaximumReached(RoomRefusal):
    """More pulses than a patient may be given in a local day, over all rooms (HZ-14)."""

    slug = "daily-maximum-reached"
    title = "Too much for one day"
    interlock = "daily-maximum"


class TooSoonAfterSession(RoomRefusal):
    """The shortest pause since the patient's last session is not over (HZ-14)."""

    slug = "too-soon-after-session"
    title = "Too soon after the last session"


class PatientStateKnown(RoomRefusal):
    """How the patient was after a session is recorded once."""

    slug = "patient-state-known"
    title = "The patient's state is recorded already"


# --- checks


class ListMismatch(RoomRefusal):
    """An answer to a list of checks lacks an item, or has one that the list does not have."""

    slug = "list-mismatch"
    status = 422
    title = "Not the items of the list"


class OpeningCheckMissing(RoomRefusal):
    """The room was not checked today, or something is not in order (ST-02)."""

    slug = "opening-check-missing"
    title = "The room's opening check is missing or failed"


class DailyCheckMissing(RoomRefusal):
    """The patient was not asked the questions of the day."""

    slug = "daily-check-missing"
    title = "The patient's daily check is missing"


class DailyCheckUndecided(RoomRefusal):
    """An answer waits for the decision of the supervisor or a physician (HZ-15, HZ-20)."""

    slug = "daily-check-undecided"
    title = "An answer waits for a decision"


class DailyCheckAnsweredAlready(RoomRefusal):
    """The questions of the day are answered once a session; a mistake is for the supervisor to decide on."""

    slug = "daily-check-answered"
    title = "Answered already"


class NothingToDecide(RoomRefusal):
    """No decision is asked about this question."""

    slug = "nothing-to-decide"
    title = "No decision is asked about this"


class NoSessionToday(RoomRefusal):
    """An answer of today rules out every session of this patient today."""

    slug = "no-session-today"
    title = "No session for this patient today"
    interlock = "no-session-today"


class PresenceMissing(RoomRefusal):
    """Nobody showed lately that a trained person is in the room and the patient is awake (ST-11)."""

    slug = "presence-missing"
    title = "Presence was not confirmed"
    interlock = "presence-missed"


# --- people


class SupervisionMissing(RoomRefusal):
    """A technician or trainee without a named supervisor on duty."""

    slug = "supervision-missing"
    status = 403
    title = "No supervisor on duty"
    interlock = "supervision-ended"


class SupervisionEndInvalid(RoomRefusal):
    """The end of a supervisor's duty is not within the coming day."""

    slug = "supervision-end-invalid"
    status = 422
    title = "Impossible end of duty"


class NotOnDuty(RoomRefusal):
    """Somebody goes off duty who is not on duty."""

    slug = "not-on-duty"
    title = "Not on duty"


class NotTheOperator(RoomRefusal):
    """Only the person who opened a session runs it."""

    slug = "not-the-operator"
    status = 403
    title = "Another person runs this session"


class OperatorRegistrationEnded(RoomRefusal):
    """The registration under which a session is run ended."""

    slug = "registration-ended"
    status = 403
    title = "The registration ended"
    interlock = "registration-ended"


class GrantEnded(RoomRefusal):
    """The grant under which a session is run was revoked, or its time is over."""

    slug = "grant-ended"
    status = 403
    title = "The session's grant ended"
    interlock = "grant-ended"


# --- knowledge, room and device


class StaleKnowledge(RoomRefusal):
    """What is known of other services is too old to start on (INV-4)."""

    slug = "stale-knowledge"
    title = "Knowledge of other services is too old"


class AcceleratedDayOffline(RoomRefusal):
    """Several treatments a day need the network: pauses and maxima hold over all rooms (HZ-14)."""

    slug = "accelerated-day-offline"
    title = "No accelerated day without network"


class LeasedElsewhere(RoomRefusal):
    """Another room holds the lease of a booking of this patient, and may be using it (HZ-02)."""

    slug = "leased-elsewhere"
    title = "Another room holds a lease on this patient"


class LeaseReleasedHere(RoomRefusal):
    """This room gave the booking back; another room may have taken the patient since (HZ-02)."""

    slug = "lease-released"
    title = "This room released the booking"


class RoomLatchedRefusal(RoomRefusal):
    """The room is latched until a person resets it (INV-7)."""

    slug = "room-latched"
    title = "The room is latched"
    interlock = "device-fault"


class RoomNotLatched(RoomRefusal):
    """There is nothing to reset."""

    slug = "room-not-latched"
    title = "The room is not latched"


class DeviceNotReady(RoomRefusal):
    """The device is away, its status is old, or it is not in the state that this needs."""

    slug = "device-not-ready"
    title = "The device is not ready"
    interlock: ClassVar[InterlockReason | None] = "device-fault"


class StatusTooOld(DeviceNotReady):
    """The device's last status is too old to act on (INV-4)."""

    slug = "device-status-old"
    title = "The device's status is too old"
    interlock = "status-too-old"


class CoilTooHot(RoomRefusal):
    """The coil is too hot for the patient's head (HZ-19)."""

    slug = "coil-too-hot"
    title = "The coil is too hot"
    interlock = "coil-temperature"


class DeviceNotAccepted(RoomRefusal):
    """A simulator where people are treated, or a fast clock on a real device (HZ-25)."""

    slug = "device-not-accepted"
    title = "This device may not be used here"


# --- dose


class BeyondSignedBand(RoomRefusal):
    """A value outside the signed limits (INV-2)."""

    slug = "beyond-signed-band"
    status = 422
    title = "Outside the signed limits"


class BeyondDeviceCapability(RoomRefusal):
    """The device cannot do this (INV-2)."""

    slug = "beyond-device-capability"
    status = 422
    title = "Beyond what the device can do"


class BeyondHardLimits(RoomRefusal):
    """A dose that nobody may override: too strong, too fast, or with too short a pause (HZ-12)."""

    slug = "beyond-hard-limits"
    status = 422
    title = "Beyond what anybody may deliver"


class NotOnClearedList(RoomRefusal):
    """Bursts outside every row of the clinic's cleared list (HZ-13)."""

    slug = "not-on-cleared-list"
    status = 422
    title = "Not within the clinic's cleared list"


class TrainBeyondLimits(RoomRefusal):
    """A train that a device may not run on its own (INV-11)."""

    slug = "train-beyond-limits"
    status = 422
    title = "The train is too long for one start command"


class StimulusTooSoon(RoomRefusal):
    """The shortest pause since the last stimulus is not over."""

    slug = "stimulus-too-soon"
    title = "Too soon after the last stimulus"


class StimuliUsedUp(RoomRefusal):
    """The order's stimuli are used up."""

    slug = "stimuli-used-up"
    title = "No stimuli left"


class NotThisMeasurement(RoomRefusal):
    """The order is for another measurement: single stimuli and runs at locations each need their own."""

    slug = "not-this-measurement"
    title = "Not what this order is for"


class LocationUnknown(RoomRefusal):
    """The order has no such location."""

    slug = "location-unknown"
    title = "No such location in the order"


class RunUnderWay(RoomRefusal):
    """A run of a heart-brain search is under way."""

    slug = "run-under-way"
    title = "The trains at another location are not over"


class HeartNotHeard(RoomRefusal):
    """The belt is not there, silent or without contact: trains would be given for nothing."""

    slug = "heart-not-heard"
    title = "No heartbeats are coming in"


class TrainUnderWay(RoomRefusal):
    """The last train has not ended yet."""

    slug = "train-under-way"
    title = "A train is under way"


class StimulusNotDelivered(RoomRefusal):
    """A stimulus that was not delivered, or of which that is not known, has no answer."""

    slug = "stimulus-not-delivered"
    title = "This stimulus was not delivered"


class StimulusAlreadyAnswered(RoomRefusal):
    """A stimulus is answered once."""

    slug = "stimulus-already-answered"
    title = "Answered already"
