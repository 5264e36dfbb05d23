"""The equalities of the chaos runs can fail: each of these books has one thing amiss, and it is found and named."""

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from tests.chaos.books import Applied, Books, Event, Line, Reader
from tests.chaos.equalities import all_equalities
from tests.chaos.ledger import Ledger, Told
from tests.chaos.models import Anew
from tests.chaos.plan import draw, embedded_menu, hospital_menu

INTAKE, ROOMS = "/spoel/local/intake/main", "/spoel/local/stimulation/node-1"
READER = Reader("planning", "knowledge", INTAKE)


def event(number: int, *, aggregate: str = "a", version: int | None = None, name: str = "referral-received") -> Event:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Event(f"e{number}", ("case", aggregate), version or number, name, f"c{number}", digest)


def leaf(of: Event) -> bytes:
    return hashlib.sha256(b"\x00" + of.id.encode()).digest()


@pytest.fixture
def books() -> Books:
    """Three events of one case and one of another, all of them everywhere."""
    events = [event(1), event(2), event(3), event(4, aggregate="b", version=1)]
    return Books(
        stored={INTAKE: list(events), ROOMS: []},
        streamed={INTAKE: [(each.id, each) for each in events], ROOMS: []},
        applied={READER: Applied(4, {("case", "a"): 3, ("case", "b"): 1})},
        log=[Line(each.id, each.digest, leaf(each)) for each in events],
    )


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for number in range(1, 5):
        ledger.told[f"c{number}"] = Told(f"c{number}", "intake", "referral-received", state="acknowledged")
    left, right = (hashlib.sha256(b"\x00" + name).digest() for name in (b"e1", b"e2"))
    ledger.roots.append((1, base64.b64encode(left).decode()))
    ledger.roots.append((2, base64.b64encode(hashlib.sha256(b"\x01" + left + right).digest()).decode()))
    return ledger


def found(books: Books, ledger: Ledger) -> dict[str, str]:
    """Return what fails, by the beginning of its name."""
    return {
        " ".join(check.name.split()[:4]): check.detail for check in all_equalities(books, ledger, {}) if not check.ok
    }


def test_where_nothing_is_amiss_everything_holds_and_all_is_still(books, ledger):
    assert found(books, ledger) == {}
    assert books.still


def test_a_lost_event_of_an_acknowledged_command_is_found(books, ledger):
    books.stored[INTAKE].pop()
    assert "acknowledged referral-received c4" in found(books, ledger)["every acknowledged command's event"]


def test_a_command_that_took_effect_twice_is_found(books, ledger):
    ledger.told["c3"].lost = 1
    books.stored[INTAKE].append(event(5, version=4)._replace(correlation="c3"))
    assert "left {'referral-received': 2}" in found(books, ledger)["every acknowledged command's event"]


@pytest.mark.parametrize(("lost", "effects", "right"), [(0, 1, False), (0, 0, True), (1, 1, True), (1, 2, False)])
def test_a_refused_command_left_nothing_unless_an_earlier_answer_was_lost(books, ledger, lost, effects, right):
    ledger.told["r"] = Told("r", "intake", "consent-given", lost=lost, state="refused")
    for number in range(effects):
        books.stored[INTAKE].append(
            event(8 + number, version=4 + number, name="consent-given")._replace(correlation="r")
        )
    assert ("every acknowledged command's event" not in found(books, ledger)) == right


def test_a_command_without_an_answer_is_found(books, ledger):
    ledger.told["c4"].state = "open"
    assert "open referral-received c4" in found(books, ledger)["every acknowledged command's event"]


def test_an_event_that_nobody_asked_for_is_found(books, ledger):
    del ledger.told["c4"]
    assert "referral-received e4" in found(books, ledger)["every new event of"]


def test_a_hole_and_a_swap_of_versions_and_an_id_twice_are_found(books, ledger):
    stored = books.stored[INTAKE]
    hole, swap = [stored[0], *stored[2:]], [stored[1], stored[0], *stored[2:]]
    twice = [*stored, stored[-1]._replace(version=2)]
    for wrong, shown in ((hole, "[1, 3]"), (swap, "[2, 1, 3]"), (twice, "has e4 2 times")):
        books.stored[INTAKE] = wrong
        assert shown in found(books, ledger)["versions are in order,"]


