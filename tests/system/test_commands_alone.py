"""The commands of ``spoel`` where no instance runs, or one comes to its end; the simulators."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.system.terminal import PORTS, SERVICES, SPOEL, spoel, typed

from spoel_local.instance import free_ports
from spoel_local.launcher import Launcher
from spoel_local.processes import Program, start_ticks, still_runs


def test_when_a_process_dies_up_says_so_and_stops_the_others(tmp_path, monkeypatch):
    """With stand-ins for the programs: what is shown here is the launcher's own."""
    started = []

    def stand_ins(launcher):
        for name in ("nats", "identity", *SERVICES):
            short = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(1)")
            long = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")
            yield Program(name, short if name == "planning" else long, waiting_for=started.append)

    monkeypatch.setattr(Launcher, "programs", stand_ins)
    ports = [
        f"--{name.lower().replace('_', '-')}-port={port}"
        for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)
    ]
    told = typed("up", "--data-dir", tmp_path / "data", *ports)
    assert told.exit_code == 1
    assert re.search(r"planning \(process \d+\) ended with status 0", told.stderr)
    assert "Everything was stopped." in told.output
    assert {child.name for child in started} == {"nats", "identity", *SERVICES}
    assert all(child.exit_status is not None for child in started)


DEMO_OF_STAND_INS = f"""
import sys
from spoel_local.__main__ import main
from spoel_local.launcher import Launcher
from spoel_local.processes import Program

def stand_ins(launcher):
    for name in ("nats", "identity", *{SERVICES!r}):
        sleep = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")
        yield Program(name, sleep, waiting_for=lambda child: None if child.name == "nats" else "the others")

Launcher.programs = stand_ins
sys.argv = ["spoel", "demo"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_interrupted_leaves_no_file_and_no_process(tmp_path, number):
    """With stand-ins for the programs: what is shown here is the launcher's own."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(
        [sys.executable, "-c", DEMO_OF_STAND_INS], stdout=subprocess.PIPE, text=True, env=environment
    )
    with demo.stdout:
        next(line for line in demo.stdout if "nats is ready" in line)
        (data_dir,) = tmp_path.iterdir()
        children = processes_in_sessions_of_their_own_below(demo.pid)
        demo.send_signal(number)
        rest = demo.stdout.read()
    assert demo.wait(30) == 130
    assert len(children) == 6
    assert not any(still_runs(pid, ticks) for pid, ticks in children)
    assert "Traceback" not in rest
    assert not data_dir.exists()
    assert list(tmp_path.iterdir()) == []


def processes_in_sessions_of_their_own_below(parent):
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [(int(pid), start_ticks(int(pid))) for pid in children if os.getsid(int(pid)) == int(pid)]


def test_an_instance_whose_launcher_is_gone_counts_as_ended(tmp_path):
    running = typed("status", "--data-dir", tmp_path)
    assert running.exit_code == 1
    launcher = {"name": "spoel", "kind": "launcher", "pid": os.getpid(), "start_ticks": 1, "address": "-"}
    description = {
        "version": "0.1.0",
        "site": "local",
        "data_dir": str(tmp_path),
        "clock": None,
        "issuer": "http://127.0.0.1:1",
        "nats_url": "nats://127.0.0.1:1",
        "nats_monitor_url": "http://127.0.0.1:1",
        "services": {},
        "rooms": [],
        "stores": [],
        "processes": [launcher],
    }
    (tmp_path / "instance.json").write_text(json.dumps(description))
    told = typed("status", "--data-dir", tmp_path)
    assert told.exit_code == 1
    assert "has ended" in told.stderr


@pytest.mark.parametrize("command", [("status",), ("token", "--role", "auditor"), ("demo", "--attach")])
def test_without_an_instance_a_command_says_how_to_start_one(tmp_path, command):
    told = typed(*command, "--data-dir", tmp_path)
    assert told.exit_code == 1
    assert f"No instance runs on {tmp_path}. Start one with 'spoel up" in "".join(told.output.split("\n"))


def test_init_makes_secrets_without_printing_them_and_changes_none_the_second_time(tmp_path):
    first = spoel("init", "--data-dir", tmp_path / "installation")
    assert first.returncode == 0
    secrets = {path: path.read_text() for path in (tmp_path / "installation" / "secrets").iterdir()}
    assert len(secrets) >= 10
    assert not any(text in first.stdout for text in secrets.values())
    second = typed("init", "--data-dir", tmp_path / "installation")
    assert "0 new secrets" in second.output
    assert {path: path.read_text() for path in secrets} == secrets


