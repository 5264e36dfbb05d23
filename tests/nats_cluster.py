"""Three NATS nodes on this machine that replicate among themselves; each can be killed and started again."""

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

from spoel_common.messaging import NatsSettings
from spoel_local import die_with_parent
from spoel_local.nats_config import server_config
from spoel_local.nats_server import binary

NODES = ("nats-1", "nats-2", "nats-3")
_TIMEOUT_S = 2.0


class NatsCluster:
    """The nodes; ``start`` starts one that does not run.

    Attributes:
        settings: addresses of all nodes, for clients.
    """

    def __init__(self, folder: Path) -> None:
        ports = iter(_free_ports(3 * len(NODES)))
        self._folder = folder
        self._ports = {node: (next(ports), next(ports), next(ports)) for node in NODES}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = NatsSettings(servers=tuple(f"nats://127.0.0.1:{port}" for port, _, _ in self._ports.values()))

    def start(self, node: str) -> None:
        folder = self._folder / node
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "users.conf").touch()
        (folder / "nats.conf").write_text(self._config(node), encoding="utf-8")
        launcher = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())]
        with (folder / "nats.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                [*launcher, binary(), "-c", folder / "nats.conf"], stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, node: str) -> None:
        process = self._running.pop(node)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for node in list(self._running):
            self.kill(node)

    def healthy(self) -> bool:
        """Tell whether every node that runs is, and has caught up with the others."""
        return all(self._is_healthy(node) for node in self._running)

    def _is_healthy(self, node: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._ports[node][1]}/healthz", timeout=_TIMEOUT_S).is_success
        except httpx.HTTPError:
            return False

    def _config(self, node: str) -> str:
        port, monitor_port, cluster_port = self._ports[node]
        routes = [f"nats-route://127.0.0.1:{ports[2]}" for other, ports in self._ports.items() if other != node]
        text = server_config(port, monitor_port, self._folder / node / "jetstream", "users.conf")
        return (
            text.replace("server_name: spoel\n", f"server_name: {node}\n")
            + f"cluster {{\n  name: spoel\n  listen: '127.0.0.1:{cluster_port}'\n  routes: {json.dumps(routes)}\n}}\n"
        )


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
