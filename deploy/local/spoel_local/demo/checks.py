"""The equalities at the demo's end, each computed from sources that do not know of each other.

The simulators' own counters, the event tables of every service as they lie in the databases, and the audit log as it
is served: raw entries, from which a program that shares no code with the service recomputes the root.
"""

import asyncio
import base64
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from spoel_audit.verify import check_event, recompute_root
from spoel_local.demo.people import People
from spoel_local.demo.report import Check
from spoel_local.event_tables import StoredEvent, read_events
from spoel_local.instance import Instance

AUDITOR = "auditor"
_CATCH_UP_S = 30.0
_AGAIN_AFTER_S = 0.2
_PAGE = 1_000
_AT_ONCE = 8
_SHOWN = 5


def simulator_pulses(log: Path) -> int:
    """Return how many pulses a simulator has fired, after its own log; a total that falls is one that began anew."""
    earlier = total = 0
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            record = json.loads(line)
            if "pulses" in record:
                if record["pulses"] < total:
                    earlier += total
                total = record["pulses"]
    return earlier + total


class Room(NamedTuple):
    """What was done in one room, for the first equality.

    Attributes:
        sessions: ids of the sessions that ran in it.
        before: the simulator's total when the demo began.
    """

    room_id: str
    simulator_log: Path
    before: int
    sessions: Sequence[str]


async def pulses_agree(people: People, stored: Iterable[StoredEvent], rooms: Sequence[Room]) -> list[Check]:
    """Check, room by room: pulses of the simulator = pulses recorded by stimulation = pulses in the audit log.

    Pulses of a train whose outcome nobody knows are recorded as "at most so many": then the simulator's figure lies
    between those delivered for certain and those with the unknown ones. Without such a train all three are equal.
    """
    delivered, unknown = _recorded_pulses(stored)
    checks = []
    for room in rooms:
        fired = simulator_pulses(room.simulator_log) - room.before
        in_store = sum(delivered[session] for session in room.sessions)
        at_most = sum(unknown[session] for session in room.sessions)
        in_log = at_most_in_log = 0
        for session in room.sessions:
            answer = await people.ask(AUDITOR, "audit", f"/sessions/{session}", "count the pulses in the audit log")
            in_log += answer["pulses_delivered"]
            at_most_in_log += answer["pulses_unknown_at_most"]
        recorded_alike = in_store == in_log and at_most == at_most_in_log
        checks.append(
            Check(
                name=f"pulses of {room.room_id}: simulator = stimulation = audit log",
                ok=recorded_alike and in_store <= fired <= in_store + at_most and fired > 0,
                detail=f"{fired} = {in_store} = {in_log}" + (f" (and at most {at_most} unknown)" if at_most else ""),
                values={
                    "room": room.room_id,
                    "simulator": fired,
                    "stimulation": in_store,
                    "audit": in_log,
                    "unknown_at_most": at_most,
                },
            )
        )
    return checks


def _recorded_pulses(stored: Iterable[StoredEvent]) -> tuple[Counter[str], Counter[str]]:
    """Return pulses delivered, and pulses of unknown outcome, by session, as stimulation's own events say."""
    delivered: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for event in stored:
        data = json.loads(event.raw)["data"]
        if event.type.startswith("spoel.stimulation.train-delivered."):
            delivered[data["session_id"]] += data["pulses"]
        elif event.type.startswith("spoel.stimulation.train-outcome-unknown."):
            unknown[data["session_id"]] += data["pulses_at_most"]
    return delivered, unknown


class Log(NamedTuple):
    """The audit log as served: its raw entries in their order, and the root that the service states."""

    entries: list[bytes]
    root: bytes


async def caught_up_log(people: People, instance: Instance) -> tuple[list[StoredEvent], Log]:
    """Wait until the log holds as many events as the stores do, then fetch both.

    Where that does not come about in time both are returned as they are: the checks say what is missing.
    """
    deadline = time.monotonic() + _CATCH_UP_S
    while True:
        stored = await read_events(instance.site, instance.stores)
        root = await people.ask(AUDITOR, "audit", "/tlog/root", "ask for the root of the audit log")
        if root["size"] == len(stored) or time.monotonic() > deadline:
            break
        await asyncio.sleep(_AGAIN_AFTER_S)
    return stored, Log(await _entries(people, root["size"]), base64.b64decode(root["root_hash"]))


