"""What a room does beside everything else: tasks that nobody has to wait for, looked after until they end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Background:
    """The tasks of one room.

    Args:
        room_id: the room, for the tasks' names and the log.
    """

    def __init__(self, room_id: str) -> None:
        self._room_id = room_id
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not self._tasks

    def start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Do ``work``; an error that nobody waits for is logged."""
        task = asyncio.create_task(work, name=f"{self._room_id} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self, timeout_s: float) -> None:
        """Wait for what is under way, at most so many wall seconds, and cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("room.task-failed", room=self._room_id, task=task.get_name(), exc_info=task.exception())
