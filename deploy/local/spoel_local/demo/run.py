"""The demo itself: staff verified, two patients at the same time, every equality checked at the end."""

import asyncio
import secrets
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from spoel_common.clock import utc_now
from spoel_local.demo.checks import Room, all_checks, simulator_pulses
from spoel_local.demo.patient_way import LONGEST_SESSION_S, SUPERVISOR, Treatment, Way, clock_time
from spoel_local.demo.patients import VirtualPatient, two_patients
from spoel_local.demo.people import People, Refused
from spoel_local.demo.report import Check, DemoReport, Failure, PatientReport, Reporter, Silent, Terminal, print_report
from spoel_local.demo.world import World, own_world, running_world
from spoel_local.processes import LauncherError
from spoel_local.tokens import fetch_tokens, read_people

DEFAULT_SPEED = 120.0
DEFAULT_SEED = 1
_WATCH_S = 0.2
OPENS_ROOMS = "tms-professional"
_ON_DUTY = timedelta(hours=12)


@dataclass(frozen=True)
class Wishes:
    """How the demo is to be.

    Attributes:
        attach_to: data directory of a running instance; an instance of its own if None.
        keep: leave data and logs of an instance of its own.
        speed: of an instance of its own.
        seed: of the virtual patients; if None 1, and on a running instance new patients each time.
    """

    attach_to: Path | None = None
    keep: bool = False
    speed: float = DEFAULT_SPEED
    seed: int | None = None

    def chosen_seed(self) -> int:
        """Return the seed to use."""
        if self.seed is not None:
            return self.seed
        return DEFAULT_SEED if self.attach_to is None else secrets.randbelow(1 << 31)


@dataclass
class Outcome:
    """What has been reached so far, also where it ended early."""

    seed: int
    speed: float
    set_up_s: float = 0.0
    patients: list[PatientReport] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    error: Failure | None = None
    kept: list[Path] = field(default_factory=list)


def treatments(room_ids: Sequence[str]) -> tuple[Treatment, Treatment]:
    """Return what the two patients get: 3,000 pulses at 10 Hz, and iTBS of 600 pulses; in these rooms."""
    return (
        Treatment(
            room_id=room_ids[0],
            door="rest",
            protocol_id="hf-left-dlpfc-10hz-standard",
            operator="tms-professional",
            supervisor_id=None,
            event="lower-intensity",
        ),
        Treatment(
            room_id=room_ids[-1],
            door="fhir",
            protocol_id="itbs-600-left-dlpfc",
            operator="tms-technician",
            supervisor_id=SUPERVISOR,
            event="pause",
        ),
    )


def demo(wishes: Wishes, *, as_json: bool) -> bool:
    """Run the demo, print its report, and return whether everything holds.

    Raises:
        Interrupted: a signal asked us to end; everything was cleaned up.
    """
    console = Console(highlight=False)
    started_s = time.monotonic()
    outcome = Outcome(seed=wishes.chosen_seed(), speed=wishes.speed)
    with ExitStack() as stack:
        reporter: Reporter = Silent() if as_json else stack.enter_context(Terminal(console))
        try:
            _take_place(wishes, reporter, outcome)
        except Refused as refusal:
            outcome.error = refusal.failure
        except LauncherError as error:
            outcome.error = Failure(step="set-up" if not outcome.set_up_s else "while it ran", message=str(error))
    report = DemoReport(
        ok=outcome.error is None and bool(outcome.checks) and all(check.ok for check in outcome.checks),
        speed=outcome.speed,
        seed=outcome.seed,
        attached=wishes.attach_to is not None,
        set_up_s=round(outcome.set_up_s, 2),
        duration_s=round(time.monotonic() - started_s - outcome.set_up_s, 2),
        patients=outcome.patients,
        checks=outcome.checks,
        timeline=reporter.timeline,
        kept=str(outcome.kept[0]) if outcome.kept else None,
        error=outcome.error,
    )
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=1) + "\n")
    else:
        print_report(console, report)
    return report.ok


def _take_place(wishes: Wishes, reporter: Reporter, outcome: Outcome) -> None:
    begun_s = time.monotonic()

    def progress(name: str) -> None:
        reporter.step("instance", f"{name} is ready", "")

    if wishes.attach_to is not None:
        place = running_world(wishes.attach_to)
    else:
        place = own_world(wishes.speed, outcome.kept, progress, keep=wishes.keep)
    with place as world:
        outcome.set_up_s = time.monotonic() - begun_s
        outcome.speed = world.instance.speed
        asyncio.run(_walk_watched(world, reporter, outcome))


async def _walk_watched(world: World, reporter: Reporter, outcome: Outcome) -> None:
    await together(_walk(world, reporter, outcome), _watch(world), until_first=True)