async def _entries(people: People, size: int) -> list[bytes]:
    entries: list[bytes] = []
    while len(entries) < size:
        params = {"start": str(len(entries)), "limit": str(min(_PAGE, size - len(entries)))}
        page = await people.ask(AUDITOR, "audit", "/tlog/entries", "fetch the entries of the audit log", params)
        entries += [base64.b64decode(entry) for entry in page["entries"]]
    return entries


def root_agrees(log: Log) -> Check:
    """Check that the root recomputed from the raw entries is the one that the service states."""
    recomputed = recompute_root(log.entries)
    return Check(
        name="root recomputed from the raw entries = root served",
        ok=recomputed == log.root,
        detail=f"{recomputed.hex()[:16]}… over {len(log.entries)} entries",
        values={"recomputed": recomputed.hex(), "served": log.root.hex(), "entries": len(log.entries)},
    )


def every_event_once(stored: Sequence[StoredEvent], log: Log) -> Check:
    """Check that every event of every store is in the log exactly once, and nothing else is."""
    in_log = Counter(json.loads(entry)["id"] for entry in log.entries)
    in_stores = Counter(event.id for event in stored)
    missing = sorted((in_stores - in_log).elements())
    surplus = sorted((in_log - in_stores).elements())
    by_service = Counter(event.source.split("/")[3] for event in stored)
    return Check(
        name="every event of every store is in the audit log exactly once",
        ok=not missing and not surplus,
        detail=_listed(
            ", ".join(f"{service} {count}" for service, count in sorted(by_service.items())) + f" = {len(log.entries)}",
            {"missing": missing, "surplus": surplus},
        ),
        values={"stores": dict(by_service), "log": len(log.entries), "missing": missing, "surplus": surplus},
    )


def order_kept(stored: Sequence[StoredEvent], log: Log) -> Check:
    """Check that the log has each aggregate's events in the order of their versions, without holes."""
    aggregate_of = {event.id: event.aggregate for event in stored}
    versions: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for entry in map(json.loads, log.entries):
        aggregate = aggregate_of.get(entry["id"])
        if aggregate is not None:
            versions[aggregate].append(entry["version"])
    wrong = ["/".join(name) for name, found in versions.items() if found != list(range(1, len(found) + 1))]
    return Check(
        name="within each aggregate the log keeps the order of its versions",
        ok=not wrong and bool(versions),
        detail=_listed(f"{len(versions)} aggregates", {"out of order": wrong}),
        values={"aggregates": len(versions), "out_of_order": wrong},
    )


async def bytes_agree(people: People, stored: Sequence[StoredEvent]) -> Check:
    """Check that the bytes in each service's own table are those that the log's entry commits to."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def committed(event: StoredEvent) -> bool:
        async with gate:
            answer = await people.ask(AUDITOR, "audit", f"/events/{event.id}", "fetch an event from the audit log")
        return check_event(base64.b64decode(answer["entry"]), base64.b64decode(answer["salt"]), event.raw)

    found = await asyncio.gather(*(committed(event) for event in stored))
    wrong = [event.id for event, ok in zip(stored, found, strict=True) if not ok]
    return Check(
        name="the bytes in each service's own table are those that the log commits to",
        ok=not wrong and bool(stored),
        detail=_listed(f"{len(stored)} events", {"different": wrong}),
        values={"events": len(stored), "different": wrong},
    )


async def all_checks(people: People, instance: Instance, rooms: Sequence[Room]) -> list[Check]:
    """Wait for the log, then make every check."""
    stored, log = await caught_up_log(people, instance)
    once = every_event_once(stored, log)
    checks = [*await pulses_agree(people, stored, rooms), once, order_kept(stored, log)]
    if once.ok:
        checks.append(await bytes_agree(people, stored))
    return [*checks, root_agrees(log)]


def _listed(text: str, wrong: dict[str, list[str]]) -> str:
    return "; ".join([text, *(f"{name}: {_some(found)}" for name, found in wrong.items() if found)])


def _some(found: list[str]) -> str:
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
