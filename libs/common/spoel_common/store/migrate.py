"""Migrations: one Alembic environment for all services, one tree of revisions a service.

A service has only ``<package>/migrations/versions/v0001_<what>.py`` (no ``env.py``, no ini file, no ``__init__.py``)::

    from alembic import op
    import sqlalchemy as sa
    from spoel_common.store import BigInt, UtcDateTime, migrations_v1

    revision = "0001"
    down_revision = None

    def upgrade() -> None:
        migrations_v1.upgrade(op)
        op.create_table("referrals", sa.Column("case_id", sa.String, primary_key=True), ...)

All pending revisions run in one transaction, on SQLite too. The version table is ``alembic_version`` in the
service's own database.
"""

import asyncio
from importlib.resources import files
from pathlib import Path
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from spoel_common.store.database import Database

_LOCKS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

MIGRATION_LOCK = 0x5370_6F65_6C00_0001
"""Key of PostgreSQL's advisory lock that lets one process migrate at a time ("Spoel", 1)."""


async def migrate(database: Database, package: str) -> None:
    """Bring the database to the newest revision of ``<package>/migrations/versions``.

    Safe to call from several processes at once: one migrates, the others wait and find it done.

    Raises:
        FileNotFoundError: the package has no migrations.
    """
    config = _config(package)
    async with _alembic_lock(), database.write() as conn:
        if database.dialect == "postgresql":
            await conn.execute(text("SET LOCAL statement_timeout = 0"))
            await conn.execute(text("SET LOCAL lock_timeout = '60s'"))
            await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await conn.run_sync(_upgrade, config)


async def pending_migrations(database: Database, package: str) -> str | None:
    """Return what lacks for the database to be at the newest revision of ``package``, or None.

    Raises:
        FileNotFoundError: the package has no migrations.
    """
    wanted = set(ScriptDirectory.from_config(_config(package)).get_heads())
    async with database.read() as conn:
        found = set(await conn.run_sync(lambda sync: MigrationContext.configure(sync).get_current_heads()))
    if found == wanted:
        return None
    return f"the database is at revision {', '.join(sorted(found)) or 'none'}, not {', '.join(sorted(wanted))}"


def _alembic_lock() -> asyncio.Lock:
    """Return this loop's lock for Alembic, whose ``op`` and ``context`` are global: one migration at a time."""
    return _LOCKS.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _config(package: str) -> Config:
    versions = Path(str(files(package).joinpath("migrations", "versions")))
    if not versions.is_dir():
        raise FileNotFoundError(f"{package} has no folder migrations/versions at {versions}")
    config = Config()
    config.set_main_option("script_location", _escaped(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(versions))
    return config


def _upgrade(connection: Connection, config: Config) -> None:
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
