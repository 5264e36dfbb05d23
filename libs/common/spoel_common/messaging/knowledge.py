"""What a consumer knows of one feed: how far it is, and as of which watermark. Pure but for the monotonic clock."""

import time
from collections import deque
from typing import TYPE_CHECKING

from spoel_common.messaging.inbox import Checkpoint
from spoel_common.messaging.projection import NEVER_S, FeedKnowledge
from spoel_common.messaging.watermark import Watermark
from spoel_common.store import START, Cursor

if TYPE_CHECKING:
    from spoel_common.messaging.pull import Delivery

_MARKS_KEPT = 1_000


class FeedState:
    """One feed of a consumer.

    Attributes:
        source: the store.
        held: events of it that are aside.
        stopped: why it is no longer read, or None.
        full: it is stopped until fewer of its aggregates fail.
        problem: why it cannot be read at the moment, or None.
        resent: what its owner sent again and is not taken in yet.
        reopened_behind: the checkpoint at which a missing message made the consumer start again; -1 for never.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.held = 0
        self.stopped: str | None = None
        self.full = False
        self.problem: str | None = None
        self.resent: list[Delivery] = []
        self.reopened_behind = -1
        self._checkpoint: Checkpoint | None = None
        self._stream_sequence = 0
        self._waiting: deque[tuple[Watermark, float]] = deque(maxlen=_MARKS_KEPT)
        self._known: tuple[Watermark, float] | None = None

    @property
    def sequence(self) -> int:
        """Stream sequence of the last message taken in."""
        return 0 if self._checkpoint is None else self._checkpoint.sequence

    @property
    def cursor(self) -> Cursor:
        """Place in the store's order up to which the feed is taken in."""
        return START if self._checkpoint is None else self._checkpoint.cursor

    @property
    def lag(self) -> int:
        """Messages of the stream that are not taken in yet."""
        return max(0, self._stream_sequence - self.sequence)

    @property
    def trouble(self) -> str | None:
        """Why the feed is stopped, or cannot be read, or None."""
        return self.stopped or self.problem

    def advance(self, checkpoint: Checkpoint, held: int) -> None:
        """Note how far the feed is taken in, and how many of its events are aside."""
        self._checkpoint = checkpoint
        self.held = held
        self._settle()

    def applied(self, cursor: Cursor) -> bool:
        """Tell whether everything up to this place of the store is applied for sure: none of the feed is aside."""
        return self.cursor >= cursor and not self.held and self.stopped is None

    def renew(self) -> None:
        """Begin again on a model that is at least as far: what was known is known still, what was wrong is not."""
        self.stopped = self.problem = None
        self.reopened_behind = -1

    def stream_at(self, sequence: int) -> None:
        """Note the last sequence of the stream, as a listing says."""
        self._stream_sequence = sequence

    def hear(self, mark: Watermark, received_s: float) -> None:
        """Take a watermark that came in at ``received_s`` of the monotonic clock."""
        self._stream_sequence = max(self._stream_sequence, mark.stream_sequence)
        self._waiting.append((mark, received_s))
        self._settle()

    def knowledge(self) -> FeedKnowledge:
        """Return what is known now."""
        mark, received_s = self._known or (None, 0.0)
        return FeedKnowledge(
            source=self.source,
            position=self.cursor.position,
            stream_sequence=self.sequence,
            as_of=None if mark is None else mark.time,
            age_s=NEVER_S if mark is None else time.monotonic() - received_s,
            held=self.held,
            stopped=self.stopped,
        )

    def _settle(self) -> None:
        while self._waiting and self._covers(self._waiting[0][0]):
            self._known = self._waiting.popleft()

    def _covers(self, mark: Watermark) -> bool:
        if self._checkpoint is None or self.held or self.stopped is not None:
            return False
        return self._checkpoint.sequence >= mark.stream_sequence and self._checkpoint.cursor >= max(mark.cursor, START)
