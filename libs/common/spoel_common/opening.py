"""Opening of sealed texts: intake alone can, and does it for who may read, with a reason, and a line in its access log.

The question goes to intake by NATS request and reply. It carries the asker's own bearer token, which intake checks:
a service cannot ask in anybody's name. The answer is shown and not kept: neither here nor in any cache.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, field_serializer

from spoel_common.errors import NotAllowed, PatientErased, SealedTextChanged, SpoelError
from spoel_common.identity import IdentityUnavailable, TokenExpired, TokenInvalid, TokenMissing, TokenWithoutExpiry
from spoel_common.messaging import BrokerAway, ask, ask_subject
from spoel_common.runtime import Runtime, Unavailable

OPENING = "open"
ANSWER_WITHIN_S = 5.0

Reason = Literal["treatment", "indication", "supervision", "incident", "complaint", "patient-asked"]
"""Why somebody reads a text; a code, for the access log is an event and free text could name the patient."""

Uuid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""An id in the form of Spoel's own, so that no name or number of a person is taken for one."""


class OpeningTimedOut(SpoelError):
    """Intake did not answer in time; the access log says whether the text was opened."""

    slug = "opening-timed-out"
    status = 504
    title = "Intake did not answer in time"


class OpeningRefused(SpoelError):
    """Intake does not open the text, for the reason that it gives."""

    slug = "opening-refused"
    status = 403
    title = "Intake does not open this text"


class SealedText(NamedTuple):
    """A text as it stands in an event.

    Attributes:
        sealed: base64, as ``spoel_common.sealing.seal`` made it.
    """

    patient_id: str
    event_id: str
    event_type: str
    sealed: str


class OpeningRequest(BaseModel):
    """What intake is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token: SecretStr = Field(max_length=8_192)
    patient_id: Uuid
    event_id: Uuid
    event_type: Annotated[str, StringConstraints(pattern=r"^spoel\.[a-z]+\.[a-z0-9-]{1,64}\.v[0-9]{1,4}$")]
    sealed: Annotated[str, StringConstraints(max_length=60_000)] = Field(repr=False)
    reason: Reason

    @field_serializer("token", when_used="json")
    def _token_as_sent(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Problem(BaseModel):
    """Why a text was not opened: the slug and detail of a refusal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slug: str
    detail: str


class OpeningAnswer(BaseModel):
    """What intake answers: the text, or why not."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: str | None = Field(default=None, repr=False)
    problem: Problem | None = None


async def open_text(
    runtime: Runtime, token: str, text: SealedText, reason: Reason, timeout_s: float = ANSWER_WITHIN_S
) -> str:
    """Have intake open a text for the holder of ``token``. Show the answer and keep it nowhere.

    Args:
        runtime: of the service that asks.
        token: bearer token of the person who gets to see the text; its ``aud`` names intake too.
        text: the sealed text with the event in which it stands.
        reason: why it is read.
        timeout_s: wall time to wait for the answer.

    Raises:
        Unavailable: NATS is away, or intake does not listen.
        OpeningTimedOut: intake did not answer.
        PatientErased: nobody can read it any more.
        SealedTextChanged: it does not open in this event.
        NotAllowed, TokenInvalid, TokenExpired: this person may not read it, or is not who intake's issuer says.
        OpeningRefused: any other refusal of intake's.
    """
    broker = runtime.require_broker()
    try:
        request = OpeningRequest(token=SecretStr(token), **text._asdict(), reason=reason)
    except ValidationError as error:
        raise SealedTextChanged(
            "This text does not stand in an event of Spoel's: its ids have another form."
        ) from error
    subject = ask_subject(runtime.settings.site, "intake", OPENING)
    try:
        raw = await ask(broker, subject, request.model_dump_json().encode(), timeout_s)
    except BrokerAway as error:  # or nobody listens
        raise Unavailable("Intake, which alone can open this text, does not answer. Try again shortly.") from error
    except TimeoutError as error:
        raise OpeningTimedOut(f"Intake did not answer within {timeout_s:g} s. Try again shortly.") from error
    answer = OpeningAnswer.model_validate_json(raw)
    if answer.text is not None:
        return answer.text
    raise _refusal(answer.problem or Problem(slug="unavailable", detail="Intake's answer was empty. Try again."))


_KINDS: dict[str, type[SpoelError]] = {
    kind.slug: kind
    for kind in (
        PatientErased,
        SealedTextChanged,
        NotAllowed,
        TokenMissing,
        TokenExpired,
        TokenInvalid,
        TokenWithoutExpiry,
        IdentityUnavailable,
        Unavailable,
    )
}


def _refusal(problem: Problem) -> SpoelError:
    kind = _KINDS.get(problem.slug)
    return OpeningRefused(problem.detail, why=problem.slug) if kind is None else kind(problem.detail)
