"""What a feed is known as of: the last watermark that is fully applied, and nothing younger (INV-4)."""

from datetime import UTC, datetime, timedelta

import pytest

from spoel_common.messaging.inbox import Checkpoint
from spoel_common.messaging.knowledge import FeedState
from spoel_common.messaging.projection import NEVER_S
from spoel_common.messaging.watermark import Watermark
from spoel_common.store import START, Cursor

pytestmark = pytest.mark.invariant("INV-4")

SOURCE = "/spoel/local/intake/main"
BEGIN = datetime(2026, 11, 22, tzinfo=UTC)


def mark(number: int, sequence: int, cursor: tuple[int, int] | None = None) -> Watermark:
    xid, position = cursor or (0, sequence)
    moment = BEGIN + timedelta(seconds=2 * number)
    return Watermark(source=SOURCE, position=position, xid=xid, stream_sequence=sequence, time=moment)


def at(sequence: int, cursor: tuple[int, int] | None = None) -> Checkpoint:
    return Checkpoint("stream-1", sequence, Cursor(*(cursor or (0, sequence))))


@pytest.fixture
def feed() -> FeedState:
    return FeedState(SOURCE)


def known(feed: FeedState) -> int | None:
    """Return the number of the watermark as of which the feed is known."""
    as_of = feed.knowledge().as_of
    return None if as_of is None else round((as_of - BEGIN).total_seconds() / 2)


def test_nothing_is_known_before_the_checkpoint_is(feed):
    feed.hear(mark(1, 0), 0.0)
    assert (known(feed), feed.knowledge().age_s) == (None, NEVER_S)
    feed.advance(at(0, START), 0)
    assert known(feed) == 1


def test_a_watermark_counts_once_everything_up_to_it_is_applied(feed):
    feed.advance(at(3), 0)
    feed.hear(mark(1, 3), 0.0)
    feed.hear(mark(2, 5), 2.0)
    feed.hear(mark(3, 6), 4.0)
    assert known(feed) == 1
    feed.advance(at(4), 0)
    assert known(feed) == 1
    feed.advance(at(5), 0)
    assert known(feed) == 2
    feed.advance(at(9), 0)
    assert known(feed) == 3


def test_age_is_counted_from_when_the_watermark_came(feed, monkeypatch):
    feed.advance(at(3), 0)
    feed.hear(mark(1, 3), 100.0)
    feed.hear(mark(2, 4), 102.0)
    monkeypatch.setattr("spoel_common.messaging.knowledge.time.monotonic", lambda: 110.0)
    assert feed.knowledge().age_s == 10.0
    feed.advance(at(4), 0)
    assert feed.knowledge().age_s == 8.0


@pytest.mark.parametrize("how", ["held", "stopped"])
def test_nothing_is_fully_applied_while_an_event_is_aside_or_the_feed_stands(feed, how):
    feed.advance(at(3), 0)
    feed.hear(mark(1, 3), 0.0)
    if how == "held":
        feed.advance(at(4), 1)
    else:
        feed.stopped = "a newer version"
    feed.hear(mark(2, 4), 2.0)
    assert known(feed) == 1
    feed.stopped = None
    feed.advance(at(4), 0)
    assert known(feed) == 2


def test_a_stream_that_begins_anew_does_not_make_old_knowledge_fresh(feed):
    """Sequences of the new stream are small again; the place in the store's own order tells."""
    feed.advance(at(100, (7, 100)), 0)
    feed.hear(mark(1, 5, (7, 105)), 0.0)
    assert known(feed) is None
    feed.advance(at(5, (7, 105)), 0)
    assert known(feed) == 1


def test_a_message_without_a_place_in_the_stores_order_counts_by_its_sequence(feed):
    feed.advance(at(4, (0, 5)), 0)
    feed.hear(mark(1, 5, (0, 5)), 0.0)
    assert known(feed) is None
    feed.advance(at(5, (0, 5)), 0)
    assert known(feed) == 1


def test_lag_is_what_the_stream_has_more_than_was_taken_in(feed):
    assert feed.lag == 0
    feed.stream_at(5)
    assert feed.lag == 5
    feed.advance(at(3), 0)
    feed.hear(mark(1, 7), 0.0)
    assert feed.lag == 4
    feed.advance(at(9), 0)
    assert feed.lag == 0


def test_trouble_is_why_a_feed_stands_or_cannot_be_read(feed):
    assert feed.trouble is None
    feed.problem = "no connection"
    assert feed.trouble == "no connection"
    feed.stopped = "a newer version"
    assert feed.trouble == "a newer version"


def test_very_many_watermarks_are_not_kept_for_ever(feed):
    for number in range(5_000):
        feed.hear(mark(number, number), float(number))
    feed.advance(at(10_000), 0)
    assert known(feed) == 4_999
