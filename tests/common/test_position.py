"""A place in a store's order: as text, as a command sees it, and as a consumer has come to it. Both databases."""

import pytest
from tests.common.shop import ACTOR, COUNTER, Counted

from spoel_common.store import START, Cursor, Position, PositionUnreadable


def test_a_position_is_read_as_it_was_written():
    position = Position("/spoel/local/stimulation/node-1", Cursor(7423, 42))
    assert str(position) == "/spoel/local/stimulation/node-1@7423.42"
    assert Position.parse(str(position)) == position
    assert position.service == "stimulation"


@pytest.mark.parametrize(
    "text",
    ["", "7.42", "/spoel/local/intake@7.42", "/spoel/local/intake/main@7", "/spoel/local/intake/main@7.-1", "x" * 500],
)
def test_what_is_no_position_is_refused_in_words(text):
    with pytest.raises(PositionUnreadable, match="is not of the form") as refusal:
        Position.parse(text)
    assert len(str(refusal.value)) < 250


@pytest.mark.invariant("INV-3")
async def test_a_command_sees_the_place_of_its_own_events_before_anybody_else_does(shop):
    await shop.count("a", 1)
    before = await shop.store.head()
    async with shop.units.begin(ACTOR, "c-1") as work:
        loaded = await work.load(COUNTER, "a")
        await work.append(COUNTER, "a", loaded, [Counted(number=2), Counted(number=3)])
        seen = await shop.store.head_seen_by(work.conn)
        assert await shop.store.head() == before
    assert seen == await shop.store.head() > before > START


@pytest.mark.invariant("INV-4")
async def test_a_consumer_tells_when_everything_up_to_a_place_is_applied(shop, publish, new_sums, eventually):
    sums = await new_sums()
    await shop.count("a", 1, 2)
    first = Position(shop.name.source, await shop.store.head())
    assert not sums.consumer.applied(first)
    publish(shop)
    await eventually(lambda: sums.consumer.applied(first))
    assert await sums.totals() == {("main", "a"): (3, 2)}

    sums.fails_on = 13
    await shop.count("b", 13)
    second = Position(shop.name.source, await shop.store.head())
    await eventually(lambda: sums.of(shop).held == 1)
    assert sums.consumer.progress()[shop.name.source] == second.cursor
    assert not sums.consumer.applied(second), "it is aside, not applied"
    assert not sums.consumer.applied(first), "which of the feed's events are aside is not known here"
    sums.fails_on = None
    await eventually(lambda: sums.consumer.applied(second))
