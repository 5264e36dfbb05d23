"""A room node in a process of its own, to be killed in a train: ``FOLDER CLOCK ADDRESS GUARD_DIRECTORY``."""

import asyncio
import sys
from pathlib import Path

from tests.stimulation.clinic import Clinic
from tests.stimulation.story import PATTERN_10HZ, treatment_order

from spoel_common.clock import ScaledClock


async def main():
    folder, clock, address, guard_dir = sys.argv[1:]
    clinic = Clinic(
        Path(folder), ScaledClock.model_validate_json(clock), {"room-1": address}, guard_dir=Path(guard_dir)
    )
    async with clinic.opened():
        await clinic.ready()
        session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
        await clinic.until_event("train-authorised")
        sys.stdout.write(f"session {session_id}\n")
        sys.stdout.flush()
        await asyncio.sleep(60)


asyncio.run(main())
