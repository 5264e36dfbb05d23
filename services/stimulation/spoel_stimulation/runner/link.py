"""The link to a room's device: connect, watch, reconnect. All waits here are wall time.

What a device said is in no log, since in a blinded session it could tell the condition (ST-09): the kind of trouble is.
"""

import asyncio
import time
from typing import Protocol

import structlog

from spoel_stimulation.devices.adapter import (
    Counters,
    DeviceError,
    DeviceIdentity,
    LinkLost,
    NotAllowed,
    NotSupported,
    Stimulator,
    Unasked,
)
from spoel_stimulation.devices.record import Capability
from spoel_stimulation.domain.facts import DeviceFacts

FIRST_PAUSE_S = 0.3
LONGEST_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


class RoomDevice(Stimulator, Protocol):
    """A stimulator that says beforehand what it cannot do."""

    @property
    def capability(self) -> Capability:
        """What the connected model may be asked for.

        Raises:
            NotReady: not connected.
        """


class Listener(Protocol):
    """What the room does when something happens at the link."""

    async def device_answered(self, identity: DeviceIdentity, counters: Counters | None) -> None:
        """A device answered and is disarmed; what it says is to be recorded before it may be used."""

    async def device_did(self, unasked: Unasked) -> None:
        """The device did something that nobody asked for."""

    async def link_lost(self, detail: str) -> None:
        """The device does not answer any more."""


class DeviceLink:
    """Keeps the connection to one device.

    Args:
        room_id: the room, for the log.
        device: the device's adapter.

    Attributes:
        device: the adapter.
        up: the device answered, what it said is recorded, and the link has not broken since.
        accepted: False where a device answered that may not be used here (HZ-25).
        counts: the device has a counter of its pulses.
        max_coil_temperature_c: of the device's own record; None where that has none.
        longest_alone_s: longest train of a unit that surely ends one without its host (INV-11); None of any other.
        problem: why the link is not up, and what to do.
    """

    def __init__(self, room_id: str, device: RoomDevice) -> None:
        self.device = device
        self.up = False
        self.accepted = True
        self.counts = True
        self.max_coil_temperature_c: float | None = None
        self.longest_alone_s: float | None = None
        self.problem = "The device has not answered yet. Look at its power and cable."
        self._room_id = room_id

    async def run(self, listener: Listener) -> None:
        """Connect, watch and reconnect, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            started_s = time.monotonic()
            try:
                await self._connect(listener)
                pause_s = FIRST_PAUSE_S
                await self._watch(listener)
            except (NotAllowed, NotSupported) as error:
                self._down(error.detail)
                self.accepted = False
                _log.error("link.device-not-accepted", room=self._room_id, detail=error.detail)
            except DeviceError as error:
                was_up = self.up
                self._down(error.detail)
                _log.warning("link.lost", room=self._room_id, problem=error.slug, was_up=was_up)
                if was_up:
                    await listener.link_lost(error.detail)
            finally:
                self.up = False
                await self.device.close()
            if time.monotonic() - started_s > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def give_up(self, detail: str) -> None:
        """Drop the connection and make a new one: what the device said last cannot be asked any more over this one."""
        if self.up:
            self.device.unasked.put_nowait(Unasked(kind="link-lost", detail=detail))

    def facts(self, total_pulses: int | None) -> DeviceFacts:
        """Return the device as decisions see it.

        Args:
            total_pulses: its counter, if it was asked just now.
        """
        identity, status = self.device.identity, self.device.status
        if not self.up or identity is None or status is None:
            simulated = identity is not None and identity.simulated
            return DeviceFacts(ready=False, accepted=self.accepted, problem=self.problem, simulated=simulated)
        return DeviceFacts(
            ready=True,
            problem="",
            model=identity.model,
            coil_model=status.coil_model,
            simulated=identity.simulated,
            status_age_s=max(0.0, time.monotonic() - status.received_monotonic_s),
            coil_temperature_c=status.coil_temperature_c,
            max_coil_temperature_c=self.max_coil_temperature_c,
            enabled=status.enabled,
            has_counter=self.counts,
            total_pulses=total_pulses,
        )

    def _down(self, detail: str) -> None:
        self.up = False
        self.problem = detail

    async def _connect(self, listener: Listener) -> None:
        """Connect and disarm before anything else (INV-1); then ask, and have the answer recorded.

        Raises:
            DeviceError: no answer, not accepted, or it cannot be disarmed.
        """
        self._forget_old_losses()
        identity = await self.device.connect()
        if not await self.device.disarm():
            raise LinkLost("The device does not read back as disabled. Press its own stop, then look at its cable.")
        counters = await self.device.counters()
        self.counts = counters is not None
        record = self.device.capability.record
        self.max_coil_temperature_c = record.max_coil_temperature_c
        self.longest_alone_s = record.max_autonomous_s if record.surely_ends_alone else None
        await listener.device_answered(identity, counters)
        self.up = self.accepted = True
        _log.info("link.up", room=self._room_id, serial=identity.serial, model=identity.model)

    def _forget_old_losses(self) -> None:
        """Drop what tells of the loss of a connection that is gone anyway; keep all else that the device did."""
        waiting = self.device.unasked
        for unasked in [waiting.get_nowait() for _ in range(waiting.qsize())]:
            if unasked.kind != "link-lost":
                waiting.put_nowait(unasked)

    async def _watch(self, listener: Listener) -> None:
        """Hand on what the device does unasked.

        Raises:
            LinkLost: the device does not answer any more.
        """
        while True:
            unasked = await self.device.unasked.get()
            if unasked.kind == "link-lost":
                raise LinkLost(unasked.detail)
            await listener.device_did(unasked)
