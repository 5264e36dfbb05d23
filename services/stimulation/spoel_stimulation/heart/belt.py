"""The simulated belt: a heart of its own that slows in step with the pulses of a simulated stimulator.

It reads the pulses from that simulator's log, so that it follows what was really emitted and not what somebody says
was sent. Where the coil is, and so how strongly the heart is coupled, it is told through its control port: one JSON
object a line, ``{"coupling_bpm": 6.0}``, ``{"fault": "contact-lost"}`` or ``{"train_s": 5.0}`` (a train begins now).
"""

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spoel_common.clock import NS_PER_S, Clock, sleep_s
from spoel_stimulation.heart.model import Heart, HeartSetting
from spoel_stimulation.heart.profile import (
    BATTERY_LEVEL,
    HEART_RATE_MEASUREMENT,
    MOST_INTERVALS,
    SERIAL_NUMBER,
    Measurement,
    encode,
    units_of,
)
from spoel_stimulation.heart.source import SIMULATED_SERIAL
from spoel_stimulation.heart.tcp import frame

NOTIFY_S = 1.0
AFTER_PULSE_S = 0.25
"""How long after a pulse the train counts as under way; longer than the interval between pulses of any fast train."""
PULSES_KEPT = 100_000
LOOPBACK = "127.0.0.1"

Fault = Literal["none", "contact-lost", "silent", "drop-beats", "gone"]


class Told(BaseModel):
    """One line of the control port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coupling_bpm: float | None = Field(default=None, ge=-20, le=20)
    fault: Fault | None = None
    train_s: float | None = Field(default=None, gt=0, le=60)


class Ports(NamedTuple):
    """Where a belt is reached."""

    address: str
    control: str


class BeltSimulator:
    """One belt on one heart.

    Args:
        clock: whose time the heart lives in.
        setting: of the heart.
        number: its serial number is ``SIM-BELT-<number>``.
        seed: of the heart.
        follow: log of the simulated stimulator whose pulses it feels; None for none.
        log_path: where to append ``{"t_ns", "rr_ms"}`` for every beat; None keeps nothing.
    """

    def __init__(
        self,
        clock: Clock,
        setting: HeartSetting,
        *,
        number: int = 1,
        seed: int = 1,
        follow: Path | None = None,
        log_path: Path | None = None,
    ) -> None:
        self.serial = f"{SIMULATED_SERIAL}BELT-{number}"
        self.fault: Fault = "none"
        self._clock = clock
        self._born_ns = clock.utc_ns()
        self._heart = Heart(setting, seed, self._stimulated)
        self._pulses: deque[float] = deque(maxlen=PULSES_KEPT)
        self._train_until_s = 0.0
        self._follow = follow
        self._read_to = 0
        self._log: IO[str] | None = None if log_path is None else log_path.open("a", encoding="utf-8")
        self._clients: set[asyncio.StreamWriter] = set()

    def tell(self, told: Told) -> None:
        """Take what the control port says."""
        if told.coupling_bpm is not None:
            self._heart.setting = self._heart.setting.model_copy(update={"coupling_bpm": told.coupling_bpm})
        if told.fault is not None:
            self.fault = told.fault
        if told.train_s is not None:
            self._train_until_s = self._now_s() + told.train_s

    async def run(self) -> None:
        """Beat and notify, until cancelled."""
        while True:
            await sleep_s(self._clock, NOTIFY_S)
            self._feel()
            rr_ms = self._heart.live(self._now_s())
            self._write_down(rr_ms)
            self._notify(rr_ms)

    async def serve(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say who it is, and let one client hear what follows."""
        writer.write(frame(SERIAL_NUMBER, self.serial.encode()) + frame(BATTERY_LEVEL, bytes([90])))
        self._clients.add(writer)

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the lines of one client of the control port; each is answered with ``ok`` or what is wrong."""
        while line := await reader.readline():
            try:
                self.tell(Told.model_validate_json(line))
                writer.write(b"ok\n")
            except ValidationError as error:
                writer.write(f"{error.error_count()} fields are wrong\n".encode())
        writer.close()

    def close(self) -> None:
        """Hang up on everybody."""
        for client in self._clients:
            client.close()
        if self._log is not None:
            self._log.close()

    def _now_s(self) -> float:
        return (self._clock.utc_ns() - self._born_ns) / NS_PER_S

    def _feel(self) -> None:
        """Read the pulses that the stimulator's log has gained."""
        if self._follow is None or not self._follow.exists():
            return
        with self._follow.open("rb") as log:
            log.seek(self._read_to)
            whole, _, _torn = log.read().rpartition(b"\n")
        self._read_to += len(whole) + bool(whole)
        for line in whole.splitlines():
            if b'"pulses"' in line:
                self._pulses.append((json.loads(line)["t_ns"] - self._born_ns) / NS_PER_S)

    def _stimulated(self, time_s: float) -> bool:
        """Tell whether a train is under way; asked for ever later moments, so older pulses are let go."""
        while len(self._pulses) > 1 and self._pulses[1] <= time_s:
            self._pulses.popleft()
        by_pulse = bool(self._pulses) and 0 <= time_s - self._pulses[0] < AFTER_PULSE_S
        return by_pulse or time_s < self._train_until_s

    def _write_down(self, rr_ms: list[float]) -> None:
        if self._log is None:
            return
        now_ns = self._clock.utc_ns()
        self._log.writelines(f'{{"t_ns": {now_ns}, "rr_ms": {each:.1f}}}\n' for each in rr_ms)
        self._log.flush()

    def _notify(self, rr_ms: list[float]) -> None:
        if self.fault == "gone":
            for client in self._clients:
                client.close()
            self._clients.clear()
        if self.fault in ("silent", "gone"):
            return
        seen = () if self.fault in ("contact-lost", "drop-beats") else units_of(rr_ms)
        contact: Literal["lost", "good"] = "lost" if self.fault == "contact-lost" else "good"
        rate = round(60_000 / rr_ms[-1]) if rr_ms and contact == "good" else 0
        pieces = [seen[start : start + MOST_INTERVALS] for start in range(0, len(seen), MOST_INTERVALS)] or [()]
        for piece in pieces:
            value = frame(HEART_RATE_MEASUREMENT, encode(Measurement(rate, contact, None, piece)))
            for client in list(self._clients):
                if client.is_closing():
                    self._clients.discard(client)
                else:
                    client.write(value)


@asynccontextmanager
async def on_tcp(belt: BeltSimulator, port: int = 0, host: str = LOOPBACK) -> AsyncIterator[Ports]:
    """Serve a belt on a TCP port (0: any free one), its control port on another of loopback, and let it beat."""
    async with (
        await asyncio.start_server(belt.serve, host, port) as server,
        await asyncio.start_server(belt.listen, LOOPBACK, 0) as control,
    ):
        beating = asyncio.create_task(belt.run(), name="belt")
        try:
            yield Ports(
                f"socket://{host}:{server.sockets[0].getsockname()[1]}",
                f"socket://{LOOPBACK}:{control.sockets[0].getsockname()[1]}",
            )
        finally:
            beating.cancel()
            belt.close()


async def run_belt(belt: BeltSimulator, port: int, host: str, stdout_fd: int = 1) -> None:
    """Be a belt until SIGTERM or SIGINT; the first line of output is one JSON object with its addresses."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with on_tcp(belt, port, host) as ports:
        first_line = json.dumps({**ports._asdict(), "serial": belt.serial, "pid": os.getpid()})
        os.write(stdout_fd, first_line.encode() + b"\n")
        await stop.wait()