def test_a_message_that_is_missing_doubled_changed_misnamed_or_elsewhere_in_order_is_found(books, ledger):
    streamed = books.streamed[INTAKE]
    changed = streamed[1][1]._replace(digest="0" * 64)
    amiss = {
        "e4 is not in the stream": streamed[:-1],
        "e4 is 2 times in the stream": [*streamed, streamed[-1]],
        "message e2 differs": [streamed[0], ("e2", changed), *streamed[2:]],
        "message e9 differs": [("e9", streamed[0][1]), *streamed[1:]],
        "another order": [streamed[3], *streamed[:3]],
    }
    for shown, wrong in amiss.items():
        books.streamed[INTAKE] = wrong
        assert shown in found(books, ledger)["every stored event is"]


def test_a_reader_that_is_behind_holds_something_or_has_missed_an_aggregate_is_found(books, ledger):
    right = books.applied[READER]
    amiss = {
        "is at 3 of 4": replace(right, sequence=3),
        "keeps 1 aside": replace(right, held=1),
        "case/a at 2 on one side only": replace(right, heads={("case", "a"): 2, ("case", "b"): 1}),
        "case/b at 1 on one side only": replace(right, heads={("case", "a"): 3}),
    }
    for shown, wrong in amiss.items():
        books.applied[READER] = wrong
        assert shown in found(books, ledger)["every consumer has applied"]


def test_an_event_that_the_log_lacks_doubles_or_changes_is_found(books, ledger):
    log = books.log
    for shown, wrong in {
        "e4 is not in the log": log[:-1],
        "e1 is 2 times in the log": [*log, log[0]],
        "e4 differs": [*log[:-1], log[-1]._replace(digest="0" * 64)],
        "e9 differs": [*log, log[-1]._replace(event_id="e9")],
    }.items():
        books.log = wrong
        assert shown in found(books, ledger)["the audit log has"]


def test_a_log_that_has_another_beginning_than_was_served_or_is_shorter_is_found(books, ledger):
    log = books.log
    for size, wrong in ((2, [log[0], log[2], log[1], log[3]]), (2, log[:1]), (1, [])):
        books.log = wrong
        assert f"the root served at size {size} is" in found(books, ledger)["every root that was"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE known_rooms SET coil_model = 'other'",
        "DELETE FROM known_rooms",
        "INSERT INTO known_cases (case_id, patient_id) VALUES ('c', 'p')",
    ],
)
async def test_a_changed_a_missing_and_a_surplus_row_of_a_read_model_differ_from_one_built_from_zero(
    tmp_path, change, books, ledger
):
    """The whole comparison, on two real databases built from the sample of one event."""
    (tmp_path / "other").mkdir()
    both = [await Anew.open("planning", folder) for folder in (tmp_path, tmp_path / "other")]
    for anew in both:
        await anew.apply("stimulation", room_opened())
    serving, built = both
    assert await built.differences(serving.database) == (1, [])

    async with serving.database.write() as conn:
        await conn.exec_driver_sql(change)

    _, books.unlike = await built.differences(serving.database)
    assert "known_" in found(books, ledger)["no read model differs"]
    for anew in both:
        await anew.database.close()


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    for menu in (embedded_menu(), hospital_menu()):
        plan = draw(7, 20, menu, at_once=2)
        assert plan == draw(7, 20, menu, at_once=2)
        assert plan != draw(8, 20, menu, at_once=2)


def room_opened() -> bytes:
    data = {
        "room_id": "room-1",
        "stimulator_model": "MagPro",
        "stimulator_serial": "SIM-1",
        "coil_model": "Cool-B65",
        "simulated": True,
    }
    envelope = {
        "specversion": "1.0",
        "id": "019a0000-0000-7000-8000-000000000001",
        "source": ROOMS,
        "type": "spoel.stimulation.room-opened.v1",
        "subject": "room-1",
        "time": "2026-11-25T10:00:00.000000Z",
        "aggregatetype": "room",
        "aggregateversion": 1,
        "correlationid": "c",
        "actorid": "room-1",
        "site": "local",
        "data": data,
    }
    return json.dumps(envelope).encode()
