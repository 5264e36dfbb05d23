"""The MagPro as a ``Stimulator``.

Two things here are **not verified on hardware**, because no public source shows them: that disabling (02 00) stops a
train under way, and that the pulse counter of 0C counts delivered pulses (see ``CountersReport``). So a train's outcome
is *known* only where the counter and the frames heard (one 02 frame a stimulus, for a burst one for the whole burst) do
not contradict each other.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from spoel_common.clock import Clock
from spoel_stimulation.devices.adapter import (
    Counters,
    DeviceError,
    DeviceIdentity,
    DeviceStatus,
    LinkLost,
    NotReady,
    ReadBack,
    RefusedByDevice,
    Setting,
    SettingNotTaken,
    TrainResult,
    TrainSettings,
    Unasked,
)
from spoel_stimulation.devices.magpro import commands as ask
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.account import Account
from spoel_stimulation.devices.magpro.capability import Capability, capability_of, coil_name
from spoel_stimulation.devices.magpro.conversation import Conversation, counters_of
from spoel_stimulation.devices.magpro.identity import check_device, check_interlocks, identify
from spoel_stimulation.devices.magpro.link import ANSWER_TIMEOUT_S, MagProLink
from spoel_stimulation.devices.magpro.outcome import Ending, train_result
from spoel_stimulation.devices.magpro.staging import to_wire
from spoel_stimulation.devices.magpro.values import Model
from spoel_stimulation.devices.magpro.view import Expected, Heard, View
from spoel_stimulation.devices.read_back import differences
from spoel_stimulation.devices.record import StopVerified
from spoel_stimulation.devices.transport import is_loopback
from spoel_stimulation.devices.turns import Turn, Turns
from spoel_stimulation.devices.watch import Watch

START_TIMEOUT_S = 1.5
END_MARGIN_S = 3.0
POLL_S = 0.5
POLLS_UNANSWERED = 2


class MagProAdapter:
    """One MagPro behind one address. Waits are in wall time; a train's length is in clock time.

    Args:
        address: a serial port, a pseudo-terminal, or ``socket://host:port``.
        clock: clock time; its speed says how long a train takes in wall time.
        clinical: a site where patients are treated: refuses simulators, and any speed but 1.
        stop_verified: the unit on which somebody saw a disarm end a train under way; None for none.
        poll_s: wall seconds between two questions for the status.
        answer_timeout_s: wall seconds that a question waits for its answer; the device takes 20 to 80 ms.
    """

    def __init__(
        self,
        address: str,
        clock: Clock,
        *,
        clinical: bool = False,
        stop_verified: StopVerified | None = None,
        poll_s: float = POLL_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.address = address
        self.unasked: asyncio.Queue[Unasked] = asyncio.Queue()
        self._clock = clock
        self._clinical = clinical
        self._stop_verified = stop_verified
        self._poll_s = poll_s
        self._answer_timeout_s = answer_timeout_s
        self._talk: Conversation | None = None
        self._view = View()
        self._identity: DeviceIdentity | None = None
        self._model: Model | None = None
        self._turns: Turns[Expected] = Turns(self.disarm, self._notice)
        self._heard: Heard | None = None
        self._progress = asyncio.Event()
        self._account = Account(self._counters_or_none, lambda: self._view.stimulus_s)
        self._watch = Watch(self.disarm, self._account, self.unasked)
        self._polling: asyncio.Task[None] | None = None

    @property
    def identity(self) -> DeviceIdentity | None:
        """Who answered at the last ``connect``."""
        return self._identity

    @property
    def status(self) -> DeviceStatus | None:
        """The last status heard."""
        return self._view.device_status()

    @property
    def last_stimulus_monotonic_s(self) -> float | None:
        """Wall ``time.monotonic()`` of the last stimulus heard of, ours or not."""
        return self._view.stimulus_s

    @property
    def capability(self) -> Capability:
        """What the connected model may be asked for.

        Raises:
            NotReady: not connected.
        """
        capability, verified = capability_of(self._known_model()), self._stop_verified
        if verified is None or self._identity is None or self._identity.serial != verified.serial:
            return capability
        return capability.model_copy(update={"record": verified.of(capability.record)})

    # --- connection -------------------------------------------------------------------------------------------------

    async def connect(self) -> DeviceIdentity:
        """Open the link, disarm, identify by the status byte, read the counters, and begin to poll the status.

        Pulses of before the counters were read are not reported as unasked: whoever keeps the room's record compares
        the counter with it.

        Raises:
            LinkLost: nobody answers, or it cannot be disarmed.
            NotSupported: an unknown model.
            NotAllowed: a device that may not be used with this clock or on this site.
        """
        await self._drop()
        self._view = View()
        link = MagProLink(self.address, self, self._answer_timeout_s)
        await link.open()
        talk = self._talk = Conversation(link)
        try:
            if not await talk.disable():
                raise LinkLost(f"The device at {self.address} does not answer, or cannot be disabled. Check it.")
            status = await talk.status()
            check_device(status, speed=self._clock.speed, loopback=is_loopback(self.address), clinical=self._clinical)
            self._account.counters = await talk.counters()
        except DeviceError:
            await self._drop()
            raise
        self._model, self._identity = status.status.model, identify(status)
        self._watch.active = True
        self._polling = asyncio.create_task(self._poll(), name=f"magpro poll {self.address}")
        return self._identity

    async def close(self) -> None:
        """Disarm if the link is alive, and close it. Never raises."""
        await self.disarm()
        await self._drop()

    async def _drop(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        await self._watch.stop()
        self._account.counters = None
        talk, self._talk = self._talk, None
        self._turns.void()
        if talk is not None:
            await talk.link.close()

    async def _poll(self) -> None:
        unanswered = 0
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.refresh_status()
                unanswered = 0
            except DeviceError as error:
                unanswered += 1
                if unanswered == POLLS_UNANSWERED:
                    self._notice(Unasked(kind="link-lost", detail=error.detail))

    # --- what the link tells ----------------------------------------------------------------------------------------

    def heard(self, report: say.Report | ask.Unreadable) -> None:
        """Take a report from the link: keep the view, follow our train, and notice what nobody asked for."""
        if isinstance(report, ask.Unreadable):
            return
        self._view.take(report, time.monotonic())
        if self._heard is not None:
            if self._heard.take(report, self._clock.utc_ns()):
                self._progress.set()
        elif isinstance(report, say.Stimulus):
            self._notice(Unasked(kind="pulse", detail="a stimulus outside a train of ours", pulses=1))
        expected = self._turns.expected
        for difference in () if expected is None else expected.differences(report):
            self._notice(Unasked(kind="change", detail=difference))

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        if self._heard is not None:
            self._heard.lost = True
            self._progress.set()
        self._notice(Unasked(kind="link-lost", detail=error.detail))

    def _notice(self, strange: Unasked) -> None:
        """Void what was staged at once; the watch has the device disarmed and the room told."""
        self._turns.void()
        if self._heard is not None:
            self._heard.unasked.append(strange.detail)
        self._watch.notice(strange)

    # --- the life of a train ----------------------------------------------------------------------------------------

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Disable, show the Timing page, write every setting and read every one back (INV-2).

        The coil's type cannot be written: it is recorded as read, and must stay so until the next staging.
        """
        talk, model = self._connected(), self._known_model()
        self.capability.check(settings)
        wire = to_wire(settings, model)
        with self._turns.one() as turn:
            turn.begin_anew()
            if not await talk.disable():
                raise RefusedByDevice("The device stays enabled; settings are only written while it is disabled.")
            answers = await talk.write(wire)
            read_back = answers.read_back()
            wrong = differences(wire.set_point(), read_back)
            if wrong:
                raise SettingNotTaken(f"{'; '.join(wrong)}. Look at the device's screen, then try again.", wrong=wrong)
            expected = Expected(
                settings.percent_mso,
                settings.second_percent_mso,
                wire.wave.mode,
                wire.wave.wave,
                answers.status.coil,
                enabled=False,
            )
            turn.stage(settings, expected)
        self._account.begin(counters_of(answers.counters))
        coil: dict[str, Setting] = {"coil_model": coil_name(answers.status.coil)}
        return ReadBack(set_point=wire.set_point() | coil, read_back=read_back | coil)

    async def arm(self) -> None:
        """Enable; returns when the status says so and nothing of what was staged has changed.

        Raises:
            NotReady: nothing is staged.
            InterlockOpen: the coil is missing or too hot.
            RefusedByDevice: it stays disabled.
            LinkLost: no answer; it was told to disarm.
        """
        talk, (_, expected) = self._connected(), self._turns.staged()
        with self._turns.one() as turn:
            check_interlocks(await self.refresh_status())
            turn.expect(replace(expected, enabled=None))
            async with turn.or_disarmed():
                if not await talk.enable(allowed=turn.stands) or not turn.stands():
                    if self.status is not None:
                        check_interlocks(self.status)
                    raise RefusedByDevice("It stays disabled, or was changed or disarmed meanwhile. Look at it.")
                turn.arm(replace(expected, enabled=True))

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Write another intensity and read it back; not during a train."""
        talk = self._connected()
        self.capability.check_percent_mso(percent_mso)
        (settings, expected), armed = self._turns.staged(), self._turns.armed
        if settings.second_percent_mso is not None:
            raise NotReady("A pair has two intensities; stage both anew.")
        with self._turns.one() as turn:
            turn.begin_anew()
            async with turn.or_disarmed():
                read_back = await talk.write_amplitude(ask.SetAmplitude(percent_mso))
                if read_back != percent_mso:
                    raise SettingNotTaken(f"percent_mso reads {read_back} instead of {percent_mso}; disarmed.")
                turn.stage(settings.at(percent_mso), replace(expected, percent_mso=percent_mso), armed=armed)
        return ReadBack(set_point={"percent_mso": percent_mso}, read_back={"percent_mso": read_back})

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Read everything back once more, send **one** start command, and follow it to its end.

        If the caller is cancelled meanwhile, the rest of the train counts as unasked and the device is disarmed.
        """
        talk = self._connected()
        self._turns.armed_with(settings)
        with self._turns.one() as turn:
            before = await self._check_before_start(talk, settings, turn)
            heard = self._heard = Heard()
            try:
                ending = await self._fire_and_follow(talk.link, settings, heard, allowed=turn.stands)
                after = None if heard.lost else await self._counters_or_none()
                if after is not None and ending.problem and not ending.stopped:  # it answers again
                    ending = replace(ending, stopped=await self.disarm())
                    after = await self._counters_or_none()
                self._account.counters = after
            finally:
                self._heard = None
            result = train_result(settings, before, after, heard, ending)
            await self._after_train(settings, result)
        return result

    async def _check_before_start(self, talk: Conversation, settings: TrainSettings, turn: Turn[Expected]) -> Counters:
        """Refuse to start unless all settings still stand and nobody gave a pulse since the counters were known."""
        answers = await talk.answers()
        turn.check()
        wrong = differences(to_wire(settings, self._known_model()).set_point(), answers.read_back())
        if wrong or not answers.status.status.enabled:
            await self.disarm()
            raise SettingNotTaken(
                f"{'; '.join(wrong) or 'disabled'}: changed at the device since it was armed. It was disarmed; "
                "stage it again."
            )
        before = counters_of(answers.counters)
        strange = self._account.pulses_since(before)
        if strange:
            self._notice(Unasked(kind="pulse", detail="the device's counter moved on by itself", pulses=strange))
            raise NotReady(f"The device counted {strange} pulses that nobody here asked for. It is being disarmed.")
        return before

    async def _fire_and_follow(
        self, link: MagProLink, settings: TrainSettings, heard: Heard, allowed: Callable[[], bool]
    ) -> Ending:
        problem = ""
        end_timeout_s = settings.duration_s / self._clock.speed + END_MARGIN_S
        try:
            await link.send(ask.FireTrain(), allowed)
            if not await self._until(lambda: heard.begun or heard.lost, START_TIMEOUT_S):
                problem = f"nothing was heard of the start within {START_TIMEOUT_S} s"
            elif not await self._until(lambda: heard.ended_utc_ns is not None or heard.lost, end_timeout_s):
                problem = f"no end was heard within {end_timeout_s:.1f} s"
        except LinkLost as error:
            heard.lost = True
            problem = error.detail
        if heard.lost:
            return Ending(problem or "the connection broke during the train")
        return Ending(problem, stopped=await self.disarm() or await self._idle()) if problem else Ending()

    async def _idle(self) -> bool:
        """Tell whether the device says that no train runs."""
        try:
            return not (await self._connected().long_status()).running
        except DeviceError:
            return False

    async def _after_train(self, settings: TrainSettings, result: TrainResult) -> None:
        if result.outcome == "unknown":
            await self.disarm()
        extra = (result.pulses or 0) - settings.pulses
        if extra > 0:
            self._notice(Unasked(kind="pulse", detail="more pulses than the train had", pulses=extra))

    async def disarm(self) -> bool:
        """Disable, again and again until the status says so or 2 s have passed. Never raises.

        What was staged is void from the call on, so that nothing under way can enable or start any more.
        """
        self._turns.void()
        return self._talk is not None and await self._talk.disable()

    # --- questions --------------------------------------------------------------------------------------------------

    async def counters(self) -> Counters:
        """Ask the device's counters."""
        return await self._connected().counters()

    async def refresh_status(self) -> DeviceStatus:
        """Ask the device's long status."""
        await self._connected().long_status()
        status = self.status
        if status is None:
            raise LinkLost("The device has not told its status.")
        return status

    async def _counters_or_none(self) -> Counters | None:
        try:
            return await self.counters()
        except DeviceError:
            return None

    # --- inside -----------------------------------------------------------------------------------------------------

    def _connected(self) -> Conversation:
        if self._talk is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._talk

    def _known_model(self) -> Model:
        if self._model is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._model

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Return whether the condition came true within wall ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return condition()
        return True
