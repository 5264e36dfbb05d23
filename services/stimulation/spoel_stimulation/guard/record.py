"""The guard's file of one room: what it did, as JSON lines, each with a number, flushed to the disk by a thread.

Nobody waits for the disk: a line counts as noted when it is queued, and is on the disk a moment later. The room's
process reads from here what it has not yet recorded as events (docs/guard.md).
"""

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

RETRY_S = 1.0
CLOSE_TIMEOUT_S = 2.0
UNWRITTEN = 1_000_000
"""Numbers left free at a restart, for lines that an earlier guard told of and did not live to write."""

Line = dict[str, Any]


class Record:
    """The file of one room.

    Args:
        path: of the file; made where there is none.
        utc_ns: clock time.

    Attributes:
        file_id: of this file, so that a new file with numbers from 1 is not taken for the old one.
        told: the outcomes of stops, which the room's process is to record, in order.
        unfinished: stops whose outcome an earlier guard did not live to see.

    Raises:
        OSError: it cannot be read or made.
    """

    def __init__(self, path: Path, utc_ns: Callable[[], int] = time.time_ns) -> None:
        self._utc_ns = utc_ns
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        lines = _read(path)
        self.file_id = next((line["file"] for line in lines if "file" in line), "")
        self.number = max((line["n"] for line in lines), default=-UNWRITTEN) + UNWRITTEN
        self.told = [line for line in lines if line["what"] == "outcome"]
        ended = {line["of"] for line in self.told}
        self.unfinished = [line for line in lines if line["what"] == "stop" and line["n"] not in ended]
        self._file = path.open("a", encoding="utf-8")
        path.chmod(0o600)
        if lines or path.stat().st_size:
            self._file.write("\n")  # what an earlier guard did not finish writing stays a line of its own
        self._thread = threading.Thread(target=self._write_all, name=f"record {path.name}", daemon=True)
        self._thread.start()
        if not self.file_id:
            self.file_id = uuid.uuid4().hex
            self.note("file", file=self.file_id)

    def reserve(self) -> int:
        """Return the next number, for something that is done first and noted then."""
        self.number += 1
        return self.number

    def note(self, what: str, number: int | None = None, **facts: object) -> Line:
        """Note what was done, under the next number or a reserved one; returns the line. Does not wait."""
        n = self.reserve() if number is None else number
        line: Line = {"n": n, "utc_ns": self._utc_ns(), "what": what, **facts}
        if what == "outcome":
            self.told.append(line)
        self._queue.put(json.dumps(line, ensure_ascii=False) + "\n")
        return line

    def close(self) -> None:
        """Wait a moment until everything is on the disk."""
        self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _write_all(self) -> None:
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            text = "".join(line for line in batch if line is not None)
            while not self._write(text):
                time.sleep(RETRY_S)
            if None in batch:
                self._file.close()
                return

    def _write(self, text: str) -> bool:
        try:
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            sys.stderr.write(f"guard: {self._file.name} is not written ({error}); it is tried again\n")
            return False
        return True


def _read(path: Path) -> list[Line]:
    """Return the whole lines of a file; what was being written when the power went is left out."""
    if not path.exists():
        return []
    found: dict[int, Line] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("n"), int) and "what" in line:
                found[line["n"]] = line
    return [found[number] for number in sorted(found)]
