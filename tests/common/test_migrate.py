"""Migrations: a service has only its revisions; the tables are those that the queries expect."""

import asyncio
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from spoel_common.store import Database, migrate, pending_migrations
from spoel_common.store.schema import metadata

FIRST = """
from alembic import op
import sqlalchemy as sa
from spoel_common.store import migrations_v1, migrations_v2

revision = "0001"
down_revision = None

def upgrade() -> None:
    migrations_v1.upgrade(op)
    migrations_v2.upgrade(op)
    op.create_table("referrals", sa.Column("case_id", sa.String, primary_key=True))
"""
SECOND = """
from alembic import op
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"

def upgrade() -> None:
    op.add_column("referrals", sa.Column("channel", sa.String))
"""
BROKEN = (
    SECOND.replace("0002", "0003").replace("0001", "0002").replace('"channel"', '"other"')
    + "    op.execute('nonsense')\n"
)


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    name = f"service_{abs(hash(request.node.name))}"
    (tmp_path / "with 100%" / name / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "with 100%" / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "with 100%"))
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def write_revision(package, tmp_path):
    def write(number: int, source: str) -> None:
        folder = tmp_path / "with 100%" / package / "migrations" / "versions"
        (folder / f"v{number:04}_step.py").write_text(source)

    return write


@pytest.fixture
async def empty(database_url):
    database = await Database.open(database_url)
    yield database
    await database.close()


async def columns_of(database, table: str) -> list[str]:
    async with database.read() as conn:
        return await conn.run_sync(lambda sync: [column["name"] for column in inspect(sync).get_columns(table)])


async def test_a_database_is_brought_to_the_newest_revision_step_by_step(empty, package, write_revision):
    write_revision(1, FIRST)
    assert "not 0001" in str(await pending_migrations(empty, package))
    await migrate(empty, package)
    assert await columns_of(empty, "referrals") == ["case_id"]
    assert await pending_migrations(empty, package) is None

    write_revision(2, SECOND)
    assert "0001, not 0002" in str(await pending_migrations(empty, package))
    await migrate(empty, package)
    await migrate(empty, package)
    assert await columns_of(empty, "referrals") == ["case_id", "channel"]
    assert await pending_migrations(empty, package) is None


async def test_a_migration_that_fails_leaves_nothing_behind(empty, package, write_revision):
    write_revision(1, FIRST)
    await migrate(empty, package)
    write_revision(2, SECOND)
    write_revision(3, BROKEN)

    with pytest.raises(Exception, match="nonsense"):
        await migrate(empty, package)

    assert await columns_of(empty, "referrals") == ["case_id"]
    assert "0001, not 0003" in str(await pending_migrations(empty, package))


async def test_several_processes_may_migrate_at_once(database_url, package, write_revision):
    write_revision(1, FIRST)
    databases = [await Database.open(database_url) for _ in range(4)]
    await asyncio.gather(*(migrate(database, package) for database in databases))
    assert await columns_of(databases[0], "referrals") == ["case_id"]
    for database in databases:
        await database.close()


async def test_several_databases_of_one_process_may_be_migrated_at_once(new_sqlite, package, write_revision):
    """Alembic's ``op`` is global: two migrations at once would write into each other's database."""
    write_revision(1, FIRST)
    write_revision(2, SECOND)
    databases = [await Database.open(new_sqlite()) for _ in range(3)]
    await asyncio.gather(*(migrate(database, package) for database in databases))
    for database in databases:
        assert await columns_of(database, "referrals") == ["case_id", "channel"]
        await database.close()


async def test_a_package_without_migrations_is_refused(empty):
    with pytest.raises(FileNotFoundError, match="spoel_common has no folder migrations/versions"):
        await migrate(empty, "spoel_common")


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
async def test_the_tables_are_those_that_the_queries_expect(database):
    def differences(sync) -> list[object]:
        def only_ours(_object, name, kind, reflected, _compared) -> bool:
            return not (kind == "index" and reflected and name in {"events_order", "held_of_feed", "held_once"})

        options = {"compare_type": False, "include_object": only_ours}
        return compare_metadata(MigrationContext.configure(sync, opts=options), metadata)

    async with database.read() as conn:
        assert await conn.run_sync(differences) == []


async def test_the_events_of_postgresql_are_bytes_with_a_wide_transaction_id(postgres_shop):
    query = text("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'events'")
    async with postgres_shop.database.read() as conn:
        types = dict((await conn.execute(query)).all())
    assert (types["raw"], types["xid"], types["position"]) == ("bytea", "xid8", "bigint")
