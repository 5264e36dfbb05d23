"""What the link tells a room of its device: that it answers, that it did something unasked, that it is gone."""

from spoel_stimulation.devices.adapter import Counters, DeviceIdentity, Unasked
from spoel_stimulation.runner.background import Background
from spoel_stimulation.runner.delivery import Accounted, Delivery, RoomFault, UnaccountedPulses
from spoel_stimulation.runner.faults import Faults
from spoel_stimulation.runner.journal import Journal

HALT_TIMEOUT_S = 5.0


class DeviceNews:
    """Takes what ``DeviceLink`` tells (``link.Listener``): the bar is raised at once, all else follows.

    Args:
        delivery: of the room's trains.
        journal: where it is recorded.
        faults: deals with what went wrong.
        background: where it is dealt with.
        strip_public_key: the room's key for identity strips, for the record of the room.
    """

    def __init__(
        self, delivery: Delivery, journal: Journal, faults: Faults, background: Background, strip_public_key: str
    ) -> None:
        self._delivery = delivery
        self._journal = journal
        self._faults = faults
        self._background = background
        self._strip_public_key = strip_public_key
        self._first_answer = True

    async def device_answered(self, identity: DeviceIdentity, counters: Counters | None) -> None:
        """Record what a device that is connected and disarmed says, before it may be used (INV-1, INV-7)."""
        self._delivery.bar()
        await self._delivery.idle(HALT_TIMEOUT_S)
        first, key = self._first_answer, self._strip_public_key
        total = None if counters is None else counters.pulses
        await self._journal.persist(lambda: self._journal.connected(identity, key, total, first=first))
        self._first_answer = False
        self._delivery.accounted = Accounted(identity.serial, total)

    async def device_did(self, unasked: Unasked) -> None:
        """Bar and disarm at once; record when the running train, if there is one, is recorded (HZ-08)."""
        if unasked.kind == "change" and self._delivery.stopped_by_guard:
            return  # nobody has armed it since: this is the guard's own disarm, which it tells of
        self._delivery.bar()
        self._background.start(self._deal_with(unasked), f"unasked {unasked.kind}")

    async def link_lost(self, detail: str) -> None:
        """Bar at once, and record the loss if a session is open; without one, only the room's state shows it."""
        self._delivery.bar()
        self._background.start(self._record_loss(detail), "link lost")

    async def _record_loss(self, detail: str) -> None:
        if await self._journal.persist(self._journal.open_session) is not None:
            await self._journal.persist(lambda: self._journal.fault("link-lost", "link-lost", detail))

    async def _deal_with(self, unasked: Unasked) -> None:
        if not unasked.disarmed:
            await self._delivery.stop()
        await self._delivery.idle()  # a train's own pulses are accounted for before what is left over is looked at
        if unasked.kind == "change":
            await self._faults.record(RoomFault("unasked-change", "unasked-change", unasked.detail))
        else:
            await self._deal_with_pulses(unasked)

    async def _deal_with_pulses(self, unasked: Unasked) -> None:
        known, total = self._delivery.accounted.total_pulses, unasked.device_total_pulses
        if known is None:
            await self._faults.unaccounted(UnaccountedPulses(max(1, unasked.pulses), None))
            return
        if total is None:
            total = known + unasked.pulses
        if total > known:
            await self._faults.unaccounted(UnaccountedPulses(total - known, total))
        else:
            await self._faults.suspect(RoomFault("device-fault", "pulse-not-counted", unasked.detail))
