import os
from pathlib import Path
from typing import Literal

import pytest

from spoel_common.clock import ScaledClock
from spoel_common.settings import CannotStart, Settings, load_settings, read_secret


class TrialSettings(Settings):
    service: Literal["trial"] = "trial"
    port: int = 8199


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch):
    for name in list(os.environ):
        if name.startswith("SPOEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPOEL_DATABASE_URL", "sqlite:///x.db")


def test_a_service_listens_on_this_machine_only_unless_told_otherwise():
    settings = load_settings(TrialSettings)
    assert (settings.bind, settings.port, settings.site) == ("127.0.0.1", 8199, "local")
    assert settings.token_audience == "trial"


def test_several_servers_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("SPOEL_NATS_URL", "nats://a:4222, nats://b:4222,")
    assert load_settings(TrialSettings).nats_url == ("nats://a:4222", "nats://b:4222")


def test_variables_that_nobody_knows_and_empty_ones_are_ignored(monkeypatch):
    monkeypatch.setenv("SPOEL_OF_ANOTHER_SERVICE", "x")
    monkeypatch.setenv("SPOEL_SITE", "")
    assert load_settings(TrialSettings).site == "local"


def test_processes_that_share_a_clock_agree_on_the_time(monkeypatch):
    monkeypatch.setenv("SPOEL_CLOCK", ScaledClock(utc_ns=5, monotonic_ns=7, speed=60).to_setting())
    first, second = load_settings(TrialSettings).service_clock(), load_settings(TrialSettings).service_clock()
    assert first == second
    assert first.speed == 60


def test_without_a_shared_clock_time_is_real():
    assert load_settings(TrialSettings).service_clock().speed == 1


@pytest.mark.hazard("HZ-25")
def test_where_people_are_treated_a_fast_clock_is_refused(monkeypatch):
    monkeypatch.setenv("SPOEL_CLOCK", ScaledClock(utc_ns=0, monotonic_ns=0, speed=60).to_setting())
    monkeypatch.setenv("SPOEL_CLINICAL", "true")
    with pytest.raises(CannotStart, match=r"SPOEL_CLOCK has speed 60.*Unset SPOEL_CLOCK"):
        load_settings(TrialSettings)


def test_where_people_are_treated_a_shared_clock_in_real_time_is_accepted(monkeypatch):
    monkeypatch.setenv("SPOEL_CLOCK", ScaledClock(utc_ns=0, monotonic_ns=0, speed=1).to_setting())
    monkeypatch.setenv("SPOEL_CLINICAL", "true")
    assert load_settings(TrialSettings).clinical


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SPOEL_PORT", "eighty"),
        ("SPOEL_PORT", "70000"),
        ("SPOEL_SITE", "Umc.Utrecht"),
        ("SPOEL_SITE", "a b"),
        ("SPOEL_STORE", "node.1"),
        ("SPOEL_BIND", "localhost:80"),
        ("SPOEL_STREAM_REPLICAS", "0"),
        ("SPOEL_CLOCK", "{"),
        ("SPOEL_CLOCK", '{"speed": 2}'),
        ("SPOEL_CLOCK", '{"utc_ns": 0, "monotonic_ns": 0, "speed": 0}'),
        ("SPOEL_CLINICAL", "perhaps"),
        ("SPOEL_SERVICE", "other"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(CannotStart) as refusal:
        load_settings(TrialSettings)
    assert variable in str(refusal.value) or variable.removeprefix("SPOEL_").lower() in str(refusal.value)
    assert "Set them in the environment" in str(refusal.value)


def test_a_missing_setting_is_named(monkeypatch):
    monkeypatch.delenv("SPOEL_DATABASE_URL")
    with pytest.raises(CannotStart, match="SPOEL_DATABASE_URL: is not set"):
        load_settings(TrialSettings)


def test_a_secret_is_read_from_a_file_that_only_its_owner_reads(tmp_path: Path):
    path = tmp_path / "kek"
    path.write_text("secret\n")
    path.chmod(0o600)
    assert read_secret(path, "kek_file") == "secret"


@pytest.mark.parametrize("trouble", ["absent", "empty", "world", "binary", "directory"])
def test_a_secret_that_cannot_be_trusted_is_refused_by_its_setting(tmp_path: Path, trouble):
    path = tmp_path / "kek"
    if trouble == "directory":
        path.mkdir(mode=0o700)
    elif trouble != "absent":
        path.write_bytes({"empty": b" \n", "binary": b"\xff\xfe"}.get(trouble, b"hush-hush"))
        path.chmod(0o644 if trouble == "world" else 0o600)
    with pytest.raises(CannotStart, match="SPOEL_KEK_FILE") as refusal:
        read_secret(path, "kek_file")
    assert "hush" not in str(refusal.value)
