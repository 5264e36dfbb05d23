"""What may come to speak against going on by itself while nothing is told: presence, temperature, coil, old status.

Looked at every half second of wall time and without the journal, so that many rooms cost little; the journal is asked
only when something has begun to speak against it.
"""

import asyncio
import time
from collections.abc import Callable

from spoel_stimulation.domain.equipment import is_too_hot
from spoel_stimulation.domain.facts import Limits
from spoel_stimulation.runner.delivery import Delivery
from spoel_stimulation.runner.link import DeviceLink
from spoel_stimulation.surroundings import Presence

LOOK_S = 0.5


class Lookout:
    """Looks at one room.

    Args:
        link: to its device.
        delivery: tells whether a train may leave at all, and with which coil it was armed.
        limits: of the node.
    """

    def __init__(self, link: DeviceLink, delivery: Delivery, limits: Limits) -> None:
        self._link = link
        self._delivery = delivery
        self._limits = limits
        self._confirmed: tuple[str, float] | None = None

    def present(self, session_id: str, *, awake: bool) -> None:
        """Remember that presence was confirmed just now; a patient who is not awake is as good as nobody there."""
        self._confirmed = (session_id, time.monotonic()) if awake else None

    @property
    def presence(self) -> Presence | None:
        """When presence was last confirmed; None if it never was in this process, or the patient was not awake."""
        if self._confirmed is None:
            return None
        session_id, since_s = self._confirmed
        return Presence(session_id, time.monotonic() - since_s)

    async def run(self, look_again: Callable[[], None]) -> None:
        """Call ``look_again`` when something begins to speak against going on, until cancelled."""
        seen: frozenset[str] = frozenset()
        while True:
            await asyncio.sleep(LOOK_S)
            found = self.alarming()
            if found - seen:
                look_again()
            seen = found

    def alarming(self) -> frozenset[str]:
        """Return what speaks against going on; nothing while no train may leave anyway."""
        device, presence = self._link.facts(None), self.presence
        if not device.ready or self._delivery.barred:
            return frozenset()
        found = {
            "presence": presence is None or presence.age_s > self._limits.max_presence_age_s,
            "status": device.status_age_s > self._limits.max_status_age_s,
            "temperature": is_too_hot(device),
            "coil": device.coil_model != self._delivery.armed_coil,
        }
        return frozenset(name for name, alarming in found.items() if alarming)
