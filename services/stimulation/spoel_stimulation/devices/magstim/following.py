"""From one start command to its end: sent once, followed until the device is ready again. Time-outs in wall time."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from spoel_common.clock import Clock
from spoel_stimulation.devices.adapter import (
    DeviceError,
    NotReady,
    RefusedByDevice,
    TrainResult,
    TrainSettings,
)
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.conversation import Conversation
from spoel_stimulation.devices.magstim.outcome import refused, train_result
from spoel_stimulation.devices.magstim.view import Heard

BEGIN_TIMEOUT_S = 1.0
END_MARGIN_S = 6.0
FASTEST_STEP_S = 0.002
SLOWEST_STEP_S = 0.05


@dataclass
class Start:
    """One start command.

    Attributes:
        talk: with the device.
        settings: of the train.
        heard: what is heard of it; filled by whoever listens to the device.
        clock: clock time.
        began: told when the start was sent, whether acknowledged or not.
    """

    talk: Conversation
    settings: TrainSettings
    heard: Heard
    clock: Clock
    began: Callable[[], None]

    async def run(self, allowed: Callable[[], bool]) -> TrainResult:
        """Send **one** start command and follow it.

        Args:
            allowed: asked when it is the start's turn.

        Raises:
            NotReady: not allowed any more; nothing was sent.
        """
        sent_utc_ns = self.clock.utc_ns()
        try:
            await self.talk.link.fire(say.FIRE, allowed)
        except NotReady:
            raise
        except RefusedByDevice as error:
            return refused(error.detail)
        except DeviceError as error:
            self.began()
            problem = f"the start was not acknowledged: {error.detail}"
            return train_result(self.settings, self.heard, sent_utc_ns, problem)
        self.began()
        fired_utc_ns = self.clock.utc_ns()
        return train_result(self.settings, self.heard, fired_utc_ns, await self._follow())

    async def _follow(self) -> str:
        """Ask again and again until the device is ready again; return why it was given up, empty if it was not."""
        heard, started_s = self.heard, time.monotonic()
        lasts_s = self.settings.duration_s / self.clock.speed
        step_s = min(SLOWEST_STEP_S, max(FASTEST_STEP_S, lasts_s / 4))
        failure = ""
        while not heard.over:
            passed_s = time.monotonic() - started_s
            if passed_s >= lasts_s + END_MARGIN_S or (not heard.begun and passed_s >= BEGIN_TIMEOUT_S):
                return failure or f"the device did not show {'an end' if heard.begun else 'a beginning'} in time"
            try:
                await self.talk.status()
            except DeviceError as error:
                failure = error.detail
            await asyncio.sleep(step_s)
        return "the connection broke" if heard.lost else ""
