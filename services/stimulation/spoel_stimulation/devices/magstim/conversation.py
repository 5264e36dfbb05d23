"""What is said between host and Magstim for one purpose each: take control, write, read back, arm, disarm.

Power and charge settle in clock time; all other time here is wall time. Nothing here decides whether a thing may be
done: that is the adapter's. Answers are asked for anew after every write, since a device answers with its state before.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from spoel_common.clock import Clock, sleep_s
from spoel_stimulation.devices.adapter import (
    BadChecksum,
    DeviceError,
    LinkLost,
    NotSupported,
    RefusedByDevice,
    Setting,
    TrainSettings,
)
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.capability import MagstimCapability, rapid_capability, single_capability
from spoel_stimulation.devices.magstim.codec import Version
from spoel_stimulation.devices.magstim.link import MagstimLink, UnknownCommand
from spoel_stimulation.devices.magstim.staging import Pair, RapidTrain, of_pair, of_rapid, settle_s

READY_TIMEOUT_S = 4.0
READY_STEP_S = 0.05
DISARM_TIMEOUT_S = 2.0
DISARM_ATTEMPT_S = 0.3
DISARM_STEP_S = 0.05
_ENTER_TRAIN_MODE_TENTH_S = 10


class Model(Protocol):
    """One model's part of the conversation."""

    @property
    def keep_alive(self) -> bytes:
        """The question that keeps remote control."""

    async def identify(self, link: MagstimLink) -> MagstimCapability:
        """Ask who it is, by a command that only this model has.

        Raises:
            NotSupported: another model.
        """

    def set_point(self, settings: TrainSettings) -> dict[str, Setting]:
        """Return what must read back."""

    async def write(self, link: MagstimLink, settings: TrainSettings) -> None:
        """Write every setting but the power."""

    def power(self, settings: TrainSettings) -> tuple[bytes, ...]:
        """Return the frames that set the power."""

    async def read(self, link: MagstimLink, *, disarmed: bool) -> dict[str, Setting]:
        """Read settings back; what can only be read disarmed is left out otherwise."""

    def settings_in(self, answer: say.Answer) -> dict[str, Setting]:
        """Return the settings that an answer tells of, none in most."""


class RapidModel:
    """A Rapid².

    Args:
        unit: ``rapid``, ``super`` or ``super-plus``: the wire does not tell.
        mains_v: 240 or 115.
    """

    def __init__(self, unit: str, mains_v: int) -> None:
        self._unit = unit
        self._mains_v = mains_v
        self._version = Version(0)

    @property
    def keep_alive(self) -> bytes:
        """System status from software 9 up, else the request for control."""
        return say.ASK_SYSTEM_STATUS if self._version.locked else say.take_control()

    async def identify(self, link: MagstimLink) -> MagstimCapability:
        """Ask the version of the software, on which all formats depend."""
        try:
            answer = await link.ask(say.ASK_VERSION)
        except UnknownCommand as error:
            raise NotSupported(
                "What answers is no Rapid²: it tells no version. Look at the room's settings."
            ) from error
        if not isinstance(answer, say.VersionAnswer):
            raise BadChecksum("The version that the device tells cannot be read. Check cable and earth.")
        self._version = answer.version
        link.speaks(answer.version)
        return rapid_capability(self._unit, self._mains_v, answer.version)

    def set_point(self, settings: TrainSettings) -> dict[str, Setting]:
        """Return what must read back; a charge delay exists from software 9 up."""
        point = RapidTrain.of(settings).set_point()
        return point if self._version.locked else _without(point, "charge_delay_ms")

    async def write(self, link: MagstimLink, settings: TrainSettings) -> None:
        """Enter or leave the train mode, and write its three registers, which the device does not compare."""
        train, version = RapidTrain.of(settings), self._version
        frames = []
        if version.locked:
            frames.append(say.set_charge_delay(0, version))
        if train.tenth_hz is not None and train.pulses is not None:
            frames.append(say.set_duration(_ENTER_TRAIN_MODE_TENTH_S, version))
            frames += [say.set_frequency(train.tenth_hz), say.set_pulses(train.pulses, version)]
        frames.append(say.set_duration(train.tenth_s, version))
        before = _answer(await link.ask(say.ASK_RAPID_PARAMETERS))
        if before.rapid is not None and before.rapid & say.Rapid.ENHANCED_POWER:
            frames.insert(0, say.ENHANCED_POWER_OFF)
        for frame in frames:
            await link.ask(frame)

    def power(self, settings: TrainSettings) -> tuple[bytes, ...]:
        """Return the frame that sets the power."""
        return (say.set_power(settings.percent_mso),)

    async def read(self, link: MagstimLink, *, disarmed: bool) -> dict[str, Setting]:
        """Read the registers, the mode, and the charge delay where there is one."""
        found = self.settings_in(_answer(await link.ask(say.ASK_RAPID_PARAMETERS)))
        if disarmed and self._version.locked:
            found["charge_delay_ms"] = _number(_answer(await link.ask(say.ASK_CHARGE_DELAY)).data)
        return found

    def settings_in(self, answer: say.Answer) -> dict[str, Setting]:
        r"""Return what ``\@`` says."""
        parameters = say.RapidParameters.read(answer.data, self._version) if answer.letter == "\\" else None
        if parameters is None or answer.rapid is None:
            return {}
        return of_rapid(parameters) | {
            "mode": "single-pulse" if answer.rapid & say.Rapid.SINGLE_PULSE else "train",
            "enhanced_power": bool(answer.rapid & say.Rapid.ENHANCED_POWER),
        }


