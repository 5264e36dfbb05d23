"""Where a run takes place: an instance of the launcher, small or of a hospital's size, and how to strike it."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from tests.chaos.cluster import NODES, Cluster
from tests.chaos.plan import CRASH, CUT, DISK, KILL, STOP, Fault
from tests.postgres_server import PostgresServer

from spoel_common.messaging import NatsSettings
from spoel_common.store import StoreName
from spoel_local.instance import Instance, free_ports
from spoel_local.launcher import Launcher, Options, running
from spoel_local.nats_config import inbox_prefix
from spoel_local.processes import Child, Program
from spoel_local.status import why_not_ready

READY_WITHIN_S = 90.0
FULL_AT_BYTES = 4_096
"""A process may write no file beyond this while its disk counts as full: its database, its streams, its log."""

_TWINS = ("intake", "planning")
_LOOK_EVERY_S = 0.1
_ANSWER_WITHIN_S = 5.0


class NotMended(Exception):
    """A process was not ready again in time after a fault."""


@dataclass
class Place:
    """A running instance, and what strikes it.

    Attributes:
        struck: what was really struck, for the report: of a leader, which node that was.
    """

    launcher: Launcher
    instance: Instance
    cluster: Cluster | None = None
    postgres: PostgresServer | None = None

    def __post_init__(self) -> None:
        self.struck: list[str] = []
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def addresses(self) -> dict[str, list[str]]:
        """Service → URLs of its processes."""
        found = {service: [url] for service, url in self.instance.services.items()}
        if isinstance(self.launcher, HospitalLauncher):
            for twin in _TWINS:
                found[twin].append(self.launcher.twin_url(twin))
        return found

    def nats_settings(self, user: str) -> NatsSettings:
        """Return how to reach NATS as a service's user."""
        return NatsSettings(
            servers=self.cluster.urls if self.cluster else self.instance.nats_url,
            nkey_seed_file=self.launcher.installation.nkey(user),
            inbox_prefix=inbox_prefix(user),
        )

    async def strike(self, fault: Fault) -> None:
        """Bring a fault about, let it last, mend it, and wait until what was struck is ready again.

        Raises:
            NotMended: it was not in time.
        """
        what, targets = fault.kind.what, await self._targets(fault)
        self.struck.append(f"{what} {' '.join(targets)}")
        async with contextlib.AsyncExitStack() as stack:
            for target in sorted(targets):  # two faults of a round never strike one process at the same time
                await stack.enter_async_context(self._locks.setdefault(target, asyncio.Lock()))
            if what == KILL:
                await self._kill(targets, fault.lasts_s)
            elif what == STOP:
                await self._stop(targets[0], fault.lasts_s)
            elif what == DISK:
                await self._fill_disk(targets[0], fault.lasts_s)
            elif what == CUT:
                await self._cut(targets[0], fault)
            elif what == CRASH:
                await asyncio.to_thread(self._server.crash_and_restart, fault.lasts_s)
            else:
                raise ValueError(f"no such fault: {fault}")
            await self.all_ready()

    async def all_ready(self) -> None:
        """Wait until every process says that it is ready.

        Raises:
            NotMended: one does not in time.
        """
        for child in self.launcher.supervisor.children:
            await self._ready(child)

    @property
    def _server(self) -> PostgresServer:
        if self.postgres is None:
            raise ValueError("this place has no PostgreSQL")
        return self.postgres

    async def _targets(self, fault: Fault) -> list[str]:
        target = fault.kind.target
        if target == "nats-*":
            return list(NODES)
        if target not in {"leader", "publisher"}:
            return [target]
        find = self._leader_of if target == "leader" else self._publisher_of
        deadline_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline_s:
            found = await asyncio.to_thread(find, fault.service)
            if found is not None:
                return [found]
            await asyncio.sleep(_LOOK_EVERY_S)
        raise NotMended(f"{fault.service} has no {target}")

    def _leader_of(self, service: str) -> str | None:
        if self.cluster is None:
            raise ValueError("this place has no cluster")
        store = next(store for store in self.instance.stores if store.service == service)
        name = StoreName(site=self.instance.site, service=store.service, store=store.store)
        return self.cluster.leader_of(name.stream)

    def _publisher_of(self, service: str) -> str | None:
        """Return the process that says of its own relay that it publishes."""
        for name, url in zip((service, f"{service}-2"), self.addresses[service], strict=True):
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
                checks = httpx.get(f"{url}/health/ready", timeout=_ANSWER_WITHIN_S, trust_env=False).json()["checks"]
                if any(check["name"] == "relay" and check["detail"] == "publishes" for check in checks):
                    return name
        return None

    async def _kill(self, names: list[str], down_s: float) -> None:
        for name in names:
            self._child(name).signal(signal.SIGKILL)
        for name in names:
            await asyncio.to_thread(self._child(name).wait, READY_WITHIN_S)
        await asyncio.sleep(down_s)
        for name in names:
            self._start(name)

    async def _stop(self, name: str, lasts_s: float) -> None:
        self._child(name).signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(lasts_s)
        finally:
            self._child(name).signal(signal.SIGCONT)

    async def _fill_disk(self, name: str, lasts_s: float) -> None:
        """Let a process write nothing for a while.

        A nats-server that could not write keeps refusing until it is started anew, which its operator has to do.
        """
        pid, endless = self._child(name).pid, resource.RLIM_INFINITY
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_AT_BYTES, endless))
        try:
            await asyncio.sleep(lasts_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (endless, endless))
        if name.startswith("nats"):
            self._child(name).signal(signal.SIGTERM)
            await asyncio.to_thread(self._child(name).wait, READY_WITHIN_S)
        if self._child(name).exit_status is not None:
            self._start(name)

    async def _cut(self, node: str, fault: Fault) -> None:
        if self.cluster is None:
            raise ValueError("this place has no cluster")
        self.cluster.links.cut(node, fault.kind.how)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            self.cluster.links.mend(node)

    async def _ready(self, child: Child) -> None:
        deadline_s = time.monotonic() + READY_WITHIN_S
        reason: str | None = "not looked at"
        while reason is not None:
            if child.exit_status is not None:  # struck by another fault of this round, which starts it again
                child = self._child(child.name)
                reason = "it has ended"
            else:
                reason = await asyncio.to_thread(child.program.waiting_for, child)
            if reason is not None and time.monotonic() > deadline_s:
                raise NotMended(f"{child.name} is not ready after {READY_WITHIN_S:.0f} s: {reason}; {child.log_path}")
            await asyncio.sleep(0 if reason is None else _LOOK_EVERY_S)

    def _child(self, name: str) -> Child:
        return self.launcher.supervisor[name]

    def _start(self, name: str) -> None:
        self.launcher.supervisor.start(self._child(name).program)


