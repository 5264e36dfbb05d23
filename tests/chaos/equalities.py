"""What must hold of the books after every fault. Pure: books and ledger in, checks out; each can fail.

Each check names what it found amiss, the first few of them.
"""

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tests.chaos.books import Aggregate, Books, Event
from tests.chaos.ledger import Ledger, Told

from spoel_local.demo.report import Check

_SHOWN = 5


def all_equalities(books: Books, ledger: Ledger, since: dict[str, int]) -> list[Check]:
    """Return every check.

    Args:
        books: read while all was still.
        ledger: what the callers know.
        since: source → how many of its events were there before the ledger began.
    """
    return [
        acknowledged_once(books, ledger),
        nothing_unasked(books, ledger, since),
        versions_without_holes(books),
        streamed_once_in_order(books),
        applied_once(books),
        read_models_alike(books),
        logged_once(books),
        served_roots_kept(books, ledger),
    ]


def acknowledged_once(books: Books, ledger: Ledger) -> Check:
    """Every acknowledged command left its event once; a refused one nothing; whatever was unknown, at most once.

    Of a refused command of which an earlier answer was lost the first sending may still have come to be done after the
    refusal, by a process that had been stopped: once, then.
    """
    made = _by_correlation(books)
    wrong = []
    for told in ledger.told.values():
        names = made.get(told.key, Counter())
        if not _fits(told, names):
            wrong.append(f"{told.state} {told.makes} {told.key} (answers lost: {told.lost}) left {dict(names)}")
    return _check(
        "every acknowledged command's event is in the store once, a refused one's not at all",
        wrong,
        f"{len(ledger.told)} commands",
        commands=len(ledger.told),
    )


def _fits(told: Told, names: Counter[str]) -> bool:
    if told.state == "acknowledged":
        return not told.makes or names[told.makes] == 1
    if told.state == "refused":
        return names[told.makes] <= 1 if told.lost else not names
    return False


def nothing_unasked(books: Books, ledger: Ledger, since: dict[str, int]) -> Check:
    """Every event of intake and planning that came since comes of a command of the ledger."""
    checked, wrong = 0, []
    for source, events in books.stored.items():
        if source.split("/")[3] not in {"intake", "planning"}:
            continue
        for event in events[since.get(source, 0) :]:
            checked += 1
            if event.correlation not in ledger.told:
                wrong.append(f"{event.name} {event.id}")
    return _check("every new event of intake and planning comes of a command that was told", wrong, f"{checked} events")


def versions_without_holes(books: Books) -> Check:
    """Every aggregate's versions are 1, 2, 3 … in the store's own order, and no id occurs twice."""
    wrong, events, aggregates = [], 0, 0
    for source, stored in books.stored.items():
        found: dict[Aggregate, list[int]] = defaultdict(list)
        for event in stored:
            found[event.aggregate].append(event.version)
        wrong += [
            f"{source} {'/'.join(name)}: {versions}"
            for name, versions in found.items()
            if versions != list(range(1, len(versions) + 1))
        ]
        wrong += [f"{source} has {name} {count} times" for name, count in _twice(event.id for event in stored)]
        events, aggregates = events + len(stored), aggregates + len(found)
    return _check(
        "versions are in order, without holes, and every id once",
        wrong,
        f"{events} events of {aggregates} aggregates",
        events=events,
        aggregates=aggregates,
    )


def streamed_once_in_order(books: Books) -> Check:
    """Every stored event is in the store's stream once, byte for byte, in the store's order, under its own id."""
    wrong, messages = [], 0
    for source, stored in books.stored.items():
        streamed = books.streamed.get(source, [])
        messages += len(streamed)
        in_store, in_stream = {event.id: event for event in stored}, Counter(event.id for _, event in streamed)
        wrong += [f"{source}: {event_id} is not in the stream" for event_id in in_store if not in_stream[event_id]]
        wrong += [
            f"{source}: {event_id} is {count} times in the stream" for event_id, count in _twice(in_stream.elements())
        ]
        for message_id, event in streamed:
            if in_store.get(event.id) != event or message_id != event.id:
                wrong.append(f"{source}: message {message_id} differs from the stored event {event.id}")
        if not wrong and [event.id for event in stored] != [event.id for _, event in streamed]:
            wrong.append(f"{source}: the stream has another order than the store")
    return _check("every stored event is in JetStream once, byte-equal, in order", wrong, f"{messages} messages")


