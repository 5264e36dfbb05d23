"""What passes between a room's process and its device, and what is sent to stop it.

Pure: bytes and moments in, frames out.

While the gate is *held*, no frame that can arm the device or cause a pulse passes. Every hold has a number; only a
release that names the number of the latest lifts it, so that one that was under way when a newer stop came cannot.
"""

from collections.abc import Iterator

from spoel_stimulation.devices.guarding import Framer, Guarded
from spoel_stimulation.guard.stops import Stop

REPEAT_S = 0.2
"""Between two disarms, until it is read back."""

LATE_REPEAT_S = 1.0
"""The same, once it is clear that the device does not listen."""

LATE_S = 5.0
ASK_S = 0.1
"""Between two questions, from the read-back until it is confirmed."""

PIECE_TIMEOUT_S = 0.25
"""How long a frame that has begun may take to become whole."""


class _Stream:
    """Bytes of one side, cut into whole frames; a frame whose rest does not come is given up."""

    def __init__(self, framer: Framer) -> None:
        self._framer = framer
        self._heard_s = 0.0

    def feed(self, data: bytes, now_s: float) -> list[bytes]:
        given_up = self.give_up(now_s)
        self._heard_s = now_s
        return given_up + self._framer.feed(data)

    def give_up(self, now_s: float) -> list[bytes]:
        if self._framer.pending and now_s - self._heard_s > PIECE_TIMEOUT_S:
            return self._framer.give_up_pending()
        return []


class Gate:
    """The gate of one device.

    Args:
        guarded: what there is to know of the maker's protocol.

    Attributes:
        held: number of the latest hold; None where firing frames pass.
        enabled: what the device said last of being armed; None where it has not said since the port was opened.
        stop: the latest stop.
        lasting: a stop that lasts was done, and nobody has released the gate since, however often the port was lost.
        withheld: frames that were not passed since the latest hold.
        pulses_held: pulses that the device told of since the latest hold.
    """

    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded
        self.held: int | None = 0
        self.enabled: bool | None = None
        self.stop: Stop | None = None
        self.lasting = False
        self.withheld = 0
        self.pulses_held = 0
        self._waiting: list[Stop] = []
        self._next_s = 0.0
        self._repeat_at_s = 0.0
        self._question_is_next = False
        self.new_port()
        self.new_host()

    def new_port(self) -> None:
        """Forget what an earlier connection to the device left behind."""
        self._from_device = _Stream(self._guarded.device_frames())
        self.enabled = None
        for stop in self._followed():
            stop.hear_nothing()

    def new_host(self) -> None:
        """Forget what an earlier room process left behind: a frame begun is never completed by another's bytes."""
        self._from_host = _Stream(self._guarded.host_frames())

    # --- what passes

    def from_host(self, data: bytes, now_s: float) -> list[bytes]:
        """Take bytes of the room's process; return the whole frames that pass."""
        return self._passed(self._from_host.feed(data, now_s))

    def from_device(self, data: bytes, now_s: float) -> None:
        """Take note of bytes of the device, which pass in any case."""
        self._note(self._from_device.feed(data, now_s), now_s)

    def _passed(self, frames: list[bytes]) -> list[bytes]:
        if self.held is None:
            return frames
        passed = [frame for frame in frames if not self._guarded.may_fire(frame)]
        self.withheld += len(frames) - len(passed)
        return passed

    def _note(self, frames: list[bytes], now_s: float) -> None:
        for frame in frames:
            reading = self._guarded.read(frame)
            if reading.enabled is not None:
                self.enabled = reading.enabled
            if self.held is not None:
                self.pulses_held += reading.pulses
            for stop in self._followed():
                stop.hear(reading, now_s)

    # --- stopping

    def begin_stop(self, stop: Stop) -> tuple[bytes, ...]:
        """Hold, and return the frames that disarm; they go out before anything else that waits."""
        self.hold(stop.number)
        stop.can_be_asked = stop.can_be_asked and bool(self._guarded.ask)
        self.stop = stop
        self.lasting = self.lasting or stop.lasting
        self._waiting.append(stop)
        self._next_s = stop.began_s
        return self._guarded.disarm

    def hold(self, number: int) -> None:
        """Let no firing frame pass from now on."""
        self.held = number
        self.withheld = self.pulses_held = 0

    def release(self, number: int) -> str | None:
        """Let firing frames pass again; return why not, where that may not be."""
        if self.held is None:
            return None
        if number != self.held:
            return f"hold {self.held} is newer than {number}"
        if not self.safe:
            return "the device has not been read back as disabled, without a pulse for half a second"
        self.held = None
        self.lasting = False
        return None

    @property
    def safe(self) -> bool:
        """The latest stop is confirmed, or cannot be with such a device, which has not said that it is armed."""
        stop = self.stop
        return stop is None or stop.confirmed or (not stop.can_be_asked and self.enabled is not True)

    def due(self, now_s: float) -> tuple[bytes, ...]:
        """Return what is to be sent now: disarm, until that is read back, and questions until it is confirmed."""
        stop = self.stop
        if stop is None or not self.stopping or not stop.sent or now_s < self._next_s:
            return ()
        if stop.read_back:
            self._next_s = now_s + ASK_S
            return self._guarded.ask
        if self._question_is_next:
            self._question_is_next = False
            self._next_s = self._repeat_at_s
            return self._guarded.ask
        late = now_s - stop.began_s > LATE_S
        self._ask_next(now_s, LATE_REPEAT_S if late else REPEAT_S)
        return self._guarded.disarm

    def disarm_again(self) -> tuple[bytes, ...]:
        """Return the frames that disarm, for a port that was opened while a stop is not confirmed."""
        return self._guarded.disarm

    def mark_sent(self, now_s: float) -> None:
        """Take note that the disarm has left: from here on the device's frames count; ask next."""
        for stop in self._followed():
            stop.sent = True
        self._ask_next(now_s, REPEAT_S)

    def _ask_next(self, disarmed_s: float, repeat_s: float) -> None:
        """Ask when the device has had time for the disarm; disarm again where that brings nothing."""
        self._question_is_next = True
        self._next_s = disarmed_s + self._guarded.gap_s
        self._repeat_at_s = disarmed_s + repeat_s

    def give_up(self, now_s: float) -> list[bytes]:
        """Give up frames whose rest did not come in time; return the host's that were hidden behind one."""
        self._note(self._from_device.give_up(now_s), now_s)
        return self._passed(self._from_host.give_up(now_s))

    def decided(self, now_s: float) -> Iterator[Stop]:
        """Yield the stops whose outcome became known, each once, and none before an earlier one."""
        while self._waiting and self._waiting[0].decide(now_s) is not None:
            yield self._waiting.pop(0)

    @property
    def stopping(self) -> bool:
        """A stop is not confirmed yet, and nobody has released the gate since."""
        return self.held is not None and self.stop is not None and not self.stop.confirmed

    @property
    def undecided(self) -> tuple[Stop, ...]:
        """The stops whose outcome is waited for."""
        return tuple(self._waiting)

    @property
    def settled(self) -> bool:
        """No outcome is waited for."""
        return not self._waiting

    def _followed(self) -> list[Stop]:
        if self.stop is None or self.stop in self._waiting:
            return self._waiting
        return [self.stop, *self._waiting]
