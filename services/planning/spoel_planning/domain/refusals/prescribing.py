"""Refusals of prescriptions, their doses and their blinding."""

from spoel_common.errors import SpoelError


class PatternNotCleared(SpoelError):
    """Patterned stimulation outside every row of the clinic's cleared list (HZ-13)."""

    slug = "pattern-not-cleared"
    status = 422
    title = "This pattern is not on the cleared list"


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
