"""The simulator's record of itself: JSON lines, each on disk before the next thing happens."""

import json
from pathlib import Path
from typing import Literal

_TAIL_BYTES = 65_536


class SimulatorLog:
    """Appends ``{"t_ns", "dir", "frame"}`` for each frame and ``{"t_ns", "pulses"}`` after each stimulus.

    ``t_ns`` is clock time UTC in nanoseconds; ``pulses`` the total since the simulated device was made. Lines gather
    until ``flush``, which a simulator calls whenever it hands control back.

    Args:
        path: where to append; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._lines: list[str] = []
        self._file = None if path is None else path.open("a", encoding="utf-8")

    def frame(self, t_ns: int, direction: Literal["in", "out"], frame_hex: str) -> None:
        """Note a frame that came in or went out."""
        self._lines.append(f'{{"t_ns": {t_ns}, "dir": "{direction}", "frame": "{frame_hex}"}}\n')

    def pulses(self, t_ns: int, total: int) -> None:
        """Note the lifetime total of pulses after a stimulus."""
        self._lines.append(f'{{"t_ns": {t_ns}, "pulses": {total}}}\n')

    def flush(self) -> None:
        """Hand what has gathered to the operating system."""
        if self._file is not None and self._lines:
            self._file.write("".join(self._lines))
            self._file.flush()
        self._lines.clear()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._file is not None:
            self._file.close()


def last_total(path: Path | None) -> int:
    """Return the lifetime total of pulses in a log; 0 without a log. A torn last line is passed over."""
    if path is None or not path.exists():
        return 0
    size = path.stat().st_size
    with path.open("rb") as file:
        for tail in (_TAIL_BYTES, size):
            file.seek(max(0, size - tail))
            total = _total_in(file.read())
            if total is not None:
                return total
    return 0


def _total_in(text: bytes) -> int | None:
    for line in reversed(text.splitlines()):
        if b'"pulses"' not in line:
            continue
        try:
            return int(json.loads(line)["pulses"])
        except (ValueError, KeyError, TypeError):
            continue
    return None
