"""Cancellation that is not lost on the way.

A cancelled task may never notice: ``asyncio.wait_for`` of Python 3.11 returns a result that arrives together with the
cancellation, and a database driver that cleans up after a cancelled statement fails with an error of its own, which
takes the cancellation's place. A task that tries again after errors would then run for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

CANCEL_AGAIN_S = 1.0


@asynccontextmanager
async def keeping_cancellation() -> AsyncIterator[Callable[[], None]]:
    """Raise the cancellation that came to this task during the block, at the latest at its end.

    Yields:
        A function that raises it at once, if one came.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()

    def cancelled() -> bool:
        return task is not None and task.cancelling() > before

    def check() -> None:
        if cancelled():
            raise asyncio.CancelledError

    try:
        yield check
    except Exception as error:
        if cancelled():
            raise asyncio.CancelledError from error
        raise
    check()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` and wait for its end; cancel it again each second, should it not have noticed."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
