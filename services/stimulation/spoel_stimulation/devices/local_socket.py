"""Unix sockets at paths of any length. Standard library only.

The kernel takes a socket's path up to 107 bytes (unix(7)); a data directory may be deeper. On Linux the directory is
opened and named by its descriptor instead.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a name for ``path`` that fits a socket address, good while the block lasts.

    Raises:
        OSError: its directory is not there.
    """
    if sys.platform != "linux":
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """Return a listener at ``path`` that only this user may connect to; what an earlier process left there goes.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with short_path(path) as name:
            listener.bind(name)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(8)
    listener.settimeout(0)
    return listener