class SingleModel:
    """A 200² or BiStim².

    Args:
        bistim: it is a BiStim².
    """

    def __init__(self, *, bistim: bool) -> None:
        self._bistim = bistim
        self._mode: say.PairMode | None = None

    @property
    def keep_alive(self) -> bytes:
        """The request for control."""
        return say.take_control()

    async def identify(self, link: MagstimLink) -> MagstimCapability:
        """Ask the powers: a Rapid² has no such command. What a BiStim² has alone is asked when it is staged."""
        try:
            await link.ask(say.ASK_PARAMETERS)
        except UnknownCommand as error:
            raise NotSupported("What answers is no 200² or BiStim². Look at the room's settings.") from error
        return single_capability("Magstim BiStim²" if self._bistim else "Magstim 200²")

    def set_point(self, settings: TrainSettings) -> dict[str, Setting]:
        """Return what must read back."""
        return Pair.of(settings, bistim=self._bistim).set_point()

    async def write(self, link: MagstimLink, settings: TrainSettings) -> None:
        """Choose the mode, then write the interval; a 200² has neither."""
        pair = Pair.of(settings, bistim=self._bistim)
        self._mode = pair.mode
        if pair.mode is None:
            return
        try:
            await link.ask(say.set_pair_mode(pair.mode))
        except UnknownCommand as error:
            raise NotSupported("What answers is no BiStim²: it has no modes. Look at the room's settings.") from error
        if pair.interval is not None:
            await link.ask(say.set_interval(pair.interval))

    def power(self, settings: TrainSettings) -> tuple[bytes, ...]:
        """Return the frames that set the powers of both units; a 200² is one."""
        pair = Pair.of(settings, bistim=self._bistim)
        first = say.set_power(pair.percent_mso)
        return (first, say.set_second_power(pair.second_percent_mso)) if self._bistim else (first,)

    async def read(self, link: MagstimLink, *, disarmed: bool) -> dict[str, Setting]:
        """Read powers and interval; the mode by writing it once more, since the answer tells the one before."""
        found = self.settings_in(_answer(await link.ask(say.ASK_PARAMETERS)))
        if disarmed and self._mode is not None:
            mode = _answer(await link.ask(say.set_pair_mode(self._mode))).data
            found["mode"] = say.PairMode(mode).name.lower().replace("_", "-") if mode in list(say.PairMode) else mode
        return found

    def settings_in(self, answer: say.Answer) -> dict[str, Setting]:
        """Return what ``J@`` says."""
        parameters = say.PairParameters.read(answer.data) if answer.letter == "J" else None
        return {} if parameters is None else of_pair(parameters)


