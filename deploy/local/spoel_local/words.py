"""What goes wrong at the terminal, in words."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from spoel_local.processes import Interrupted, LauncherError

_INTERRUPTED_STATUS = 130


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Turn what a person at the terminal can do something about into its text and exit status 1."""
    try:
        yield
    except Interrupted:
        raise typer.Exit(_INTERRUPTED_STATUS) from None
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from None
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'This machine'}: {error.strerror or error}.\n")
        raise typer.Exit(1) from None
