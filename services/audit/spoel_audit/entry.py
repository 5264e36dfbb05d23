"""The log entry: the small canonical record of one event that the Merkle tree is built over. Pure.

An entry is JSON in the canonical form of RFC 8785, restricted to strings and integers: keys sorted, no white space,
UTF-8, no escapes but those that JSON asks for. Its bytes are made once, stored, hashed and served; nobody writes them
again. The format is final: a change is a new value of ``format``. Fields, in their order; an absent one is left out:

==============  ======================================================================================================
``actor``       id of the person or system that acted: the envelope's ``actorid``
``case``        pseudonym of the case: ``data.case_id``
``commitment``  64 lower-case hex digits: SHA-256(salt ‖ event bytes); salt: 32 random bytes of this entry alone
``format``      ``spoel-entry/1``
``id``          the event's id
``patient``     pseudonym of the patient: ``data.patient_id``
``recorded``    when the log took the event in: ISO 8601 in UTC with microseconds
``room``        id of the room: ``data.room_id``, else the envelope's ``room``
``session``     pseudonym of the session: ``data.session_id``
``source``      the store that the event comes from: ``/spoel/<site>/<service>/<store>``
``subject``     id of the aggregate that the event is about
``time``        when the event happened, as its store says: ISO 8601 in UTC with microseconds
``type``        the event's type, for example ``spoel.stimulation.train-delivered.v1``
``version``     integer: the event's version within its aggregate, from 1
==============  ======================================================================================================

``case``, ``patient``, ``room`` and ``session`` are there where the event has a string of 1 to 200 visible ASCII
characters (0x21 to 0x7E) in that place. An entry holds pseudonyms only; what the event says is behind the commitment,
so that its bytes and salt can be destroyed later and the tree stays as it is.
"""

import hashlib
import json
import re
from datetime import datetime
from typing import NamedTuple

from spoel_common.events import Envelope
from spoel_common.events.model import format_utc

ENTRY_FORMAT = "spoel-entry/1"
SALT_BYTES = 32
MAX_ENTRY_BYTES = 65_535
"""An entry bundle of C2SP tlog-tiles gives each entry's length in two bytes."""
_PSEUDONYM = re.compile(r"[!-~]{1,200}")


class EntryTooLarge(ValueError):
    """An event whose entry does not fit into an entry bundle; no envelope within its own limit can cause it."""


class Pseudonyms(NamedTuple):
    """Whom and what an event is about."""

    case: str | None
    patient: str | None
    room: str | None
    session: str | None


def pseudonyms_of(envelope: Envelope) -> Pseudonyms:
    """Pick the pseudonyms out of an event, whatever its type."""
    data = envelope.data
    return Pseudonyms(
        case=_pseudonym(data.get("case_id")),
        patient=_pseudonym(data.get("patient_id")),
        room=_pseudonym(data.get("room_id")) or _pseudonym(envelope.room),
        session=_pseudonym(data.get("session_id")),
    )


def _pseudonym(value: object) -> str | None:
    return value if isinstance(value, str) and _PSEUDONYM.fullmatch(value) else None


def commitment(salt: bytes, event_bytes: bytes) -> str:
    """Return what an entry says about the event's bytes: SHA-256(salt ‖ event bytes) in hex.

    Raises:
        ValueError: the salt does not have 32 bytes.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return hashlib.sha256(salt + event_bytes).hexdigest()


def entry_bytes(envelope: Envelope, event_bytes: bytes, salt: bytes, recorded: datetime) -> bytes:
    """Return the canonical entry of an event.

    Args:
        envelope: the event, as read from ``event_bytes``.
        event_bytes: the event exactly as it was stored and published.
        salt: 32 random bytes, used for nothing else.
        recorded: when the log took the event in.

    Raises:
        EntryTooLarge: more than 65,535 bytes.
    """
    fields: dict[str, str | int | None] = {
        "actor": envelope.actorid,
        "commitment": commitment(salt, event_bytes),
        "format": ENTRY_FORMAT,
        "id": envelope.id,
        "recorded": format_utc(recorded),
        "source": envelope.source,
        "subject": envelope.subject,
        "time": format_utc(envelope.time),
        "type": envelope.type,
        "version": envelope.aggregateversion,
        **pseudonyms_of(envelope)._asdict(),
    }
    present = {name: value for name, value in fields.items() if value is not None}
    entry = json.dumps(present, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    if len(entry) > MAX_ENTRY_BYTES:
        raise EntryTooLarge(f"the entry of event {envelope.id} has {len(entry)} bytes; {MAX_ENTRY_BYTES} is the most")
    return entry
