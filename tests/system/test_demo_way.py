"""``spoel demo``: two patients' whole way as processes on free ports, and nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SPOEL = Path(sys.executable).with_name("spoel")


def processes_mentioning(text):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in command:
            found.append(command)
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    place = tmp_path_factory.mktemp("demo")
    finished = subprocess.run(
        [SPOEL, "demo", "--json", "--seed", "7", "--speed", "240"],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(place)},
        check=False,
    )
    return finished, place


@pytest.fixture(scope="module")
def report(demo):
    finished, _ = demo
    assert finished.returncode == 0, finished.stdout[-4_000:] + finished.stderr
    return json.loads(finished.stdout)


@pytest.mark.timeout(150)
def test_two_patients_walk_their_whole_way_and_every_check_holds(report):
    assert report["ok"] is True
    assert report["error"] is None
    assert [check["name"] for check in report["checks"] if not check["ok"]] == []


@pytest.mark.requirement("ST-06")
@pytest.mark.invariant("INV-1")
def test_pulses_of_simulator_stimulation_and_audit_log_are_equal_in_both_rooms(report):
    pulses = [check["values"] for check in report["checks"] if check["name"].startswith("pulses of ")]
    assert len(pulses) == 2
    for room in pulses:
        assert room["simulator"] == room["stimulation"] == room["audit"] > 0
        assert room["unknown_at_most"] == 0


@pytest.mark.requirement("PL-04")
def test_one_session_has_3000_pulses_at_10_hz_and_one_is_itbs_of_600(report):
    delivered = {patient["protocol"]: patient["pulses_delivered"] for patient in report["patients"]}
    assert delivered == {"hf-left-dlpfc-10hz-standard": 3000, "itbs-600-left-dlpfc": 600}


@pytest.mark.requirement("ST-03")
def test_the_two_sessions_run_at_the_same_time_in_two_rooms(report):
    assert {patient["room"] for patient in report["patients"]} == {"room-1", "room-2"}
    begun = [step for step in report["timeline"] if step["what"].startswith("session started")]
    closed = [step for step in report["timeline"] if step["what"].startswith("session closed")]
    assert len(begun) == len(closed) == 2
    assert max(step["wall_s"] for step in begun) < min(step["wall_s"] for step in closed)


@pytest.mark.requirement("ST-05")
def test_the_intensity_is_lowered_half_way_and_the_other_session_paused_and_resumed(report):
    told = [step["what"] for step in report["timeline"]]
    assert any(what.startswith("intensity lowered to 110 %") for what in told)
    assert any(what.startswith("paused after ") for what in told)
    assert any(what.startswith("resumed") for what in told)


@pytest.mark.requirement("AU-01")
def test_every_event_of_every_store_is_in_the_log_once_and_in_order(report):
    once = next(check for check in report["checks"] if check["name"].endswith("exactly once"))
    assert set(once["values"]["stores"]) == {"intake", "planning", "stimulation"}
    assert once["values"]["log"] == sum(once["values"]["stores"].values())


@pytest.mark.requirement("AU-04")
def test_the_root_recomputed_from_the_raw_entries_is_the_one_served(report):
    root = report["checks"][-1]["values"]
    assert root["recomputed"] == root["served"]


@pytest.mark.requirement("IN-01")
def test_referrals_come_as_plain_json_and_as_fhir(report):
    told = " ".join(step["what"] for step in report["timeline"])
    assert "referred by plain JSON" in told
    assert "referred by a FHIR ServiceRequest" in told


@pytest.mark.requirement("PL-03")
def test_the_threshold_that_was_found_is_near_the_true_one(report):
    for patient in report["patients"]:
        true = patient["true_threshold_percent_mso"]
        assert abs(patient["threshold_percent_mso"] - true) <= 0.08 * true


def test_no_file_and_no_process_is_left(demo):
    finished, place = demo
    assert finished.returncode == 0
    assert list(place.iterdir()) == []
    assert processes_mentioning(str(place)) == []
