"""What the parts about rooms need: simulators in a process of their own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from spoel_common.clock import ScaledClock


@asynccontextmanager
async def other_process(count: int, clock: ScaledClock | None = None) -> AsyncIterator[Any]:
    """Run simulators in one other process; yields their addresses, and what ends them and tells what they saw.

    Args:
        count: how many; a single one answers at once and notes every frame.
        clock: whose time they follow; real time if None.
    """
    speed = "1" if clock is None else str(clock.speed)
    script = Path(__file__).with_name("simulators.py")
    words = [sys.executable, str(script), str(count), speed, *([] if clock is None else [clock.model_dump_json()])]
    process = await asyncio.to_thread(subprocess.Popen, words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout

    async def ended() -> dict[str, Any]:
        process.terminate()
        told: dict[str, Any] = json.loads(await asyncio.to_thread(lines.readline))
        return told

    try:
        yield json.loads(await asyncio.to_thread(lines.readline)), ended
    finally:
        process.terminate()
        process.wait(10)
        lines.close()
