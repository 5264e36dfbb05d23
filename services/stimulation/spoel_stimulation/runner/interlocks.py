"""A room's interlocks: what comes to be known of others, or of the room itself, and stops a session at once (INV-4)."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.errors import SpoelError
from spoel_stimulation.domain.refusals import StatusTooOld
from spoel_stimulation.runner.faults import ARMED_PHASES, Faults
from spoel_stimulation.runner.journal import Journal

RECHECK_PAUSE_S = 0.5

_log = structlog.get_logger(__name__)


class Interlocks:
    """Looks at the open session whenever something may have come to speak against it.

    Args:
        room_id: the room, for the log.
        journal: knows the session and what is known of it.
        faults: interrupts or closes it.
        halted: stops the device, and keeps others from beginning meanwhile.
    """

    def __init__(
        self, room_id: str, journal: Journal, faults: Faults, halted: Callable[[], AbstractAsyncContextManager[bool]]
    ) -> None:
        self._room_id = room_id
        self._journal = journal
        self._faults = faults
        self._halted = halted
        self._recheck = asyncio.Event()

    def look_again(self) -> None:
        """Look at the session again: something has changed."""
        self._recheck.set()

    async def run(self) -> None:
        """Look whenever asked to, until cancelled."""
        while True:
            await self._recheck.wait()
            self._recheck.clear()
            try:
                await self._check()
            except SQLAlchemyError as error:
                _log.error("room.interlocks-not-checked", room=self._room_id, reason=str(error))
                await asyncio.sleep(RECHECK_PAUSE_S)
                self.look_again()

    async def _check(self) -> None:
        state = await self._journal.open_session()
        if state is None or state.phase not in ARMED_PHASES:
            return
        try:
            await self._journal.check_going_on(state)
        except SpoelError as refusal:
            async with self._halted():
                if not isinstance(refusal, StatusTooOld) or not await self._faults.explained():
                    await self._faults.interlock(state, refusal)
