"""Real parts for the tests of the guard: a simulator, a guard and a room process, each a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

from spoel_stimulation.devices.local_socket import short_path
from spoel_stimulation.devices.magpro.codec import FrameParser, encode_frame

WITHIN_S = 15.0

DISABLE, ENABLE, FIRE_TRAIN, FIRE_PULSE, ASK, TIMING_PAGE = "0200", "0201", "04", "0301", "00", "070200"


def frame(body):
    return encode_frame(bytes.fromhex(body))


def timing(rate_hz, pulses):
    """The write of the Timing page: one train."""
    return f"0b0100{round(rate_hz * 10):04x}{pulses:04x}{1:04x}{1:04x}00"


def wait_for(condition, what, within_s=WITHIN_S):
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"did not happen within {within_s} s: {what}")


class Process:
    """A child; its first line of output is JSON."""

    def __init__(self, *command, **environment):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SPOEL_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            env=inherited | environment,
            start_new_session=True,
        )
        line = self._process.stdout.readline()
        assert line, f"{command} ended with status {self._process.wait()}"
        self.first_line = json.loads(line)

    def send_signal(self, number):
        self._process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        """End it, also where it is stopped; return its status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        try:
            return self._process.wait(WITHIN_S)
        finally:
            self._process.stdout.close()


class Simulator(Process):
    """A simulated device with its log and its switchboard; a MagPro over TCP unless told otherwise."""

    def __init__(self, folder, number=1, tcp=0, clock=None, faults=(), name="magpro-x100", pace=("--prompt",)):
        door = ("--pty",) if tcp is None else ("--tcp", str(tcp))
        self.log = folder / f"sim-{number}.jsonl"
        options = [option for fault in faults for option in ("--fault", fault)]
        environment = {} if clock is None else {"SPOEL_CLOCK": clock.to_setting()}
        super().__init__(
            *("spoel_stimulation.devices", name, *door, "--number", str(number)),
            *("--log", str(self.log), "--control", "0", *pace, *options),
            **environment,
        )
        self.address = self.first_line["address"]
        self.tcp = None if tcp is None else int(self.address.rpartition(":")[2])

    def entries(self):
        if not self.log.exists():
            return []
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def heard(self):
        """Return the bodies of the frames that it was sent."""
        return [entry["frame"][4:-4] for entry in self.entries() if entry.get("dir") == "in"]

    @property
    def pulses(self):
        return max((entry["pulses"] for entry in self.entries() if "pulses" in entry), default=0)

    def fault(self, name, verb="set"):
        host, _, port = self.first_line["control"].partition(":")
        with socket.create_connection((host, int(port)), 5) as control:
            control.sendall(json.dumps({verb: name}).encode() + b"\n")
            return json.loads(control.makefile().readline())


class Guard(Process):
    """The guard of rooms: name of a room to address of its device."""

    def __init__(self, folder, addresses, port=0, clock=None, device="magpro"):
        self.directory = folder / "guard"
        rooms = [{"room_id": room_id, "address": at, "device": device} for room_id, at in addresses.items()]
        environment = {} if clock is None else {"SPOEL_CLOCK": clock.to_setting()}
        super().__init__(
            "spoel_stimulation.guard",
            SPOEL_ROOMS=json.dumps(rooms),
            SPOEL_GUARD_DIR=str(self.directory),
            SPOEL_GUARD_PORT=str(port),
            **environment,
        )
        self.port = int(self.first_line["estop"].rpartition(":")[2].partition("/")[0])

    def lines(self, what=None, room_id="room-1"):
        """Return what is on the disk of its file."""
        path = self.directory / f"{room_id}.jsonl"
        texts = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
        lines = sorted((json.loads(text) for text in texts if text), key=lambda line: line["n"])
        return [line for line in lines if what is None or line["what"] == what]

    def ask(self, request):
        """Send bytes to the emergency stop; return the whole answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.settimeout(WITHIN_S)
            connection.sendall(request)
            return read_all(connection)

    def stop(self, room_id="room-1"):
        head, _, body = self.ask(f"POST /estop/{room_id} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return json.loads(body)

    def look(self, room_id="room-1"):
        answer = self.ask(f"GET /estop/{room_id} HTTP/1.1\r\n\r\n".encode())
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def until_open(self, room_id="room-1"):
        """Wait until the device answers and was read back as disabled."""
        wait_for(lambda: self.look(room_id)["last_stop"] == "confirmed", "the first disarm is confirmed")
        return self


def read_all(connection):
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data


class RoomProcess:
    """The room's process at the guard's two sockets, in this process: it beats when it is told to."""

    def __init__(self, guard, room_id="room-1", *, data=True):
        self.data = _connect(guard.directory / f"{room_id}.data") if data else socket.socket(socket.AF_UNIX)
        self.control = _connect(guard.directory / f"{room_id}.control")
        self._frames = FrameParser()
        self._said = self.control.makefile("rb")
        self.said = []

    def hello(self, file="", after=0):
        self.say(hello={"file": file, "after": after})
        return self.until("welcome")

    def hello_and_record(self):
        """Return the first line that is to be recorded of a stop that somebody asked for, or that latches."""
        self.hello()
        return self.until_record()

    def until_record(self):
        """Read until the outcome of such a stop is told; the guard's first disarm is told too."""
        while (line := self.until("record")["record"])["reason"] == "port-opened":
            pass
        return line

    def say(self, **what):
        self.control.sendall(json.dumps(what).encode() + b"\n")

    def beat(self):
        self.say(beat=1)

    def until(self, key, **wanted):
        """Read what the guard says until a line has ``key`` and these values."""
        while True:
            line = json.loads(self._said.readline())
            self.said.append(line)
            if key in line and all(line.get(name) == value for name, value in wanted.items()):
                return line

    def send(self, *bodies):
        for body in bodies:
            self.data.sendall(frame(body))

    def heard(self):
        """Return the bodies that the device sent since the last call."""
        self.data.settimeout(0)
        try:
            data = self.data.recv(65_536)
        except BlockingIOError:
            data = b""
        finally:
            self.data.settimeout(WITHIN_S)
        return [body.hex() for body in self._frames.feed(data)]

    def release(self, number=None):
        held = self.hello()["held"] if number is None else number
        self.say(release=held)
        return self.until("released")["why_not"]

    def armed(self, rate_hz=10.0, pulses=40):
        """Release, stage a train and enable the device."""
        assert self.release() is None
        self.send(DISABLE, TIMING_PAGE, timing(rate_hz, pulses))
        self.beat()
        self.send(ENABLE)
        return self

    def close(self):
        for one in (self._said, self.data, self.control):
            one.close()


def _connect(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(WITHIN_S)
    wait_for(path.exists, path)
    with short_path(path) as name:
        connection.connect(name)
    return connection


@contextmanager
def ending(thing):
    """End a process, or close a room process, however the block ends."""
    try:
        yield thing
    finally:
        if isinstance(thing, Process):
            thing.end(signal.SIGKILL)
        else:
            thing.close()