class HospitalLauncher(Launcher):
    """The launcher, with three NATS nodes in place of one, and two processes of intake and of planning."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.cluster = Cluster(self.data_dir / "nats")
        self._twin_ports = dict(zip(_TWINS, free_ports(len(_TWINS)), strict=True))

    def twin_url(self, service: str) -> str:
        """Return the address of a service's second process."""
        return f"http://127.0.0.1:{self._twin_ports[service]}"

    def programs(self) -> Iterator[Program]:
        """Yield every program in the order of their start."""
        for program in super().programs():
            if program.name == "nats":
                yield from self.cluster.programs()
            elif "SPOEL_NATS_URL" in program.environment:
                yield self._on_cluster(program)
                if program.name in _TWINS:
                    yield self._twin(self._on_cluster(program))
            else:
                yield program

    def _on_cluster(self, program: Program) -> Program:
        changed = {
            "SPOEL_NATS_URL": self.cluster.urls,
            "SPOEL_NATS_MONITOR_URL": self.cluster.monitor_url(NODES[0]),
            "SPOEL_STREAM_REPLICAS": str(len(NODES)),
        }
        return replace(program, environment={**program.environment, **changed})

    def _twin(self, program: Program) -> Program:
        url = self.twin_url(program.name)
        own = {
            "SPOEL_PORT": str(self._twin_ports[program.name]),
            "SPOEL_DATA_DIR": f"{program.environment['SPOEL_DATA_DIR']}-2",
        }
        Path(own["SPOEL_DATA_DIR"]).mkdir(mode=0o700, exist_ok=True)
        return replace(
            program,
            name=f"{program.name}-2",
            environment={**program.environment, **own},
            waiting_for=lambda _: why_not_ready(self._client, url),
        )

    def _address(self, name: str) -> str:
        if name in NODES:
            return f"nats://127.0.0.1:{self.cluster.clients[name]}"
        if name.endswith("-2") and name.removesuffix("-2") in _TWINS:
            return self.twin_url(name.removesuffix("-2"))
        return super()._address(name)


@contextmanager
def embedded(options: Options) -> Iterator[Place]:
    """Run an instance as ``make run`` has it: SQLite, one nats-server, one process a service."""
    with running(options) as (launcher, instance):
        yield Place(launcher, instance)


@contextmanager
def hospital(options: Options) -> Iterator[Place]:
    """Run an instance of a hospital's size: PostgreSQL, three NATS nodes with three copies of every stream, twins."""
    umask = os.umask(0o077)
    postgres = PostgresServer(may_crash=True)
    try:
        postgres.start()
        options = replace(options, database_url=postgres.url("postgres"))
        options.data_dir.mkdir(parents=True, exist_ok=True)
        launcher = HospitalLauncher(options)
        launcher.cluster.links.start()
        try:
            yield Place(launcher, launcher.start(), launcher.cluster, postgres)
        finally:
            launcher.stop()
            launcher.cluster.close()
    finally:
        postgres.stop()
        os.umask(umask)
