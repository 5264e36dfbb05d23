"""The connection to NATS: connects in the background, reconnects for ever, logs what only callbacks see."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any, Self

import httpx
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from pydantic import BaseModel, ConfigDict, field_validator

from spoel_common.cancellation import keeping_cancellation

_log = structlog.get_logger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_CONNECT_WAIT_S = 2.0
_RECONNECT_WAIT_S = 1
_PING_INTERVAL_S = 5
_GIVE_UP_S = 60.0
_CLOSE_TIMEOUT_S = 5.0
_CANCEL_AGAIN_S = 0.2
_API_TIMEOUT_S = 5.0
_MONITOR_TIMEOUT_S = 3.0


class BrokerAway(Exception):
    """There is no connection to NATS at the moment."""


class NatsSettings(BaseModel):
    """How to reach NATS.

    Attributes:
        servers: addresses; a comma-separated text is taken apart.
        monitor_url: the server's monitoring address, where alone ``sync_interval: always`` can be seen.
        nkey_seed_file: file with this user's NKey seed; None where the server asks for none.
        inbox_prefix: prefix of reply subjects; one of its own for each user.
    """

    model_config = ConfigDict(frozen=True)

    servers: tuple[str, ...]
    monitor_url: str | None = None
    nkey_seed_file: Path | None = None
    inbox_prefix: str = "_INBOX"

    @field_validator("servers", mode="before")
    @classmethod
    def _take_apart(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


class _Client(Client):
    """The client, but a cancellation that comes at a bad moment is not lost, and headers are read without detours."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Read ``Name: Value`` lines; what the client's own does in a fifth of its time."""
        lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n"))
        return {name.strip(): value.strip() for name, colon, value in lines if colon and " " not in name.strip()}

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        async with keeping_cancellation():
            await super().publish(subject, payload, reply, headers)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,  # noqa: ASYNC109 - the signature is the client's
        old_style: bool = False,  # noqa: FBT001, FBT002 - likewise
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        async with keeping_cancellation():
            return await super().request(subject, payload, timeout, old_style, headers)

    async def write(self, messages: bytes) -> None:
        """Send messages that are in the form of the protocol already, behind those that ``publish`` has taken."""
        async with keeping_cancellation():
            await self._send_command(messages)
            await self._flush_pending()


class Broker:
    """One connection to NATS, shared by a service's relay, watermarks and consumers.

    Attributes:
        name: shown in NATS's monitor, and the prefix of this service's durable consumers: one a store, for example
            ``planning-main`` or ``stimulation-node-1``.
    """

    def __init__(self, settings: NatsSettings, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"broker name {name!r}: letters, digits, - and _ only; consumers are named after it")
        self.settings = settings
        self.name = name
        self._client = _Client()
        self._keeper: asyncio.Task[None] | None = None
        self._last_error = ""
        self._up = asyncio.Event()

    @classmethod
    async def connect(cls, settings: NatsSettings, name: str) -> Self:
        """Start to connect; return when connected, or after two seconds while NATS is away and go on trying."""
        broker = cls(settings, name)
        broker._keeper = asyncio.create_task(broker._keep_connected(), name=f"nats-{name}")
        try:
            await broker.wait_connected(_CONNECT_WAIT_S)
        except TimeoutError:
            _log.warning("nats-away", name=name, servers=settings.servers)
        except asyncio.CancelledError:
            await broker.close()
            raise
        return broker

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return bool(self._client.is_connected)

    @property
    def client(self) -> _Client:
        """The client, for this package only.

        Raises:
            BrokerAway: not connected.
        """
        if not self.connected:
            raise BrokerAway("no connection to NATS at " + ", ".join(self.settings.servers))
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """The JetStream context, for this package only.

        Raises:
            BrokerAway: not connected.
        """
        return self.client.jetstream(timeout=_API_TIMEOUT_S)

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Return once connected; wait for ever if no time-out is given.

        Raises:
            TimeoutError: not connected within ``timeout_s``.
        """
        async with asyncio.timeout(timeout_s):
            await self._up.wait()

    async def check_server(self) -> str | None:
        """Return why the server may lose acknowledged messages at a power cut, or None where it syncs always."""
        if self.settings.monitor_url is None:
            return "no monitor address of NATS is set, so sync_interval: always cannot be checked"
        try:
            async with httpx.AsyncClient(timeout=_MONITOR_TIMEOUT_S) as client:
                answer = await client.get(self.settings.monitor_url.rstrip("/") + "/jsz")
                config = answer.raise_for_status().json()["config"]
        except (httpx.HTTPError, KeyError, ValueError) as error:
            return f"the monitor of NATS does not answer about JetStream: {type(error).__name__} {error}"
        if config.get("sync_always") is not True:
            return "JetStream does not sync every message to disk: set sync_interval: always in its block of the server"
        return None

    async def close(self) -> None:
        """Close the connection, or stop trying."""
        if self._keeper is not None:
            await _end(self._keeper)
        await self._close_client()

    async def _keep_connected(self) -> None:
        """Connect, and again with a new client where the old one gave up.

        The client reconnects by itself, but closes for good on several errors that a server may send, such as a
        refused login while the server's users are being changed.
        """
        while True:
            await self._connect()
            await self._watch()
            _log.warning("nats-client-replaced", name=self.name)
            await self._close_client()
            self._client = _Client()

    async def _close_client(self) -> None:
        """Close the client in a task of its own: closing while it reconnects may end in a cancellation of its own."""
        closing = asyncio.create_task(self._client.close())
        await asyncio.wait({closing}, timeout=_CLOSE_TIMEOUT_S)
        error = None if closing.cancelled() or not closing.done() else closing.exception()
        if error is not None:
            _log.warning("nats-not-closed", name=self.name, error=str(error))

    async def _watch(self) -> None:
        connected_s = time.monotonic()
        while not self._client.is_closed and time.monotonic() - connected_s < _GIVE_UP_S:
            await asyncio.sleep(_RECONNECT_WAIT_S)
            if self._client.is_connected:
                connected_s = time.monotonic()

    async def _connect(self) -> None:
        seed = self.settings.nkey_seed_file
        while True:
            try:
                await self._client.connect(
                    servers=list(self.settings.servers),
                    name=self.name,
                    nkeys_seed=None if seed is None else str(seed),
                    inbox_prefix=self.settings.inbox_prefix,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_connected,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_WAIT_S,
                    ping_interval=_PING_INTERVAL_S,
                    max_outstanding_pings=2,
                    connect_timeout=2,
                )
            except (nats.errors.Error, OSError, TimeoutError) as error:
                await self._on_error(error)
                await asyncio.sleep(_RECONNECT_WAIT_S)
            else:
                await self._on_connected()
                return

    async def _on_connected(self) -> None:
        self._last_error = ""
        self._up.set()
        _log.info("nats-connected", name=self.name)

    async def _on_disconnected(self) -> None:
        self._up.clear()
        _log.warning("nats-disconnected", name=self.name)

    async def _on_error(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text != self._last_error:  # once, not at every attempt
            _log.warning("nats-error", name=self.name, error=text)
        self._last_error = text


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: the client may swallow a cancellation while it connects, several times over."""
    until_s = time.monotonic() + _CLOSE_TIMEOUT_S
    while not task.done() and time.monotonic() < until_s:
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
