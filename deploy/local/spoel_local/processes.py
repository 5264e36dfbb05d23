"""Children of the launcher: started, waited for, watched and stopped.

Each child has a session of its own, so that Ctrl-C in a terminal reaches the launcher alone, and dies with the
launcher, whatever ends it. What a child prints goes to a file. A zombie counts as gone.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spoel_local import die_with_parent

_POLL_S = 0.1
_TAIL_LINES = 12
_TAIL_BYTES = 16_384
STOP_TIMEOUT_S = 10.0
"""How long a child may take to end after SIGTERM before it is killed."""


RESTARTS_AFTER_S = 2.0
"""How long a child must have run to be started again where it ends by itself."""


class LauncherError(Exception):
    """Something that the person at the terminal must know; shown without a traceback."""


class ProcessDied(LauncherError):
    """A child ended though nobody asked it to."""


class NotReady(LauncherError):
    """A child did not become ready in time."""


@dataclass(frozen=True)
class Program:
    """What is to be started.

    Attributes:
        name: unique among the children of one launcher; also the name of the log file.
        command: program and arguments; never a secret, since every user of the machine can read them.
        environment: what is added to the launcher's own environment, of which no ``SPOEL_`` variable is passed on.
        stage: when stopping, every process of a higher stage ends before one of a lower stage is asked to.
        restarts: started again where it ends by itself, since others depend on it for safety.
        waiting_for: returns None once the process is ready, or else in a few words what is still missing.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stage: int = 0
    restarts: bool = False
    waiting_for: Callable[["Child"], str | None] = lambda _: None


class Child:
    """One running process."""

    def __init__(self, program: Program, log_path: Path) -> None:
        self.program = program
        self.log_path = log_path
        self.stopping = False
        self.started_s = time.monotonic()
        self.log_starts_at = log_path.stat().st_size if log_path.exists() else 0
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPOEL_")}
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the launcher's own commands
                [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=inherited | dict(program.environment),
                start_new_session=True,
                umask=0o077,
            )

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; else as ``subprocess.Popen.returncode``."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the process is gone."""
        self.stopping = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process is gone; return whether it is."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def output(self) -> str:
        """Return the last part of what this process printed since it was started."""
        with self.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self.log_starts_at, size - _TAIL_BYTES))
            return log.read().decode(errors="replace")

    def describe_end(self) -> str:
        """Tell how the process ended and what it printed last."""
        status = self.exit_status
        how = f"was killed by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        return f"{self.name} (process {self.pid}) {how}.\n{self._quote_log()}"

    def _quote_log(self) -> str:
        lines = self.output().splitlines()[-_TAIL_LINES:]
        if not lines:
            return f"It printed nothing ({self.log_path})."
        quoted = "\n".join(f"  | {line}" for line in lines)
        return f"The end of {self.log_path}:\n{quoted}"


class Supervisor:
    """The children of one launcher. To be used from the main thread: a child dies with the thread that started it."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._children: dict[str, Child] = {}

    @property
    def children(self) -> list[Child]:
        """All children, in the order in which they were first started."""
        return list(self._children.values())

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def start(self, program: Program) -> Child:
        """Start a process, or start it again where it has ended.

        Raises:
            LauncherError: a process of this name still runs.
        """
        earlier = self._children.get(program.name)
        if earlier is not None and earlier.exit_status is None:
            raise LauncherError(f"{program.name} already runs as process {earlier.pid}.")
        self._log_dir.mkdir(parents=True, exist_ok=True)
        child = Child(program, self._log_dir / f"{program.name}.log")
        self._children[program.name] = child
        return child

    def wait_ready(
        self,
        timeout_s: float,
        names: Collection[str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Wait until the named children (or all) are ready.

        Args:
            timeout_s: for all of them together.
            names: which children.
            progress: called with the name of each child as it becomes ready.

        Raises:
            ProcessDied: a child ended while it was waited for.
            NotReady: the time is over; says what each waits for.
        """
        deadline = time.monotonic() + timeout_s
        left = [child for child in self.children if names is None or child.name in names]
        while True:
            self.check()
            reasons: dict[str, str] = {}
            for child in left:
                reason = child.program.waiting_for(child)
                if reason is None:
                    progress(child.name)
                else:
                    reasons[child.name] = reason
            left = [child for child in left if child.name in reasons]
            if not left:
                return
            if time.monotonic() > deadline:
                listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
                logs = ", ".join(str(child.log_path) for child in left)
                raise NotReady(f"Not ready after {timeout_s:.0f} s: {listed}. See {logs}.")
            time.sleep(_POLL_S)

    def check(self) -> bool:
        """Start what restarts again, and refuse to go on where another child ended though nobody asked it to.

        Returns whether one was started again. One that ends as soon as it is started would only end again.

        Raises:
            ProcessDied: with how it ended and the end of its log.
        """
        ended = [child for child in self.children if not child.stopping and child.exit_status is not None]
        for child in ended:
            if not child.program.restarts or time.monotonic() - child.started_s < RESTARTS_AFTER_S:
                raise ProcessDied(child.describe_end())
        for child in ended:
            self.start(child.program)
        return bool(ended)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End one child and wait until it is gone; kill it when the time is over."""
        child = self._children[name]
        child.signal(number)
        if not child.wait(timeout_s):
            child.signal(signal.SIGKILL)
            child.wait(timeout_s)

    def stop_all(self, timeout_s: float = STOP_TIMEOUT_S) -> list[str]:
        """End every child, the highest stage first; return the names of those that had to be killed."""
        killed: list[str] = []
        for stage in sorted({child.program.stage for child in self._children.values()}, reverse=True):
            of_stage = [child for child in self._children.values() if child.program.stage == stage]
            for child in of_stage:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + timeout_s
            for child in of_stage:
                if not child.wait(max(0.0, deadline - time.monotonic())):
                    killed.append(child.name)
                    child.signal(signal.SIGKILL)
                    child.wait(timeout_s)
        return killed


class Interrupted(KeyboardInterrupt):
    """A signal asked the launcher to end; like Ctrl-C it passes through handlers of ordinary errors."""


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into ``Interrupted`` in the main thread, once: what follows is cleaning up."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(number: int, _frame: object) -> None:
        for one in asked:
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_ticks(pid: int) -> int | None:
    """Return when a process was started (clock ticks since boot), or None where it is gone or a zombie.

    Fields 3 and 22 of ``/proc/PID/stat`` (proc(5)), counted behind the command, which may hold spaces and brackets.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], int(fields[19])
    return None if state in {"Z", "X"} else ticks


def still_runs(pid: int, ticks: int) -> bool:
    """Tell whether the process that was started at ``ticks`` still runs: its number alone may be another's by now."""
    return start_ticks(pid) == ticks
