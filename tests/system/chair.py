"""A patient in the chair of room-1 of a whole instance: one session, taken on after each thing that goes wrong."""

import asyncio
import random
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass

from spoel_local.demo import run as demo
from spoel_local.demo.checks import (
    caught_up_log,
    every_event_once,
    order_kept,
    pulses_agree,
    root_agrees,
    simulator_pulses,
)
from spoel_local.demo.patients import two_patients
from spoel_local.demo.people import People, Refused
from spoel_local.demo.report import Silent
from spoel_local.demo.world import World, morning_clock
from spoel_local.launcher import Launcher, Options, Ports, running
from spoel_local.tokens import fetch_tokens, read_people

SPEED = 120
OPERATOR = "tms-professional"
ROOM = "room-1"


@dataclass
class Clinic:
    """An instance with one patient in the chair of room-1, whose session goes on from test to test."""

    launcher: Launcher
    world: World
    tokens: dict[str, str]
    chance: random.Random
    way: demo.Way | None = None

    @property
    def session(self):
        return f"/sessions/{self.way.session_id}"

    @property
    def simulator_log(self):
        return self.world.instance.rooms[0].log

    def do(self, act):
        """Run ``act(people)`` as the people of the clinic would."""

        async def with_people():
            async with People(self.world.instance.services, self.tokens) as people:
                self.way.people = people
                return await act(people)

        return asyncio.run(with_people())

    def kill(self, name):
        self.launcher.supervisor[name].signal(signal.SIGKILL)
        assert self.launcher.supervisor[name].wait(5)

    async def trains(self, people):
        return (await people.ask(OPERATOR, "stimulation", self.session, "progress"))["progress"]["trains_done"]

    async def more_trains(self, people, count, timeout_s=20):
        wanted = await self.trains(people) + count
        found = await people.until(
            OPERATOR,
            "stimulation",
            self.session,
            lambda session: session["progress"]["trains_done"] >= wanted or session["state"] != "running",
            f"{count} more trains",
            timeout_s,
        )
        assert found["state"] == "running", found

    async def pause(self, people):
        await people.tell(OPERATOR, "stimulation", f"{self.session}/pause", {"reason": "technical"}, "pause")

    async def resume(self, people):
        await people.tell(OPERATOR, "stimulation", f"{self.session}/presence", {"awake": True}, "presence")
        body = {"ear_protection": True, "side_or_site": "left"}
        await people.tell(OPERATOR, "stimulation", f"{self.session}/resume", body, "resume")

    async def reset_and_arm(self, people, reason):
        """Look at the room, say why, and arm again, as a person would after a fault."""
        room = f"/rooms/{ROOM}"
        latched = await people.until(
            OPERATOR,
            "stimulation",
            room,
            lambda found: found["latch"] is not None and found["device"]["ready"],
            "the room is latched, its device is back",
            20,
        )
        await self.reset(people, reason)
        await self.arm(people)
        return latched["latch"]["reason"]

    async def reset(self, people, reason):
        path = f"/rooms/{ROOM}/reset"
        await patiently(lambda: people.tell(OPERATOR, "stimulation", path, {"reason": reason}, "reset"))

    async def arm(self, people):
        await people.insist(OPERATOR, "stimulation", f"{self.session}/arm", {"ear_protection": True}, "arming again")

    async def failed_checks(self, people):
        instance = self.world.instance
        stored, log = await caught_up_log(people, instance)
        rooms = demo.rooms_of(self.world, [self.way], {ROOM: 0})
        checks = [*await pulses_agree(people, stored, rooms), every_event_once(stored, log)]
        checks += [order_kept(stored, log), root_agrees(log)]
        return {check.name: check.detail for check in checks if not check.ok}

    def in_the_middle_of_a_train(self):
        """Return while the device fires: its own log has just grown by a pulse."""
        deadline = time.monotonic() + 10
        before = simulator_pulses(self.simulator_log)
        with self.simulator_log.open() as log:
            log.seek(0, 2)
            while not any('"pulses"' in line for line in log.readlines()):
                assert time.monotonic() < deadline, f"no pulse since {before}"
                time.sleep(0.002)


async def patiently(act, timeout_s=15):
    """Try again while the room still puts its own record in order."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await act()
        except Refused as refusal:
            slug = (refusal.failure.problem or {}).get("type", "").rpartition(":")[2]
            if slug != "room-busy" or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


async def prepare(clinic, people):
    """Lead the patient to the chair, through the first train, and pause."""
    await demo.prepare_clinic(people, clinic.world, Silent())
    await clinic.way.to_the_treatment_chair()
    await people.tell(OPERATOR, "stimulation", f"{clinic.session}/start", {}, "start")
    await clinic.more_trains(people, 1)
    await clinic.pause(people)


@contextmanager
def clinic_with_a_patient(place, number):
    """Run an instance of one room, its first session paused after its first train; ``number`` seeds all chance."""
    clock = morning_clock(SPEED)
    with running(Options(data_dir=place / "data", rooms=1, clock=clock, ports=Ports.any_free())) as (
        launcher,
        instance,
    ):
        world = World(instance, clock, launcher)
        tokens = fetch_tokens(read_people(), instance.data_dir, instance.issuer)
        clinic = Clinic(launcher, world, tokens, random.Random(number))
        patient, plan = two_patients(number)[0], demo.treatments([ROOM])[0]
        clinic.way = demo.Way(patient, plan, None, Silent(), clock)
        clinic.do(lambda people: prepare(clinic, people))
        yield clinic
