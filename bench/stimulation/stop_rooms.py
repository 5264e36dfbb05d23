"""Rooms that run 10 Hz trains through their guard, one after the other: ``FIRST``, of those in ``SPOEL_ROOMS``."""

import asyncio
import json
import os
import sys
from pathlib import Path

from spoel_common.clock import ScaledClock
from spoel_stimulation.devices.adapter import DeviceError, TrainSettings
from spoel_stimulation.devices.magpro.adapter import MagProAdapter
from spoel_stimulation.devices.transport import through_guard
from spoel_stimulation.guard.settings import control_socket, data_socket
from spoel_stimulation.runner.guard import GuardClient, Told

TRAIN = TrainSettings(rate_hz=10.0, stimuli=40, percent_mso=40)


class Nobody:
    """What a room would do when its guard stops it: here that does not happen."""

    def guard_stopped(self) -> None:
        """Do nothing."""

    async def guard_told(self, _told: Told) -> None:
        """Do nothing."""

    def guard_lost(self, _detail: str) -> None:
        """Do nothing."""


async def nothing_recorded() -> tuple[str, int]:
    """Return that no file of the guard is recorded."""
    return "", 0


async def run_room(room: dict[str, str], clock: ScaledClock, running: asyncio.Event) -> None:
    """Run trains until killed; a room in which something fails begins again."""
    directory, room_id = Path(os.environ["SPOEL_GUARD_DIR"]), room["room_id"]
    client = GuardClient(room_id, control_socket(directory, room_id), room["address"], nothing_recorded)
    adapter = MagProAdapter(through_guard(data_socket(directory, room_id), room["address"]), clock)
    beating = asyncio.create_task(client.run(Nobody()))
    while not beating.done():
        try:
            await adapter.connect()
            await adapter.stage(TRAIN)
            await client.release()
            await adapter.arm()
            while True:
                running.set()
                await adapter.run_train(TRAIN)
        except DeviceError as error:
            print(f"{room_id}: {error.detail}", file=sys.stderr)
            await adapter.close()
            await asyncio.sleep(0.3)


async def main(first: int) -> None:
    """Run the rooms from the ``first`` on."""
    clock = ScaledClock.model_validate_json(os.environ["SPOEL_CLOCK"])
    rooms = json.loads(os.environ["SPOEL_ROOMS"])[first - 1 :]
    started = [asyncio.Event() for _ in rooms]
    async with asyncio.TaskGroup() as tasks:
        for room, running in zip(rooms, started, strict=True):
            tasks.create_task(run_room(room, clock, running))
        for running in started:
            await running.wait()
        print(json.dumps({"running": len(rooms)}), flush=True)


asyncio.run(main(int(sys.argv[1])))