class Conversation:
    """The questions and orders of an adapter, over one open link.

    All raise ``LinkLost``, ``BadChecksum`` or ``RefusedByDevice`` where an answer is missing or a refusal, but for
    ``disarm``, which never raises.

    Args:
        link: open.
        model: the model's part.
        clock: in whose time the device's power settles.
    """

    def __init__(self, link: MagstimLink, model: Model, clock: Clock) -> None:
        self.link = link
        self.model = model
        self._clock = clock

    async def serial(self) -> str | None:
        """Ask the serial number that only a simulator tells; None from a device."""
        try:
            answer = await self.link.ask(say.ASK_SERIAL)
        except UnknownCommand:
            return None
        return answer.serial if isinstance(answer, say.SerialAnswer) else None

    async def take_control(self, code: str) -> None:
        """Take remote control, with the unlock code of a Rapid² of software 9 and up.

        Raises:
            RefusedByDevice: it gives none; the code is not repeated.
        """
        try:
            await self.link.ask(say.take_control(code))
        except UnknownCommand as error:
            raise RefusedByDevice(
                "The device does not understand the request for control; software before 9 takes no unlock code. "
                "Leave it out of the room's settings, or look at the cable."
            ) from error
        except LinkLost as error:
            raise RefusedByDevice(
                "The device answers, but gives no remote control: a Rapid² of software 9 and up is silent without its "
                f"unlock code, or with a wrong one ({'one was' if code else 'none was'} given). Ask Magstim for it."
            ) from error

    async def until(self, condition: Callable[[], bool]) -> bool:
        """Ask the state again and again until the condition holds of what is heard; False if it does not in time."""
        give_up_at = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < give_up_at:
            await self.status()
            if condition():
                return True
            await asyncio.sleep(READY_STEP_S / self._clock.speed)
        return False

    async def status(self) -> say.Answer:
        """Ask the question that keeps control; its answer tells the state now."""
        return _answer(await self.link.ask(self.model.keep_alive))

    async def look(self) -> None:
        """Ask everything that is to be watched; the listener hears it."""
        await self.status()
        await self.model.read(self.link, disarmed=False)
        await self.link.ask(say.ASK_TEMPERATURE)

    async def write(self, settings: TrainSettings) -> dict[str, Setting]:
        """Write every setting, wait until the power has followed, and read all back."""
        await self.model.write(self.link, settings)
        await self.write_power(settings)
        return await self.model.read(self.link, disarmed=True)

    async def write_power(self, settings: TrainSettings) -> dict[str, Setting]:
        """Write the power, wait until the output has followed, and read back."""
        before = await self.model.read(self.link, disarmed=False)
        for frame in self.model.power(settings):
            await self.link.ask(frame)
        point = self.model.set_point(settings)
        names = ("percent_mso", "second_percent_mso")
        changes = [settle_s(int(before[name]), int(point[name])) for name in names if name in before and name in point]
        await sleep_s(self._clock, max(changes, default=0.0))
        return await self.model.read(self.link, disarmed=False)

    async def arm(self, allowed: Callable[[], bool]) -> None:
        """Arm; it is ready about a second later."""
        await self.link.ask(say.ARM, allowed=allowed)

    async def disarm(self) -> bool:
        """Disarm, again and again until the device says so or the time is up; True if it was read back."""
        give_up_at = time.monotonic() + DISARM_TIMEOUT_S
        while self.link.broken is None:
            try:
                await self.link.disarm()
                answer = await self.link.urgent(say.ASK_TEMPERATURE, DISARM_ATTEMPT_S)
                if isinstance(answer, say.Answer) and not answer.instrument.enabled:
                    return True
            except DeviceError:
                pass  # asked again, until the time is up
            if time.monotonic() >= give_up_at:
                break
            await asyncio.sleep(DISARM_STEP_S)
        return False


def _answer(message: say.Message) -> say.Answer:
    if not isinstance(message, say.Answer):
        raise LinkLost(f"The device answered otherwise than it was asked: {type(message).__name__}. Check the device.")
    return message


def _number(data: str) -> int:
    return int(data) if data.isascii() and data.isdecimal() else -1


def _without(point: dict[str, Setting], name: str) -> dict[str, Setting]:
    return {key: value for key, value in point.items() if key != name}
