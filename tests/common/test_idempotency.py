"""Answers to commands are kept with the command's own transaction, one a client, route and key."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from spoel_common.store.idempotency import StoredAnswer, find, forget_before, keep

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
ANSWER = StoredAnswer(body_hash="h", status=201, body=b'{"id":"1"}', created_at=NOW)


async def keep_one(database, client="c", route="POST /r", key="k", created_at=NOW) -> None:
    async with database.write() as conn:
        await keep(conn, client, route, key, body_hash="h", status=201, body=b'{"id":"1"}', created_at=created_at)


async def find_one(database, client="c", route="POST /r", key="k") -> StoredAnswer | None:
    async with database.read() as conn:
        return await find(conn, client, route, key)


async def test_a_kept_answer_is_found_by_its_client_route_and_key_only(database):
    await keep_one(database)
    assert await find_one(database) == ANSWER
    assert await find_one(database, client="d") is None
    assert await find_one(database, route="POST /s") is None
    assert await find_one(database, key="l") is None


async def test_a_twin_that_was_slower_is_refused(database):
    await keep_one(database)
    with pytest.raises(IntegrityError):
        await keep_one(database)
    assert await find_one(database) == ANSWER


async def test_old_answers_are_forgotten(database):
    await keep_one(database, key="old", created_at=NOW - timedelta(days=7, microseconds=1))
    await keep_one(database, key="new", created_at=NOW - timedelta(days=7))
    async with database.write() as conn:
        assert await forget_before(conn, NOW - timedelta(days=7)) == 1
    assert await find_one(database, key="old") is None
    assert await find_one(database, key="new") is not None
