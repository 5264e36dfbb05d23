"""The kinds of refusal of intake's domain."""

from typing import ClassVar

from spoel_common.errors import NotFound, SpoelError


class CaseUnknown(NotFound):
    """No such case here, or not for the person who asks."""

    title: ClassVar[str] = "No such case"


class ImpossibleValue(SpoelError):
    """A value that cannot be true, such as a birth date in the future."""

    slug: ClassVar[str] = "impossible-value"
    title: ClassVar[str] = "This cannot be true"


class PersonalDataInField(SpoelError):
    """A field that is stored and published in clear holds the patient's BSN."""

    slug: ClassVar[str] = "personal-data-in-field"
    title: ClassVar[str] = "Personal data where none may be"


class IdentityDiffers(SpoelError):
    """The BSN is known here with another birth date: one of the two is somebody else (IN-15)."""

    slug: ClassVar[str] = "patient-identity-differs"
    status = 409
    title: ClassVar[str] = "This BSN is known here with another birth date"


class PatientUnknown(SpoelError):
    """A request refers to a patient who is not known here, or not to the person who asks."""

    slug: ClassVar[str] = "patient-unknown"
    title: ClassVar[str] = "No such patient"


class TreatmentUnderWay(SpoelError):
    """A session of the patient is booked or running."""

    slug: ClassVar[str] = "treatment-under-way"
    status = 409
    title: ClassVar[str] = "A session of this patient is booked or running"


class SameFile(SpoelError):
    """A file was to be merged with itself."""

    slug: ClassVar[str] = "same-file"
    title: ClassVar[str] = "This is one file, not two"


class PatientMergedAlready(SpoelError):
    """One of the two files was merged before; a merge is not taken back, and not done twice."""

    slug: ClassVar[str] = "patient-merged-already"
    status = 409
    title: ClassVar[str] = "This file was merged before"


class FileMerged(SpoelError):
    """The file was merged into another one of the same person, and takes no new referral."""

    slug: ClassVar[str] = "file-merged"
    status = 409
    title: ClassVar[str] = "This person goes on in another file"


class RetentionNotOver(SpoelError):
    """The legal time for which a file is kept has not passed (art. 7:454 BW)."""

    slug: ClassVar[str] = "retention-not-over"
    title: ClassVar[str] = "The time for which this file is kept is not over"


class ErasuresUnchecked(SpoelError):
    """Whether this database came back from a backup with keys that were destroyed is not known yet."""

    slug: ClassVar[str] = "erasures-unchecked"
    status = 503
    title: ClassVar[str] = "It is not known yet which patients were erased"


class ActiveCaseExists(SpoelError):
    """One person has one active course (IN-15)."""

    slug: ClassVar[str] = "active-case-exists"
    status = 409
    title: ClassVar[str] = "This patient already has an open case"


class ReferralExists(SpoelError):
    """A case has one referral."""

    slug: ClassVar[str] = "referral-exists"
    status = 409
    title: ClassVar[str] = "This case already has its referral"


class QuestionnaireUnknown(SpoelError):
    """Another questionnaire, or another version of it, than the one in use."""

    slug: ClassVar[str] = "questionnaire-unknown"
    title: ClassVar[str] = "This questionnaire is not in use"


class ScreenIncomplete(SpoelError):
    """Not every item is answered, or one that the questionnaire does not have."""

    slug: ClassVar[str] = "safety-screen-incomplete"
    title: ClassVar[str] = "The safety screen is not completely answered"


class ScreenMissing(SpoelError):
    """The act needs a completed safety screen first."""

    slug: ClassVar[str] = "safety-screen-missing"
    status = 409
    title: ClassVar[str] = "The safety screen is not done yet"


class ScreenItemNotOpen(SpoelError):
    """The item needs no judgement: unknown, or answered no."""

    slug: ClassVar[str] = "screen-item-not-open"
    status = 409
    title: ClassVar[str] = "This item of the screen needs no judgement"


class ScreenItemsUnjudged(SpoelError):
    """Items answered yes wait for a judgement."""

    slug: ClassVar[str] = "screen-items-unjudged"
    status = 409
    title: ClassVar[str] = "The safety screen has items to judge"


class AbsoluteExclusion(SpoelError):
    """An absolute exclusion can neither be judged away nor overridden (IN-05)."""

    slug: ClassVar[str] = "absolute-exclusion"
    title: ClassVar[str] = "An absolute exclusion stands against treatment"


class ScreenItemNotAcceptable(SpoelError):
    """An item was judged not acceptable; only whoever may judge it can change that."""

    slug: ClassVar[str] = "screen-item-not-acceptable"
    title: ClassVar[str] = "An item of the screen was judged not acceptable"


class IndicationNotSupportedYet(SpoelError):
    """The referral is kept, but the rules of this indication are not built yet (IN-06)."""

    slug: ClassVar[str] = "indication-not-supported-yet"
    title: ClassVar[str] = "The rules of this indication are not built yet"


class IndicationAlreadyDecided(SpoelError):
    """The indication was decided; what led to it stays as it was."""

    slug: ClassVar[str] = "indication-already-decided"
    status = 409
    title: ClassVar[str] = "The indication was already decided"


class ReasonNeeded(SpoelError):
    """A decision that differs from the advice needs a reason (IN-08)."""

    slug: ClassVar[str] = "reason-needed"
    title: ClassVar[str] = "A decision against the advice needs a reason"


class ConsentBeforeIndication(SpoelError):
    """Consent is asked after a positive indication."""

    slug: ClassVar[str] = "consent-before-indication"
    status = 409
    title: ClassVar[str] = "No positive indication to consent to"


class ConsentAlreadyGiven(SpoelError):
    """Consent stands already."""

    slug: ClassVar[str] = "consent-already-given"
    status = 409
    title: ClassVar[str] = "Consent was already given"


class ConsentNotGiven(SpoelError):
    """There is no consent that could be withdrawn."""

    slug: ClassVar[str] = "consent-not-given"
    status = 409
    title: ClassVar[str] = "No consent to withdraw"


class BigNumberForm(SpoelError):
    """A BIG number of another form than eleven digits was offered for the staff register."""

    slug: ClassVar[str] = "big-number-form"
    title: ClassVar[str] = "A BIG number has eleven digits"


class RegistrationNotCurrent(SpoelError):
    """There is no registration that could end, or the one offered has already ended."""

    slug: ClassVar[str] = "registration-not-current"
    status = 409
    title: ClassVar[str] = "No current registration"
