"""``spoel up --database-url``: one database and one role a service on a PostgreSQL server that somebody else runs."""

from urllib.parse import urlsplit

import asyncpg
import pytest

from spoel_local.installation import DATABASE_SERVICES, Installation, initialise
from spoel_local.postgres import DatabaseServerRefused, connect, make_databases, read_server

SERVER = "postgresql://{}:{}@{}/postgres"


@pytest.fixture
async def server(postgres_server):
    server = read_server(postgres_server.url("postgres"))
    yield server
    admin = await asyncpg.connect(server.dsn)
    for service in DATABASE_SERVICES:
        await admin.execute(f"DROP DATABASE IF EXISTS spoel_{service}")
        await admin.execute(f"DROP ROLE IF EXISTS spoel_{service}")
    await admin.close()


@pytest.fixture
def installation(tmp_path):
    initialise(tmp_path / "data", "local")
    return Installation(tmp_path / "data")


async def test_each_service_owns_one_database_and_reaches_no_other(server, installation):
    stores = await make_databases(server, installation)
    assert set(stores) == set(DATABASE_SERVICES)
    for service, store in stores.items():
        connection = await connect(store)
        assert await connection.fetchval("SELECT current_database()") == f"spoel_{service}"
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "30s"
        await connection.execute("CREATE TABLE mine (one integer)")
        await connection.close()
    other = stores["intake"].model_copy(update={"url": stores["intake"].url.rpartition("/")[0] + "/spoel_audit"})
    with pytest.raises(DatabaseServerRefused, match="permission denied for database"):
        await connect(other)


async def test_what_is_there_is_used_again(server, installation):
    stores = await make_databases(server, installation)
    connection = await connect(stores["audit"])
    await connection.execute("CREATE TABLE kept (one integer)")
    await connection.close()
    again = await make_databases(server, installation)
    connection = await connect(again["audit"])
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()


async def test_no_url_that_is_written_down_holds_a_password(server, installation):
    for store in (await make_databases(server, installation)).values():
        assert urlsplit(store.url).password is None


async def test_a_role_of_another_installation_is_left_alone(server, installation, tmp_path):
    await make_databases(server, installation)
    initialise(tmp_path / "other", "local")
    with pytest.raises(DatabaseServerRefused, match="belongs to another installation"):
        await make_databases(server, Installation(tmp_path / "other"))
    await (await connect((await make_databases(server, installation))["intake"])).close()


async def test_a_user_who_may_not_make_databases_is_refused(server, installation, postgres_server):
    stores = await make_databases(server, installation)
    password = installation.database_password("intake").read_text()
    address = urlsplit(stores["intake"].url)
    weak = read_server(f"postgresql://spoel_intake:{password}@{address.hostname}:{address.port}/spoel_intake")
    admin = await asyncpg.connect(server.dsn)
    await admin.execute("DROP DATABASE spoel_audit")
    await admin.close()
    with pytest.raises(DatabaseServerRefused, match="may not make roles and databases"):
        await make_databases(weak, installation)


async def test_a_server_that_does_not_answer_is_named_without_its_password(installation):
    with pytest.raises(DatabaseServerRefused, match=r"127\.0\.0\.1:1 cannot be used") as refused:
        await make_databases(read_server(SERVER.format("me", "secret", "127.0.0.1:1")), installation)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://h/x", "sqlite:///x", "postgresql:///x", "nonsense", ""])
def test_another_kind_of_url_is_refused(url):
    with pytest.raises(DatabaseServerRefused, match="names a PostgreSQL server"):
        read_server(url)


def test_port_and_database_have_their_usual_values():
    server = read_server("postgres://me:secret@db.hospital.example")
    assert server.address == "db.hospital.example:5432"
    assert server.dsn == "postgresql://me:secret@db.hospital.example/postgres"
