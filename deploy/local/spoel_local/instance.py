"""The description of a running instance: one JSON file in its data directory, read by the other commands.

It names every process with its address, so that ``spoel status``, ``spoel token`` and ``spoel demo --attach`` find an
instance that another terminal runs. It holds no secret.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from spoel_common.clock import ScaledClock
from spoel_local.processes import LauncherError, still_runs

FILE_NAME = "instance.json"
LOCK_NAME = "instance.lock"

Kind = Literal["nats", "identity", "service", "simulator", "guard", "launcher"]


class NoInstance(LauncherError):
    """No instance runs on a data directory."""


class AlreadyRuns(LauncherError):
    """Another instance runs on this data directory."""


class PortTaken(LauncherError):
    """Another program listens at a port that this instance wants."""


class Described(BaseModel):
    """One process of an instance.

    Attributes:
        start_ticks: when the kernel started it, so that a reused process number is not mistaken for it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind
    pid: int
    start_ticks: int
    address: str
    log: Path | None = None

    @property
    def runs(self) -> bool:
        """Tell whether the process is still there; a zombie is not."""
        return still_runs(self.pid, self.start_ticks)


class Room(BaseModel):
    """A treatment room of the instance and its simulated stimulator.

    Attributes:
        estop: address at which the room's guard takes an emergency stop: POST, without anything else.
        control: ``host:port`` of the simulator's switchboard, at which its faults are thrown; None while it is down.
    """

    model_config = ConfigDict(frozen=True)

    room_id: str
    simulator: str
    address: str
    log: Path
    estop: str
    control: str | None = None


class StoreLocation(BaseModel):
    """Where the event database of a service is.

    Attributes:
        url: without a password.
        password_file: where the password is, if there is one.
    """

    model_config = ConfigDict(frozen=True)

    service: str
    store: str
    url: str
    password_file: Path | None = None


class Instance(BaseModel):
    """A running instance.

    Attributes:
        clock: the clock that all its processes share; None for real time.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    version: str
    site: str
    data_dir: Path
    clock: ScaledClock | None
    issuer: str
    nats_url: str
    nats_monitor_url: str
    services: dict[str, str]
    rooms: list[Room]
    stores: list[StoreLocation]
    processes: list[Described]

    @property
    def speed(self) -> float:
        """Seconds of clock time per second of wall time."""
        return 1.0 if self.clock is None else self.clock.speed

    def process(self, name: str) -> Described:
        """Return the description of one process."""
        return next(process for process in self.processes if process.name == name)

    def write(self) -> None:
        """Write the description to the data directory; it appears whole or not at all."""
        path = self.data_dir / FILE_NAME
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(self.model_dump_json(indent=1, by_alias=True) + "\n", encoding="utf-8")
        draft.replace(path)


def read_instance(data_dir: Path) -> Instance:
    """Read the description of the instance that runs on ``data_dir``.

    Raises:
        NoInstance: there is none, or it has ended, or its description is of another release.
    """
    path = data_dir / FILE_NAME
    try:
        instance = Instance.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NoInstance(f"No instance runs on {data_dir}. Start one with 'spoel up --data-dir {data_dir}'.") from None
    except ValidationError:
        raise NoInstance(f"{path} is of another release. Stop that instance and start it again.") from None
    if not instance.process("spoel").runs:
        raise NoInstance(f"The instance on {data_dir} has ended. Start it with 'spoel up --data-dir {data_dir}'.")
    return instance


@contextlib.contextmanager
def only_instance(data_dir: Path) -> Iterator[None]:
    """Keep other instances off ``data_dir``; the lock goes with the process, however it ends.

    Raises:
        AlreadyRuns: another process has it.
    """
    descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRuns(
                f"An instance already runs on {data_dir}. See it with 'spoel status --data-dir {data_dir}', "
                "or start another with its own --data-dir and ports."
            ) from None
        try:
            yield
        finally:
            (data_dir / FILE_NAME).unlink(missing_ok=True)


def check_port_free(bind: str, port: int, purpose: str, option: str) -> None:
    """Refuse a port at which another program listens.

    Raises:
        PortTaken: says which port, what it is for and which option sets another.
    """
    if not _can_listen(bind, port):
        variable = "SPOEL_" + option.removeprefix("--").replace("-", "_").upper()
        raise PortTaken(
            f"Port {port} on {bind}, wanted for {purpose}, is taken by another program. "
            f"Stop that one, or set another port with {option} or {variable}."
        )


def free_ports(count: int, besides: Collection[int] = ()) -> list[int]:
    """Return different TCP ports of 127.0.0.1 at which nobody listens, none of them in ``besides``.

    They are taken below the range from which the kernel gives ports to outgoing connections, so that none is lost to
    one of those between this call and its use.
    """
    offset = int.from_bytes(os.urandom(2))
    first, last = 20_000, 32_000
    found: list[int] = []
    for step in range(last - first):
        port = first + (offset + step) % (last - first)
        if port not in besides and _can_listen("127.0.0.1", port):
            found.append(port)
        if len(found) == count:
            return found
    raise PortTaken(f"Fewer than {count} free ports between {first} and {last} on 127.0.0.1.")


def _can_listen(bind: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError:
            return False
    return True
