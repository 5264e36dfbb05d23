"""Magstim Rapid², 200² and BiStim² as a ``Stimulator``.

These devices count no pulses and say nothing unasked. So the adapter asks twice a second (which also keeps remote
control), and a train's outcome is *known* only where the device took the start, showed that it was busy, and was ready
again in time, armed throughout. Everything else is *unknown*.

Not verified on hardware: that a disarm stops a train under way, and that a unit drops control when its host is silent.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from pydantic import SecretStr

from spoel_common.clock import Clock
from spoel_stimulation.devices.adapter import (
    Counters,
    DeviceError,
    DeviceIdentity,
    DeviceStatus,
    InterlockOpen,
    LinkLost,
    NotReady,
    ReadBack,
    RefusedByDevice,
    SettingNotTaken,
    TrainResult,
    TrainSettings,
    Unasked,
)
from spoel_stimulation.devices.magstim import messages as say
from spoel_stimulation.devices.magstim.capability import MagstimCapability
from spoel_stimulation.devices.magstim.conversation import Conversation, Model, RapidModel, SingleModel
from spoel_stimulation.devices.magstim.following import FASTEST_STEP_S, Start
from spoel_stimulation.devices.magstim.link import ANSWER_TIMEOUT_S, MagstimLink
from spoel_stimulation.devices.magstim.pauses import Pauses
from spoel_stimulation.devices.magstim.staging import differences
from spoel_stimulation.devices.magstim.view import Expected, Heard, View
from spoel_stimulation.devices.transport import is_loopback
from spoel_stimulation.devices.turns import Turn, Turns
from spoel_stimulation.devices.use import check_use
from spoel_stimulation.devices.watch import NoCounter, Watch

Kind = Literal["rapid2", "200", "bistim"]

POLL_S = 0.5
POLLS_UNANSWERED = 2


def model_of(kind: Kind, unit: str, mains_v: int) -> Model:
    """Return the part of the conversation that belongs to one kind of device."""
    return RapidModel(unit, mains_v) if kind == "rapid2" else SingleModel(bistim=kind == "bistim")


class MagstimAdapter:
    """One Magstim behind one address. Waits are in wall time; trains, pauses and charging in clock time.

    Args:
        address: a serial port, a pseudo-terminal, or ``socket://host:port``.
        clock: clock time.
        kind: which device it is; another one that answers is refused.
        unlock_code: of the unit; a Rapid² of software 9 and up gives no control without.
        unit: of a Rapid², ``rapid``, ``super`` or ``super-plus``: the wire does not tell.
        mains_v: of a Rapid², 240 or 115: its highest rates depend on it.
        serial: number on the unit's plate, for the record: the wire does not tell.
        coil_model: what the site says is plugged in: the wire does not tell.
        clinical: a site where patients are treated: refuses simulators, and any speed but 1.
        poll_s: wall seconds from the last word to the next question; a unit drops control 1 s after the last one.
        answer_timeout_s: wall seconds that a question waits for its answer.
    """

    def __init__(  # noqa: PLR0913  (what one unit is, given once where a room is made)
        self,
        address: str,
        clock: Clock,
        *,
        kind: Kind = "rapid2",
        unlock_code: SecretStr | None = None,
        unit: str = "rapid",
        mains_v: int = 240,
        serial: str = "unknown",
        coil_model: str = "unknown",
        clinical: bool = False,
        poll_s: float = POLL_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.address = address
        self.unasked: asyncio.Queue[Unasked] = asyncio.Queue()
        self._clock = clock
        self._model = model_of(kind, unit, mains_v)
        self._unlock_code = unlock_code
        self._serial = serial
        self._coil_model = coil_model
        self._clinical = clinical
        self._poll_s = poll_s
        self._answer_timeout_s = answer_timeout_s
        self._talk: Conversation | None = None
        self._view = View(coil_model)
        self._identity: DeviceIdentity | None = None
        self._capability: MagstimCapability | None = None
        self._turns: Turns[Expected] = Turns(self.disarm, self._notice)
        self._heard: Heard | None = None
        self._stimulus_s: float | None = None
        self._pauses = Pauses(clock)
        self._watch = Watch(self.disarm, NoCounter(max), self.unasked)
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
        """Wall ``time.monotonic()`` of the last stimulus noticed, ours or not."""
        return self._stimulus_s

    @property
    def capability(self) -> MagstimCapability:
        """What the connected model may be asked for.

        Raises:
            NotReady: not connected.
        """
        if self._capability is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._capability

    # --- connection -------------------------------------------------------------------------------------------------

    async def connect(self) -> DeviceIdentity:
        """Open the link, disarm, take remote control, ask who it is, and begin to watch it.

        Raises:
            LinkLost: nobody answers, or it cannot be disarmed.
            RefusedByDevice: it answers, but gives no control: wrong or missing unlock code.
            NotSupported: another model than was said.
            NotAllowed: a device that may not be used with this clock or on this site.
        """
        await self._drop()
        self._view = View(self._coil_model)
        link = MagstimLink(self.address, self, self._answer_timeout_s)
        await link.open()
        talk = self._talk = Conversation(link, self._model, self._clock)
        try:
            if not await talk.disarm():
                raise LinkLost(f"The device at {self.address} does not answer, or cannot be disarmed. Check it.")
            serial = await talk.serial()
            await self._take_control(talk)
            capability = await self._model.identify(link)
            await talk.look()
            identity = DeviceIdentity(
                model=capability.record.name,
                serial=serial or self._serial,
                coil_model=self.status.coil_model if self.status else self._coil_model,
                simulated=serial is not None,
            )
            loopback = is_loopback(self.address)
            check_use(identity, speed=self._clock.speed, loopback=loopback, clinical=self._clinical)
        except DeviceError:
            await self._drop()
            raise
        self._capability, self._identity = capability, identity
        self._watch.active = True
        self._polling = asyncio.create_task(self._poll(), name=f"magstim poll {self.address}")
        return identity

    async def _take_control(self, talk: Conversation) -> None:
        await talk.take_control("" if self._unlock_code is None else self._unlock_code.get_secret_value())

    async def close(self) -> None:
        """Disarm if the link is alive, give control back, and close it. Never raises."""
        if await self.disarm() and self._talk is not None:
            with suppress(DeviceError):  # disarmed it is; without its answer the link is just closed
                await self._talk.link.ask(say.RELEASE)
        await self._drop()

    async def _drop(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
        await self._watch.stop()
        talk, self._talk = self._talk, None
        self._turns.void()
        if talk is not None:
            await talk.link.close()

    async def _poll(self) -> None:
        talk, unanswered = self._connected(), 0
        while talk.link.broken is None:
            await asyncio.sleep(max(FASTEST_STEP_S, talk.link.written_s + self._poll_s - time.monotonic()))
            if time.monotonic() < talk.link.written_s + self._poll_s:
                continue
            try:
                await talk.look()
                unanswered = 0
            except DeviceError as error:
                unanswered += 1
                if unanswered == POLLS_UNANSWERED:
                    self._notice(Unasked(kind="link-lost", detail=error.detail))

    # --- what the link tells ----------------------------------------------------------------------------------------

    def heard(self, message: say.Message) -> None:
        """Take an answer from the link: keep the view, follow our train, and notice what nobody asked for."""
        if not isinstance(message, say.Answer):
            return
        was_ready, settings = self._view.ready, self._model.settings_in(message)
        self._view.take(message, settings, time.monotonic())
        if message.letter == "E":
            return
        expected, armed = self._turns.expected, self._turns.armed
        for difference in () if expected is None else expected.differences(self._view, settings):
            self._notice(Unasked(kind="change", detail=difference))
        if self._view.running:
            self._stimulus_s = time.monotonic()
        if self._heard is not None:
            self._heard.take(self._view, self._clock.utc_ns())
        elif self._view.running or (armed and was_ready and self._view.enabled and not self._view.ready):
            self._stimulus_s = time.monotonic()
            self._notice(Unasked(kind="pulse", detail="it shows a pulse or train that is not ours", pulses=1))

    def lost(self, error: LinkLost) -> None:
        """Take notice from the link that it is gone."""
        if self._heard is not None:
            self._heard.lost = True
        self._notice(Unasked(kind="link-lost", detail=error.detail))

    def _notice(self, strange: Unasked) -> None:
        """Void what was staged at once; the watch has the device disarmed and the room told."""
        self._turns.void()
        if self._heard is not None:
            self._heard.unasked.append(strange.detail)
        self._watch.notice(strange)

    # --- the life of a train ----------------------------------------------------------------------------------------

    async def stage(self, settings: TrainSettings) -> ReadBack:
        """Disarm, write every setting, let the power settle, and read every one back (INV-2)."""
        talk = self._connected()
        self.capability.check(settings)
        with self._turns.one() as turn:
            turn.begin_anew()
            if not await talk.disarm():
                raise RefusedByDevice("The device stays armed; settings are only written while it is disarmed.")
            await self._pauses.rest()
            await self._take_control(talk)
            read_back = await talk.write(settings)
            point = self._model.set_point(settings)
            wrong = differences(point, read_back, whole=True)
            if wrong:
                raise SettingNotTaken(f"{'; '.join(wrong)}. Look at the device's screen, then try again.", wrong=wrong)
            turn.stage(settings, Expected(point, enabled=False))
        return ReadBack(set_point=point, read_back=read_back)

    async def arm(self) -> None:
        """Arm; returns when the device is ready, which takes about a second, and nothing staged has changed."""
        talk, (_, expected) = self._connected(), self._turns.staged()
        with self._turns.one() as turn:
            await talk.look()
            self._refuse_if_interlocked()
            turn.expect(replace(expected, enabled=None))
            async with turn.or_disarmed():
                if not await self._arm(talk, turn) or not turn.stands():
                    self._refuse_if_interlocked()
                    raise RefusedByDevice("It does not become ready, or was changed or disarmed meanwhile. Look at it.")
                turn.arm(replace(expected, enabled=True))

    async def _arm(self, talk: Conversation, turn: Turn[Expected]) -> bool:
        try:
            await talk.arm(allowed=turn.stands)
            return await self._becomes_ready(talk)
        except DeviceError:
            turn.check()  # an answer that a disarm has overtaken does not come, and is no fault of the device
            raise

    async def change_percent_mso(self, percent_mso: int) -> ReadBack:
        """Write another intensity, let it settle, and read it back; not during a train."""
        talk = self._connected()
        self.capability.check_percent_mso(percent_mso)
        (staged, _), armed = self._turns.staged(), self._turns.armed
        settings = staged.at(percent_mso)
        self.capability.check(settings)
        point = self._model.set_point(settings)
        with self._turns.one() as turn:
            turn.begin_anew()
            async with turn.or_disarmed():
                await self._pauses.rest()
                read_back = await talk.write_power(settings)
                ready = not armed or await self._becomes_ready(talk)
                wrong = differences(point, read_back, whole=False)
                if wrong or not ready:
                    raise SettingNotTaken(f"{'; '.join(wrong) or 'it does not become ready'}; disarmed.", wrong=wrong)
                turn.stage(settings, Expected(point, enabled=armed), armed=armed)
        return ReadBack(
            set_point={"percent_mso": percent_mso}, read_back={"percent_mso": read_back.get("percent_mso", -1)}
        )

    async def run_train(self, settings: TrainSettings) -> TrainResult:
        """Read everything back once more, send **one** start command, and follow it until the device is ready again.

        Raises:
            NotReady: not armed, other settings than the staged ones, or sooner than the device may give the next train.
            SettingNotTaken: a setting was changed at the device; disarmed.
            LinkLost: no answer before the start; nothing was sent.
        """
        talk, expected = self._connected(), self._turns.armed_with(settings)
        with self._turns.one() as turn:
            await self._pauses.next_train()
            await self._check_before_start(talk, expected, turn)
            heard = self._heard = Heard()
            start = Start(talk, settings, heard, self._clock, began=lambda: self._began(settings))
            try:
                result = await start.run(allowed=turn.stands)
            finally:
                self._heard = None
                self._pauses.end()
            if result.outcome != "complete":
                await self.disarm()
        return result

    def _began(self, settings: TrainSettings) -> None:
        self._stimulus_s = time.monotonic()
        self._pauses.begin(settings, self.capability.minimum_wait_s(settings))

    async def _check_before_start(self, talk: Conversation, expected: Expected, turn: Turn[Expected]) -> None:
        await talk.status()
        wrong = differences(expected.settings, await self._model.read(talk.link, disarmed=False), whole=False)
        turn.check()
        if wrong or not self._view.ready:
            await self.disarm()
            raise SettingNotTaken(
                f"{'; '.join(wrong) or 'not ready'}: changed at the device since it was armed. It was disarmed; stage "
                "it again."
            )

    async def disarm(self) -> bool:
        """Disarm, again and again until the device says so or 2 s have passed. Never raises.

        What was staged is void from the call on, so that nothing under way can arm or fire any more.
        """
        self._turns.void()
        return self._talk is not None and await self._talk.disarm()

    # --- questions --------------------------------------------------------------------------------------------------

    async def counters(self) -> Counters | None:
        """Return None: these devices count no pulses."""
        self._connected()
        return None

    async def refresh_status(self) -> DeviceStatus:
        """Ask the device's status."""
        await self._connected().look()
        status = self.status
        if status is None:
            raise LinkLost("The device has not told its status.")
        return status

    # --- inside -----------------------------------------------------------------------------------------------------

    async def _becomes_ready(self, talk: Conversation) -> bool:
        return await talk.until(lambda: self._view.ready or not self._view.enabled) and self._view.ready

    def _refuse_if_interlocked(self) -> None:
        open_ones = self._view.interlocks()
        if open_ones:
            raise InterlockOpen(f"The device is in no state to stimulate: {'; '.join(open_ones)}. Look at the coil.")

    def _connected(self) -> Conversation:
        if self._talk is None:
            raise NotReady(f"Not connected to {self.address}. Connect first.")
        return self._talk
