"""Refusals about the patient: consent, identity, side, what blocks, what was given today."""

from spoel_stimulation.domain.refusals.base import RoomRefusal


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
