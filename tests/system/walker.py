"""Walks everything that an installation keeps, and finds what stands there in clear."""

import base64
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from spoel_local.installation import Installation
from spoel_local.instance import Instance, StoreLocation
from spoel_local.nats_config import inbox_prefix
from spoel_local.postgres import connect

_BATCH = 500
_ANY_CASE = frozenset({"text", "utf-16", "hex", "json"})


class Piece(NamedTuple):
    """Something that is kept: where, and its bytes."""

    place: str
    content: bytes


class Leak(NamedTuple):
    """A secret that stands somewhere in clear, or as good as in clear: encoded, not encrypted."""

    what: str
    place: str
    form: str


class Finder:
    """Looks for secrets in any form in which a program may write them without meaning to.

    Args:
        secrets: what it is → its text. Of digits alone: found where no other digit stands beside it, for long numbers
            hold any eight digits now and then.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._forms = [(what, *found) for what, secret in secrets.items() for found in _forms(secret).items()]
        self._bounded = {
            secret.encode(): re.compile(rb"(?<!\d)" + secret.encode() + rb"(?!\d)")
            for secret in secrets.values()
            if secret.isdigit()
        }

    def leaks(self, pieces: Iterable[Piece]) -> list[Leak]:
        """Return every secret that is found, once a place and form."""
        return [leak for piece in pieces for leak in self._leaks_in(piece)]

    def _leaks_in(self, piece: Piece) -> Iterator[Leak]:
        lowered = piece.content.lower()
        for what, wanted, form in self._forms:
            if wanted not in (lowered if form in _ANY_CASE else piece.content):
                continue
            bounded = self._bounded.get(wanted)
            if bounded is None or bounded.search(piece.content):
                yield Leak(what, piece.place, form)


def _forms(secret: str) -> dict[bytes, str]:
    """Return what to look for → the name of the form."""
    raw = secret.encode()
    forms = {
        json.dumps(secret)[1:-1].encode().lower(): "json",
        secret.lower().encode(): "text",
        secret.upper().encode().lower(): "text",
        raw.lower(): "text",
        secret.encode("utf-16-le").lower(): "utf-16",
        raw.hex().encode(): "hex",
    }
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        first, last = (0, 2, 3)[shift], len(encoded) - (0, 3, 2)[(len(raw) + shift) % 3]
        forms[encoded[first:last]] = "base64"
    return forms


def files_in(folder: Path) -> Iterator[Piece]:
    """Yield every file below a folder, and its name."""
    for path in sorted(folder.rglob("*")):
        yield Piece(f"name of {path}", str(path).encode())
        if path.is_file() and not path.is_socket():
            yield Piece(str(path), path.read_bytes())


async def rows_of(store: StoreLocation) -> list[Piece]:
    """Return every row of every table of a database."""
    if store.url.startswith("sqlite"):
        return list(_sqlite_rows(store))
    connection = await connect(store)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [
            _row(f"{store.service}: {table}", tuple(row))
            for (table,) in tables
            for row in await connection.fetch(f'SELECT * FROM "{table}"')
        ]
    finally:
        await connection.close()


def _sqlite_rows(store: StoreLocation) -> Iterator[Piece]:
    with closing(sqlite3.connect(store.url.removeprefix("sqlite:///"), timeout=10)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield _row(f"{store.service}: {table}", row)


def _row(place: str, row: tuple[object, ...]) -> Piece:
    return Piece(place, b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row))


async def messages_of(instance: Instance) -> AsyncIterator[Piece]:
    """Yield every message of every stream and bucket: subject, headers and content."""
    seed = Installation(instance.data_dir).nkey("intake")
    client = await nats.connect(instance.nats_url, nkeys_seed=str(seed), inbox_prefix=inbox_prefix("intake"))
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
            reader = await jetstream.pull_subscribe("", stream=stream.config.name, config=config)
            left = stream.state.messages
            while left > 0:
                for message in await reader.fetch(min(left, _BATCH), timeout=10):
                    left -= 1
                    text = f"{message.subject}\n{message.headers}\n".encode()
                    yield Piece(f"stream {stream.config.name}", text + message.data)
    finally:
        await client.close()


async def everything(instance: Instance) -> list[Piece]:
    """Return all that an instance keeps: tables, streams, buckets, and every file, logs among them."""
    pieces = [piece for store in instance.stores for piece in await rows_of(store)]
    pieces += [piece async for piece in messages_of(instance)]
    return [*pieces, *files_in(instance.data_dir)]
