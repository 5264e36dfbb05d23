"""The room as it happens, for the screen in it: state, train, pulses, temperature, each with its age.

It is taken from this process's memory and its journal, and needs neither NATS nor the issuer. Where the journal does
not answer, what was read last goes on being shown, and its age says so. There is one board a room, which works only
while somebody watches. Nothing is queued for a watcher: whoever is slow misses what lay between, and whoever takes
nothing for ``SLOW_S`` seconds is dropped. A stream is never silent: without a look for ``SILENT_S`` seconds it ends, so
that no screen shows a frozen room as the room.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from spoel_common.cancellation import end
from spoel_common.clock import Clock, utc_now
from spoel_common.errors import SpoelError
from spoel_common.runtime import Runtime
from spoel_stimulation.answers import describe
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.domain.trains import device_pattern, next_train
from spoel_stimulation.runner import Room

if TYPE_CHECKING:
    from spoel_common.store import Cursor
    from spoel_stimulation.domain.room import RoomState

WATCHERS_AT_MOST = 16
LOOK_EVERY_S = 0.1
SEND_EVERY_S = 1.0
JOURNAL_WITHIN_S = 0.5
SLOW_S = 5.0
SILENT_S = 3.0

_log = structlog.get_logger(__name__)


class TooManyWatchers(SpoelError):
    """So many screens show this room already that another could be at the cost of the room."""

    slug = "too-many-watchers"
    status = 503
    title = "Too many screens show this room"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Aged(_Part):
    """A value, and how many wall seconds ago it was true for certain; ``age_s`` null: it never was."""

    value: Any
    age_s: float | None


class LiveTrain(_Part):
    """The last train: which of how many, and its pulses. ``under_way``: its end is not recorded yet."""

    index: int
    of: int
    pulses: int
    pulses_delivered: int
    under_way: bool


class LiveFeed(_Part):
    """How old the knowledge of another service is."""

    source: str
    age_s: float


class LiveRoom(_Part):
    """One look at a room.

    Attributes:
        state: of the open session; ``free`` where there is none.
        reason: why the session is paused or interrupted.
        latch: why the room is latched; null where it is not.
        train: the last train; null before the first.
        next_train_in_s: seconds of clock time until the next train is due; 0 where it is due; null where none is.
        percent_mso: as the device tells it; null in a blinded session (ST-09).
    """

    room_id: str
    number: int
    state: Aged
    session_id: Aged
    reason: Aged
    latch: Aged
    train: Aged
    pulses_delivered: Aged
    pulses_planned: Aged
    next_train_in_s: Aged
    device_ready: Aged
    device_enabled: Aged
    coil_temperature_c: Aged
    percent_mso: Aged
    knowledge: list[LiveFeed]
    knowledge_age_s: float | None

    def told(self) -> dict[str, Any]:
        """Return what a change of is told at once: everything but ages and what runs down by itself."""
        values = {name: part.value for name, part in self if isinstance(part, Aged)}
        return {name: value for name, value in values.items() if name != "next_train_in_s"}


class LiveBoard:
    """What is shown of one room.

    Args:
        room: the room.
        runtime: of the node.
    """

    def __init__(self, room: Room, runtime: Runtime) -> None:
        self._room = room
        self._runtime = runtime
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None
        self._latest: LiveRoom | None = None
        self._news = asyncio.Event()
        self._closed = False
        self._head: Cursor | None = None
        self._session: SessionState | None = None
        self._state: RoomState | None = None
        self._read_at_s: float | None = None

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._watchers

    def check_room(self) -> None:
        """Refuse another watcher where there are enough.

        Raises:
            TooManyWatchers: there are.
        """
        if self._watchers >= WATCHERS_AT_MOST:
            raise TooManyWatchers(f"{self._watchers} screens show this room. Close one, and try again.")

    async def watch(self) -> AsyncIterator[LiveRoom]:
        """Yield every change, and at least one look a second, until the watcher leaves or the node closes."""
        self._watchers += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name=f"{self._room.room_id} live")
        try:
            seen = 0
            while not self._closed:
                if self._latest is not None and self._latest.number != seen:
                    seen = self._latest.number
                    yield self._latest
                else:
                    async with asyncio.timeout(SILENT_S):
                        await self._news.wait()
        except TimeoutError:
            _log.error("live.no-look", room=self._room.room_id)
        finally:
            self._watchers -= 1
            if not self._watchers:
                await self._stop_looking()

    async def close(self) -> None:
        """Let every watcher go."""
        self._closed = True
        self._news.set()
        await self._stop_looking()

    async def _stop_looking(self) -> None:
        looking, self._looking, self._latest = self._looking, None, None
        if looking is not None:
            await end(looking)

    async def _look(self) -> None:
        sent_at_s, told, number = 0.0, None, 0
        while True:
            await self._read_journal()
            try:
                look = self._now(number + 1)
            except Exception:  # noqa: BLE001 - a fault is told and looked at again; meanwhile streams end by silence
                _log.exception("live.not-shown", room=self._room.room_id)
                await asyncio.sleep(SEND_EVERY_S)
                continue
            if look.told() != told or time.monotonic() - sent_at_s >= SEND_EVERY_S - LOOK_EVERY_S:
                sent_at_s, told, number = time.monotonic(), look.told(), look.number
                self._latest = look
                self._news.set()
                self._news = asyncio.Event()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _read_journal(self) -> None:
        """Read what is recorded, if anything is new; leave it as it was, and growing old, where that fails."""
        try:
            async with asyncio.timeout(JOURNAL_WITHIN_S):
                head = await self._runtime.store.head()
                if head != self._head:
                    session, state = await self._room.journal.open_session(), await self._room.state()
                    self._head, self._session, self._state = head, session, state
                self._read_at_s = time.monotonic()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            _log.debug("live.journal-not-read", room=self._room.room_id, reason=type(error).__name__)

    def _now(self, number: int) -> LiveRoom:
        read_s = None if self._read_at_s is None else round(time.monotonic() - self._read_at_s, 3)
        session, latch = self._session, None if self._state is None else self._state.latch
        around, status = self._room.look(), self._room.device.status
        heard_s = None if status is None else round(time.monotonic() - status.received_monotonic_s, 3)
        recorded = {
            "state": "free" if session is None else session.phase,
            "session_id": None if session is None else session.session.session_id,
            "reason": None if session is None else session.reason,
            "latch": None if latch is None else {"reason": latch.reason, "detail": latch.detail},
            "train": None if session is None else train_of(session, around.limits),
            "pulses_delivered": None if session is None else session.pulses_delivered,
            "pulses_planned": None if session is None else session.pulses_planned,
            "next_train_in_s": next_in_s(session, self._runtime.clock, around.limits),
        }
        told_by_device = {
            "device_enabled": None if status is None else status.enabled,
            "coil_temperature_c": None if status is None else status.coil_temperature_c,
            "percent_mso": None if status is None or (session is not None and session.blinded) else status.percent_mso,
        }
        feeds = [LiveFeed(source=known.source, age_s=round(known.age_s, 3)) for known in around.known]
        return LiveRoom.model_validate(
            {
                "room_id": self._room.room_id,
                "number": number,
                **{name: Aged(value=value, age_s=read_s) for name, value in recorded.items()},
                **{name: Aged(value=value, age_s=heard_s) for name, value in told_by_device.items()},
                "device_ready": Aged(value=around.device.ready, age_s=0.0),
                "knowledge": feeds,
                "knowledge_age_s": max((feed.age_s for feed in feeds), default=None),
            }
        )


def train_of(session: SessionState, limits: Limits) -> LiveTrain | None:
    """Return the last train of a session; None before the first."""
    if not session.trains:
        return None
    last, of = session.trains[-1], describe(session, limits).progress.trains_planned
    return LiveTrain(index=last.index, of=of, pulses=last.pulses, pulses_delivered=last.delivered, under_way=last.open)


def next_in_s(session: SessionState | None, clock: Clock, limits: Limits) -> float | None:
    """Return in how many seconds of clock time the next train of a running treatment is due; None where none is."""
    block = None if session is None else session.block
    if session is None or block is None or session.phase is not Phase.RUNNING:
        return None
    train = next_train(session, device_pattern(block, limits.max_autonomous_s))
    if train is None:
        return None
    return 0.0 if train.due_at is None else max(0.0, round((train.due_at - utc_now(clock)).total_seconds(), 3))


class EventStream(Response):
    """Server-sent events (WHATWG HTML, section 9.2) of one room, until the watcher leaves, is slow, or the node stops.

    Args:
        looks: what to send.
        stopping: tells that the process is asked to stop.
    """

    media_type = "text/event-stream"

    def __init__(self, looks: AsyncIterator[LiveRoom], stopping: Callable[[], bool]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._looks = looks
        self._stopping = stopping

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of both sides ends it."""
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_until_left(receive))
        try:
            done, _ = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending in done:
                sending.result()
        finally:
            for task in (sending, leaving):
                await end(task)

    async def _send_all(self, send: Send) -> None:
        try:
            async with asyncio.timeout(SLOW_S):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for look in self._looks:
                if self._stopping():
                    break
                text = f"id: {look.number}\nevent: room\ndata: {look.model_dump_json()}\n\n"
                async with asyncio.timeout(SLOW_S):
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            _log.warning("live.watcher-dropped", waited_s=SLOW_S)
        finally:
            await aclose(self._looks)


async def aclose(looks: AsyncIterator[LiveRoom]) -> None:
    """End a generator at once, not when it is collected: the watcher is gone now."""
    close = getattr(looks, "aclose", None)
    if close is not None:
        await close()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
