"""Rounds in the middle of a session: the room process or the guard is killed, the link or NATS drops, a fault fires.

What goes wrong and when is drawn from a seed. After each round every pulse that the simulator counted belongs to an
authorised train or is recorded as unauthorised; a MagPro has a counter, and its link comes back, so recorded is counted
in every round, and nothing is unknown. A killed room process leaves at most the rest of the one train under way.

``--kill-rounds`` says how many (200 in ``make chaos``); a new instance for every 10, since a session has 75 trains, a
round takes up to five, and the grant of a session ends.
"""

import asyncio
import json
import signal
import socket
import sqlite3
import time
from typing import NamedTuple

import pytest
from tests.system.chair import OPERATOR, ROOM, clinic_with_a_patient
from tests.system.conftest import SAID_AT_THE_END

from spoel_local.demo.checks import simulator_pulses
from spoel_local.demo.people import Refused
from spoel_stimulation.devices.simulation.faults import MOMENTARY, Fault

pytestmark = [pytest.mark.timeout(240), pytest.mark.invariant("INV-1"), pytest.mark.hazard("HZ-09")]

A_TRAIN = 40
ROUND_S = 20.0
DROPPED_S = 2.5
THROWN = (
    Fault.GO_SILENT,
    Fault.DROP_BYTES,
    Fault.CORRUPT_CHECKSUM,
    Fault.RESET,
    Fault.OVERHEAT,
    Fault.COIL_UNPLUGGED,
    Fault.REFUSE,
    Fault.OTHER_COIL,
    Fault.PANEL_CHANGE,
    Fault.PANEL_FIRE,
)
KINDS = ("kill-room", "kill-guard", "kill-simulator", "nats-stopped", *THROWN)
PER_INSTANCE = 10
DELIVERED_ALONE = "pulses of"
"""The demo's check of pulses knows of no pulse but those of trains: here every round checks both."""
OTHERS_PULSES = {Fault.PANEL_FIRE}
"""What makes the device give pulses that no train accounts for."""


def pytest_generate_tests(metafunc):
    rounds = metafunc.config.getoption("--kill-rounds")
    starts = range(0, rounds, PER_INSTANCE)
    sizes = [min(PER_INSTANCE, rounds - start) for start in starts]
    metafunc.parametrize(("first", "count"), list(zip(starts, sizes, strict=True)), ids=[f"from-{s}" for s in starts])


class Recorded(NamedTuple):
    """What stimulation's journal says of pulses."""

    delivered: int
    unauthorised: int
    unknown_at_most: int
    authorised_trains: int

    @classmethod
    def of(cls, clinic):
        """Read the journal."""
        stores = clinic.world.instance.stores
        (url,) = [store.url for store in stores if "stimulation" in store.url]
        conn = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)
        try:
            events = [json.loads(raw) for (raw,) in conn.execute("SELECT raw FROM events")]
        finally:
            conn.close()
        by_name = {}
        for event in events:
            by_name.setdefault(event["type"].split(".")[2], []).append(event["data"])
        return cls(
            delivered=sum(data["pulses"] for data in by_name.get("train-delivered", [])),
            unauthorised=sum(data["pulses"] for data in by_name.get("unauthorised-pulse-observed", [])),
            unknown_at_most=sum(data["pulses_at_most"] for data in by_name.get("train-outcome-unknown", [])),
            authorised_trains=len(by_name.get("train-authorised", [])),
        )


class Switchboard:
    """The control channel of the room's simulator."""

    def __init__(self, clinic):
        host, _, port = clinic.launcher.describe().rooms[0].control.partition(":")
        self._address = (host, int(port))

    def say(self, verb, fault):
        with socket.create_connection(self._address, 5) as line:
            line.sendall(json.dumps({verb: fault}).encode() + b"\n")
            answer = json.loads(line.makefile().readline())
        assert "error" not in answer, answer


