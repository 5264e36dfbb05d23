"""Erasures outside the database: a file beside the data, so that a backup of the database does not hold all there is.

One line an erasure: the bytes of the event ``patient-erased``, which name a pseudonym and a ground. The first line
names the vault. What was written is flushed to the disk; a line that a crash cut off is not counted.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from spoel_common.events import Envelope
from spoel_common.settings import CannotStart

_FORMAT = "spoel-erasures/1"


class ErasureFile:
    """The file of one vault's erasures.

    Args:
        path: where it is.
        vault: fingerprint of the vault to which it belongs.
    """

    def __init__(self, path: Path, vault: str) -> None:
        self._path = path
        self._vault = vault

    def read(self) -> list[bytes] | None:
        """Return the events, or None where there is no file.

        Raises:
            CannotStart: it cannot be read, is damaged, or belongs to another vault.
        """
        try:
            head, *events = self._path.read_bytes().split(b"\n")[:-1] or [b""]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotStart(f"The file of erasures {self._path} cannot be read ({error}). {_WHAT_TO_DO}") from error
        try:
            found = json.loads(head)
            for event in events:
                Envelope.from_bytes(event)
        except ValueError as error:
            raise CannotStart(f"The file of erasures {self._path} is damaged. {_WHAT_TO_DO}") from error
        if found != {"format": _FORMAT, "vault": self._vault}:
            raise CannotStart(f"The file of erasures {self._path} is another installation's. {_WHAT_TO_DO}")
        return events

    def keep(self, events: Sequence[bytes]) -> None:
        """Write what the file does not have yet, and flush it; make the file where there is none.

        Raises:
            CannotStart: as ``read``.
            OSError: it cannot be written.
        """
        kept = self.read()
        missing = [event for event in events if event not in (kept or ())]
        if kept is None:
            head = json.dumps({"format": _FORMAT, "vault": self._vault}).encode()
            self._write_whole([head, *missing])
        elif missing:
            self._append(missing)

    def _write_whole(self, lines: Sequence[bytes]) -> None:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _flush(descriptor, lines)
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _append(self, lines: Sequence[bytes]) -> None:
        """Write behind the last whole line; what a crash left behind it is cut off."""
        whole = self._path.read_bytes().rpartition(b"\n")[0]
        os.truncate(self._path, len(whole) + 1)
        _flush(os.open(self._path, os.O_WRONLY | os.O_APPEND), lines)


_WHAT_TO_DO = (
    "It tells which patients were erased, so that a restored backup does not bring them back. Put the right file back, "
    "or move it away: then the event stream is asked instead."
)


def _flush(descriptor: int, lines: Sequence[bytes]) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
