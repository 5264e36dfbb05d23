"""The commands of ``spoel`` as a person types them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.collector import Collector
from typer.testing import CliRunner

from spoel_common.tracing import ATTRIBUTES
from spoel_local.__main__ import app
from spoel_local.demo.patients import two_patients
from spoel_local.instance import free_ports
from spoel_local.launcher import Launcher
from spoel_local.processes import Program, start_ticks, still_runs

SPOEL = Path(sys.executable).with_name("spoel")
SERVICES = ("intake", "planning", "stimulation", "audit")
PORTS = ("IDENTITY", "INTAKE", "PLANNING", "STIMULATION", "AUDIT", "NATS", "NATS_MONITOR")


def spoel(*arguments, timeout_s=60, **environment):
    return subprocess.run(
        [SPOEL, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **environment},
        check=False,
    )


def typed(*arguments):
    """Type a command that starts no process, without the time that a new interpreter takes."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Up:
    """``spoel up`` in the background, as from a terminal."""

    def __init__(self, place, *options):
        self.data_dir = place / "data"
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.output = place / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [SPOEL, "up", "--data-dir", self.data_dir, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ["PATH"],
                    "COLUMNS": "200",
                    "OTEL_BSP_SCHEDULE_DELAY": "200",
                    **{f"SPOEL_{name}_PORT": port for name, port in self.ports.items()},
                },
            )

    def wait_until_it_says(self, text, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def said(self):
        return self.output.read_text()

    def instance(self):
        return json.loads((self.data_dir / "instance.json").read_text())

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)


@pytest.fixture(scope="module")
def traces():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def up(tmp_path_factory, traces):
    running = Up(tmp_path_factory.mktemp("up"), "--speed", "240", "--otlp-endpoint", traces.endpoint)
    try:
        running.wait_until_it_says("Ctrl-C stops it")
        running.wait_until_it_says("spoel demo --attach")
        yield running
    finally:
        running.end()


@pytest.fixture(scope="module")
def status(up):
    told = spoel("status", "--json", "--data-dir", up.data_dir)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_up_prints_the_addresses_how_to_get_a_token_and_a_first_call(up):
    said = up.said()
    for name in ("IDENTITY", "INTAKE", "PLANNING", "STIMULATION", "AUDIT", "NATS"):
        assert f"127.0.0.1:{up.ports[name]}" in said
    assert f"spoel token --role supervisor --data-dir {up.data_dir}" in said
    assert f'curl -H "Authorization: Bearer $({SPOEL} token --role supervisor' in said


def test_the_first_call_that_up_prints_works_as_it_stands(up, tmp_path):
    (call,) = (line.partition(": ")[2] for line in up.said().splitlines() if line.startswith("A first call: "))
    told = subprocess.run(
        ["bash", "-c", call], capture_output=True, text=True, timeout=30, check=True, env=_with_curl(tmp_path)
    )
    assert json.loads(told.stdout)["protocols"]


def _with_curl(folder):
    """Return an environment with a ``curl`` that knows ``-H HEADER URL``, where the machine has none of its own."""
    if shutil.which("curl") is None:
        script = folder / "curl"
        script.write_text(
            f"#!{sys.executable}\nimport sys, urllib.request\n"
            "name, _, value = sys.argv[2].partition(': ')\n"
            "asked = urllib.request.Request(sys.argv[3], headers={name: value})\n"
            "sys.stdout.buffer.write(urllib.request.urlopen(asked, timeout=20).read())\n"
        )
        script.chmod(0o755)
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_token_prints_only_the_token(up):
    told = spoel("token", "--role", "auditor", "--data-dir", up.data_dir)
    assert told.returncode == 0
    assert told.stderr == ""
    assert len(told.stdout.split(".")) == 3
    assert told.stdout.count("\n") == 1


def test_an_unknown_role_is_refused_with_those_that_exist(up):
    told = typed("token", "--role", "emperor", "--data-dir", up.data_dir)
    assert told.exit_code == 2
    assert "tms-professional" in told.stderr


