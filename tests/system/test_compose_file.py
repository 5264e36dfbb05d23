"""docker-compose.yml and the Dockerfile, read as files: valid, nothing dangling, nothing left open."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spoel_local.installation import Installation, initialise

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
BIN = Path(sys.executable).parent
SERVICES = ("intake", "planning", "stimulation", "audit")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE_FILE.read_text())


def test_the_file_fits_the_compose_schema():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dockerfile_passes_its_linter():
    checked = subprocess.run([BIN / "hadolint", DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_every_secret_and_config_that_is_mounted_exists_and_every_one_is_used(compose, kind):
    used = {_source(item) for service in compose["services"].values() for item in service.get(kind, ())}
    assert used == set(compose[kind])


def test_every_named_volume_exists_and_every_one_is_used(compose):
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert used == set(compose["volumes"])


def test_what_a_service_waits_for_exists_and_can_become_healthy(compose):
    services = compose["services"]
    for name, service in services.items():
        for other, wish in service.get("depends_on", {}).items():
            assert other in services, f"{name} waits for {other}"
            assert wish["condition"] == "service_healthy"
            assert "healthcheck" in services[other] or "build" in services[other]


def test_every_file_that_is_mounted_is_in_the_repository_or_made_by_spoel_init(compose, tmp_path):
    initialise(tmp_path / "installation", "local")
    mounted = [entry["file"] for kind in ("secrets", "configs") for entry in compose[kind].values()]
    mounted += [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith(".")
    ]
    for text in mounted:
        path = re.sub(r"\$\{SPOEL_INSTALLATION(:\?[^}]*)?\}", str(tmp_path / "installation"), text)
        assert (ROOT / path).is_file(), text


def test_compose_environment_of_an_installation_gives_what_the_file_asks_of_it(tmp_path):
    initialise(tmp_path, "local")
    given = {line.split("=")[0] for line in Installation(tmp_path).compose_environment.read_text().splitlines()}
    asked = set(re.findall(r"\$\{(\w+):\?is in compose.env", COMPOSE_FILE.read_text()))
    assert asked <= given


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_as_an_ordinary_user_without_privileges_and_with_its_own_secrets_only(compose, name):
    service = compose["services"][name]
    assert service["user"].startswith("${SPOEL_UID:?")
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    others = {secret for other in SERVICES if other != name for secret in compose["services"][other]["secrets"]}
    assert not others & set(service["secrets"])
    for variable, value in service["environment"].items():
        if variable.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in service["secrets"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_s_port_is_published_on_this_machine_only_unless_said_otherwise(compose, name):
    port = compose["services"][name]["environment"]["SPOEL_PORT"]
    assert compose["services"][name]["ports"] == [f"${{SPOEL_PUBLISH:-127.0.0.1}}:{port}:{port}"]


def test_neither_the_database_nor_the_broker_is_reachable_from_outside(compose):
    assert "ports" not in compose["services"]["postgres"]
    assert "ports" not in compose["services"]["nats"]


@pytest.mark.invariant("INV-11")
def test_the_room_has_its_guard_which_is_told_of_the_same_rooms_and_started_again(compose):
    guard, room = compose["services"]["guard"], compose["services"]["stimulation"]
    for setting in ("SPOEL_ROOMS", "SPOEL_GUARD_DIR"):
        assert guard["environment"][setting] == room["environment"][setting]
    assert guard["environment"]["SPOEL_GUARD_DIR"] in {volume.split(":")[1] for volume in guard["volumes"]}
    assert set(guard["volumes"]) <= set(room["volumes"])
    assert guard["restart"] == "unless-stopped"
    assert guard["ports"] == ["${SPOEL_PUBLISH:-127.0.0.1}:8113:8113"]
    assert "secrets" not in guard


def test_no_secret_stands_in_an_argument_or_in_the_environment(compose):
    for service in compose["services"].values():
        for variable, value in service.get("environment", {}).items():
            assert "PASSWORD" not in variable or variable.endswith("_FILE"), variable
            assert not re.search(r"://[^/@]*:[^/@]*@", value), variable
        assert not any("password" in word for word in service.get("command", ()))


def test_the_image_runs_as_an_ordinary_user_has_a_health_check_and_a_pinned_base():
    text = DOCKERFILE.read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11.14-slim-trixie"}


def test_the_image_has_every_member_of_the_workspace():
    text = DOCKERFILE.read_text()
    members = yaml.safe_load(re.search(r"members = (\[.*?\])", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1])
    for member in members:
        assert f"COPY {member}/pyproject.toml {member}/" in text


def _source(item):
    return item if isinstance(item, str) else item["source"]
