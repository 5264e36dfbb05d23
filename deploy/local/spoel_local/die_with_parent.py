"""Become another program that dies when its parent does: ``python die_with_parent.py PARENT_PID COMMAND …``.

A small program of its own, run with ``python -I -S``, so that nothing has to run between fork and exec in the parent,
which may have threads. The parent-death signal survives ``execve`` (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
_COULD_NOT_START = 127


def main(arguments: list[str]) -> int:
    """Set the parent-death signal and become ``arguments[1:]``; return only if that cannot be done."""
    parent_pid, command = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.stderr.write(f"prctl: {os.strerror(ctypes.get_errno())}\n")
        return _COULD_NOT_START
    if os.getppid() != parent_pid:
        return _COULD_NOT_START
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the other program is what this is for
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
    return _COULD_NOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
