"""Tell whether the process in this container does its work; run by the image's HEALTHCHECK. Standard library only.

``python -m spoel_local.probe`` asks the service at ``SPOEL_PORT`` whether it is ready;
``python -m spoel_local.probe --listens PORT`` looks whether somebody listens at a port, without connecting to it: a
simulated stimulator, like a real one, has one line only.
"""

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT_S = 4
_LISTEN = "0A"


def why_not_ready(port: int) -> str | None:
    """Return None where the service at ``port`` of this machine is ready, and else why it is not."""
    url = f"http://127.0.0.1:{port}/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return error.read(2_000).decode(errors="replace")
    except OSError as error:
        return f"no answer at {url}: {error}"


def listens(port: int) -> bool:
    """Tell whether a socket of this machine (or container) listens at ``port``, after ``/proc/net/tcp`` (proc(5))."""
    return any(
        _is_listener(line.split(), port)
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if table.exists()
        for line in table.read_text(encoding="ascii").splitlines()[1:]
    )


def _is_listener(fields: list[str], port: int) -> bool:
    local_address, state = fields[1], fields[3]
    return state == _LISTEN and int(local_address.rpartition(":")[2], 16) == port


def main(arguments: list[str]) -> int:
    """Return 0 where all is well, else 1 and print why."""
    if arguments[:1] == ["--listens"]:
        reason = None if listens(int(arguments[1])) else f"nobody listens at port {arguments[1]}"
    else:
        reason = why_not_ready(int(os.environ["SPOEL_PORT"]))
    if reason is not None:
        sys.stderr.write(f"{reason}\n")
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
