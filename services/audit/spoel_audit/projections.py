"""The log's one projection: every valid event of all services, its own included, in order within its aggregate, once.

Order, holes and repeats are the inbox's: an event whose predecessor is missing is held, a repeat is dropped. It and
the log are changed in one transaction.
"""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_audit.domain import Arrival
from spoel_audit.foreign_events import ERASURE_EVENTS, MERGE_EVENTS, PatientErased, PatientMerged
from spoel_audit.handlers import Sequencer
from spoel_audit.queries import LOG_PROJECTION
from spoel_common import persons
from spoel_common.erasure import ErasureAnswers
from spoel_common.events import Envelope, EventModel
from spoel_common.messaging import Projection, Received

LOGGED_SERVICES = ("intake", "planning", "stimulation", "audit")


def log_projection(sequencer: Sequencer) -> Projection:
    """Return the projection that takes events into the log.

    Its version never changes: the log is not built again, it only grows.
    """

    async def apply_batch(conn: AsyncConnection, events: Sequence[Received]) -> None:
        await sequencer.append(conn, [Arrival(event.envelope, event.raw) for event in events])

    return Projection(name=LOG_PROJECTION, version=1, services=LOGGED_SERVICES, catalogue=None, apply_batch=apply_batch)


def erasures_projection(answers: ErasureAnswers) -> Projection:
    """Return the projection that notes erasures: the log holds nothing in clear, and the answer says so."""

    async def apply(conn: AsyncConnection, envelope: Envelope, event: EventModel | None, _raw: bytes) -> None:
        if isinstance(event, PatientErased):
            await answers.note(conn, envelope, event.patient_id, {})

    return Projection(
        name="erasures",
        version=1,
        services=("intake",),
        catalogue=ERASURE_EVENTS,
        apply=apply,
        after_commit=answers.after_commit,
    )


def persons_projection() -> Projection:
    """Return the projection that keeps which files are of one person: who asks for one of them finds all.

    The log's own entries and index keep the pseudonym that stood in the event.
    """

    async def apply(conn: AsyncConnection, _envelope: Envelope, event: EventModel | None, _raw: bytes) -> None:
        if isinstance(event, PatientMerged):
            await persons.keep_merge(conn, event.patient_id, event.into_patient_id)

    return Projection(
        name="persons",
        version=1,
        services=("intake",),
        catalogue=MERGE_EVENTS,
        apply=apply,
        tables=(persons.person_files,),
    )
