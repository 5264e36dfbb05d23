"""The guard of one room: its device's port, its room process, and every stop."""

import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spoel_stimulation.devices.guarding import Guarded
from spoel_stimulation.guard.control import Control
from spoel_stimulation.guard.gate import Gate
from spoel_stimulation.guard.loop import LONGEST_WAIT_S, Loop, Order
from spoel_stimulation.guard.pipe import Door, Pipe
from spoel_stimulation.guard.port import Port
from spoel_stimulation.guard.record import Line, Record
from spoel_stimulation.guard.settings import control_socket, data_socket, file_of
from spoel_stimulation.guard.stops import Outcome, Stop

SILENCE_S = 1.0
"""How long the room's process may be silent while it may fire (INV-11), in wall seconds."""

STOP_TICK_S = 0.02

Answer = Callable[[Stop], None]


class GuardedRoom:
    """The guard of one room.

    Args:
        room_id: its name.
        address: of its device.
        guarded: what there is to know of the maker's protocol.
        directory: where its sockets and its file are.
        loop: whose thread does everything.
        utc_ns: clock time, for the file.

    Raises:
        OSError: the directory cannot be used.
    """

    def __init__(
        self, room_id: str, address: str, guarded: Guarded, directory: Path, loop: Loop, utc_ns: Callable[[], int]
    ) -> None:
        self.room_id = room_id
        self._gate = Gate(guarded)
        self._loop = loop
        self._utc_ns = utc_ns
        self._record = Record(file_of(directory, room_id), utc_ns)
        self._answers: dict[int, list[Answer]] = {}
        self._host: Pipe | None = None
        self._beat_s = 0.0
        self._suspected = False
        self._note("started", address=address)
        for stop in self._record.unfinished:
            self._note_outcome(stop["n"], stop, "not-confirmed")
        self._port = Port(address, guarded.line, loop, self)
        self._hold("started")
        self._control = Control(control_socket(directory, room_id), loop, self, self._record)
        self._door = Door(data_socket(directory, room_id), loop, Order.HOST, self._host_came)

    # --- what the world asks

    def stop(self, reason: str, by: str, answer: Answer | None = None, *, request: str = "") -> Stop:
        """Disarm now; everything else comes after the first byte has left.

        Args:
            reason: as ``Stop`` has it.
            by: who asked.
            answer: called with the stop once its outcome is known.
            request: the room process's name for it.
        """
        number = self._record.reserve()
        self._record.reserve()  # of its outcome, see ``_note_outcome``
        armed = self._gate.enabled is not False
        stop = Stop(number, reason, time.monotonic(), self._utc_ns(), armed=armed, by=by, request=request)
        withheld = self._gate.withheld
        self._port.put_first(self._gate.begin_stop(stop), self._disarm_sent)
        if not self._port.is_open:
            self._port.hurry()
        self._control.held(number, stop)
        if answer is not None:
            self._answers.setdefault(number, []).append(answer)
        open_ = self._port.is_open
        self._record.note(
            "stop", number, reason=reason, by=by, armed=armed, port_open=open_, withheld=withheld, request=request
        )
        return stop

    def describe(self) -> dict[str, object]:
        """Return the room as it stands, for whoever looks."""
        gate = self._gate
        return {
            "room_id": self.room_id,
            "device": self._port.address,
            "device_open": self._port.is_open,
            "problem": self._port.problem,
            "room_process": self._host is not None and self.hears_room_process,
            "held": gate.held is not None,
            "enabled": gate.enabled,
            "last_stop": None if gate.stop is None else gate.stop.outcome or "under way",
        }

    def tick(self, now_s: float) -> float:
        """Do what is due; return in how many seconds to come again."""
        gate, port = self._gate, self._port
        if self._has_fallen_silent(now_s):
            self.stop("silence", "guard")
        port.put(gate.give_up(now_s))
        due = gate.due(now_s)
        if due:
            port.put(due)
        for stop in gate.decided(now_s):
            self._tell_outcome(stop)
        self._pause_host()
        wait_s = port.tick(now_s)
        if self._suspected:
            return 0.0
        return min(wait_s, STOP_TICK_S if gate.stopping else LONGEST_WAIT_S)

    def settled(self) -> bool:
        """No outcome is waited for."""
        return self._gate.settled

    def close(self) -> None:
        """Let go of everything; the device was stopped before."""
        self._note("ended")
        self._door.close()
        self._control.close()
        if self._host is not None:
            self._host.close()
        self._port.close()
        self._record.close()

    # --- what the room's process says over its control connection

    @property
    def hears_room_process(self) -> bool:
        """It has not been silent for long."""
        return not self._silent(time.monotonic())

    def beat(self) -> None:
        """The room's process is alive."""
        self._beat_s = time.monotonic()

    def release(self, number: int) -> str | None:
        """Let firing frames pass again; returns why not, where that may not be."""
        if not self._port.is_open or self._host is None:
            return "the device or the room's process is not connected"
        was_held = self._gate.held is not None
        withheld, pulses = self._gate.withheld, self._gate.pulses_held
        why_not = self._gate.release(number)
        if why_not is not None:
            self._note("release-refused", of=number, why=why_not)
        elif was_held:
            self.beat()
            self._note("released", of=number, withheld=withheld, pulses_held=pulses)
        return why_not

    @property
    def held(self) -> int | None:
        """Number of the latest hold; None where firing frames pass."""
        return self._gate.held

    @property
    def outcomes_to_come(self) -> tuple[int, ...]:
        """Numbers of the stops whose outcome is not known yet."""
        return tuple(stop.number for stop in self._gate.undecided)

    @property
    def device(self) -> str:
        """The device's address."""
        return self._port.address

    # --- what the port says

    def port_opened(self) -> None:
        """Disarm before anything else is said to the device."""
        stop = self._gate.stop
        self._gate.new_port()
        if stop is not None and not stop.confirmed:
            self._port.put_first(self._gate.disarm_again(), self._disarm_sent)
        else:
            self.stop("port-opened", "guard")
        self._note("link-up", address=self._port.address)

    def port_lost(self, reason: str) -> None:
        """Let the room's process see it too; what it had ready for the device is void."""
        self._note("link-down", reason=reason)
        self._gate.new_port()
        self._hold("link-down")
        if self._host is not None:
            self._host.close()

    def device_said(self, data: bytes) -> None:
        """Pass it on at once, and look at what it says."""
        if self._host is not None:
            self._host.send(data)
        gate = self._gate
        gate.from_device(data, time.monotonic())
        if gate.enabled and gate.lasting and gate.stop is not None and gate.stop.confirmed:
            self.stop("enabled-again", "device")

    # --- what the room's process says to the device

    def _host_came(self, connection: socket.socket) -> None:
        if not self._port.is_open or (self._host is not None and self.hears_room_process):
            connection.close()
            return
        if self._host is not None:
            self._host.close()
        self._gate.new_host()
        self._note("room-connected")
        self._host = Pipe(connection, self._loop, Order.HOST, self._host_said, self._host_gone)

    def _host_said(self, data: bytes) -> None:
        self._port.put(self._gate.from_host(data, time.monotonic()))
        self._pause_host()

    def _host_gone(self) -> None:
        """Stop at once where the device may be armed; else hold, and have it read back as disabled."""
        self._host = None
        self._gate.new_host()
        self._note("room-disconnected")
        if self._gate.held is None:
            self.stop("room-gone", "guard")

    def _pause_host(self) -> None:
        if self._host is not None:
            self._host.pause(paused=self._port.full)

    # --- inside

    def _silent(self, now_s: float) -> bool:
        return now_s - self._beat_s > SILENCE_S

    def _has_fallen_silent(self, now_s: float) -> bool:
        """Tell whether the room's process is silent while it may fire.

        Believed at the second look: between the two, what it said while the guard itself had no turn is heard.
        """
        silent = self._gate.held is None and self._silent(now_s)
        believed, self._suspected = silent and self._suspected, silent and not self._suspected
        return believed

    def _disarm_sent(self) -> None:
        self._gate.mark_sent(time.monotonic())
        stop = self._gate.stop
        self._note("disarm-sent", of=None if stop is None else stop.number)

    def _hold(self, why: str) -> None:
        line = self._note("held", why=why)
        self._gate.hold(line["n"])
        if why != "started":
            self._control.held(line["n"], None)

    def _tell_outcome(self, stop: Stop) -> None:
        facts = {"reason": stop.reason, "by": stop.by, "request": stop.request, "armed": stop.armed}
        facts |= {"utc_ns": stop.began_utc_ns}
        line = self._note_outcome(stop.number, facts, stop.outcome, pulses_after=stop.pulses_after)
        for answer in self._answers.pop(stop.number, ()):
            answer(stop)
        self._control.tell(line)

    def _note_outcome(
        self, number: int, stop: Mapping[str, Any], outcome: Outcome | None, *, pulses_after: int = 0
    ) -> Line:
        """Note it under the number after its stop's, also by a guard that does not know whether this was told before.

        So whoever has recorded it knows it again.
        """
        return self._record.note(
            "outcome",
            number + 1,
            of=number,
            outcome=outcome,
            reason=stop["reason"],
            by=stop["by"],
            request=stop.get("request", ""),
            armed=stop.get("armed", True),
            stopped_utc_ns=stop["utc_ns"],
            pulses_after=pulses_after,
        )

    def _note(self, what: str, **facts: object) -> Line:
        return self._record.note(what, None, **facts)
