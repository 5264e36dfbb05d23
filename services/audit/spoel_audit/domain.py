"""The log as a value: what happens to it when events arrive, and what its events say of a session. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from spoel_audit.entry import Pseudonyms, entry_bytes, pseudonyms_of
from spoel_audit.foreign_events import (
    ParameterChanged,
    TrainAuthorised,
    TrainDelivered,
    TrainOutcomeUnknown,
)
from spoel_audit.merkle import CompactRange, leaf_hash
from spoel_common.events import Envelope, ForeignEvent, parse_event_type


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event that the log takes in: as read, and its bytes as they were published."""

    envelope: Envelope
    event_bytes: bytes


@dataclass(frozen=True, slots=True)
class LogRecord:
    """An event with its place in the log.

    Attributes:
        sequence: gap-free, from 0; the index of its leaf in the tree.
    """

    sequence: int
    arrival: Arrival
    recorded: datetime
    pseudonyms: Pseudonyms
    salt: bytes
    entry: bytes
    leaf_hash: bytes


def take_in(
    log: CompactRange, arrivals: Sequence[Arrival], salts: Sequence[bytes], recorded: datetime
) -> tuple[CompactRange, list[LogRecord]]:
    """Return the log with the arrivals appended in their order, and what is to be stored of each.

    Args:
        log: the tree so far.
        arrivals: events that the log does not have yet.
        salts: 32 fresh random bytes for each arrival.
        recorded: the moment at which they are taken in.

    Raises:
        EntryTooLarge: an entry does not fit into an entry bundle.
    """
    records = [
        _record(log.size + number, arrival, salt, recorded)
        for number, (arrival, salt) in enumerate(zip(arrivals, salts, strict=True))
    ]
    return log.extend(record.leaf_hash for record in records), records


def _record(sequence: int, arrival: Arrival, salt: bytes, recorded: datetime) -> LogRecord:
    entry = entry_bytes(arrival.envelope, arrival.event_bytes, salt, recorded)
    return LogRecord(
        sequence=sequence,
        arrival=arrival,
        recorded=recorded,
        pseudonyms=pseudonyms_of(arrival.envelope),
        salt=salt,
        entry=entry,
        leaf_hash=leaf_hash(entry),
    )


def event_name(event_type: str) -> str:
    """Return the name in a type such as ``spoel.intake.case-opened.v1``; a type of another form as it is."""
    try:
        return parse_event_type(event_type).name
    except ValueError:
        return event_type


class SessionTotals(BaseModel):
    """What the log holds of a session's trains.

    Attributes:
        trains_authorised: trains about to be started.
        trains_delivered: trains whose end is known, whatever it was.
        pulses_delivered: sum of the pulses of those.
        trains_unknown: trains of which nobody knows how they ended.
        pulses_unknown_at_most: the most that those can have delivered.
        changes: parameters changed by the operator.
    """

    model_config = ConfigDict(frozen=True)

    trains_authorised: int = 0
    trains_delivered: int = 0
    pulses_delivered: int = 0
    trains_unknown: int = 0
    pulses_unknown_at_most: int = 0
    changes: int = 0


def session_totals(events: Iterable[ForeignEvent]) -> SessionTotals:
    """Add up a session's events."""
    seen = list(events)
    delivered = [event for event in seen if isinstance(event, TrainDelivered)]
    unknown = [event for event in seen if isinstance(event, TrainOutcomeUnknown)]
    return SessionTotals(
        trains_authorised=sum(isinstance(event, TrainAuthorised) for event in seen),
        trains_delivered=len(delivered),
        pulses_delivered=sum(event.pulses for event in delivered),
        trains_unknown=len(unknown),
        pulses_unknown_at_most=sum(event.pulses_at_most for event in unknown),
        changes=sum(isinstance(event, ParameterChanged) for event in seen),
    )
