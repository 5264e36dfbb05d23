"""The command ``spoel`` at a terminal: typed once, or ``spoel up`` in the background."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from typer.testing import CliRunner

from spoel_local.__main__ import app
from spoel_local.instance import free_ports

SPOEL = Path(sys.executable).with_name("spoel")
SERVICES = ("intake", "planning", "stimulation", "audit")
PORTS = ("IDENTITY", "INTAKE", "PLANNING", "STIMULATION", "AUDIT", "GUARD", "NATS", "NATS_MONITOR")


def spoel(*arguments, timeout_s=60, **environment):
    return subprocess.run(
        [SPOEL, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200", **environment},
        check=False,
    )


def typed(*arguments):
    """Type a command that starts no process, without the time that a new interpreter takes."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Up:
    """``spoel up`` in the background, as from a terminal."""

    def __init__(self, place, *options):
        self.data_dir = place / "data"
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
        self.output = place / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [SPOEL, "up", "--data-dir", self.data_dir, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ["PATH"],
                    "COLUMNS": "200",
                    "OTEL_BSP_SCHEDULE_DELAY": "200",
                    **{f"SPOEL_{name}_PORT": port for name, port in self.ports.items()},
                },
            )

    def wait_until_it_says(self, text, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def said(self):
        return self.output.read_text()

    def instance(self):
        return json.loads((self.data_dir / "instance.json").read_text())

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
