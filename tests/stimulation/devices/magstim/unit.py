"""A simulated Magstim that is spoken to without a port."""

from spoel_common.clock import SteppedClock
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.simulators import Wanted, simulate

INVENTED_CODE = "1a2b-3c4d5e6f-70"


class Unit:
    """A simulator in stepped time, without a port."""

    def __init__(self, name, **wanted):
        self.clock = SteppedClock()
        self.simulator = simulate(name, Wanted(self.clock, 7, **wanted))
        self.said = []
        self.simulator.speak = self.said.append

    def take(self, frame):
        """Have it hear and obey one whole frame, or damaged piece."""
        self.simulator.hear(frame)
        self.simulator.take(frame)

    def ask(self, frame):
        """Return the one answer without its checksum; None for silence."""
        self.said.clear()
        for whole in self.simulator.framer().feed(frame):
            self.take(whole)
        assert len(self.said) <= 1
        return (self.said[0][:-1] if len(self.said[0]) > 1 else self.said[0]) if self.said else None

    def status(self):
        """Return the instrument's status, by the question that changes nothing."""
        return say.Instrument(self.ask(say.ASK_TEMPERATURE)[1])

    async def ready(self, *frames):
        """Take control, set, arm, and wait until it is ready."""
        for frame in (say.take_control(), *frames, say.ARM):
            self.ask(frame)
        await self.clock.advance_s(1.0)
        assert self.status() & say.Instrument.READY
