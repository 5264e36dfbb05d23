"""The Magstim protocol as a room's guard sees it (``devices.guarding.Guarded``). Pure."""

from spoel_stimulation.devices.guarding import Line, Reading
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.codec import BAUDRATE, FrameCutter, answer_lengths, question_lengths

_HARMLESS = frozenset("QRJF@ACYZX\\NIB_D[xno")
_STATE_BEFORE = "E"
GAP_S = 0.03
"""From a frame to a start, or to the question behind a disarm: a device may still be busy with the one before.

Open clients leave 20 to 50 ms between a keep-alive and a command whose moment matters (MAGIC, MagPy); not verified.
"""


class MagstimGuarded:
    """What a guard has to know of any Magstim, whatever its model and version.

    The question for the coil's temperature is answered by every model, also one that nobody has control of, and tells
    whether the device is armed. A device tells of no pulse. That a disarm ends a train under way was not tried on
    hardware.
    """

    line = Line(BAUDRATE)
    disarm: tuple[bytes, ...] = (say.DISARM,)
    ask: tuple[bytes, ...] = (say.ASK_TEMPERATURE,)
    gap_s = GAP_S

    def host_frames(self) -> FrameCutter:
        """Return a framer for what the host sends."""
        return FrameCutter(question_lengths())

    def device_frames(self) -> FrameCutter:
        """Return a framer for what the device sends; the lengths follow from the checksums."""
        return FrameCutter(answer_lengths())

    def may_fire(self, frame: bytes) -> bool:
        """Tell whether a host's frame arms, fires, lifts a limit, or says something unknown: then it might do any."""
        return frame != say.DISARM and chr(frame[0]) not in _HARMLESS

    def read(self, frame: bytes) -> Reading:
        """Return whether the device is armed; answers to arm, disarm and fire tell the state before, which is over.

        A train that runs counts as armed, whatever else is said; and disarmed is only what says *standby*.
        """
        message = say.decode_answer(frame)
        if not isinstance(message, say.Answer) or message.letter == _STATE_BEFORE:
            return Reading()
        running = message.rapid is not None and say.Rapid.TRAIN_RUNNING in message.rapid
        if running or message.instrument.enabled:
            return Reading(enabled=True)
        return Reading(enabled=False if say.Instrument.STANDBY in message.instrument else None)