def test_status_names_every_process_with_pid_and_address_simulators_too(up, status):
    by_name = {process["name"]: process for process in status["processes"]}
    assert set(by_name) == {"spoel", "nats", "identity", "simulator-1", "simulator-2", *SERVICES}
    assert all(process["running"] for process in by_name.values())
    assert by_name["intake"]["address"] == f"http://127.0.0.1:{up.ports['INTAKE']}"
    assert by_name["simulator-1"]["address"].startswith("socket://127.0.0.1:")
    assert by_name["spoel"]["pid"] == up.process.pid
    for process in by_name.values():
        assert start_ticks(process["pid"]) is not None


def test_status_tells_the_lag_of_every_consumer(status):
    lags = {(consumer["service"], consumer["source"]): consumer["lag_events"] for consumer in status["consumers"]}
    for source in ("intake/main", "planning/main", "stimulation/node-1"):
        assert lags["audit", f"/spoel/local/{source}"] >= 0
    assert ("stimulation", "/spoel/local/planning/main") in lags
    assert ("planning", "/spoel/local/intake/main") in lags
    assert all(not any(consumer["waiting"].values()) for consumer in status["consumers"])


def test_status_is_readable_for_people(up, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    told = typed("status", "--data-dir", up.data_dir)
    assert told.exit_code == 0
    assert "simulator-2" in told.stdout
    assert "/spoel/local/stimulation/node-1" in told.stdout


def test_every_service_tells_live_ready_metrics_and_its_interface(up):
    with httpx.Client(trust_env=False) as client:
        for service in SERVICES:
            for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"):
                url = f"http://127.0.0.1:{up.ports[service.upper()]}{path}"
                assert client.get(url).status_code == 200, url


def test_secrets_and_data_can_be_read_by_their_owner_only(up):
    for path in up.data_dir.rglob("*"):
        if path.name in {"users.conf", "compose.env"}:
            continue
        assert not path.stat().st_mode & 0o007, path


def test_a_second_instance_on_the_same_data_directory_is_refused(up):
    told = typed("up", "--data-dir", up.data_dir)
    assert told.exit_code == 1
    assert "An instance already runs on" in told.stderr
    assert up.process.poll() is None


def test_a_taken_port_is_named_with_what_to_do(up, tmp_path, monkeypatch):
    for name, port in up.ports.items():
        monkeypatch.setenv(f"SPOEL_{name}_PORT", port)
    told = typed("up", "--data-dir", tmp_path / "other")
    assert told.exit_code == 1
    assert f"Port {up.ports['NATS']} on 127.0.0.1, wanted for NATS, is taken" in told.stderr
    assert "--nats-port or SPOEL_NATS_PORT" in told.stderr


@pytest.fixture(scope="module")
def attached_demo(up):
    return spoel("demo", "--attach", "--json", "--seed", "7", "--data-dir", up.data_dir, timeout_s=110)


@pytest.mark.timeout(120)
def test_the_demo_runs_on_an_instance_that_is_there(attached_demo):
    report = json.loads(attached_demo.stdout)
    assert attached_demo.returncode == 0, report["error"]
    assert report["attached"] is True
    assert all(check["ok"] for check in report["checks"])


@pytest.mark.timeout(180)
@pytest.mark.invariant("INV-6")
def test_every_command_of_the_demo_is_one_trace_through_all_services_and_names_nobody(attached_demo, traces):
    def ids(name):
        return {span.attributes["messaging.message.id"] for span in list(traces.spans) if span.name == name}

    deadline_s = time.monotonic() + 30
    while not ids("publish") or ids("publish") != ids("apply log"):
        assert time.monotonic() < deadline_s, "every published event is applied to the audit log, in traces too"
        time.sleep(0.1)
    consents = [span for span in traces.spans if span.name == "POST /cases/{case_id}/consent"]
    assert len(consents) == 2
    for consent in consents:
        trace = [span for span in traces.spans if span.trace == consent.trace]
        assert sorted((span.service, span.name) for span in trace) == [
            ("spoel-audit", "apply log"),
            ("spoel-intake", "POST /cases/{case_id}/consent"),
            ("spoel-intake", "append"),
            ("spoel-intake", "publish"),
            ("spoel-intake", "unit of work"),
            ("spoel-planning", "apply knowledge"),
            ("spoel-stimulation", "apply known"),
        ]
        assert [span for span in trace if not span.parent] == [consent]
    assert {name for span in traces.spans for name in span.attributes} <= ATTRIBUTES
    sent = b"".join(traces.bodies)
    for patient in two_patients(7):
        for secret in (patient.given_name, patient.family_name, patient.bsn, patient.birth_date.isoformat()):
            assert secret.encode() not in sent


@pytest.mark.timeout(90)
def test_a_read_model_is_rebuilt_while_the_instance_runs(up):
    def listed():
        told = spoel("projections", "--json", "--data-dir", up.data_dir)
        return {(line["service"], line["name"]): line for line in json.loads(told.stdout)["projections"]}

    before = listed()
    assert {key for key, line in before.items() if line["rebuildable"]} == {
        ("intake", "strips"),
        ("planning", "knowledge"),
        ("stimulation", "known"),
    }
    asked = spoel("projections", "rebuild", "knowledge", "--service", "planning", "--data-dir", up.data_dir)
    assert (asked.returncode, asked.stdout.startswith("planning builds knowledge anew")) == (0, True), asked.stderr
    deadline_s = time.monotonic() + 60
    while (now := listed()["planning", "knowledge"])["since"] == before["planning", "knowledge"]["since"]:
        assert time.monotonic() < deadline_s, now
        time.sleep(0.2)
    assert (now["version"], now["rebuild"], set(now["behind"].values())) == (1, None, {0})
    assert "knowledge" in spoel("projections", "--data-dir", up.data_dir).stdout
    idle = spoel("projections", "cancel", "knowledge", "--service", "planning", "--data-dir", up.data_dir)
    assert idle.stdout == "knowledge was not being rebuilt.\n"


@pytest.mark.parametrize(
    ("service", "name", "why"),
    [("audit", "log", "log only grows"), ("planning", "log", "it keeps: knowledge"), ("surgery", "x", "no service")],
)
def test_what_cannot_be_rebuilt_is_refused_in_words(up, service, name, why):
    told = spoel("projections", "rebuild", name, "--service", service, "--data-dir", up.data_dir)
    assert told.returncode == 1
    assert why in told.stderr


@pytest.mark.timeout(60)
def test_ctrl_c_stops_everything(up):
    pids = [(process["pid"], process["start_ticks"]) for process in up.instance()["processes"]]
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 0
    assert up.said().rstrip().endswith("Stopped.")
    assert "Traceback" not in up.said()
    assert not any(still_runs(pid, ticks) for pid, ticks in pids)
    assert not (up.data_dir / "instance.json").exists()
    for port in up.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_when_a_process_dies_up_says_so_and_stops_the_others(tmp_path, monkeypatch):
    """With stand-ins for the programs: what is shown here is the launcher's own."""
    started = []

    def stand_ins(launcher):
        for name in ("nats", "identity", *SERVICES):
            short = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(1)")
            long = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")
            yield Program(name, short if name == "planning" else long, waiting_for=started.append)

    monkeypatch.setattr(Launcher, "programs", stand_ins)
    ports = [f"--{name.lower().replace('_', '-')}-port={port}" for name, port in zip(PORTS, free_ports(7), strict=True)]
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
    for command in ("up", "status", "demo", "init", "token", "simulator", "bench"):
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
    ports = [f"--{name.lower().replace('_', '-')}-port={port}" for name, port in zip(PORTS, free_ports(7), strict=True)]
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
