"""The trial service as real processes: one that serves counters, and one that reads their events."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SERVICE = """
import sys
from pathlib import Path
from tests.common.web.trial_service import ANNA, MIGRATION, Counted, Tokens, Trial, TrialSettings, router
from spoel_common.events import Catalogue
from spoel_common.messaging import Projection
from spoel_common.runtime import Runtime
from spoel_common.settings import Settings
from spoel_common.web import create_app, run_service

folder, service = Path(sys.argv[1]), sys.argv[2]
versions = folder / "spoel_trial" / "migrations" / "versions"
versions.mkdir(parents=True)
(versions / "v0001_first.py").write_text(MIGRATION)
(folder / "spoel_trial" / "__init__.py").touch()
sys.path.insert(0, str(folder))

class ReaderSettings(Settings):
    service: str = "reader"
    port: int = 0

async def apply(conn, envelope, decoded, raw):
    pass

def build(settings):
    reads = service == "reader"
    projections = [Projection("echo", 1, ("trial",), Catalogue([Counted]), apply)] if reads else []
    runtime = Runtime(settings, "spoel_trial", projections, verifier=Tokens(ANNA))
    return create_app(runtime, title=service, routers=[router], state={"trial": Trial()})

run_service(ReaderSettings if service == "reader" else TrialSettings, build)
"""


@contextlib.contextmanager
def process(service: str, folder: Path, **settings: str) -> Iterator[str]:
    """Run ``trial`` or ``reader`` as a process of its own, with settings by variable; yield its address."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPOEL_", "OTEL_"))}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "SPOEL_DATA_DIR": str(folder),
        "SPOEL_DATABASE_URL": f"sqlite:///{folder}/{service}.db",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **settings,
    }
    command = [sys.executable, "-c", SERVICE, str(folder), service]
    with (folder / "log").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as running:
        try:
            yield f"http://127.0.0.1:{_port(running, folder / 'log')}"
            running.send_signal(signal.SIGTERM)
            assert running.wait(15) == 0
        finally:
            running.kill()


def _port(running: subprocess.Popen[bytes], log: Path) -> int:
    deadline_s = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < deadline_s:
        for line in log.read_text().splitlines():
            if '"server.listening"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.02)
    pytest.fail(log.read_text())
