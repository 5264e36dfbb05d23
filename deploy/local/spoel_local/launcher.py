"""All of Spoel on one machine: which processes there are, with what settings, and when each is ready.

Every process gets its settings by environment variables and its secrets as files; the services are the same programs,
started by the same commands, as in the containers of ``docker-compose.yml``.
"""

import asyncio
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx

from spoel_common.clock import NS_PER_S, ScaledClock, utc_now
from spoel_local.event_tables import latest_moment
from spoel_local.installation import Installation, check_site, initialise
from spoel_local.instance import (
    Described,
    Instance,
    Kind,
    Room,
    StoreLocation,
    check_port_free,
    free_ports,
    only_instance,
)
from spoel_local.nats_config import SERVICES, inbox_prefix, server_config
from spoel_local.nats_server import binary
from spoel_local.postgres import make_databases, read_server, sqlite_stores
from spoel_local.processes import Child, LauncherError, Program, Supervisor, start_ticks
from spoel_local.status import why_not_ready

NODE_STORE = "node-1"
READY_TIMEOUT_S = 60.0
MAX_ROOMS = 16
_PROBE_TIMEOUT_S = 2.0

_INFRASTRUCTURE, _SERVICE = 0, 1
"""Stages: services end first, while the broker and the devices are still there."""


@dataclass(frozen=True)
class Ports:
    """TCP ports of an instance on 127.0.0.1."""

    identity: int = 8100
    intake: int = 8101
    planning: int = 8102
    stimulation: int = 8103
    audit: int = 8104
    guard: int = 8113
    nats: int = 14222
    nats_monitor: int = 18222

    @classmethod
    def any_free(cls) -> "Ports":
        """Return ports at which nobody listens now."""
        return cls(*free_ports(8))

    def of(self, service: str) -> int:
        """Return a service's port."""
        return int(getattr(self, service))


@dataclass(frozen=True)
class Options:
    """What an instance is to be.

    Attributes:
        data_dir: everything that it keeps.
        rooms: treatment rooms, each with a simulated stimulator of its own.
        clock: None for real time.
        database_url: a PostgreSQL server for intake, planning and audit; SQLite files if None.
        bind: address at which the services and the emergency stop listen; identity and the simulators stay on loopback.
        otlp_endpoint: where the services send traces; None for none.
    """

    data_dir: Path
    site: str = "local"
    rooms: int = 2
    clock: ScaledClock | None = None
    database_url: str | None = None
    ports: Ports = field(default_factory=Ports)
    bind: str = "127.0.0.1"
    otlp_endpoint: str | None = None


