"""Which error is the fault of one event, and which of the machinery underneath."""

import sqlite3

from pydantic import ValidationError
from sqlalchemy import exc

_POSTGRES_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""SQLSTATE classes: connection, transaction state, rollback, resources, object not ready, intervention, system."""

_SQLITE_OF_THE_EVENT = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)

_TEXT_LENGTH = 500


def is_machinery(error: BaseException) -> bool:
    """Tell whether trying the whole batch again may help: the database or the network failed, not the event."""
    if isinstance(error, OSError | exc.TimeoutError | exc.DisconnectionError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    sqlstate = getattr(error.orig, "sqlstate", None)
    if isinstance(sqlstate, str):
        return sqlstate[:2] in _POSTGRES_CLASSES
    code = getattr(error.orig, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF not in _SQLITE_OF_THE_EVENT
    return isinstance(error, exc.InterfaceError | exc.OperationalError)


def describe(error: BaseException) -> str:
    """Return a short text about an error, without the values that it was given."""
    if isinstance(error, ValidationError):
        places = ", ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in error.errors(include_input=False)
        )
        return f"{error.title} does not fit: {places}"[:_TEXT_LENGTH]
    shown = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    first_line = str(shown).partition("\n")[0]  # PostgreSQL's DETAIL, behind it, repeats values
    return f"{type(error).__name__}: {first_line}"[:_TEXT_LENGTH]
