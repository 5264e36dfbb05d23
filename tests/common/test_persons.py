"""Which files are of one person: whatever the order of the merges, and however often each is told (HZ-14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoel_common import persons
from spoel_common.store import Database

pytestmark = [pytest.mark.hazard("HZ-14"), pytest.mark.requirement("IN-15")]

FILES = "abcdefg"
MERGES = st.lists(st.tuples(st.sampled_from(FILES), st.sampled_from(FILES)), max_size=12)


def told(merges):
    """The rows after these merges, as ``keep_merge`` writes them."""
    rows: dict[str, str] = {}
    for merged in merges:
        rows |= persons.joined(rows, merged)
    return rows


def reachable(merges, file):
    """All files that a chain of merges leads to, by walking."""
    found = {file}
    while more := {end for merged in merges if found & set(merged) for end in merged} - found:
        found |= more
    return found


@given(MERGES, st.randoms(use_true_random=False))
def test_any_order_of_the_merges_with_repeats_gives_the_same_persons(merges, chance):
    shuffled = [merge[:: chance.choice((1, -1))] for merge in merges + merges[:3]]
    chance.shuffle(shuffled)
    assert told(shuffled) == told(merges)


@given(MERGES)
def test_whoever_is_linked_by_a_chain_of_merges_is_one_person_and_nobody_else(merges):
    rows = told(merges)
    for file in FILES:
        theirs = {other for other, person in rows.items() if person == rows.get(file)} | {file}
        assert theirs == reachable(merges, file)


@pytest.fixture
async def database(database_url):
    database = await Database.open(database_url)
    async with database.write() as conn:
        await conn.run_sync(persons.person_files.metadata.create_all)
    yield database
    await database.close()


async def test_the_database_finds_every_file_of_a_person_from_each_of_them(database):
    async with database.write() as conn:
        for merged in (("d", "c"), ("a", "b"), ("f", "e"), ("b", "c"), ("a", "b")):
            await persons.keep_merge(conn, *merged)
    async with database.read() as conn:
        found = {file: "".join(await persons.files_of(conn, file)) for file in FILES}
    assert found == {**dict.fromkeys("abcd", "abcd"), **dict.fromkeys("ef", "ef"), "g": "g"}