def applied_once(books: Books) -> Check:
    """Every reader is at the end of its stream, has nothing aside, and stands at each aggregate's last version."""
    wrong, heads = [], 0
    for reader, applied in books.applied.items():
        name = f"{reader.service}'s {reader.projection} of {reader.source}"
        length, last = len(books.streamed.get(reader.source, ())), _last_versions(books.stored.get(reader.source, ()))
        if applied.sequence != length:
            wrong.append(f"{name} is at {applied.sequence} of {length}")
        if applied.held:
            wrong.append(f"{name} keeps {applied.held} aside")
        differ = sorted(set(applied.heads.items()) ^ set(last.items()))
        wrong += [f"{name}: {'/'.join(aggregate)} at {version} on one side only" for aggregate, version in differ]
        heads += len(applied.heads)
    return _check(
        "every consumer has applied every event of every aggregate", wrong, f"{heads} aggregates", heads=heads
    )


def read_models_alike(books: Books) -> Check:
    """No read model differs from the one that was built from zero."""
    return _check("no read model differs from one built from zero", books.unlike, f"{books.rows} rows", rows=books.rows)


def logged_once(books: Books) -> Check:
    """The audit log has every event of every store once, byte for byte, and nothing else."""
    stored = {event.id: event for events in books.stored.values() for event in events}
    logged = Counter(line.event_id for line in books.log)
    wrong = [f"{event_id} is not in the log" for event_id in stored if not logged[event_id]]
    wrong += [f"{event_id} is {count} times in the log" for event_id, count in _twice(logged.elements())]
    for line in books.log:
        event: Event | None = stored.get(line.event_id)
        if event is None or event.digest != line.digest:
            wrong.append(f"the log's {line.event_id} differs from what is stored")
    return _check("the audit log has each event once, byte-equal", wrong, f"{len(books.log)} entries")


def served_roots_kept(books: Books, ledger: Ledger) -> Check:
    """Every root that was ever served is the root of that many of the log's first entries, and no log shrank."""
    wanted = {size for size, _ in ledger.roots}
    roots = _prefix_roots([line.leaf for line in books.log], wanted)
    wrong = [
        f"the root served at size {size} is not that of the log"
        for size, root in sorted(set(ledger.roots))
        if roots.get(size) != base64.b64decode(root)
    ]
    return _check("every root that was served is a prefix of the log", wrong, f"{len(wanted)} sizes")


def _prefix_roots(leaves: Sequence[bytes], sizes: set[int]) -> dict[int, bytes]:
    """Return the RFC 6962 roots of the first ``size`` leaves, for each size that the log has reached."""
    roots = {0: hashlib.sha256(b"").digest()}
    peaks: list[tuple[int, bytes]] = []
    for size, leaf in enumerate(leaves, start=1):
        peaks.append((1, leaf))
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (_, right), (leaves_below, left) = peaks.pop(), peaks.pop()
            peaks.append((2 * leaves_below, _node(left, right)))
        if size in sizes:
            root = peaks[-1][1]
            for _, left in reversed(peaks[:-1]):
                root = _node(left, root)
            roots[size] = root
    return roots


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _by_correlation(books: Books) -> dict[str, Counter[str]]:
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for events in books.stored.values():
        for event in events:
            made[event.correlation][event.name] += 1
    return made


def _last_versions(events: Iterable[Event]) -> dict[Aggregate, int]:
    last: dict[Aggregate, int] = {}
    for event in events:
        last[event.aggregate] = max(event.version, last.get(event.aggregate, 0))
    return last


def _twice(ids: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, count) for name, count in Counter(ids).items() if count > 1]


def _check(name: str, wrong: list[str], detail: str, **values: int) -> Check:
    shown = "; ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
    return Check(
        name=name,
        ok=not wrong,
        detail=f"{detail}: {shown}" if wrong else detail,
        values={**values, "wrong": len(wrong)},
    )
