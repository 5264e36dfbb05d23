"""Simulated MagPros together in one process: ``NUMBER FOLDER``; its first line says their addresses."""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.magpro.simulator import MagProSimulator
from spoel_stimulation.devices.simulation.ports import on_tcp


async def main(count: int, folder: Path) -> None:
    """Serve until killed."""
    clock = ScaledClock.model_validate_json(os.environ["SPOEL_CLOCK"])
    async with AsyncExitStack() as stack:
        addresses = []
        for number in range(1, count + 1):
            simulator = MagProSimulator(clock, number=number, log_path=folder / f"sim-{number}.jsonl")
            addresses.append(await stack.enter_async_context(on_tcp(simulator)))
        print(json.dumps({"addresses": addresses}), flush=True)
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
