"""Opening of sealed texts for who may read them, each opening and each refusal with a line in the access log.

Other services ask over NATS, each time anew (``spoel_common.opening``). A text leaves intake only after its line in the
access log is durable; the line says who read what and why, and nothing of the text.
"""

import asyncio

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.errors import PatientErased, SealedTextChanged, SpoelError
from spoel_common.events import parse_event_type
from spoel_common.ids import new_id
from spoel_common.messaging import answer, ask_subject
from spoel_common.opening import OPENING, OpeningAnswer, OpeningRequest, Problem
from spoel_common.people import Actor, check_role
from spoel_common.runtime import Runtime
from spoel_common.sealing import CannotOpen
from spoel_common.work import Work
from spoel_intake.access import ACCESS, write_line
from spoel_intake.domain.refusals import PatientUnknown
from spoel_intake.events import OpeningRefused, TextOpened
from spoel_intake.handlers import is_erased
from spoel_intake.vault import Vault, VaultDamaged

UNVERIFIED = Actor(person_id="unverified", roles=frozenset())
"""Who asked, where no valid token says who it was."""

_NOT_UNDERSTOOD = Problem(slug="opening-request-invalid", detail="Intake does not understand the request.")
_AWAY = Problem(slug="unavailable", detail="Intake cannot open texts at the moment. Try again shortly.")
_CONNECTED_LOOK_S = 0.2

_BLINDED = frozenset(
    {"allocation-recorded", "session-armed", "train-authorised", "train-delivered", "parameter-changed"}
)
"""Events of others whose sealed text says something of a blinded trial's condition (ST-09)."""

_log = structlog.get_logger(__name__)


def _act_of(event_type: str) -> str:
    """Return the act that reading a text of this event is."""
    return "unblind" if parse_event_type(event_type).name in _BLINDED else "open-sealed-text"


class Openings:
    """Answers requests to open a sealed text.

    Args:
        vault: opens.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def run(self, runtime: Runtime) -> None:
        """Answer until cancelled; wait for NATS as long as it takes."""
        while True:
            broker = runtime.broker
            if broker is not None:
                break
            await asyncio.sleep(_CONNECTED_LOOK_S)

        async def reply(raw: bytes) -> bytes:
            return (await self.open(runtime, raw)).model_dump_json(exclude_none=True).encode()

        await answer(broker, ask_subject(runtime.settings.site, "intake", OPENING), reply)

    async def open(self, runtime: Runtime, raw: bytes) -> OpeningAnswer:
        """Answer one request; its line in the access log is durable before this returns."""
        try:
            return await self._open(runtime, raw)
        except (SQLAlchemyError, OSError) as error:
            _log.error("opening-failed", reason=type(error).__name__)
            return OpeningAnswer(problem=_AWAY)

    async def _open(self, runtime: Runtime, raw: bytes) -> OpeningAnswer:
        try:
            request = OpeningRequest.model_validate_json(raw)
        except ValidationError:
            await _log_refusal(runtime, UNVERIFIED, None, _NOT_UNDERSTOOD)
            return OpeningAnswer(problem=_NOT_UNDERSTOOD)
        asker = UNVERIFIED
        try:
            asker = await runtime.verifier.verify(request.token.get_secret_value())
            check_role(_act_of(request.event_type), asker)
            return OpeningAnswer(text=await self._open_for(runtime, asker, request))
        except SpoelError as refusal:
            problem = Problem(slug=refusal.slug, detail=refusal.detail)
            await _log_refusal(runtime, asker, request, problem)
            return OpeningAnswer(problem=problem)

    async def _open_for(self, runtime: Runtime, asker: Actor, request: OpeningRequest) -> str:
        opening_id = new_id()
        async with runtime.units.begin(asker, opening_id, causation_id=request.event_id) as work:
            text = await self._read(work, asker, request)
            opened = TextOpened(
                opening_id=opening_id,
                patient_id=request.patient_id,
                opened_event_id=request.event_id,
                opened_event_type=request.event_type,
                reason=request.reason,
            )
            await write_line(work, opening_id, opened)
        return text

    async def _read(self, work: Work, asker: Actor, request: OpeningRequest) -> str:
        patient_id = request.patient_id
        if await is_erased(work.conn, patient_id):
            raise PatientErased("This text cannot be read any more: the patient was erased.")
        try:
            file = await self._vault.open(work.conn, patient_id, asker, f"open text: {request.reason}")
            return file.read(request.sealed, request.event_id, request.event_type)
        except PatientErased as error:
            raise PatientUnknown("No such patient is known at intake.") from error
        except (CannotOpen, VaultDamaged) as error:
            raise SealedTextChanged(
                "This text does not open: it was changed, moved to another event, or sealed for another patient."
            ) from error


async def _log_refusal(runtime: Runtime, asker: Actor, request: OpeningRequest | None, problem: Problem) -> None:
    opening_id = new_id()
    refused = OpeningRefused(
        opening_id=opening_id,
        patient_id=None if request is None else request.patient_id,
        opened_event_id=None if request is None else request.event_id,
        opened_event_type=None if request is None else request.event_type,
        reason=None if request is None else request.reason,
        problem=problem.slug,
    )
    await runtime.units.record(ACCESS, opening_id, [refused], asker, opening_id)
