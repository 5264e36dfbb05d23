"""Identity strips: who is booked in a room; opened with the room's key when asked for, and never kept open (INV-6)."""

import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import structlog
from pydantic import ValidationError

from spoel_common.errors import SpoelError
from spoel_common.sealing import CannotOpen, KeyPair, generate_key_pair, open_sealed, public_key_of
from spoel_common.settings import CannotStart
from spoel_stimulation.domain.identity import IdentityStrip
from spoel_stimulation.domain.refusals import IdentityStripMissing

STRIP_TTL_S = 48 * 3_600.0
EVENT_TYPE = "identity-strip"
KEY_BYTES = 32

Fetch = Callable[[str], Awaitable[bytes | None]]
"""Returns the sealed value of a key of the strips' bucket; None where there is none."""

_log = structlog.get_logger(__name__)


def bucket_name(site: str) -> str:
    """Return the name of the bucket in which a site's strips are."""
    return f"spoel-{site}-strips"


def room_key(data_dir: Path, room_id: str) -> KeyPair:
    """Return the room's key pair, made at its first start; the file is readable for its owner alone.

    Raises:
        CannotStart: the file cannot be read or written, is damaged, or others may read it.
    """
    path = data_dir / f"{room_id}-strip.key"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_new(path, generate_key_pair().private_key)
        mode, private_key = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise CannotStart(
            f"The key of {room_id}, {path}, cannot be read or made ({error}). Check SPOEL_DATA_DIR."
        ) from error
    if mode & 0o077:
        raise CannotStart(f"The key of {room_id}, {path}, may be read by others. Run: chmod 600 {path}")
    if len(private_key) != KEY_BYTES:
        raise CannotStart(f"The key of {room_id}, {path}, is damaged. Remove it: the room gets a new one.")
    return KeyPair(private_key, public_key_of(private_key))


def _write_new(path: Path, content: bytes) -> None:
    passing = path.with_suffix(".new")
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    passing.replace(path)


class Strips:
    """The strips of one room's bookings.

    Args:
        room_id: the room.
        key: its key pair.
        fetch: reads the bucket.
    """

    def __init__(self, room_id: str, key: KeyPair, fetch: Fetch) -> None:
        self._room_id = room_id
        self._key = key
        self._fetch = fetch
        self._kept: dict[str, bytes] = {}

    async def keep(self, session_ids: Collection[str], *, anew: bool) -> None:
        """Fetch the strips of these bookings of the day while they can be had, and drop all others.

        They stay as they came, sealed, and in memory: for a session that begins while the room is cut off.

        Args:
            session_ids: the bookings.
            anew: fetch those again that are kept already: they may have been changed or deleted.

        Raises:
            SpoelError: the bucket is not reached.
        """
        for session_id in set(self._kept) - set(session_ids):
            self.drop(session_id)
        for session_id in session_ids:
            if anew or session_id not in self._kept:
                self._note(session_id, await self._fetch(self._at(session_id)))

    def drop(self, session_id: str) -> None:
        """Keep the strip of a session no longer."""
        self._kept.pop(session_id, None)

    def _note(self, session_id: str, sealed: bytes | None) -> None:
        if sealed is None:
            self.drop(session_id)
        else:
            self._kept[session_id] = sealed

    def _at(self, session_id: str) -> str:
        return f"{self._room_id}.{session_id}"

    async def of(self, session_id: str) -> IdentityStrip:
        """Fetch and open the strip of a session of this room; nothing of what was opened is kept.

        Where the bucket is not reached, the strip that was fetched before is opened.

        Raises:
            IdentityStripMissing: there is none, or it does not open.
        """
        return self._open(session_id, await self._sealed(session_id))

    async def _sealed(self, session_id: str) -> bytes | None:
        try:
            return await self._fetch(self._at(session_id))
        except SpoelError as error:
            if session_id in self._kept:
                return self._kept[session_id]
            raise IdentityStripMissing(
                f"The identity strip cannot be fetched: {error.detail} Without it nobody is treated here."
            ) from error

    def _open(self, session_id: str, sealed: bytes | None) -> IdentityStrip:
        if sealed is None:
            raise IdentityStripMissing(
                "No identity strip of this booking has arrived here. It may still arrive: try again in a moment."
            )
        try:
            text = open_sealed(sealed.decode(), self._key.private_key, session_id, EVENT_TYPE)
            return IdentityStrip.model_validate_json(text)
        except (CannotOpen, UnicodeDecodeError, ValidationError):
            _log.error("strip.does-not-open", room=self._room_id, session=session_id)
        raise IdentityStripMissing(
            "The identity strip of this booking does not open with this room's key. Have the session booked anew."
        )