class Launcher:
    """Starts an instance's processes, and can stop and start each of them again."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.data_dir = options.data_dir.resolve()
        self.installation = Installation(self.data_dir)
        self.supervisor = Supervisor(self.data_dir / "logs")
        self._simulator_ports = free_ports(options.rooms, besides=astuple(options.ports))
        self.clock = options.clock
        self._stores: dict[str, StoreLocation] = {}
        self._client = httpx.Client(timeout=_PROBE_TIMEOUT_S, trust_env=False)

    def start(self, progress: Callable[[str], None] = lambda _: None) -> Instance:
        """Start everything and wait until it is ready.

        Args:
            progress: called with the name of each process that became ready.

        Raises:
            LauncherError: something cannot be started; the text says what and why.
        """
        self._check_ports()
        initialise(self.data_dir, self.options.site)
        self._stores = self._make_stores()
        self.clock = never_back(self.options.clock, asyncio.run(latest_moment(self._stores.values())))
        for program in self.programs():
            self.supervisor.start(program)
        self.supervisor.wait_ready(READY_TIMEOUT_S, progress=progress)
        instance = self.describe()
        instance.write()
        return instance

    def restart(self, name: str) -> None:
        """Start a process again that has ended, and wait until it is ready."""
        self.supervisor.start(self.supervisor[name].program)
        self.supervisor.wait_ready(READY_TIMEOUT_S, {name})
        self.describe().write()

    def stop(self) -> list[str]:
        """Stop everything; return the names of processes that had to be killed."""
        killed = self.supervisor.stop_all()
        self._client.close()
        return killed

    def programs(self) -> Iterator[Program]:
        """Yield every program of the instance in the order of their start."""
        yield self._nats()
        yield self._identity()
        for number, port in enumerate(self._simulator_ports, start=1):
            yield self._simulator(number, port)
        yield self._guard()
        for service in SERVICES:
            yield self._service(service)

    def describe(self) -> Instance:
        """Describe the instance as it runs now."""
        ports, site = self.options.ports, self.options.site
        controls = {child.program.name: _first_object(child).get("control") for child in self.supervisor.children}
        launcher = Described(
            name="spoel", kind="launcher", pid=os.getpid(), start_ticks=start_ticks(os.getpid()) or 0, address="-"
        )
        return Instance(
            version=importlib.metadata.version("spoel-local"),
            site=site,
            data_dir=self.data_dir,
            clock=self.clock,
            issuer=self._issuer,
            nats_url=f"nats://127.0.0.1:{ports.nats}",
            nats_monitor_url=f"http://127.0.0.1:{ports.nats_monitor}",
            services={service: self._url(service) for service in SERVICES},
            rooms=[
                Room(
                    room_id=f"room-{number}",
                    simulator=f"simulator-{number}",
                    address=f"socket://127.0.0.1:{port}",
                    log=self._simulator_log(number),
                    estop=f"{self._guard_url}/room-{number}",
                    control=controls.get(f"simulator-{number}"),
                )
                for number, port in enumerate(self._simulator_ports, start=1)
            ],
            stores=list(self._stores.values()),
            processes=[launcher, *(self._described(child) for child in self.supervisor.children)],
        )

    @property
    def _issuer(self) -> str:
        return f"http://127.0.0.1:{self.options.ports.identity}"

    @property
    def _host(self) -> str:
        return "127.0.0.1" if self.options.bind == "0.0.0.0" else self.options.bind  # noqa: S104 - asked, not bound

    def _url(self, service: str) -> str:
        return f"http://{self._host}:{self.options.ports.of(service)}"

    @property
    def _guard_url(self) -> str:
        return f"http://{self._host}:{self.options.ports.guard}/estop"

    def _simulator_log(self, number: int) -> Path:
        return self.data_dir / "simulators" / f"room-{number}.jsonl"

    def _check_ports(self) -> None:
        ports, bind = self.options.ports, self.options.bind
        check_port_free("127.0.0.1", ports.nats, "NATS", "--nats-port")
        check_port_free("127.0.0.1", ports.nats_monitor, "NATS's monitor", "--nats-monitor-port")
        check_port_free("127.0.0.1", ports.identity, "the identity provider", "--identity-port")
        check_port_free(bind, ports.guard, "the emergency stop", "--guard-port")
        for service in SERVICES:
            check_port_free(bind, ports.of(service), service, f"--{service}-port")

    def _make_stores(self) -> dict[str, StoreLocation]:
        if self.options.database_url is None:
            stores = sqlite_stores(self.data_dir)
        else:
            stores = asyncio.run(make_databases(read_server(self.options.database_url), self.installation))
        journal = f"sqlite:///{self.data_dir}/stimulation/journal.sqlite"
        stores["stimulation"] = StoreLocation(service="stimulation", store=NODE_STORE, url=journal)
        return {service: stores[service] for service in SERVICES}

    def _nats(self) -> Program:
        ports, users = self.options.ports, self.installation.nats_users
        config = users.with_name("nats.conf")
        text = server_config(ports.nats, ports.nats_monitor, users.with_name("jetstream"), users.name)
        config.write_text(text, encoding="utf-8")
        return Program(
            name="nats",
            command=(binary(), "-c", str(config)),
            stage=_INFRASTRUCTURE,
            waiting_for=lambda _: self._no_success(f"http://127.0.0.1:{ports.nats_monitor}/healthz"),
        )

    def _identity(self) -> Program:
        environment = {
            "SPOEL_DEV_IDENTITY": "1",
            "SPOEL_BIND": "127.0.0.1",
            "SPOEL_PORT": str(self.options.ports.identity),
            "SPOEL_ISSUER": self._issuer,
            "SPOEL_DATA_DIR": str(self.data_dir),
            "SPOEL_IDENTITY_KEY_FILE": str(self.installation.identity_key),
            "SPOEL_IDENTITY_SECRET_FILE": str(self.installation.identity_client_secret),
        }
        return Program(
            name="identity",
            command=(sys.executable, "-m", "spoel_local.identity_provider"),
            environment=environment,
            stage=_INFRASTRUCTURE,
            waiting_for=lambda _: self._no_success(f"{self._issuer}/health/live"),
        )

    def _simulator(self, number: int, port: int) -> Program:
        log = self._simulator_log(number)
        log.parent.mkdir(mode=0o700, exist_ok=True)
        return Program(
            name=f"simulator-{number}",
            command=(
                *(sys.executable, "-m", "spoel_stimulation.devices", "magpro-x100"),
                *("--tcp", str(port), "--number", str(number), "--log", str(log), "--control", "0"),
            ),
            environment=self._clock_setting,
            stage=_INFRASTRUCTURE,
            waiting_for=lambda child: None if _first_object(child) else "it has not said its address",
        )

    def _guard(self) -> Program:
        return Program(
            name="guard",
            command=(sys.executable, "-m", "spoel_stimulation.guard"),
            environment=self._clock_setting
            | self._rooms_setting
            | {"SPOEL_GUARD_BIND": self.options.bind, "SPOEL_GUARD_PORT": str(self.options.ports.guard)},
            stage=_INFRASTRUCTURE,
            restarts=True,
            waiting_for=lambda _: self._no_success(self._guard_url),
        )

    @property
    def _rooms_setting(self) -> dict[str, str]:
        """The rooms, as their guard and their service are told of them."""
        rooms = [
            {"room_id": f"room-{number}", "address": f"socket://127.0.0.1:{port}"}
            for number, port in enumerate(self._simulator_ports, start=1)
        ]
        return {"SPOEL_ROOMS": json.dumps(rooms), "SPOEL_GUARD_DIR": str(self.data_dir / "guard")}

    def _service(self, service: str) -> Program:
        ports, own_dir = self.options.ports, self.data_dir / service
        own_dir.mkdir(mode=0o700, exist_ok=True)
        store = self._stores[service]
        environment = self._clock_setting | {
            "SPOEL_SITE": self.options.site,
            "SPOEL_STORE": store.store,
            "SPOEL_BIND": self.options.bind,
            "SPOEL_PORT": str(ports.of(service)),
            "SPOEL_DATA_DIR": str(own_dir),
            "SPOEL_DATABASE_URL": store.url,
            "SPOEL_NATS_URL": f"nats://127.0.0.1:{ports.nats}",
            "SPOEL_NATS_MONITOR_URL": f"http://127.0.0.1:{ports.nats_monitor}",
            "SPOEL_NATS_NKEY_FILE": str(self.installation.nkey(service)),
            "SPOEL_NATS_INBOX_PREFIX": inbox_prefix(service),
            "SPOEL_ISSUER": self._issuer,
            "SPOEL_JWKS_URL": f"{self._issuer}/jwks.json",
            "SPOEL_OTLP_ENDPOINT": self.options.otlp_endpoint or "",
        }
        if store.password_file is not None:
            environment["SPOEL_DATABASE_PASSWORD_FILE"] = str(store.password_file)
        if service == "intake":
            environment["SPOEL_KEK_FILE"] = str(self.installation.key_encryption_key)
        if service == "stimulation":
            environment |= self._rooms_setting
        return Program(
            name=service,
            command=(sys.executable, "-m", f"spoel_{service}"),
            environment=environment,
            stage=_SERVICE,
            waiting_for=lambda _: why_not_ready(self._client, self._url(service)),
        )

    @property
    def _clock_setting(self) -> dict[str, str]:
        return {} if self.clock is None else {"SPOEL_CLOCK": self.clock.to_setting()}

    def _no_success(self, url: str) -> str | None:
        try:
            answer = self._client.get(url)
        except httpx.HTTPError as error:
            return f"no answer at {url} ({type(error).__name__})"
        return None if answer.is_success else f"status {answer.status_code} at {url}"

    def _described(self, child: Child) -> Described:
        return Described(
            name=child.name,
            kind=_kind(child.name),
            pid=child.pid,
            start_ticks=start_ticks(child.pid) or 0,
            address=self._address(child.name),
            log=child.log_path,
        )

    def _address(self, name: str) -> str:
        if name in SERVICES:
            return self._url(name)
        if name.startswith("simulator-"):
            port = self._simulator_ports[int(name.removeprefix("simulator-")) - 1]
            return f"socket://127.0.0.1:{port}"
        addresses = {
            "nats": f"nats://127.0.0.1:{self.options.ports.nats}",
            "identity": self._issuer,
            "guard": self._guard_url,
        }
        return addresses[name]


@contextmanager
def running(options: Options, progress: Callable[[str], None] = lambda _: None) -> Iterator[tuple[Launcher, Instance]]:
    """Run an instance for as long as the block lasts; it is stopped however the block ends.

    Raises:
        LauncherError: it cannot be started.
    """
    _check(options)
    umask = os.umask(0o077)
    try:
        options.data_dir.mkdir(parents=True, exist_ok=True)
        with only_instance(options.data_dir):
            launcher = Launcher(options)
            try:
                yield launcher, launcher.start(progress)
            finally:
                launcher.stop()
    finally:
        os.umask(umask)


def _check(options: Options) -> None:
    if not 1 <= options.rooms <= MAX_ROOMS:
        raise LauncherError(f"--rooms is {options.rooms}; one machine takes 1 to {MAX_ROOMS} rooms.")
    check_site(options.site)
    try:
        ip_address(options.bind)
    except ValueError:
        raise LauncherError(f"--bind is {options.bind!r}; give an IP address, such as 127.0.0.1.") from None


def never_back(wanted: ScaledClock | None, latest: datetime | None) -> ScaledClock | None:
    """Return the clock to run by: the one that is wanted, unless what is stored lies in its future.

    Data of an instance that ran in fast time may be days ahead; its time then goes on from its last event.

    Args:
        wanted: None for real time.
        latest: clock time of the last event that is stored, if there is one.
    """
    if latest is None or latest <= utc_now(wanted or ScaledClock.starting_now()):
        return wanted
    speed = 1.0 if wanted is None else wanted.speed
    ahead_ns = round((latest + timedelta(seconds=1)).timestamp()) * NS_PER_S
    return ScaledClock.starting_now(speed).model_copy(update={"utc_ns_at_start": ahead_ns})


def _kind(name: str) -> Kind:
    if name in SERVICES:
        return "service"
    if name.startswith("simulator-"):
        return "simulator"
    kinds: dict[str, Kind] = {"nats": "nats", "guard": "guard"}
    return kinds.get(name, "identity")


def _first_object(child: Child) -> dict[str, Any]:
    """Return the JSON object that is the child's first line of output; an empty one while it is not there."""
    line, ended, _ = child.output().partition("\n")
    try:
        found = json.loads(line) if ended else {}
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
