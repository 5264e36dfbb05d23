"""Arming a room's device: stage, read back, enable, and record it under the id that was promised."""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from spoel_common.errors import SpoelError
from spoel_common.people import Actor
from spoel_common.work import UnitsOfWork
from spoel_stimulation import commands as asked
from spoel_stimulation.aggregates import ROOM, SESSION
from spoel_stimulation.devices.adapter import DeviceError
from spoel_stimulation.domain.blinding import NOT_SHOWN
from spoel_stimulation.domain.phases import Act
from spoel_stimulation.domain.room import check_not_latched
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.events.sessions import DeviceSettings
from spoel_stimulation.handlers import record_armed
from spoel_stimulation.runner.background import Background
from spoel_stimulation.runner.delivery import Delivery, RoomFault
from spoel_stimulation.runner.faults import Faults
from spoel_stimulation.runner.settings import device_settings
from spoel_stimulation.surroundings import Look

ARM_WAIT_S = 15.0
FAILURES_KEPT = 100

_log = structlog.get_logger(__name__)


class Failure(NamedTuple):
    """Why a command with an effect on the device had none."""

    slug: str
    detail: str


class Wanted(NamedTuple):
    """One arming that a person asked for, after the conditions were checked in a unit of work.

    Attributes:
        state: of the session.
        event_id: of the event to come.
        by: who asks.
        bars: those of ``Delivery`` when it was asked for; after another one the device is not enabled (INV-8).
        asked_again: the patient was asked for consent again, for the record.
    """

    state: SessionState
    event_id: str
    by: Actor
    bars: int
    asked_again: bool = False


class Arming:
    """Arms the device of one room.

    Args:
        room_id: the room.
        units: units of work on the node's journal.
        delivery: whose device is armed.
        faults: deals with a device that does not take it.
        background: where it is done.
        look: the room's surroundings at this moment.

    Attributes:
        under_way: ids of the events to come.
        failures: why an arming failed, by the id of the event that did not come; the latest ``FAILURES_KEPT``.
    """

    def __init__(
        self, room_id: str, units: UnitsOfWork, delivery: Delivery, faults: Faults, background: Background, look: Look
    ) -> None:
        self.under_way: set[str] = set()
        self.failures: OrderedDict[str, Failure] = OrderedDict()
        self._room_id = room_id
        self._units = units
        self._delivery = delivery
        self._faults = faults
        self._background = background
        self._look = look

    async def arm(self, wanted: Wanted) -> None:
        """Stage and arm the device, then record it; returns after ``ARM_WAIT_S`` also where it is still under way."""
        self.under_way.add(wanted.event_id)
        await asyncio.wait({self._background.start(self._arm(wanted), "arming")}, timeout=ARM_WAIT_S)

    async def _arm(self, wanted: Wanted) -> None:
        try:
            async with self._delivery.busy:
                await self._stage_and_record(wanted)
        except DeviceError as error:
            await self._refused_by_device(wanted, error)
        except SpoelError as error:
            self._failed(wanted, error.slug, error.detail)
            await self._delivery.stop()
        except Exception as error:
            self._failed(wanted, "unavailable", f"The journal did not take it ({type(error).__name__}). Arm again.")
            await self._delivery.stop()
            if not isinstance(error, SQLAlchemyError):
                raise
        finally:
            self.under_way.discard(wanted.event_id)

    async def _refused_by_device(self, wanted: Wanted, error: DeviceError) -> None:
        self._failed(wanted, error.slug, NOT_SHOWN if wanted.state.blinded else error.detail)
        if wanted.bars == self._delivery.bars:
            await self._faults.record(RoomFault("device-fault", error.slug, error.detail))
        else:  # stopped meanwhile: no fault of the device, and whoever stopped it records why
            await self._delivery.stop()

    async def _stage_and_record(self, wanted: Wanted) -> None:
        session_id = wanted.state.session.session_id
        check_not_latched((await self._units.load(ROOM, self._room_id)).state, self._room_id)
        state = (await self._units.load(SESSION, session_id)).state  # as it is now: the coil may have been placed since
        if not state.may(Act.ARM):
            self._failed(wanted, "transition-not-allowed", "The session was armed or closed by another request.")
            return
        settings = device_settings(state, self._look().limits.max_autonomous_s)
        found = await self._delivery.stage_and_arm(settings, wanted.bars)
        command = asked.RecordArmed(
            settings=DeviceSettings.model_validate({"set": found.set_point, "read_back": found.read_back}),
            coil_model=self._look().device.coil_model,
            percent_mso=settings.percent_mso,
            consent_asked_again=wanted.asked_again,
        )
        async with self._units.begin(wanted.by, session_id) as work:
            await record_armed(work, session_id, wanted.event_id, command, self._look)

    def _failed(self, wanted: Wanted, slug: str, detail: str) -> None:
        self.failures[wanted.event_id] = Failure(slug, detail)
        while len(self.failures) > FAILURES_KEPT:
            self.failures.popitem(last=False)
        _log.warning("room.not-armed", room=self._room_id, problem=slug)
