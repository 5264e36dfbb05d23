"""The stops of a room that its journal has not recorded yet, in a small file, flushed to the disk.

The journal may be slow, locked or gone when somebody stops the room, and so may this process be a moment later. What
was pressed, and that a patient lost consciousness, is known at the next start all the same (INV-8, HZ-16). No patient's
data is in it: ids, times and who pressed.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from spoel_common.settings import CannotStart
from spoel_stimulation.events.words import StopOutcome

RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class KeptStop(BaseModel):
    """One emergency stop of a room's own process.

    Attributes:
        stop_id: of the stop, and of the event that will record it.
        stopped_at: clock time.
        lost: session whose patient lost consciousness, if that is why.
        person: who pressed it, as far as that was found out.
        outcome: as far as it was seen; a stop of which that is not known is not confirmed.
        by_guard: the room's guard was asked for it, and tells of it too.
    """

    model_config = ConfigDict(frozen=True)

    stop_id: str
    stopped_at: datetime
    lost: str | None = None
    person: str = "unverified"
    outcome: StopOutcome = "not-confirmed"
    by_guard: bool = False


_FILE = TypeAdapter(list[KeptStop])


class KeptStops:
    """The file of one room.

    Args:
        path: of the file; there is none while every stop is recorded.

    Attributes:
        found: those that an earlier process left, in the order in which they were pressed.

    Raises:
        CannotStart: it is there and cannot be read: somebody has to look at it.
    """

    def __init__(self, path: Path) -> None:
        self.found = _read(path)
        self._path = path
        self._stops = {stop.stop_id: stop for stop in self.found}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.name)

    def __len__(self) -> int:
        return len(self._stops)

    @property
    def lost(self) -> frozenset[str]:
        """Sessions whose patient lost consciousness, as far as that is not recorded yet."""
        return frozenset(stop.lost for stop in self._stops.values() if stop.lost is not None)

    def get(self, stop_id: str) -> KeptStop | None:
        """Return what is known of a stop; None where it is recorded, or is none of this room's own."""
        return self._stops.get(stop_id)

    def keep(self, stop: KeptStop) -> None:
        """Keep a stop, or what is known of it by now; ``write`` has it on the disk."""
        self._stops[stop.stop_id] = stop

    def forget(self, stop_id: str) -> None:
        """Forget a stop that the journal has; ``write`` has it gone from the disk."""
        self._stops.pop(stop_id, None)

    async def write(self) -> None:
        """Write what is to be kept at this moment, again and again while the disk fails; a thread waits for it."""
        while True:
            try:
                writing = self._thread.submit(_write, self._path, list(self._stops.values()))
                await asyncio.shield(asyncio.wrap_future(writing))
            except OSError as error:
                _log.error("stops.not-kept", file=str(self._path), reason=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    def close(self) -> None:
        """Let what is being written end by itself."""
        self._thread.shutdown(wait=False)


def _read(path: Path) -> list[KeptStop]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        raise CannotStart(
            f"{path} holds emergency stops that are not recorded yet, and cannot be read ({error}). Look at it, write "
            "down what it says, and move it away."
        ) from error


def _write(path: Path, stops: list[KeptStop]) -> None:
    """Replace the file as a whole: at every moment it is there as it was before or as it is now."""
    if stops:
        passing = path.with_suffix(".new")
        descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_FILE.dump_json(stops))
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
    else:
        path.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
