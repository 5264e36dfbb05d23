"""Databases on a PostgreSQL server that somebody else runs: one database and one role a service.

The same as ``deploy/docker/postgres-init.sh`` does for the containers: a role owns its own database and can connect to
no other, and an idle transaction is ended, since it would hold back the horizon up to which the relay may publish.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg

from spoel_local.installation import DATABASE_SERVICES, Installation
from spoel_local.instance import StoreLocation
from spoel_local.processes import LauncherError

_TIMEOUT_S = 10.0
_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_NAME = re.compile(r"spoel_[a-z]+")
_PASSWORD = re.compile(r"[A-Za-z0-9_-]+")


class DatabaseServerRefused(LauncherError):
    """The database server cannot be reached, or does not let us make what is needed."""


class Server(NamedTuple):
    """A PostgreSQL server and somebody who may make roles and databases in it.

    Attributes:
        address: host and port; to be shown.
        dsn: for a connection; never to be shown, since it may hold a password.
    """

    address: str
    dsn: str


def read_server(url: str) -> Server:
    """Read ``--database-url``.

    Raises:
        DatabaseServerRefused: it is not the URL of a PostgreSQL server.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise DatabaseServerRefused(
            "--database-url names a PostgreSQL server: postgresql://user:password@host:port/postgres. "
            "Leave it out to keep everything in SQLite files."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    database = parts.path if parts.path.strip("/") else "/postgres"
    dsn = parts._replace(scheme="postgresql", path=database).geturl()
    return Server(address=f"{host}:{parts.port or 5432}", dsn=dsn)


async def make_databases(server: Server, installation: Installation) -> dict[str, StoreLocation]:
    """Make the services' roles and databases where they are missing, and return where each service's is.

    Raises:
        DatabaseServerRefused: the server refuses, or a role is there with a password that is not this installation's.
    """
    try:
        connection = await asyncpg.connect(server.dsn, timeout=_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseServerRefused(f"The database server at {server.address} cannot be used: {error}.") from error
    try:
        for service in DATABASE_SERVICES:
            await _make_role(connection, f"spoel_{service}", _read(installation.database_password(service)))
            await _make_database(connection, f"spoel_{service}")
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseServerRefused(
            f"The user of --database-url may not make roles and databases: {error}. Give another."
        ) from error
    finally:
        await connection.close(timeout=_TIMEOUT_S)
    stores = {service: _location(server, installation, service) for service in DATABASE_SERVICES}
    for store in stores.values():
        await (await connect(store)).close(timeout=_TIMEOUT_S)
    return stores


async def connect(store: StoreLocation) -> asyncpg.Connection:
    """Connect to a service's own database as its own role.

    Raises:
        DatabaseServerRefused: the server does not answer, or the role has another password.
    """
    password = None if store.password_file is None else _read(store.password_file)
    try:
        return await asyncpg.connect(store.url, password=password, timeout=_TIMEOUT_S)
    except asyncpg.InvalidPasswordError as error:
        raise DatabaseServerRefused(
            f"The database role of {store.service} is already on this server with another password: it belongs to "
            f"another installation. Use that installation's --data-dir, or another server ({store.url})."
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseServerRefused(f"{store.url} cannot be used: {error}.") from error


def sqlite_stores(data_dir: Path, services: Sequence[str] = DATABASE_SERVICES) -> dict[str, StoreLocation]:
    """Return the SQLite files in which the services keep their events where no server is given."""
    folder = data_dir.resolve()
    return {
        service: StoreLocation(service=service, store="main", url=f"sqlite:///{folder}/{service}/{service}.sqlite")
        for service in services
    }


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def _location(server: Server, installation: Installation, service: str) -> StoreLocation:
    return StoreLocation(
        service=service,
        store="main",
        url=f"postgresql://spoel_{service}@{server.address}/spoel_{service}",
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
