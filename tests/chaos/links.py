"""The links between NATS nodes, each through a small TCP proxy of ours that can be cut.

A proxy stands before every ordered pair of nodes: node 1 reaches node 2 at a port of its own. A silent cut lets nothing
through and tells nobody; what was under way arrives when the link is back, as TCP's own repeats would. A reset cut
ends the connections and refuses new ones. The proxies run in a thread of their own: a busy test must not cut a link.
"""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

_CHUNK = 65_536
_THREAD_WITHIN_S = 10.0


class Link:
    """One proxy: who connects to ``port`` is connected to ``target``."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.refusing = False
        self._target = target
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def cut(self, how: str) -> None:
        if how == "silent":
            self._passing.clear()
        else:
            self.refusing = True
            self._drop()

    async def mend(self) -> None:
        self.refusing = False
        self._passing.set()

    async def close(self) -> None:
        self._passing.set()
        self._drop()
        if self._server is not None:
            self._server.close()
        if self._serving:
            await asyncio.wait(self._serving)

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._kept(writer):
            await self._passing.wait()
            if self.refusing:
                return
            try:
                there = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return
            with self._kept(there[1]):
                both = [asyncio.ensure_future(self._pump(*pair)) for pair in ((reader, there[1]), (there[0], writer))]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for pump in both:
                    pump.cancel()
                await asyncio.gather(*both, return_exceptions=True)

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()


class Links:
    """All links of a cluster.

    Args:
        cluster_ports: node → the port at which it awaits other nodes.
        ports: one for every ordered pair of nodes.
    """

    def __init__(self, cluster_ports: dict[str, int], ports: Sequence[int]) -> None:
        pairs = itertools.permutations(cluster_ports, 2)
        self._links = {pair: (port, cluster_ports[pair[1]]) for pair, port in zip(pairs, ports, strict=True)}
        self._open: dict[tuple[str, str], Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)

    def routes_of(self, node: str) -> list[int]:
        """Return the ports at which ``node`` finds the other nodes."""
        return [port for (start, _), (port, _) in self._links.items() if start == node]

    def start(self) -> None:
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        self._do(self._each("close", self._open))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_THREAD_WITHIN_S)
        self._loop.close()

    def cut(self, node: str, how: str) -> None:
        """Cut ``node`` off from all others, in both directions."""
        self._do(self._each("cut", [pair for pair in self._open if node in pair], how))

    def mend(self, node: str) -> None:
        """Mend every link from and to ``node``."""
        self._do(self._each("mend", [pair for pair in self._open if node in pair]))

    async def _listen(self) -> None:
        for pair, (port, target) in self._links.items():
            self._open[pair] = Link(port, target)
            await self._open[pair].listen()

    async def _each(self, act: str, pairs: Any, *args: str) -> None:
        for pair in list(pairs):
            await getattr(self._open[pair], act)(*args)
        await asyncio.sleep(0)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_THREAD_WITHIN_S)
