"""Children of the launcher: ready, watched, stopped, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spoel_local.processes import (
    Interrupted,
    LauncherError,
    NotReady,
    ProcessDied,
    Program,
    Supervisor,
    ending_on_signals,
    start_ticks,
    still_runs,
)

SLEEPER = (sys.executable, "-I", "-S", "-c", "import time; print('awake', flush=True); time.sleep(60)")
DEAF = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
)


def says(word):
    return lambda child: None if word in child.output() else f"it has not said {word!r}"


@pytest.fixture
def supervisor(tmp_path):
    supervisor = Supervisor(tmp_path / "logs")
    yield supervisor
    supervisor.stop_all(timeout_s=1)


def wait_gone(pid, ticks, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while still_runs(pid, ticks):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


def test_a_child_is_ready_when_its_check_says_so_and_ends_on_stop(supervisor):
    child = supervisor.start(Program("sleeper", SLEEPER, waiting_for=says("awake")))
    supervisor.wait_ready(10)
    assert child.exit_status is None
    assert supervisor.stop_all() == []
    assert child.exit_status == -signal.SIGTERM


def test_a_child_on_which_safety_depends_is_started_again_and_one_that_ends_at_once_is_not(supervisor, monkeypatch):
    program = Program("sleeper", SLEEPER, restarts=True, waiting_for=says("awake"))
    first = supervisor.start(program)
    supervisor.wait_ready(10)
    assert supervisor.check() is False
    os.kill(first.pid, signal.SIGKILL)
    first.wait(5)
    with pytest.raises(ProcessDied):
        supervisor.check()
    monkeypatch.setattr("spoel_local.processes.RESTARTS_AFTER_S", 0.0)
    assert supervisor.check() is True
    assert supervisor["sleeper"].pid != first.pid
    supervisor.wait_ready(10)


def test_a_child_that_dies_is_reported_with_the_end_of_its_log(supervisor):
    dying = (sys.executable, "-I", "-S", "-c", "import sys; print('no disk left'); sys.exit(3)")
    supervisor.start(Program("dying", dying, waiting_for=says("never")))
    with pytest.raises(ProcessDied, match=r"dying \(process \d+\) ended with status 3(?s:.)*no disk left"):
        supervisor.wait_ready(10)


def test_a_program_that_cannot_be_started_is_reported_by_name(supervisor):
    supervisor.start(Program("absent", ("/nonexistent/program",), waiting_for=says("never")))
    with pytest.raises(ProcessDied, match="/nonexistent/program cannot be started: No such file"):
        supervisor.wait_ready(10)


def test_a_child_that_is_not_ready_in_time_is_reported_with_what_it_waits_for(supervisor):
    supervisor.start(Program("slow", SLEEPER, waiting_for=says("something else")))
    with pytest.raises(NotReady, match="slow: it has not said 'something else'"):
        supervisor.wait_ready(0.5)


def test_a_child_that_ignores_the_request_to_end_is_killed(supervisor):
    child = supervisor.start(Program("deaf", DEAF, waiting_for=says("deaf")))
    supervisor.wait_ready(10)
    assert supervisor.stop_all(timeout_s=0.3) == ["deaf"]
    assert child.exit_status == -signal.SIGKILL


def test_higher_stages_end_before_lower_ones_are_asked(supervisor, tmp_path):
    script = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(60)"
    )
    order = tmp_path / "order"
    for name, stage in (("broker", 0), ("service", 1)):
        command = (sys.executable, "-I", "-S", "-c", script, str(order), name)
        supervisor.start(Program(name, command, stage=stage, waiting_for=says("up")))
    supervisor.wait_ready(10)
    supervisor.stop_all()
    assert order.read_text().split() == ["service", "broker"]


def test_a_child_that_ended_can_be_started_again_and_a_running_one_cannot(supervisor):
    first = supervisor.start(Program("sleeper", SLEEPER, waiting_for=says("awake")))
    supervisor.wait_ready(10)
    with pytest.raises(LauncherError, match="already runs"):
        supervisor.start(first.program)
    supervisor.stop("sleeper", signal.SIGKILL)
    second = supervisor.start(first.program)
    supervisor.wait_ready(10)
    assert second.pid != first.pid


def test_a_child_dies_with_its_launcher_even_when_that_is_killed(tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from spoel_local.processes import Program, Supervisor\n"
        "supervisor = Supervisor(Path(sys.argv[1]))\n"
        f"child = supervisor.start(Program('deaf', {DEAF!r}, waiting_for=lambda c: None if c.output() else 'output'))\n"
        "supervisor.wait_ready(10)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(launcher.stdout.readline())
        ticks = start_ticks(pid)
        assert ticks is not None
    finally:
        launcher.kill()
        launcher.wait(10)
        launcher.stdout.close()
    wait_gone(pid, ticks)


def test_a_child_has_a_session_of_its_own(supervisor):
    child = supervisor.start(Program("sleeper", SLEEPER, waiting_for=says("awake")))
    supervisor.wait_ready(10)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_no_spoel_variable_of_the_shell_reaches_a_child(supervisor, monkeypatch):
    monkeypatch.setenv("SPOEL_SITE", "elsewhere")
    show = (sys.executable, "-I", "-S", "-c", "import os, time; print(os.environ, flush=True); time.sleep(60)")
    child = supervisor.start(Program("show", show, {"SPOEL_PORT": "1"}, waiting_for=says("SPOEL_PORT")))
    supervisor.wait_ready(10)
    assert "elsewhere" not in child.output()


def test_a_zombie_counts_as_gone():
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    ticks = start_ticks(process.pid)
    assert ticks is not None
    assert still_runs(process.pid, ticks)
    process.stdin.close()
    wait_gone(process.pid, ticks)
    assert Path(f"/proc/{process.pid}").exists()
    process.wait(5)


def end_while_working():
    with ending_on_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        finally:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_interrupts_once_cleaning_up_is_not_interrupted_and_the_handler_is_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"):
        end_while_working()
    assert signal.getsignal(signal.SIGTERM) is before
