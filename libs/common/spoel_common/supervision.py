"""Supervised background tasks: one that fails is started again, after a growing pause, its failure stays visible."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
CANCEL_AGAIN_S = 1.0

_log = structlog.get_logger(__name__)

Run = Callable[[], Awaitable[None]]


@dataclass
class TaskState:
    """How a task is doing.

    Attributes:
        running: True while it runs; False in the pause after a failure.
        finished: True once a task that may end has ended well.
        restarts: how often it was started again.
        last_error: kind and text of its latest failure since it last ran steadily.
    """

    running: bool = False
    finished: bool = False
    restarts: int = 0
    last_error: str | None = None


class Supervisor:
    """Keeps tasks running until it is stopped.

    Args:
        on_restart: told the name of a task that is about to be started again.
    """

    def __init__(self, on_restart: Callable[[str], None] = lambda _name: None) -> None:
        self.states: dict[str, TaskState] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._on_restart = on_restart

    def start(self, name: str, run: Run, *, may_end: bool = False) -> None:
        """Start ``run`` and keep it running.

        Args:
            name: the task's name; one task a name.
            run: called anew after each failure.
            may_end: whether returning is success; else it counts as a failure.
        """
        if name in self._tasks:
            raise ValueError(f"a task named {name} runs already")
        self.states[name] = TaskState()
        self._tasks[name] = asyncio.create_task(self._keep(name, run, may_end=may_end), name=name)

    async def stop(self, timeout_s: float) -> None:
        """Cancel every task and wait for their ends, at most ``timeout_s`` seconds.

        A task that has not ended after a second is cancelled again: in Python 3.11 ``asyncio.wait_for`` can swallow a
        cancellation that comes in the moment in which what it waits for is done (CPython issue 86296).
        """
        pending = set(self._tasks.values())
        self._tasks.clear()
        deadline_s = time.monotonic() + timeout_s
        while pending and (left_s := deadline_s - time.monotonic()) > 0:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=min(left_s, CANCEL_AGAIN_S))
        for task in pending:
            _log.error("task.not-stopped", task=task.get_name(), waited_s=timeout_s)

    async def _keep(self, name: str, run: Run, *, may_end: bool) -> None:
        state = self.states[name]
        pause_s = FIRST_PAUSE_S
        while True:
            started_s = time.monotonic()
            state.running = True
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the task must come back
                state.last_error = f"{type(error).__name__}: {error}"
                _log.warning("task.failed", task=name, reason=state.last_error, exc_info=True)
            else:
                if may_end:
                    state.running, state.finished, state.last_error = False, True, None
                    return
                state.last_error = "ended by itself"
                _log.warning("task.ended", task=name)
            state.running = False
            if time.monotonic() - started_s > STEADY_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            state.restarts += 1
            self._on_restart(name)
