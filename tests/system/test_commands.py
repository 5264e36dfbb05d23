"""The commands of ``spoel`` on a running instance, as a person types them."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from tests.collector import Collector
from tests.system.terminal import SERVICES, SPOEL, Up, spoel, typed

from spoel_common.tracing import ATTRIBUTES
from spoel_local.demo.patients import two_patients
from spoel_local.processes import start_ticks, still_runs


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
    assert set(by_name) == {"spoel", "nats", "identity", "simulator-1", "simulator-2", "guard", *SERVICES}
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
        ("audit", "persons"),
        ("intake", "strips"),
        ("planning", "knowledge"),
        ("stimulation", "known"),
        ("stimulation", "rooms"),
        ("stimulation", "site"),
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


@pytest.mark.invariant("INV-11")
@pytest.mark.timeout(60)
def test_a_guard_that_is_killed_is_started_again_and_stops_the_rooms_as_before(up):
    def guard():
        return next(process for process in up.instance()["processes"] if process["name"] == "guard")

    def stop():
        return httpx.post(up.instance()["rooms"][0]["estop"], timeout=5, trust_env=False).json()["outcome"]

    before = guard()["pid"]
    os.kill(before, signal.SIGKILL)
    until_s = time.monotonic() + 30
    while guard()["pid"] == before or not start_ticks(guard()["pid"]):
        assert time.monotonic() < until_s
        time.sleep(0.1)
    outcome = None
    while outcome != "confirmed":
        assert time.monotonic() < until_s
        with contextlib.suppress(httpx.HTTPError):
            outcome = stop()


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
