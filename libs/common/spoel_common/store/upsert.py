"""Insert or overwrite rows, the same on SQLite and PostgreSQL. For read models; never for ``events``."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from spoel_common.store.driver import Driver


async def upsert(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; where the primary key is there already, overwrite the other columns that are given.

    Of several rows with the same key only the last is written, which comes to the same.

    Args:
        conn: a connection of ``database.write()``.
        table: with a primary key.
        rows: each with the same columns, the primary key's among them.

    Raises:
        sqlalchemy.exc.DBAPIError: the database failed or refused a value.
    """
    if not rows:
        return
    plan = _plan(table, tuple(rows[0]), conn.dialect)
    latest = {tuple([row[key] for key in plan.keys]): row for row in rows}
    driver = await Driver.under(conn)
    values = [plan.values(row) for row in latest.values()]
    if driver.dialect == "sqlite":
        await driver.write(plan.statement, values)
    else:
        await driver.fetch(plan.statement, *zip(*values, strict=True))


class _Plan(NamedTuple):
    """A statement, and how the values of its columns are handed to the driver.

    On SQLite the statement takes one row, on PostgreSQL an array for each column: all rows in one go.
    """

    statement: str
    keys: list[str]
    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]

    def values(self, row: Mapping[str, Any]) -> list[Any]:
        return [row[name] if convert is None else convert(row[name]) for name, convert in self.columns]


@lru_cache(maxsize=256)
def _plan(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Plan:
    quote = dialect.identifier_preparer.quote
    keys = [column.name for column in table.primary_key.columns]
    others = [f"{quote(name)} = excluded.{quote(name)}" for name in names if name not in keys]
    marks = [f"?{number}" for number in range(1, len(names) + 1)]
    statement = (
        f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) "
        f"{_rows(table, names, marks, dialect)} "
        f"ON CONFLICT ({', '.join(map(quote, keys))}) "
        + (f"DO UPDATE SET {', '.join(others)}" if others else "DO NOTHING")
    )
    return _Plan(statement, keys, tuple((name, _converter(table, name, dialect)) for name in names))


def _rows(table: Table, names: tuple[str, ...], marks: list[str], dialect: Dialect) -> str:
    if dialect.name == "sqlite":
        return f"VALUES ({', '.join(marks)})"
    arrays = [f"{mark}::{table.c[name].type.compile(dialect)}[]" for mark, name in zip(marks, names, strict=True)]
    return f"SELECT * FROM unnest({', '.join(arrays)})"  # noqa: S608 - types of our own columns


def _converter(table: Table, name: str, dialect: Dialect) -> Callable[[Any], Any] | None:
    return table.c[name].type.dialect_impl(dialect).bind_processor(dialect)
