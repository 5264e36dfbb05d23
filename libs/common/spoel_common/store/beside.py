"""A database beside a database: the same tables, empty, to build a read model anew while the old one serves.

Beside a SQLite file it is a file in a folder of its own, beside a PostgreSQL database a schema of that database. Either
has inbox and checkpoints of its own, and can be read by SQL in one transaction with the database that it stands beside.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store.database import Database
from spoel_common.store.migrate import migrate

_ATTACHED_AS = "beside"
_FILE = "beside.db"
_STATEMENT_TIMEOUT_S = 60


class Beside:
    """The place beside a database.

    Args:
        database: beside which.
        purpose: what it is for, in kebab-case; one place a purpose.
    """

    def __init__(self, database: Database, purpose: str) -> None:
        self._database = database
        self._folder = database.path and database.path.with_name(f"{database.path.name}.{purpose}")
        self._schema = f"beside_{purpose.replace('-', '_')}"

    @property
    def schema(self) -> str:
        """The schema as which ``show`` shows its tables."""
        return self._schema if self._folder is None else _ATTACHED_AS

    @asynccontextmanager
    async def open(self, package: str) -> AsyncIterator[Database]:
        """Open it anew for the block, empty, with the tables of ``package``; what was left there is dropped first."""
        await self.drop()
        if self._folder is None:
            async with self._database.write() as conn:
                await conn.execute(text(f"CREATE SCHEMA {self._schema}"))
            beside = await Database.open(self._database.url, self._schema)
        else:
            beside = await Database.open(f"sqlite:///{self._folder / _FILE}")
        try:
            await migrate(beside, package)
            yield beside
        finally:
            await asyncio.shield(beside.close())  # also when cancelled: a connection left open would be warned of

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a write transaction of the database that this stands beside; ``show`` lets it read this one too."""
        database = await Database.open(self._database.url)
        try:
            async with database.write() as conn:
                yield conn
        finally:
            await asyncio.shield(database.close())

    async def show(self, conn: AsyncConnection) -> None:
        """Show the tables here to a transaction of ``write`` as those of ``schema``.

        Nothing is taken in here until its end. Before, the transaction does not hold up who writes here: SQLite would
        lock this file at the beginning too, were it attached by then.
        """
        if self._folder is None:
            await conn.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT_S}s'"))
            await conn.execute(text(f"LOCK TABLE {self._schema}.feeds IN EXCLUSIVE MODE"))
        else:
            await conn.execute(text(f"ATTACH :file AS {_ATTACHED_AS}"), {"file": str(self._folder / _FILE)})

    async def drop(self) -> None:
        """Remove it with all that is in it, if it is there."""
        if self._folder is None:
            async with self._database.write() as conn:
                await conn.execute(text(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE"))
        else:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
