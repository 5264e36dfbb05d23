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
    SettingNotTaken,
    TrainResult,
    TrainSettings,
    Unasked,
)
from spoel_stimulation.devices.magpro import commands as ask
from spoel_stimulation.devices.magpro import reports as say
from spoel_stimulation.devices.magpro.capability import Capability, capability_of
from spoel_stimulation.devices.magpro.identity import check_use, identify
from spoel_stimulation.devices.magpro.link import ANSWER_TIMEOUT_S, MagProLink
from spoel_stimulation.devices.magpro.outcome import Ending, train_result
from spoel_stimulation.devices.magpro.staging import Answers, WireSettings, differences, to_wire
from spoel_stimulation.devices.magpro.values import Model, Page
from spoel_stimulation.devices.magpro.view import Expected, Heard, View
from spoel_stimulation.devices.magpro.watch import Watch
from spoel_stimulation.devices.transport import is_loopback

SETTLE_TIMEOUT_S = 1.5
SETTLE_STEP_S = 0.05
ARM_TIMEOUT_S = 2.0
DISARM_TIMEOUT_S = 2.0
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
        poll_s: wall seconds between two questions for the status.
        answer_timeout_s: wall seconds that a question waits for its answer; the device takes 20 to 80 ms.
    """

    def __init__(
        self,
        address: str,
        clock: Clock,
        *,
        clinical: bool = False,
        poll_s: float = POLL_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.address = address
        self.unasked: asyncio.Queue[Unasked] = asyncio.Queue()
        self._clock = clock
        self._clinical = clinical
        self._poll_s = poll_s
        self._answer_timeout_s = answer_timeout_s
        self._link: MagProLink | None = None
        self._view = View()
        self._identity: DeviceIdentity | None = None
        self._model: Model | None = None
        self._staged: tuple[TrainSettings, WireSettings] | None = None
        self._armed = False
        self._expected: Expected | None = None
        self._heard: Heard | None = None
        self._progress = asyncio.Event()
        self._watch = Watch(self, self._counters_or_none, self.unasked)
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
        return capability_of(self._known_model())

    # --- connection -------------------------------------------------------------------------------------------------

    async def connect(self) -> DeviceIdentity:
        """Open the link, disarm, identify by the status byte, read the counters, and begin to poll the status.

        Pulses of before the counters were read are not reported as unasked: whoever keeps the room's record compares
        the counter with it.

        Raises:
            LinkLost: nobody answers, or it cannot be disarmed.
            NotSupported: an unknown model, or a device that may not be used with this clock or on this site.
        """
        await self._drop()
        self._view = View()
        link = MagProLink(self.address, self, self._answer_timeout_s)
        await link.open()
        self._link = link
        try:
            if not await self.disarm():
                raise LinkLost(f"The device at {self.address} does not answer, or cannot be disabled. Check it.")
            status = await link.request(ask.AskStatus(), say.ShortStatus)
            check_use(status, speed=self._clock.speed, loopback=is_loopback(self.address), clinical=self._clinical)
            self._watch.counters = await self.counters()
        except DeviceError:
            await self._drop()
            raise
        self._model, self._identity = status.status.model, identify(status)
        self._watch.active = True
        self._polling = asyncio.create_task(self._poll(), name=f"magpro poll {self.address}")
        return self._identity

    async def close(self) -> None:
        """Disarm if the link is alive, and close it. Never raises."""
        if self._link is not None and self._link.lost is None:
            await self.disarm()
        await self._drop()

    async def _drop(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        await self._watch.stop()
        link, self._link = self._link, None
        self._unstage()
        if link is not None:
            await link.close()

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
        if self._expected is not None:
            for difference in self._expected.differences(report):
                self._notice(Unasked(kind="change", detail=difference))

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        if self._heard is not None:
            self._heard.lost = True
            self._progress.set()
        self._notice(Unasked(kind="link-lost", detail=error.detail))

    def _notice(self, strange: Unasked) -> None:
        """Void what was staged at once; the watch has the device disarmed and the room told."""
        self._unstage()
        if self._heard is not None:
            self._heard.unasked.append(strange.detail)
        self._watch.notice(strange)

    # --- the life of a train ----------------------------------------------------------------------------------------

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Disable, show the Timing page, write every setting and read every one back (INV-2).

        The device does not answer the writes of 09 and 0B and needs about 0.3 s until they hold: it is asked until all
        of them do, for at most ``SETTLE_TIMEOUT_S``.
        """
        link, model = self._open_link(), self._known_model()
        self._refuse_during_train()
        self.capability.check(settings)
        wire = to_wire(settings, model)
        if not await self.disarm():
            raise RefusedByDevice("The device stays enabled; settings are only written while it is disabled.")
        await link.request(ask.SetPage(Page.TIMING), say.PageState)
        for command in (wire.wave, wire.delays, wire.timing):
            await link.send(command)
        await link.request(wire.amplitude, say.Amplitude)
        set_point, read_back = wire.set_point(), await self._read_back_until(wire)
        wrong = differences(set_point, read_back)
        if wrong:
            raise SettingNotTaken(f"{'; '.join(wrong)}. Look at the device's screen, then try again.", wrong=wrong)
        self._staged = (settings, wire)
        self._expected = Expected(settings.percent_mso, wire.wave.wave, enabled=False)
        return ReadBack(set_point=set_point, read_back=read_back)

    async def arm(self) -> None:
        """Enable; returns when the status says so and nothing of what was staged has changed."""
        link = self._open_link()
        if self._staged is None or self._expected is None:
            raise NotReady("Nothing is staged, or it was voided by a disarm or a change at the device. Stage first.")
        staged = self._staged
        self._expected = replace(self._expected, enabled=None)
        await link.send(ask.SetEnabled(enabled=True), allowed=lambda: self._staged is staged)
        give_up_at = time.monotonic() + ARM_TIMEOUT_S
        status = await link.request(ask.AskStatus(), say.ShortStatus)
        while not status.status.enabled and time.monotonic() < give_up_at:
            await asyncio.sleep(SETTLE_STEP_S)
            status = await link.request(ask.AskStatus(), say.ShortStatus)
        if not status.status.enabled or self._staged is not staged:
            await self.disarm()
            raise RefusedByDevice("The device stays disabled, or was changed while it was being enabled. Look at it.")
        self._expected = replace(self._expected, enabled=True)
        self._armed = True

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Write another intensity and read it back; not during a train."""
        link = self._open_link()
        self._refuse_during_train()
        self.capability.check_percent_mso(percent_mso)
        if self._staged is None or self._expected is None:
            raise NotReady("Nothing is staged; the intensity is part of what is staged.")
        (settings, wire), expected = self._staged, self._expected
        self._expected = None
        staged = (
            settings.model_copy(update={"percent_mso": percent_mso}),
            replace(wire, amplitude=ask.SetAmplitude(percent_mso)),
        )
        self._staged = staged
        await link.request(staged[1].amplitude, say.Amplitude)
        status = await link.request(ask.AskStatus(), say.ShortStatus)
        if status.amplitude_a != percent_mso or self._staged is not staged:
            await self.disarm()
            raise SettingNotTaken(f"percent_mso reads {status.amplitude_a} instead of {percent_mso}; disarmed.")
        self._expected = replace(expected, percent_mso=percent_mso)
        return ReadBack(set_point={"percent_mso": percent_mso}, read_back={"percent_mso": status.amplitude_a})

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Read everything back once more, send **one** start command, and follow it to its end.

        If the caller is cancelled meanwhile, the rest of the train counts as unasked and the device is disarmed.
        """
        link = self._open_link()
        self._refuse_during_train()
        if not self._armed or self._staged is None:
            raise NotReady("The device is not armed, or was disarmed since. Stage and arm it.")
        if self._staged[0] != settings:
            raise NotReady("These are not the settings that were staged. Stage them.")
        before = await self._check_before_start(self._staged[1])
        heard = self._heard = Heard()
        try:
            ending = await self._fire_and_follow(link, settings, heard)
            after = None if heard.lost else await self._counters_or_none()
            self._watch.counters = after
        finally:
            self._heard = None
        result = train_result(settings, before, after, heard, ending)
        await self._after_train(settings, result)
        return result

    async def _check_before_start(self, wire: WireSettings) -> Counters:
        """Refuse to start unless all settings still stand and nobody gave a pulse since the counters were known."""
        answers = await self._answers()
        wrong = differences(wire.set_point(), answers.read_back())
        if wrong or not answers.status.status.enabled:
            await self.disarm()
            raise SettingNotTaken(
                f"{'; '.join(wrong) or 'disabled'}: changed at the device since it was armed. It was disarmed; "
                "stage it again."
            )
        before = _counters(answers.counters)
        strange = self._watch.pulses_since(before)
        if strange:
            self._notice(Unasked(kind="pulse", detail="the device's counter moved on by itself", pulses=strange))
            raise NotReady(f"The device counted {strange} pulses that nobody here asked for. It is being disarmed.")
        return before

    async def _fire_and_follow(self, link: MagProLink, settings: TrainSettings, heard: Heard) -> Ending:
        problem = ""
        end_timeout_s = settings.duration_s / self._clock.speed + END_MARGIN_S
        try:
            await link.send(ask.FireTrain(), allowed=lambda: self._armed)
            if not await self._until(lambda: heard.begun or heard.lost, START_TIMEOUT_S):
                problem = f"nothing was heard of the start within {START_TIMEOUT_S} s"
            elif not await self._until(lambda: heard.ended_utc_ns is not None or heard.lost, end_timeout_s):
                problem = f"no end was heard within {end_timeout_s:.1f} s"
        except LinkLost as error:
            heard.lost = True
            problem = error.detail
        if heard.lost:
            return Ending(problem or "the connection broke during the train")
        return Ending(problem, stopped=await self.disarm()) if problem else Ending()

    async def _after_train(self, settings: TrainSettings, result: TrainResult) -> None:
        if result.outcome == "unknown":
            await self.disarm()
        extra = (result.pulses or 0) - settings.pulses
        if extra > 0:
            self._notice(Unasked(kind="pulse", detail="more pulses than the train had", pulses=extra))

    async def disarm(self) -> bool:
        """Disable, again and again until the status says so or ``DISARM_TIMEOUT_S`` have passed. Never raises.

        What was staged is void from the call on, so that nothing under way can enable or start any more.
        """
        self._unstage()
        give_up_at = time.monotonic() + DISARM_TIMEOUT_S
        while self._link is not None and self._link.lost is None:
            try:
                await self._link.send(ask.SetEnabled(enabled=False))
                status = await self._link.request(ask.AskStatus(), say.ShortStatus)
                if not status.status.enabled:
                    return True
            except DeviceError:
                await asyncio.sleep(SETTLE_STEP_S)
            if time.monotonic() >= give_up_at:
                break
        return False

    # --- questions --------------------------------------------------------------------------------------------------

    async def counters(self) -> Counters:
        """Ask the device's counters."""
        return _counters(await self._open_link().request(ask.AskCounters(), say.CountersReport))

    async def refresh_status(self) -> DeviceStatus:
        """Ask the device's long status."""
        await self._open_link().request(ask.AskLongStatus(), say.LongStatus)
        status = self.status
        if status is None:
            raise LinkLost("The device has not told its status.")
        return status

    async def _answers(self) -> Answers:
        link = self._open_link()
        return Answers(
            wave=await link.request(ask.AskWave(), say.WaveReport),
            timing=await link.request(ask.AskTiming(), say.Timing),
            delays=await link.request(ask.AskDelays(), say.Delays),
            status=await link.request(ask.AskStatus(), say.ShortStatus),
            counters=await link.request(ask.AskCounters(), say.CountersReport),
        )

    async def _read_back_until(self, wire: WireSettings) -> dict[str, str | int | float | bool]:
        give_up_at = time.monotonic() + SETTLE_TIMEOUT_S
        read_back = (await self._answers()).read_back()
        while differences(wire.set_point(), read_back) and time.monotonic() < give_up_at:
            await asyncio.sleep(SETTLE_STEP_S)
            read_back = (await self._answers()).read_back()
        return read_back

    async def _counters_or_none(self) -> Counters | None:
        try:
            return await self.counters()
        except DeviceError:
            return None

    # --- inside -----------------------------------------------------------------------------------------------------

    def _unstage(self) -> None:
        self._staged = None
        self._expected = None
        self._armed = False

    def _open_link(self) -> MagProLink:
        if self._link is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._link

    def _known_model(self) -> Model:
        if self._model is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._model

    def _refuse_during_train(self) -> None:
        if self._heard is not None:
            raise NotReady("A train is running; only disarm is possible.")

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


def _counters(report: say.CountersReport) -> Counters:
    return Counters(trains=report.trains, pulses=report.total_pulses, stimuli=report.stimuli)
