"""What is said between host and MagPro for one purpose each: identify, write and read back, enable, disable.

All time here is wall time. Nothing here decides whether a thing may be done: that is the adapter's.
"""

import asyncio
import time
from collections.abc import Callable

from spoel_stimulation.devices.adapter import Counters, DeviceError
from spoel_stimulation.devices.magpro import commands as ask
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.link import MagProLink
from spoel_stimulation.devices.magpro.staging import Answers, WireSettings
from spoel_stimulation.devices.magpro.values import Page
from spoel_stimulation.devices.read_back import differences

SETTLE_TIMEOUT_S = 1.5
SETTLE_STEP_S = 0.05
ENABLE_TIMEOUT_S = 2.0
DISABLE_TIMEOUT_S = 2.0
DISABLE_ATTEMPT_S = 0.4


def counters_of(report: say.CountersReport) -> Counters:
    """Return the device's counters under the names that every maker's adapter uses."""
    return Counters(trains=report.trains, pulses=report.total_pulses, stimuli=report.stimuli)


class Conversation:
    """The questions and orders of an adapter, over one open link.

    All raise ``LinkLost`` or ``BadChecksum`` where an answer does not come, but for ``disable``, which never raises.
    """

    def __init__(self, link: MagProLink) -> None:
        self.link = link

    async def status(self) -> say.ShortStatus:
        """Ask the short status."""
        return await self.link.request(ask.AskStatus(), say.ShortStatus)

    async def long_status(self) -> say.LongStatus:
        """Ask the long status."""
        return await self.link.request(ask.AskLongStatus(), say.LongStatus)

    async def counters(self) -> Counters:
        """Ask the counters."""
        return counters_of(await self.link.request(ask.AskCounters(), say.CountersReport))

    async def answers(self) -> Answers:
        """Ask everything that a train depends on."""
        return Answers(
            wave=await self.link.request(ask.AskWave(), say.WaveReport),
            timing=await self.link.request(ask.AskTiming(), say.Timing),
            delays=await self.link.request(ask.AskDelays(), say.Delays),
            status=await self.status(),
            counters=await self.link.request(ask.AskCounters(), say.CountersReport),
        )

    async def write(self, wire: WireSettings) -> Answers:
        """Show the Timing page, write every setting, and ask until all read back as written, or no longer.

        The device does not answer the writes of 09 and 0B and needs about 0.3 s until they hold.
        """
        await self.link.request(ask.SetPage(Page.TIMING), say.PageState)
        for command in (wire.wave, wire.delays, wire.timing):
            await self.link.send(command)
        await self.link.request(wire.amplitude, say.Amplitude)
        give_up_at = time.monotonic() + SETTLE_TIMEOUT_S
        answers = await self.answers()
        while differences(wire.set_point(), answers.read_back()) and time.monotonic() < give_up_at:
            await asyncio.sleep(SETTLE_STEP_S)
            answers = await self.answers()
        return answers

    async def write_amplitude(self, command: ask.SetAmplitude) -> int:
        """Write the amplitude; return what the status then says, percent of maximum output."""
        await self.link.request(command, say.Amplitude)
        return (await self.status()).amplitude_a

    async def enable(self, allowed: Callable[[], bool]) -> bool:
        """Enable, and wait until the status says so; False if it does not.

        Raises:
            NotReady: not allowed any more when it was this frame's turn; nothing was sent.
        """
        await self.link.send(ask.SetEnabled(enabled=True), allowed)
        give_up_at = time.monotonic() + ENABLE_TIMEOUT_S
        while not (await self.status()).status.enabled:
            if time.monotonic() >= give_up_at:
                return False
            await asyncio.sleep(SETTLE_STEP_S)
        return True

    async def disable(self) -> bool:
        """Disable, again and again until the status says so or the time is up; True if it was read back."""
        give_up_at = time.monotonic() + DISABLE_TIMEOUT_S
        while self.link.broken is None:
            try:
                await self.link.send(ask.SetEnabled(enabled=False))
                status = await self.link.request(ask.AskStatus(), say.ShortStatus, DISABLE_ATTEMPT_S)
                if not status.status.enabled:
                    return True
            except DeviceError:
                await asyncio.sleep(SETTLE_STEP_S)
            if time.monotonic() >= give_up_at:
                break
        return False