async def _watch(world: World) -> None:
    """End with what happened as soon as a process of the demo's own instance has died."""
    while True:
        if world.launcher is not None:
            world.launcher.supervisor.check()
        await asyncio.sleep(_WATCH_S)


async def _walk(world: World, reporter: Reporter, outcome: Outcome) -> None:
    instance = world.instance
    minutes = LONGEST_SESSION_S / instance.speed / 60
    if minutes > 1:
        reporter.step("instance", f"its clock has speed {instance.speed:g}: this takes {minutes:.0f} minutes", "")
    rooms = [room.room_id for room in instance.rooms]
    before = {room.room_id: simulator_pulses(room.log) for room in instance.rooms}
    tokens = fetch_tokens(read_people(), instance.data_dir, instance.issuer)
    async with People(instance.services, tokens) as people:
        await prepare_clinic(people, world, reporter)
        ways = make_ways(people, world, reporter, two_patients(outcome.seed), treatments(rooms))
        await together(*(way.to_the_treatment_chair() for way in ways))
        await together(*(way.treat() for way in ways))
        outcome.patients = [way.report() for way in ways]
        outcome.checks = [all_delivered(outcome.patients)]
        outcome.checks += await all_checks(people, instance, rooms_of(world, ways, before))


def make_ways(
    people: People,
    world: World,
    reporter: Reporter,
    patients: Sequence[VirtualPatient],
    plans: Sequence[Treatment],
) -> list[Way]:
    """Return one way a patient."""
    return [
        Way(patient=patient, treatment=plan, people=people, reporter=reporter, clock=world.clock)
        for patient, plan in zip(patients, plans, strict=True)
    ]


async def prepare_clinic(people: People, world: World, reporter: Reporter) -> None:
    """Have everybody's BIG registration verified, a supervisor on duty, and every room checked."""
    today = utc_now(world.clock).date().isoformat()
    registered = {person_id: person for person_id, person in read_people().items() if "big_number" in person}
    for person_id, person in registered.items():
        body = {
            "name": person["name"],
            "big_number": person["big_number"],
            "profession": person["profession"],
            "verified_on": today,
            "evidence": "invented for the demo",
        }
        path = f"/staff/{person_id}/registration"
        await people.tell(SUPERVISOR, "intake", path, body, f"registration of {person_id}")
    reporter.step("clinic", f"{len(registered)} BIG registrations verified", clock_time(world.clock))
    until = utc_now(world.clock) + _ON_DUTY
    await people.tell(SUPERVISOR, "stimulation", "/supervision", {"until": until.isoformat()}, "supervision")
    reporter.step("clinic", "a supervisor is on duty", clock_time(world.clock))
    for room in world.instance.rooms:
        path, step = f"/rooms/{room.room_id}/opening-check", f"opening check of {room.room_id}"
        listed = (await people.ask(OPENS_ROOMS, "stimulation", path, step))["list"]["items"]
        await people.tell(OPENS_ROOMS, "stimulation", path, {"items": {item["id"]: True for item in listed}}, step)
    reporter.step("clinic", "every room was checked and is in order", clock_time(world.clock))


def all_delivered(patients: Sequence[PatientReport]) -> Check:
    """Check that each session was delivered as prescribed."""
    return Check(
        name="every prescribed pulse was delivered",
        ok=all(patient.pulses_delivered == patient.pulses_planned > 0 for patient in patients),
        detail=", ".join(f"{patient.pulses_delivered} of {patient.pulses_planned}" for patient in patients),
        values={patient.name: patient.pulses_delivered for patient in patients},
    )


def rooms_of(world: World, ways: Sequence[Way], before: dict[str, int]) -> list[Room]:
    """Return what was done in each room."""
    return [
        Room(
            room_id=room.room_id,
            simulator_log=room.log,
            before=before[room.room_id],
            sessions=[
                session
                for way in ways
                if way.treatment.room_id == room.room_id
                for session in (way.measurement_session_id, way.session_id)
            ],
        )
        for room in world.instance.rooms
        if any(way.treatment.room_id == room.room_id for way in ways)
    ]


async def together(*jobs: Coroutine[Any, Any, None], until_first: bool = False) -> None:
    """Do jobs at the same time until all are done, or one fails, or the first ends; the others are then cancelled.

    Raises:
        Exception: what the first job that failed raised.
    """
    tasks = [asyncio.ensure_future(job) for job in jobs]
    when = asyncio.FIRST_COMPLETED if until_first else asyncio.FIRST_EXCEPTION
    try:
        done, _ = await asyncio.wait(tasks, return_when=when)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
