"""What is appended at once, in the form in which the drivers take it, and how a refusal is explained."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from spoel_common.errors import SpoelError, VersionConflict
from spoel_common.events import Envelope
from spoel_common.store.names import AggregateRef, StoreName


class AggregateArchived(SpoelError):
    """The aggregate is closed and archived: nothing is appended to it any more."""

    slug = "aggregate-archived"
    status = 409
    title = "Closed and archived"


class AnswerExists(Exception):
    """An answer is kept under this client, route and key already: a twin was faster. Nothing was appended."""


class Append(NamedTuple):
    """Events to append to one aggregate.

    Attributes:
        expected_version: the version that the caller decided upon; 0 for a new aggregate.
        envelopes: versions ``expected_version + 1``, ``+ 2`` and so on.
    """

    ref: AggregateRef
    expected_version: int
    envelopes: Sequence[Envelope]


class NewAnswer(NamedTuple):
    """An answer to keep with the events, in the order of the columns of ``idempotency``."""

    client: str
    route: str
    key: str
    body_hash: str
    status: int
    response: bytes
    created_at: datetime


class Row(NamedTuple):
    """A row of ``events``, without what the database itself gives."""

    id: str
    aggregate_type: str
    aggregate_id: str
    version: int
    type: str
    raw: bytes


class Job(NamedTuple):
    """One transaction of the hot path.

    Attributes:
        rows: in the order in which they get their positions.
        heads: of each aggregate type, id and expected version.
    """

    rows: list[Row]
    heads: list[tuple[str, str, int]]
    answer: NewAnswer | None


def job_of(name: StoreName, appends: Sequence[Append], answer: NewAnswer | None = None) -> Job:
    """Encode and check what is to be appended.

    Raises:
        EventTooLarge: an envelope is larger than may be stored.
        ValueError: an envelope of another store, aggregate or version, or an aggregate twice; a fault of the caller.
    """
    heads = [(*append.ref, append.expected_version) for append in appends]
    if len({append.ref for append in appends}) != len(heads):
        raise ValueError("an aggregate may stand in one append of a transaction only")
    rows = [row for append in appends for row in rows_of(name, append)]
    if not rows:
        raise ValueError("nothing to append")
    return Job(rows, heads, answer)


def rows_of(name: StoreName, append: Append) -> list[Row]:
    """Encode and check the events of one aggregate; see ``job_of``."""
    (kind, aggregate_id), expected_version, envelopes = append
    if not kind or not aggregate_id:
        raise ValueError(f"an aggregate needs a type and an id, not {append.ref}")
    source, rows = name.source, []
    for version, envelope in enumerate(envelopes, start=expected_version + 1):
        found = (envelope.source, envelope.aggregatetype, envelope.subject, envelope.aggregateversion)
        if found != (source, kind, aggregate_id, version):
            raise ValueError(f"envelope of {found} appended to {source} {append.ref} version {version}")
        rows.append(Row(envelope.id, kind, aggregate_id, version, envelope.type, envelope.to_bytes()))
    return rows


def all_there(rows: Sequence[Row], found: Mapping[str, bytes]) -> bool:
    """Tell whether all rows are stored already, with the same bytes.

    Args:
        rows: what was to be appended.
        found: event id → bytes of those events that the store has.
    """
    return bool(found) and all(found.get(row.id) == row.raw for row in rows)


def refusal(
    job: Job, found: Mapping[str, bytes], versions: Mapping[AggregateRef, int], archived: set[AggregateRef]
) -> SpoelError | None:
    """Explain why a job was refused; None where by now nothing speaks against it.

    Args:
        job: what was asked.
        found: event id → bytes of those of its events that the store has.
        versions: of its aggregates by now; 0 for none.
        archived: those of its aggregates that are archived.
    """
    for kind, aggregate_id, expected in job.heads:
        ref = AggregateRef(kind, aggregate_id)
        if ref in archived:
            return archived_refusal(ref)
        if versions[ref] != expected:
            return version_conflict(
                ref, f"it is at version {versions[ref]} by now, the request was decided at {expected}"
            )
    if found:
        return version_conflict(AggregateRef(*job.heads[0][:2]), "an event id is already used by another event")
    return None


def archived_refusal(ref: AggregateRef) -> AggregateArchived:
    """Return the refusal of an append to an archived aggregate."""
    return AggregateArchived(
        f"{ref.type} {ref.id} is closed and archived: nothing more can be recorded in it.",
        aggregate_type=ref.type,
        aggregate_id=ref.id,
    )


def version_conflict(ref: AggregateRef, why: str) -> VersionConflict:
    """Return the refusal of an append that was decided upon another version."""
    return VersionConflict(
        f"{ref.type} {ref.id} was changed in the meantime: {why}. Read it again and repeat the request.",
        aggregate_type=ref.type,
        aggregate_id=ref.id,
    )