class Round:
    """One thing that goes wrong in a running session, and what is asserted afterwards."""

    def __init__(self, clinic, kind):
        self.clinic = clinic
        self.kind = kind

    def run(self):
        """Let it go wrong at a moment of the seed's choosing, put it right, and take the session on.

        Processes are started by this thread alone: they end with the thread that started them.
        """
        do = self.clinic.do
        before = Recorded.of(self.clinic)
        do(self._under_way)
        self._go_wrong()
        do(self._settled)
        self._put_right()
        do(self._go_on)
        do(lambda people: self._check(people, before))

    async def _under_way(self, people):
        clinic = self.clinic
        await self._take_on(people)
        await clinic.more_trains(people, 1)
        await asyncio.sleep(clinic.chance.uniform(0.0, 0.3))

    async def _go_on(self, people):
        clinic = self.clinic
        state = await self._settled(people)
        if state["state"] != "running":
            await self._take_on(people)
        await clinic.more_trains(people, 1)
        await clinic.pause(people)

    def _go_wrong(self):
        clinic = self.clinic
        if self.kind == "kill-room":
            fired = simulator_pulses(clinic.simulator_log)
            clinic.kill("stimulation")
            time.sleep(clinic.chance.uniform(0.2, 1.5))
            assert simulator_pulses(clinic.simulator_log) <= fired + A_TRAIN
            clinic.launcher.restart("stimulation")
        elif self.kind == "kill-guard":
            clinic.kill("guard")
            time.sleep(clinic.chance.uniform(0.2, 1.5))
            clinic.launcher.restart("guard")
        elif self.kind == "kill-simulator":
            clinic.kill("simulator-1")
            clinic.launcher.restart("simulator-1")
        elif self.kind == "nats-stopped":
            clinic.launcher.supervisor["nats"].signal(signal.SIGSTOP)
            time.sleep(DROPPED_S)
        else:
            Switchboard(clinic).say("set", self.kind)

    def _put_right(self):
        clinic = self.clinic
        if self.kind == "nats-stopped":
            clinic.launcher.supervisor["nats"].signal(signal.SIGCONT)
        elif self.kind in THROWN and self.kind not in MOMENTARY:
            Switchboard(clinic).say("clear", self.kind)

    async def _settled(self, people):
        """Return the session once it stands, or after two more trains where nothing stops it."""
        clinic = self.clinic
        wanted = await clinic.trains(people) + 2

        def settled(session):
            return session["state"] != "running" or session["progress"]["trains_done"] >= wanted

        return await people.until(OPERATOR, "stimulation", clinic.session, settled, f"{self.kind}: it settles", ROUND_S)

    async def _take_on(self, people):
        """Look at the room, reset it if it is latched, arm, and resume, as a person would."""
        deadline = time.monotonic() + ROUND_S
        while True:
            try:
                return await self._look_reset_and_arm(people)
            except Refused as refusal:  # what was put right goes wrong once more, such as a link that flaps
                if time.monotonic() > deadline:
                    raise AssertionError(f"{self.kind}: {refusal}") from refusal

    async def _look_reset_and_arm(self, people):
        clinic, what = self.clinic, f"{self.kind}: the device is back"
        room = await people.until(
            OPERATOR, "stimulation", f"/rooms/{ROOM}", lambda found: found["device"]["ready"], what, ROUND_S
        )
        if room["latch"] is not None:
            await clinic.reset(people, "device-checked")
        session = await people.ask(OPERATOR, "stimulation", clinic.session, "the session")
        if session["state"] == "interrupted":
            await clinic.arm(people)
        await clinic.resume(people)

    async def _check(self, people, before):
        """Assert that what the simulator counted is what is recorded, each pulse where it belongs."""
        clinic = self.clinic

        async def whole():
            recorded, counted = Recorded.of(clinic), simulator_pulses(clinic.simulator_log)
            return recorded.delivered + recorded.unauthorised == counted and recorded.unknown_at_most == 0

        deadline = time.monotonic() + ROUND_S
        while not await whole() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        recorded, counted = Recorded.of(clinic), simulator_pulses(clinic.simulator_log)
        said = f"{self.kind}: simulator {counted}, recorded {recorded}"
        assert recorded.delivered + recorded.unauthorised == counted, said
        assert recorded.unknown_at_most == 0, said
        assert recorded.delivered <= recorded.authorised_trains * A_TRAIN + before.delivered, said
        if self.kind not in OTHERS_PULSES:
            assert recorded.unauthorised == before.unauthorised, said


def test_after_every_round_what_was_counted_is_what_is_recorded(tmp_path_factory, first, count, record_property):
    with clinic_with_a_patient(tmp_path_factory.mktemp("kills"), 1_000 + first) as clinic:
        kinds = [KINDS[number % len(KINDS)] for number in range(first, first + count)]
        clinic.chance.shuffle(kinds)
        for kind in kinds:
            Round(clinic, kind).run()
        recorded, counted = Recorded.of(clinic), simulator_pulses(clinic.simulator_log)
        assert {name for name in clinic.do(clinic.failed_checks) if not name.startswith(DELIVERED_ALONE)} == set()
    record_property(
        SAID_AT_THE_END, f"kill rounds {first + 1} to {first + count}: simulator {counted} pulses, {recorded}"
    )
