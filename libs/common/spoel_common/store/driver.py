"""The driver under a SQLAlchemy connection, for the few statements that run with every batch of events.

SQLAlchemy's asynchronous layer goes to SQLite's thread four times a statement and compiles what never changes; the
driver goes once. The statements are part of the connection's transaction.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, Self

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

_BEGIN = text("SELECT 1")
"""SQLAlchemy sends BEGIN to PostgreSQL only with the first statement that it sends itself."""


class Driver:
    """Runs statements whose values are marked ``?1``, ``?2`` and so on."""

    def __init__(self, dialect: str, connection: Any) -> None:  # noqa: ANN401 - of aiosqlite or of asyncpg
        self.dialect = dialect
        self._connection = connection

    @classmethod
    async def under(cls, conn: AsyncConnection) -> Self:
        """Return the driver of a connection of ``database.write()``."""
        connection: Any = (await conn.get_raw_connection()).driver_connection
        if conn.dialect.name == "postgresql" and not connection.is_in_transaction():
            await conn.execute(_BEGIN)
        return cls(conn.dialect.name, connection)

    async def fetch(self, statement: str, *values: object) -> Sequence[Sequence[Any]]:
        """Return the rows of a query.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed.
        """
        try:
            if self.dialect == "sqlite":
                return list(await self._connection.execute_fetchall(statement, values))
            return list(await self._connection.fetch(_dollars(statement), *values))
        except (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise as_sqlalchemy(error) from error

    async def write(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each of these rows of values.

        Raises:
            sqlalchemy.exc.DBAPIError: the database failed.
        """
        try:
            await self._connection.executemany(statement if self.dialect == "sqlite" else _dollars(statement), rows)
        except (sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise as_sqlalchemy(error) from error


@cache
def _dollars(statement: str) -> str:
    return statement.replace("?", "$")


def as_sqlalchemy(error: Exception) -> DBAPIError:
    """Return a driver's error as SQLAlchemy raises it."""
    kind = {sqlite3.OperationalError: OperationalError, asyncpg.InterfaceError: InterfaceError}.get(
        type(error), DBAPIError
    )
    return kind("statement of the driver", None, error)
