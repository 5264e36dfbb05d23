"""The guard as a process."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence

from spoel_stimulation.guard.estop import EmergencyStop
from spoel_stimulation.guard.loop import Loop
from spoel_stimulation.guard.makers import guarded
from spoel_stimulation.guard.room import GuardedRoom
from spoel_stimulation.guard.settings import GuardSettings

PRIORITY = -10
ENDING_S = 1.5
"""How long it stays when told to end, for the devices to be read back as disabled."""


def run(settings: GuardSettings, stdout_fd: int = 1) -> None:
    """Guard until SIGTERM or SIGINT; then disarm, wait a moment for the read-back, and end.

    The first line of output is one JSON object with ``estop``, the address of the emergency stop, and ``pid``.

    Raises:
        OSError: the directory or the port cannot be used.
    """
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: ending.append(signum))
    _go_before_others()
    settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    loop = Loop()
    utc_ns = _clock_of(settings.clock)
    rooms = [
        GuardedRoom(room.room_id, room.address, guarded(room.device), settings.directory, loop, utc_ns)
        for room in settings.rooms
    ]
    stops = EmergencyStop(settings.bind, settings.port, loop, rooms)
    host = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
    first_line = {"estop": f"http://{host}:{stops.port}/estop", "pid": os.getpid()}
    os.write(stdout_fd, json.dumps(first_line).encode() + b"\n")
    ticks = [*(room.tick for room in rooms), stops.tick]
    while not ending:
        loop.turn(ticks)
    _end(loop, rooms, ticks)
    stops.close()
    for room in rooms:
        room.close()
    loop.close()


def _end(loop: Loop, rooms: list[GuardedRoom], ticks: Sequence[Callable[[float], float]]) -> None:
    """Leave no device armed behind."""
    for room in rooms:
        room.stop("ending", "guard")
    until_s = time.monotonic() + ENDING_S
    while time.monotonic() < until_s and not all(room.settled() for room in rooms):
        loop.turn(ticks)


def _go_before_others() -> None:
    """Raise the process's priority, where that is allowed: it needs little time, and needs it at once."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def _clock_of(clock: tuple[int, int, float] | None) -> Callable[[], int]:
    """Return clock time in nanoseconds UTC, as ``spoel_common.clock.ScaledClock`` has it."""
    if clock is None:
        return time.time_ns
    utc_ns, machine_ns, speed = clock
    return lambda: utc_ns + round((time.monotonic_ns() - machine_ns) * speed)
