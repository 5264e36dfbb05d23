"""What goes wrong in a room, dealt with in one order: disarm, then write down, then wait for a person (INV-7)."""

import asyncio
import time

import structlog

from spoel_common.errors import SpoelError
from spoel_stimulation.domain.phases import Phase
from spoel_stimulation.domain.state import SessionState
from spoel_stimulation.runner.delivery import Delivery, RoomFault, UnaccountedPulses
from spoel_stimulation.runner.journal import Journal, interlock_of
from spoel_stimulation.runner.link import DeviceLink

EXPLANATION_S = 1.5
EXPLANATION_STEP_S = 0.05
ARMED_PHASES = (Phase.ARMED, Phase.RUNNING, Phase.PAUSED)
"""Phases of a session in which the device may be enabled."""

_log = structlog.get_logger(__name__)


class Faults:
    """Deals with what goes wrong.

    Args:
        room_id: the room, for the log.
        link: to its device.
        delivery: whose device is disarmed.
        journal: where it is recorded.
    """

    def __init__(self, room_id: str, link: DeviceLink, delivery: Delivery, journal: Journal) -> None:
        self._room_id = room_id
        self._link = link
        self._delivery = delivery
        self._journal = journal

    async def record(self, fault: RoomFault) -> None:
        """Disarm, then record a fault, latch the room and interrupt its session."""
        await self._delivery.stop()
        await self._journal.persist(lambda: self._journal.fault(fault.reason, fault.kind, fault.detail))

    async def suspect(self, fault: RoomFault) -> None:
        """Disarm, and record a fault unless somebody else records within a moment what it comes from."""
        await self._delivery.stop()
        if not await self.explained():
            await self.record(fault)

    async def explained(self) -> bool:
        """Wait a moment for somebody else to record why the room was stopped; False if nobody did."""
        give_up_at_s = time.monotonic() + EXPLANATION_S
        while time.monotonic() < give_up_at_s:
            state = await self._journal.persist(self._journal.open_session)
            if state is None or state.phase not in ARMED_PHASES:
                return True
            await asyncio.sleep(EXPLANATION_STEP_S)
        return False

    async def train_failed(self, fault: RoomFault) -> None:
        """Deal with a train that did not end as it should; one whose end cannot be asked waits for a new link."""
        if fault.reason != "link-lost":
            await self.record(fault)
            return
        self._link.give_up(fault.detail)
        await self.suspect(fault)

    async def unaccounted(self, found: UnaccountedPulses) -> None:
        """Disarm, then record pulses that no train accounts for, latch the room and interrupt its session.

        From the call on they are accounted for: whoever else finds them meanwhile does not record them again.
        """
        self._delivery.accounted = self._delivery.accounted._replace(total_pulses=found.total_pulses)
        accounted = self._delivery.accounted
        await self._delivery.stop()
        await self._journal.persist(lambda: self._journal.unauthorised_pulses(found.pulses, accounted))

    async def interlock(self, state: SessionState, refusal: SpoelError) -> None:
        """Disarm, then interrupt or close the session."""
        reason = interlock_of(refusal)
        _log.warning("room.interlock", room=self._room_id, reason=reason, problem=refusal.slug)
        disarmed = await self._delivery.stop()
        await self._journal.persist(lambda: self._journal.interlock(state, reason))
        if not disarmed:
            await self.record(RoomFault("device-fault", "disarm-not-confirmed", "not read back as disabled at a stop"))
