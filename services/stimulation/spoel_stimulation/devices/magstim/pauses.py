"""The pauses that a Magstim needs and does not keep by itself, in clock time."""

from spoel_common.clock import NS_PER_S, Clock, sleep_s
from spoel_stimulation.devices.adapter import NotReady, TrainSettings

REST_S = 0.5
WAITED_AT_MOST_S = 1.0


class Pauses:
    """When the next setting and the next train may come.

    Args:
        clock: clock time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended_ns: int | None = None
        self._not_before_ns = 0

    def begin(self, settings: TrainSettings, minimum_wait_s: float) -> None:
        """Take notice of a train that begins now.

        The energy behind its pause is reckoned from a train of n periods, one more than lie between its pulses.
        """
        energetic = minimum_wait_s > REST_S and settings.stimuli > 1
        periods_s = settings.stimuli / settings.rate_hz if energetic else 0.0
        after_s = max(settings.duration_s, periods_s) + minimum_wait_s
        self._not_before_ns = self._clock.monotonic_ns() + round(after_s * NS_PER_S)

    def end(self) -> None:
        """Take notice that a train has ended, at the latest now."""
        self._ended_ns = self._clock.monotonic_ns()

    async def rest(self) -> None:
        """Wait until settings are taken again after a train."""
        if self._ended_ns is not None:
            await self._clock.sleep_until(self._ended_ns + round(REST_S * NS_PER_S))

    async def next_train(self) -> None:
        """Wait for the rest of the pause after the last train, if little is left of it.

        Raises:
            NotReady: more is left: the next train was planned too early, and the unit would be damaged.
        """
        left_s = (self._not_before_ns - self._clock.monotonic_ns()) / NS_PER_S
        if left_s > WAITED_AT_MOST_S:
            raise NotReady(f"The device may give its next train in {left_s:.1f} s; sooner would damage it.")
        await sleep_s(self._clock, max(0.0, left_s))
