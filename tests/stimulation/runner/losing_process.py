"""A room node in a process of its own that reports a loss of consciousness at SIGUSR1: ``FOLDER CLOCK ADDRESS``."""

import asyncio
import signal
import sys
from pathlib import Path

from tests.stimulation.clinic import Clinic
from tests.stimulation.story import PATTERN_10HZ, treatment_order

from spoel_common.clock import ScaledClock


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main():
    folder, clock, address = sys.argv[1:]
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
    clinic = Clinic(Path(folder), ScaledClock.model_validate_json(clock), {"room-1": address})
    async with clinic.opened():
        await clinic.ready()
        session_id = await clinic.started(await clinic.prepare(treatment_order(PATTERN_10HZ)))
        say("running")
        await told.wait()
        pressing = asyncio.create_task(clinic.client.post(f"/sessions/{session_id}/loss-of-consciousness"))
        await clinic.until(lambda: clinic.room.holds, "it is pressed")
        say(f"pressed {session_id}")
        await pressing
        await asyncio.sleep(60)


asyncio.run(main())
