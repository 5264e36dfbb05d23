"""Which errors are the event's own fault: those are counted and parked. All others: the batch comes again."""

import sqlite3

import pytest
from pydantic import BaseModel, ValidationError
from sqlalchemy import exc

from spoel_common.messaging.faults import describe, is_machinery


class PostgresError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("what the server said\nDETAIL:  Key (name)=(secret) already exists.")
        self.sqlstate = sqlstate


def sqlite_error(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    error = kind("what SQLite said")
    error.sqlite_errorcode = code
    return error


def from_database(
    orig: Exception, kind: type[exc.DBAPIError] = exc.DBAPIError, *, lost: bool = False
) -> exc.DBAPIError:
    return kind("INSERT ...", {"patient": "secret"}, orig, connection_invalidated=lost)


def shown(error: object) -> str:
    return f"{type(error).__name__} {getattr(getattr(error, 'orig', None), 'sqlstate', '')}"


@pytest.mark.parametrize(
    "error",
    [
        OSError("no route"),
        ConnectionResetError("reset"),
        exc.TimeoutError("no connection of the pool is free"),
        from_database(PostgresError(None), lost=True),
        from_database(PostgresError("40P01")),
        from_database(PostgresError("57P01")),
        from_database(PostgresError("08006")),
        from_database(PostgresError("53100")),
        from_database(PostgresError(None), exc.InterfaceError),
        from_database(sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_BUSY)),
        from_database(sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_FULL)),
        from_database(sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_WRITE)),
        from_database(sqlite_error(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT)),
    ],
    ids=shown,
)
def test_the_machinery_failed(error):
    assert is_machinery(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        KeyError("missing"),
        from_database(PostgresError("23505"), exc.IntegrityError),
        from_database(PostgresError("22001")),
        from_database(PostgresError("42P01"), exc.ProgrammingError),
        from_database(sqlite_error(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT_UNIQUE), exc.IntegrityError),
        from_database(sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_ERROR), exc.OperationalError),
    ],
    ids=shown,
)
def test_the_event_failed(error):
    assert not is_machinery(error)


def test_a_description_has_no_values_and_is_short():
    class Model(BaseModel):
        number: int
        names: list[str]

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"number": "secret", "names": ["a", 7]})
    assert describe(caught.value) == "Model does not fit: number: int_parsing, names.1: string_type"
    assert describe(from_database(PostgresError("22001"))) == "DBAPIError: what the server said"
    assert len(describe(ValueError("x" * 10_000))) == 500
