"""The safety rule of every maker's adapter: whose turn it is, and what that rests on. Knows no device.

- **One command at a time.** Staging, arming, another intensity, a train: while one is under way, others are refused,
  never queued. Only disarm and questions go beside it.
- **A disarm voids everything.** So does whatever happened at the device that nobody here asked for. From that moment
  nothing is staged or armed, and the turn of a command under way does not stand any more: its frames are held back
  (``stands`` is asked when it is a frame's turn on the line), and it stages and arms nothing.
- **Armed, or disarmed.** A command that would leave the device armed and is broken off, by a failure or by its caller,
  ends with a disarm that its caller cannot break off.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar

from spoel_stimulation.devices.adapter import NotReady, TrainSettings, Unasked

Expected = TypeVar("Expected")

_MAY_BE_ARMED = "what would have left it armed was broken off, and it was not read back as disarmed: it may be armed"


class Turns(Generic[Expected]):
    """The turns at one device.

    Args:
        disarm: disarms; True if it was read back. Never raises, and has its own time-out.
        notice: told where a command was broken off by its caller and the device was not read back as disarmed: nobody
            else would hear of it.

    Attributes:
        expected: how the device must stand, in the maker's own terms, while something is staged or armed; else None.
        armed: what is staged may be started.
    """

    def __init__(self, disarm: Callable[[], Awaitable[bool]], notice: Callable[[Unasked], None]) -> None:
        self.expected: Expected | None = None
        self.armed = False
        self.voidings = 0
        self._settings: TrainSettings | None = None
        self._disarm = disarm
        self._notice = notice
        self._busy = False
        self._disarming: set[asyncio.Task[None]] = set()

    def void(self) -> None:
        """Nothing is staged or armed from now on, and no turn that was taken before stands."""
        self._settings, self.expected, self.armed = None, None, False
        self.voidings += 1

    def staged(self) -> tuple[TrainSettings, Expected]:
        """Return the settings that are staged, and how the device must stand.

        Raises:
            NotReady: nothing is staged.
        """
        if self._settings is None or self.expected is None:
            raise NotReady("Nothing is staged, or it was voided by a disarm or a change at the device. Stage first.")
        return self._settings, self.expected

    def armed_with(self, settings: TrainSettings) -> Expected:
        """Return how the device must stand for a train with these settings.

        Raises:
            NotReady: it is not armed, or for other settings.
        """
        if not self.armed or self.expected is None:
            raise NotReady("The device is not armed, or was disarmed since. Stage and arm it.")
        if self._settings != settings:
            raise NotReady("These are not the settings that were staged. Stage them.")
        return self.expected

    @contextmanager
    def one(self) -> Iterator["Turn[Expected]"]:
        """Take the one turn that there is; it ends with the block.

        Raises:
            NotReady: somebody else has it.
        """
        if self._busy:
            raise NotReady("Another command is under way, or a train is running; only disarm is possible.")
        self._busy = True
        try:
            yield Turn(self)
        finally:
            self._busy = False

    def keep(self, settings: TrainSettings, expected: Expected, *, armed: bool) -> None:
        """Take as staged; for the turn that has staged it."""
        self._settings, self.expected, self.armed = settings, expected, armed

    async def disarm_to_the_end(self, *, tell: bool) -> None:
        """Void, and disarm; whoever cancels this meanwhile is free, and the disarm goes on.

        Args:
            tell: where the device is not read back as disarmed.
        """
        self.void()
        task = asyncio.create_task(self._disarm_or_tell(tell=tell), name="disarm what was broken off")
        self._disarming.add(task)
        task.add_done_callback(self._disarming.discard)
        await asyncio.shield(task)

    async def _disarm_or_tell(self, *, tell: bool) -> None:
        if not await self._disarm() and tell:
            self._notice(Unasked(kind="change", detail=_MAY_BE_ARMED))


class Turn(Generic[Expected]):
    """The turn of one command."""

    def __init__(self, turns: Turns[Expected]) -> None:
        self._turns = turns
        self._voidings = turns.voidings

    def stands(self) -> bool:
        """Tell whether nothing was voided since this turn was taken."""
        return self._turns.voidings == self._voidings

    def check(self) -> None:
        """Go on only while the turn stands.

        Raises:
            NotReady: it does not stand any more.
        """
        if not self.stands():
            raise NotReady("The device was disarmed in the meantime, or changed by somebody. Stage again.")

    def begin_anew(self) -> None:
        """Void what was staged before, and take the turn again."""
        self._turns.void()
        self._voidings = self._turns.voidings

    def stage(self, settings: TrainSettings, expected: Expected, *, armed: bool = False) -> None:
        """Stage what was written and read back in this turn.

        Raises:
            NotReady: it does not stand any more; nothing is staged.
        """
        self.check()
        self._turns.keep(settings, expected, armed=armed)

    def expect(self, expected: Expected) -> None:
        """Have the device stand otherwise from now on.

        Raises:
            NotReady: the turn does not stand any more.
        """
        self.check()
        self._turns.expected = expected

    def arm(self, expected: Expected) -> None:
        """Let what is staged be started; the device was read back as armed in this turn.

        Raises:
            NotReady: it does not stand any more; nothing is armed.
        """
        self.expect(expected)
        self._turns.armed = True

    @asynccontextmanager
    async def or_disarmed(self) -> AsyncIterator[None]:
        """Disarm where the block ends otherwise than at its end; the caller's cancelling cannot break that off."""
        try:
            yield
        except asyncio.CancelledError:
            await self._turns.disarm_to_the_end(tell=True)
            raise
        except Exception:
            await self._turns.disarm_to_the_end(tell=False)
            raise
