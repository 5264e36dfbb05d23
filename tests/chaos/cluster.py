"""Three NATS nodes with JetStream on three disks, whose links can be cut."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
from tests.chaos.links import Links

from spoel_local.instance import free_ports
from spoel_local.nats_config import server_config
from spoel_local.nats_server import binary
from spoel_local.processes import Child, Program

NODES = ("nats-1", "nats-2", "nats-3")
_TIMEOUT_S = 2.0
_NOBODY_LISTENS = "127.0.0.1:1"
"""Advertised in place of a node's own address: other nodes reach it over the links alone."""


class Cluster:
    """The nodes' configuration and addresses; whoever starts the programs starts the nodes.

    Args:
        folder: gets a configuration and a JetStream directory for each node.
        users: path of the users file, relative to ``folder``; made here, for anybody, if it is not there.
    """

    def __init__(self, folder: Path, users: str = "users.conf") -> None:
        ports = iter(free_ports(3 * len(NODES) + len(NODES) * (len(NODES) - 1)))
        self._folder, self._users = folder, users
        self.clients = {node: next(ports) for node in NODES}
        self.monitors = {node: next(ports) for node in NODES}
        self._among = {node: next(ports) for node in NODES}
        self.links = Links(self._among, list(ports))
        self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)

    @property
    def urls(self) -> str:
        """Addresses for clients, comma-separated."""
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.clients.values())

    def monitor_url(self, node: str) -> str:
        return f"http://127.0.0.1:{self.monitors[node]}"

    def close(self) -> None:
        """End the links; to be called when the nodes have ended."""
        self.links.stop()
        self._client.close()

    def programs(self) -> Iterator[Program]:
        """Yield the program of each node."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / self._users).exists():
            (self._folder / self._users).write_text("")
        for node in NODES:
            config = self._folder / f"{node}.conf"
            config.write_text(self._config(node), encoding="utf-8")
            yield Program(name=node, command=(binary(), "-c", str(config)), waiting_for=self._healthy(node))

    def leader_of(self, stream: str, asked: Sequence[str] = NODES) -> str | None:
        """Return the node that leads a stream, as the first of those asked says that knows."""
        for node in asked:
            try:
                answer = self._client.get(self.monitor_url(node) + "/jsz", params={"streams": "1", "accounts": "1"})
                accounts = answer.json().get("account_details") or []
            except (httpx.HTTPError, ValueError):
                continue
            for found in (each for account in accounts for each in account.get("stream_detail") or []):
                leader = (found.get("cluster") or {}).get("leader")
                if found["name"] == stream and leader:
                    return str(leader)
        return None

    def _healthy(self, node: str) -> Callable[[Child], str | None]:
        def waiting_for(_: Child) -> str | None:
            try:
                answer = self._client.get(self.monitor_url(node) + "/healthz")
            except httpx.HTTPError as error:
                return f"no answer ({type(error).__name__})"
            return None if answer.is_success else answer.text[:200]

        return waiting_for

    def _config(self, node: str) -> str:
        routes = ", ".join(json.dumps(f"nats-route://127.0.0.1:{port}") for port in self.links.routes_of(node))
        store = self._folder / f"jetstream-{node}"
        return (
            server_config(self.clients[node], self.monitors[node], store, self._users, name=node)
            + "cluster {\n  name: spoel\n"
            + f"  listen: {json.dumps(f'127.0.0.1:{self._among[node]}')}\n"
            + f"  advertise: {json.dumps(_NOBODY_LISTENS)}\n"
            + f"  routes: [ {routes} ]\n}}\n"
        )
