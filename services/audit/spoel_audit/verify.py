"""A check of the log that shares no code with the service that keeps it: standard library only, one page to read.

It follows the published formats straight from their definitions: RFC 6962 section 2.1 for the tree, and the entry
format ``spoel-entry/1``. Whoever doubts the service fetches the raw entries and runs this, or writes it again.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

SALT_BYTES = 32


def recompute_root(entries: Iterable[bytes]) -> bytes:
    """Return the 32-byte root of the RFC 6962 tree over raw entries, each hashed anew."""
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
    if not leaves:
        return hashlib.sha256(b"").digest()
    return _subtree(leaves, 0, len(leaves))


def _subtree(leaves: Sequence[bytes], start: int, end: int) -> bytes:
    if end - start == 1:
        return leaves[start]
    left_leaves = 1
    while left_leaves * 2 < end - start:
        left_leaves *= 2
    middle = start + left_leaves
    return hashlib.sha256(b"\x01" + _subtree(leaves, start, middle) + _subtree(leaves, middle, end)).digest()


def check_event(entry: bytes, salt: bytes, event_bytes: bytes) -> bool:
    """Tell whether these are the event's bytes that the entry commits to, and the entry says of them what is true.

    Args:
        entry: a raw entry of the log.
        salt: the entry's salt.
        event_bytes: the event as the log keeps it.
    """
    said = json.loads(entry)
    if len(salt) != SALT_BYTES or said["commitment"] != hashlib.sha256(salt + event_bytes).hexdigest():
        return False
    return said == _expected(json.loads(event_bytes), said["commitment"], said["recorded"]) and _is_canonical(entry)


def _expected(event: dict[str, object], commitment: str, recorded: str) -> dict[str, object]:
    data = event["data"]
    if not isinstance(data, dict):
        return {}
    moment = datetime.fromisoformat(str(event["time"])).astimezone(UTC)
    picked = {
        "case": _pseudonym(data.get("case_id")),
        "patient": _pseudonym(data.get("patient_id")),
        "room": _pseudonym(data.get("room_id")) or _pseudonym(event.get("room")),
        "session": _pseudonym(data.get("session_id")),
    }
    return {name: value for name, value in picked.items() if value} | {
        "actor": event["actorid"],
        "commitment": commitment,
        "format": "spoel-entry/1",
        "id": event["id"],
        "recorded": recorded,
        "source": event["source"],
        "subject": event["subject"],
        "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": event["type"],
        "version": event["aggregateversion"],
    }


def _pseudonym(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[\x21-\x7e]{1,200}", value) else None


def _is_canonical(entry: bytes) -> bool:
    return entry == json.dumps(json.loads(entry), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
