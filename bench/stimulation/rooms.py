"""Rooms with a 10 Hz protocol in real time in one process, their simulators together in another, over TCP.

Each room runs a session of its own: 4 s of stimulation every 15 s, every train authorised durably before it leaves,
the device's status asked every 0.5 s. It counts only where every room kept its protocol: no fault, no train late by
more than a second, every pulse of the simulators recorded, and no armed device that heard nothing for a second.
"""

import asyncio
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from spoel_common.clock import ScaledClock, utc_now
from spoel_local.bench import Result

from .stage import other_process

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.stimulation import clinic as clinics
from tests.stimulation.story import PATTERN_10HZ, treatment_order

ROOMS = 200
SECONDS = 60
INTERVAL_S = 15.0
LATE_S = 1.0
GAP_S = 1.0
START_AT_ONCE = 8
PRESENCE_S = 900.0
"""Nobody confirms presence while it is measured."""


def run() -> list[Result]:
    """Measure once: a minute of real time."""
    return asyncio.run(measure(ROOMS, SECONDS))


async def measure(rooms: int, seconds: float) -> list[Result]:
    """Run ``rooms`` sessions for ``seconds`` and say how they kept."""
    with tempfile.TemporaryDirectory(prefix="spoel-bench-") as folder:
        async with other_process(rooms) as (addresses, ended):
            clock = ScaledClock.starting_now(1.0)
            named = {f"room-{number}": address for number, address in enumerate(addresses, 1)}
            clinic = clinics.Clinic(Path(folder), clock, named, max_presence_age_s=PRESENCE_S)
            async with clinic.opened():
                sessions = await _started(clinic, list(named))
                begin = utc_now(clock)
                await asyncio.sleep(seconds)
                end = utc_now(clock)
                found = [await clinic.session(session_id) for session_id in sessions]
                await asyncio.gather(*(clinic.ask(session_id, "stop", reason="time-over") for session_id in sessions))
                events = await clinic.events()
            told = await ended()
    return _results(rooms, found, events, told, (begin, end))


def _results(
    rooms: int,
    found: list[dict[str, Any]],
    events: list[Any],
    told: dict[str, Any],
    measured: tuple[datetime, datetime],
) -> list[Result]:
    running = sum(session["state"] == "running" for session in found)
    recorded = sum(event.data["pulses"] for event in events if event.type.split(".")[2] == "train-delivered")
    late = sorted(_lateness_s(events, measured))
    gap_s = max(told["gaps_s"])
    kept = running == rooms and recorded == sum(told["pulses"]) and late[-1] < LATE_S and gap_s < GAP_S
    return [
        Result(
            what=f"rooms in one process that keep a 10 Hz protocol in real time for {SECONDS} s",
            value=float(rooms if kept else running if running < rooms else 0),
            unit="rooms",
            ratio=(rooms if kept else 0) / ROOMS,
            target=1.0,
            met=kept,
        ),
        Result(
            what=f"longest time in which one of {rooms} armed devices heard nothing from its host",
            value=gap_s,
            unit="s",
            target=GAP_S,
            met=gap_s < GAP_S,
            at_most=True,
        ),
        Result(
            what=f"train begun after it was due, {rooms} rooms, p50 (spread: p1 to p99)",
            value=statistics.median(late),
            unit="s",
            spread=(late[len(late) // 100], late[-1 - len(late) // 100]),
        ),
        Result(
            what="pulses given and recorded", value=float(recorded), unit="pulses", baseline=float(sum(told["pulses"]))
        ),
    ]


def _lateness_s(events: list[Any], measured: tuple[datetime, datetime]) -> list[float]:
    """Return by how much each train of the measured minute began after its interval was over.

    Before it other rooms are still being armed, and after it every session is read and stopped, in this process.
    """
    begin, end = measured
    first_onsets: dict[str, datetime] = {}
    late = [0.0]
    for event in events:
        onset = event.data.get("first_onset_at") if event.type.split(".")[2] == "train-delivered" else None
        if onset is None:
            continue
        began, session_id = datetime.fromisoformat(onset), event.data["session_id"]
        before = first_onsets.get(session_id)
        if before is not None and begin <= began <= end:
            late.append((began - before).total_seconds() - INTERVAL_S)
        first_onsets[session_id] = began
    return late


async def _started(clinic: clinics.Clinic, rooms: list[str]) -> list[str]:
    """Lead a session to its start in each room, a few at a time; all of them start within one interval."""
    order = treatment_order(PATTERN_10HZ.model_copy(update={"train_interval_s": INTERVAL_S}))
    await clinic.tell_people()
    await clinic.check_rooms()
    sessions = []
    for room_id in rooms:
        case_id, patient_id, prescription_id = f"case-{room_id}", f"patient-{room_id}", f"prescription-{room_id}"
        await clinic.tell_case(case_id, patient_id)
        await clinic.tell_prescription(order, case_id=case_id, prescription_id=prescription_id)
        await clinic.ready(room_id)
        ids = {"case_id": case_id, "patient_id": patient_id, "prescription_id": prescription_id}
        sessions.append(await clinic.book(room_id=room_id, **ids))
    turn = asyncio.Semaphore(START_AT_ONCE)

    async def lead(session_id: str, room_id: str) -> None:
        async with turn:
            await clinic.seated(session_id, room_id=room_id)
            (await clinic.arm(session_id)).raise_for_status()

    await asyncio.gather(*map(lead, sessions, rooms))
    for session_id in sessions:
        (await clinic.ask(session_id, "start")).raise_for_status()
        await asyncio.sleep(INTERVAL_S / len(sessions) / 2)
    return sessions
