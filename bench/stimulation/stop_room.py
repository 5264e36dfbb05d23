"""A room node of its own that can be made to stand still: ``NUMBER FOLDER``.

Told ``run`` it waits for a train of its session, which it begins if none is under way; told ``block`` its loop stands
still for five seconds.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from tests.stimulation.clinic import Clinic
from tests.stimulation.story import PATTERN_10HZ, treatment_order

from spoel_common.clock import ScaledClock
from spoel_stimulation.aggregates import ROOM

BLOCKED_S = 5.0
MANY = {"max_pulses_per_day": 10_000_000, "min_pause_between_sessions_s": 0.0}
"""One patient is stopped again and again on one day."""

ATTEMPTS = 5
INTERVAL_S = 12.0
"""Of trains; shorter than the clinic of the tests waits for anything."""

PRESENCE_S = 900.0
"""Nobody confirms presence while it is measured."""


class Node:
    """The node, its room, and how it is told what to do."""

    def __init__(self, clinic: Clinic, room_id: str) -> None:
        self._clinic = clinic
        self._room_id = room_id
        self._session_id = ""

    async def serve(self) -> None:
        """Do what is told, until killed."""
        clinic = self._clinic
        await clinic.tell_people()
        await clinic.tell_case()
        pattern = PATTERN_10HZ.model_copy(update={"train_interval_s": INTERVAL_S})
        await clinic.tell_prescription(treatment_order(pattern, **MANY))
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while word := (await reader.readline()).decode().strip():
            await {"run": self._run, "block": self._block}[word]()

    async def _run(self) -> None:
        """Be in a train; a busy machine may take longer than an act of a person is waited for."""
        for _ in range(ATTEMPTS):
            try:
                await self._be_in_a_train()
            except AssertionError as error:
                print(f"begun again: {error}", file=sys.stderr)
            else:
                say(running=True)
                return
        raise AssertionError("no session could be started")

    async def _be_in_a_train(self) -> None:
        before = len(await self._clinic.events("train-authorised"))
        if not await self._under_way():
            await self._start()
        await self._clinic.until_event("train-authorised", before + 1)
        await asyncio.sleep(0.3)

    async def _under_way(self) -> bool:
        return bool(self._session_id) and (await self._clinic.session(self._session_id))["state"] == "running"

    async def _start(self) -> None:
        """Begin a session; one that was interrupted is closed first, and one that is closed refuses that."""
        clinic, room = self._clinic, self._clinic.node.rooms[self._room_id]
        if self._session_id:
            await clinic.ask(self._session_id, "stop", reason="technical")
        await clinic.until(lambda: room.link.up and room.guard.up and not room.holds, "a room at rest")
        if await self._latched():
            answer = await clinic.post(f"/rooms/{self._room_id}/reset", {"reason": "device-checked"})
            assert answer.is_success, answer.text
        self._session_id = await clinic.book(room_id=self._room_id)
        await clinic.check_rooms()
        await clinic.started(self._session_id, room_id=self._room_id)

    async def _block(self) -> None:
        say(blocked=True)
        time.sleep(BLOCKED_S)  # noqa: ASYNC251 - that is what is wanted
        await self._clinic.until(self._latched, "the stop is recorded")
        say(latched=True)

    async def _latched(self) -> bool:
        return (await self._clinic.runtime.units.load(ROOM, self._room_id)).state.latch is not None


def say(**what: object) -> None:
    """Tell whoever started this process."""
    print(json.dumps(what), flush=True)


async def main(number: int, folder: Path) -> None:
    """Be the node."""
    room = json.loads(os.environ["SPOEL_ROOMS"])[number - 1]
    clock = ScaledClock.model_validate_json(os.environ["SPOEL_CLOCK"])
    guard_dir = Path(os.environ["SPOEL_GUARD_DIR"])
    for name in ("SPOEL_ROOMS", "SPOEL_GUARD_DIR", "SPOEL_CLOCK"):
        del os.environ[name]
    clinic = Clinic(
        folder,
        clock,
        {room["room_id"]: room["address"]},
        guard_dir=guard_dir,
        log_level="error",
        max_presence_age_s=PRESENCE_S,
    )
    async with clinic.opened():
        await Node(clinic, room["room_id"]).serve()


place = Path(sys.argv[2])
place.mkdir()
asyncio.run(main(int(sys.argv[1]), place))
