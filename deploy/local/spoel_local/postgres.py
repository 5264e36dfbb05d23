"""Databases on a PostgreSQL server that somebody else runs: one database and one role a service.

The same as ``deploy/docker/postgres-init.sh`` does for the containers: a role owns its own database and can connect to
no other, and an idle transaction is ended, since it would hold back the horizon up to which the relay may publish.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from spoel_local.installation import DATABASE_SERVICES, Installation
from spoel_local.instance import StoreLocation
from spoel_local.processes import LauncherError

_TIMEOUT_S = 10.0
_NAME = re.compile(r"spoel_[a-z]+")
_PASSWORD = re.compile(r"[A-Za-z0-9_-]+")


class DatabaseServerRefused(LauncherError):
    """The database server cannot be reached, or does not let us make what is needed."""


def server_url(text: str) -> URL:
    """Read ``--database-url``: a PostgreSQL server, with a user that may create roles and databases.

    Raises:
        DatabaseServerRefused: another kind of URL.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql" or not url.host:
        raise DatabaseServerRefused(
            "--database-url names a PostgreSQL server: postgresql://user:password@host:port/postgres. "
            "Leave it out to keep everything in SQLite files."
        )
    return url.set(drivername="postgresql", database=url.database or "postgres", port=url.port or 5432)


async def make_databases(url: URL, installation: Installation) -> dict[str, StoreLocation]:
    """Make the services' roles and databases where they are missing, and return where each service's is.

    Raises:
        DatabaseServerRefused: the server refuses, or a role is there with a password that is not this installation's.
    """
    try:
        connection = await asyncpg.connect(_dsn(url), timeout=_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        shown = url.render_as_string(hide_password=True)
        raise DatabaseServerRefused(f"The database server {shown} cannot be used: {error}.") from error
    try:
        for service in DATABASE_SERVICES:
            password = installation.database_password(service).read_text(encoding="ascii").strip()
            await _make_role(connection, f"spoel_{service}", password)
            await _make_database(connection, f"spoel_{service}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseServerRefused(
            f"The user {url.username} may not make roles and databases: {error}. Give another in --database-url."
        ) from error
    finally:
        await connection.close(timeout=_TIMEOUT_S)
    stores = {service: _location(url, installation, service) for service in DATABASE_SERVICES}
    for store in stores.values():
        await _check_password(store)
    return stores


def with_password(store: StoreLocation, driver: str | None = None) -> str:
    """Return a store's URL with its password, for a connection; never to be printed or passed on."""
    url = make_url(store.url)
    if driver is not None:
        url = url.set(drivername=driver)
    if store.password_file is not None:
        url = url.set(password=_read_password(store.password_file))
    return url.render_as_string(hide_password=False)


def _read_password(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _location(url: URL, installation: Installation, service: str) -> StoreLocation:
    name = f"spoel_{service}"
    own = URL.create("postgresql", username=name, host=url.host, port=url.port, database=name)
    return StoreLocation(
        service=service,
        store="main",
        url=own.render_as_string(hide_password=False),
        password_file=installation.database_password(service),
    )


async def _make_role(connection: asyncpg.Connection, name: str, password: str) -> None:
    if not _NAME.fullmatch(name) or not _PASSWORD.fullmatch(password):
        raise DatabaseServerRefused(
            f"The password of the database role {name} has been changed by hand into one with "
            "characters other than letters, digits, - and _."
        )
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
        return
    # CREATE ROLE takes no parameters; both parts were checked above.
    await connection.execute(f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'")
    await connection.execute(f"ALTER ROLE {name} SET idle_in_transaction_session_timeout = '30s'")


async def _make_database(connection: asyncpg.Connection, name: str) -> None:
    if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        return
    # A user who is not the superuser may only give a database to a role that it is a member of.
    await connection.execute(f"GRANT {name} TO CURRENT_USER")
    await connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")


async def _check_password(store: StoreLocation) -> None:
    try:
        connection = await asyncpg.connect(with_password(store), timeout=_TIMEOUT_S)
    except asyncpg.InvalidPasswordError as error:
        raise DatabaseServerRefused(
            f"The database role of {store.service} is already on this server with another password: it belongs to "
            f"another installation. Use that installation's --data-dir, or another server ({store.url})."
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseServerRefused(f"{store.url} cannot be used: {error}.") from error
    await connection.close(timeout=_TIMEOUT_S)


def _dsn(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def sqlite_stores(data_dir: Path, services: Sequence[str] = DATABASE_SERVICES) -> dict[str, StoreLocation]:
    """Return the SQLite files in which the services keep their events where no server is given."""
    return {
        service: StoreLocation(
            service=service, store="main", url=f"sqlite:///{data_dir.resolve()}/{service}/{service}.sqlite"
        )
        for service in services
    }
