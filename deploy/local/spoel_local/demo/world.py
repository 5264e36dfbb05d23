"""Where the demo takes place: an instance of its own with temporary data, or one that already runs."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from spoel_common.clock import NS_PER_S, Clock, ScaledClock
from spoel_local.instance import Instance, read_instance
from spoel_local.launcher import Launcher, Options, Ports, running
from spoel_local.processes import LauncherError

ROOMS = 2
_ZONE = ZoneInfo("Europe/Amsterdam")
_OPENS = time(9, 0)


class TooFewRooms(LauncherError):
    """Two patients at the same time need two rooms."""


@dataclass(frozen=True)
class World:
    """A running instance that the demo may use.

    Attributes:
        launcher: its launcher, where it is the demo's own.
    """

    instance: Instance
    clock: Clock
    launcher: Launcher | None


def morning_clock(speed: float) -> ScaledClock:
    """Return a clock that begins at nine in the morning of today, so that a fast day does not end under way."""
    morning = datetime.combine(datetime.now(_ZONE).date(), _OPENS, _ZONE)
    started = ScaledClock.starting_now(speed)
    return started.model_copy(update={"utc_ns_at_start": round(morning.timestamp()) * NS_PER_S})


@contextmanager
def own_world(speed: float, kept: list[Path], progress: Callable[[str], None], *, keep: bool) -> Iterator[World]:
    """Start an instance on free ports with temporary data; afterwards no process and no file of it is left.

    Args:
        speed: seconds of clock time per second.
        kept: gets the directory of the data, where it is kept.
        progress: called with the name of each process that became ready.
        keep: leave the data.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="spoel-demo-"))
    try:
        if keep:
            kept.append(data_dir)
        clock = morning_clock(speed)
        options = Options(data_dir=data_dir, rooms=ROOMS, clock=clock, ports=Ports.any_free())
        with running(options, progress) as (launcher, instance):
            yield World(instance, clock, launcher)
    finally:
        if not keep:
            shutil.rmtree(data_dir, ignore_errors=True)


@contextmanager
def running_world(data_dir: Path) -> Iterator[World]:
    """Use the instance that runs on ``data_dir``.

    Raises:
        NoInstance: none runs there.
        TooFewRooms: it has one room only.
    """
    instance = read_instance(data_dir)
    if len(instance.rooms) < ROOMS:
        raise TooFewRooms(f"The demo treats two patients at the same time; start the instance with --rooms {ROOMS}.")
    yield World(instance, instance.clock or ScaledClock.starting_now(), None)