@pytest.mark.parametrize("owner", ["me", "1000", "1000:", "-1:0"])
def test_an_owner_that_is_no_pair_of_numbers_is_refused(tmp_path, owner):
    told = typed("init", "--data-dir", tmp_path / "installation", "--owner", owner)
    assert told.exit_code == 1
    assert "UID:GID" in told.stderr
    assert not (tmp_path / "installation").exists()


def test_version_and_menu():
    assert spoel("--version").stdout.strip()
    menu = typed().output
    for command in ("up", "status", "demo", "init", "token", "simulator", "plot", "bench"):
        assert f" {command} " in menu


@pytest.mark.parametrize(
    ("option", "value"),
    [("--rooms", "0"), ("--rooms", "17"), ("--site", "Site 1"), ("--bind", "localhost"), ("--bind", "256.0.0.1")],
)
def test_an_impossible_option_is_refused_by_name(tmp_path, option, value):
    told = typed("up", option, value, "--data-dir", tmp_path / "data")
    assert told.exit_code == 1
    assert f"{option} is " in told.stderr
    assert value in told.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("url", ["mysql://somewhere/x", "postgresql:///no-host", "/a/path"])
def test_a_database_url_of_another_kind_is_refused(tmp_path, url):
    ports = [
        f"--{name.lower().replace('_', '-')}-port={port}"
        for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)
    ]
    told = typed("up", "--database-url", url, "--data-dir", tmp_path / "data", *ports)
    assert told.exit_code == 1
    assert "--database-url names a PostgreSQL server" in told.stderr


@pytest.fixture
def simulator():
    started = []

    def simulator(*options):
        process = subprocess.Popen(
            [SPOEL, "simulator", "magpro-x100", *options], stdout=subprocess.PIPE, text=True, env={"PATH": "/usr/bin"}
        )
        started.append(process)
        return json.loads(process.stdout.readline())

    yield simulator
    for process in started:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_a_simulator_s_first_line_says_its_address_and_serial(simulator, tmp_path):
    first = simulator("--tcp", "0", "--log", str(tmp_path / "log.jsonl"), "--speed", "10")
    assert first["serial"].startswith("SIM-")
    host, _, port = first["address"].removeprefix("socket://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(bytes.fromhex("fe010000ff"))
        assert client.recv(64).startswith(b"\xfe")
    directions = {json.loads(line).get("dir") for line in (tmp_path / "log.jsonl").read_text().splitlines()}
    assert {"in", "out"} <= directions


def test_a_simulator_listens_where_it_is_told_to(simulator):
    host, _, port = simulator("--tcp", "0", "--bind", "127.0.0.2")["address"].removeprefix("socket://").partition(":")
    assert host == "127.0.0.2"
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(bytes.fromhex("fe010000ff"))
        assert client.recv(64).startswith(b"\xfe")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), timeout=5)


def test_a_simulator_on_a_pseudo_terminal(simulator):
    assert simulator("--pty")["address"].startswith("/dev/pts/")


@pytest.mark.parametrize("doors", [(), ("--tcp", "0", "--pty")])
def test_a_simulator_asks_for_one_way_to_be_reached(doors):
    told = typed("simulator", "magpro-x100", *doors)
    assert told.exit_code == 2
    assert "--tcp PORT, or --pty" in told.stderr


def test_a_simulator_refuses_a_speed_that_is_not_the_shared_clock_s(monkeypatch):
    monkeypatch.setenv("SPOEL_CLOCK", '{"utc_ns": 0, "monotonic_ns": 0, "speed": 60}')
    told = typed("simulator", "magpro-x100", "--pty", "--speed", "10")
    assert told.exit_code == 2
    assert "differs from the speed 60 of SPOEL_CLOCK" in told.stderr


@pytest.mark.hazard("HZ-25")
def test_a_simulator_with_a_fast_clock_stays_on_loopback():
    told = typed("simulator", "magpro-x100", "--tcp", "0", "--bind", "0.0.0.0", "--speed", "10")
    assert told.exit_code == 2
    assert "a fast clock stays on loopback" in told.stderr
